"""Lua in a project: what each hook can do, seen from the client, the provider and the timeline."""

import time
import unittest

from moongate import *


def lua(up, workflows="", extra="", targets='"p0/model-0"'):
    """A project with one provider, and workflows by name: the fields of each."""
    rows = "".join(f'["{name}"] = {{ targets = {{ {targets} }}, {fields} }},' for name, fields in (workflows or {"chat": ""}).items())
    return (f'return {{ providers = {{ p0 = {{ base_url = "{up.url}", api_key = "secret-0" }} }}, workflows = {{ {rows} }}, {extra} }}')


def content(answer):
    return answer.json["choices"][0]["message"]["content"]


def notes(gw, answer):
    return " | ".join(note["text"] for note in gw.trace(answer)["notes"])


class Case(unittest.TestCase):
    """One gateway and one upstream for all tests of a class; `project` makes the project."""

    files = {}
    gateway = ""

    @classmethod
    def setUpClass(cls):
        cls.up = Upstream(json_answer("ok")).__enter__()
        cls.addClassCleanup(cls.up.__exit__)
        cls.side = Upstream().__enter__()
        cls.addClassCleanup(cls.side.__exit__)
        cls.gw = Gateway(cls.project(), cls.gateway, files=cls.files).__enter__()
        cls.addClassCleanup(lambda: cls.gw.__exit__(None, None, None))

    def setUp(self):
        self.up.answer(json_answer("ok"))
        for upstream in (self.up, self.side):
            while not upstream.requests.empty():
                upstream.requests.get()
        self.before = self.up.count

    def ask(self, model, text="hello", **more):
        return self.gw.chat(model, messages=[{"role": "user", "content": text}], **more)

    def sent(self):
        return self.up.next_request()


class OnRequest(Case):
    @classmethod
    def project(cls):
        return lua(cls.up, {
            "edit": '''on_request = function(req)
                req.messages:set(1, req.messages[1]:text():upper())
                req.messages:append_system("be brief")
                req.messages:insert(#req.messages + 1, { role = "user", text = "and now?" })
                req.params.temperature = 0.25
                req.params.user = nil
            end''',
            "respond": 'on_request = function(req) return req:respond { text = "from the house" } end',
            "deny": 'on_request = function(req) return req:deny { status = 451, code = "not_here", message = "ask your lawyer" } end',
            "view": '''on_request = function(req)
                return req:respond { text = moongate.json.encode {
                  model = req.model, workflow = req.workflow, stream = req.stream, surface = req.surface, session = req.session,
                  tier = req.metadata.tier, team = req.headers["X-Team"], secret = req.headers.authorization or "none",
                  messages = #req.messages, role = req.messages[1].role, temperature = req.params.temperature,
                  tools = #(req.tools or {}), key = req.key_id ~= nil, project = moongate.project } }
            end''',
            "sleep": '''on_request = function(req)
                local began = moongate.time.mono_ms()
                moongate.time.sleep(120)
                req.params.user = moongate.time.mono_ms() - began >= 119 and "slept" or "hurried"
            end''',
            "fetch": f'''on_request = function(req)
                local answer, err = moongate.http.request {{ url = "http://127.0.0.1:{cls.side.port}/quota", json = {{ text = req.messages[1]:text() }} }}
                if not answer then return req:deny {{ status = 503, code = err.code, message = err.message }} end
                if answer.status ~= 200 then return req:deny {{ status = 429, code = "quota", message = answer.body }} end
                req.params.user = answer.headers["x-user"]
            end''',
            "count": '''on_request = function(req)
                return req:respond { text = tostring(moongate.kv.incr("shared:n", 1)) }
            end''',
        }, f'inline = {{ grant = {{ "net:http://127.0.0.1:{cls.side.port}" }} }},')

    def test_edits_are_spliced_and_everything_else_keeps_its_bytes(self):
        body = (b'{ "model":"edit" ,"user":"bob", "x-new": [1.0, 1e2] ,"messages":[{"name":"a" , "role":"user","content":"hi \\u00e9"}],'
                b'"seed": 9007199254740993}')
        answer = self.gw.request("POST", "/v1/chat/completions", body)

        self.assertEqual(answer.status, 200)
        sent = self.sent()
        self.assertIn(b'"x-new": [1.0, 1e2]', sent.body)
        self.assertIn(b'"seed": 9007199254740993', sent.body)
        self.assertEqual(sent.json["temperature"], 0.25)
        self.assertNotIn("user", sent.json)
        self.assertEqual([(m["role"], m["content"]) for m in sent.json["messages"]],
                         [("system", "be brief"), ("user", "HI é"), ("user", "and now?")])
        self.assertEqual(sent.json["messages"][1]["name"], "a")
        self.assertIn("inserted", notes(self.gw, answer))

    def test_it_can_answer_without_a_provider(self):
        answer = self.ask("respond")
        self.assertEqual((answer.status, content(answer)), (200, "from the house"))
        streamed = self.ask("respond", stream=True)
        self.assertEqual((streamed.text, streamed.clean, streamed.events[-1]), ("from the house", True, "[DONE]"))
        self.assertEqual(self.up.count, self.before)
        self.assertEqual(self.gw.trace(answer)["attempts"], [])

    def test_its_answer_has_the_shape_of_the_surface(self):
        with_usage = self.ask("respond", stream=True, stream_options={"include_usage": True})
        self.assertEqual(json.loads(with_usage.events[-2])["usage"]["total_tokens"], 0)
        old = self.gw.request("POST", "/v1/completions", {"model": "respond", "prompt": "x"})
        self.assertEqual((old.json["object"], old.json["choices"][0]["text"]), ("text_completion", "from the house"))
        old = self.gw.request("POST", "/v1/completions", {"model": "respond", "prompt": "x", "stream": True})
        self.assertEqual((json.loads(old.events[0])["choices"][0]["text"], old.events[-1]), ("from the house", "[DONE]"))

    def test_it_can_refuse(self):
        answer = self.ask("deny")
        self.assertEqual((answer.status, answer.json["error"]["code"], answer.json["error"]["message"]), (451, "not_here", "ask your lawyer"))
        self.assertEqual(self.up.count, self.before)

    def test_it_sees_the_request_and_no_credential(self):
        answer = self.gw.chat("view", headers={"x-team": "blue", "x-moongate-session": "s-1"}, metadata={"tier": "pro"}, temperature=0.5,
                              tools=[{"type": "function", "function": {"name": "f"}}])
        self.assertEqual(json.loads(content(answer)), {
            "model": "view", "workflow": "view", "stream": False, "surface": "chat", "session": "s-1", "tier": "pro", "team": "blue",
            "secret": "none", "messages": 1, "role": "user", "temperature": 0.5, "tools": 1, "key": True, "project": "main"})

    def test_metadata_may_come_in_a_header(self):
        answer = self.gw.chat("view", headers={"x-moongate-metadata": '{"tier":"free"}'})
        self.assertEqual(json.loads(content(answer))["tier"], "free")

    def test_waiting_holds_nobody_else_up(self):
        began = time.monotonic()
        results = []
        threads = [threading.Thread(target=lambda: results.append(self.ask("sleep").status)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.assertEqual(results, [200] * 16)
        self.assertLess(time.monotonic() - began, 16 * 0.12)
        self.assertEqual({self.sent().json["user"] for _ in range(16)}, {"slept"})

    def test_it_can_ask_a_service_and_wait_for_it(self):
        self.side.answer(respond(200, b"{}", {"x-user": "u-7"}))
        self.assertEqual(self.ask("fetch", "may I?").status, 200)
        self.assertEqual(self.sent().json["user"], "u-7")
        asked = self.side.next_request()
        self.assertEqual((asked.method, asked.path, asked.json), ("POST", "/quota", {"text": "may I?"}))

        self.side.answer(respond(402, b"too much"))
        answer = self.ask("fetch")
        self.assertEqual((answer.status, answer.json["error"]["message"]), (429, "too much"))
        self.side.answer(close)
        self.assertEqual(self.ask("fetch").json["error"]["code"], "closed")

    def test_a_client_that_leaves_ends_the_wait(self):
        entered = threading.Event()

        def slow(sock, request):
            entered.set()
            hang(sock)
        self.side.answer(slow)
        while not self.side.closed.empty():
            self.side.closed.get()
        with self.gw.connect() as sock:
            body = b'{"model":"fetch","messages":[{"role":"user","content":"x"}]}'
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                         % (self.gw.keys["main"].encode(), len(body), body))
            self.assertTrue(entered.wait(PATIENCE_S))
        began = time.monotonic()
        self.side.closed.get(timeout=PATIENCE_S)
        self.assertLess(time.monotonic() - began, 1)
        self.assertEqual(self.up.count, self.before)

    def test_kv_is_one_dictionary_for_all_workers(self):
        results = []
        threads = [threading.Thread(target=lambda: results.extend(int(content(self.ask("count"))) for _ in range(10))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.assertEqual(sorted(results), list(range(1, 81)))


class Routing(Case):
    @classmethod
    def project(cls):
        cls.b = Upstream(json_answer("b")).__enter__()
        cls.addClassCleanup(cls.b.__exit__)
        both = '"a/one", "b/two"'
        rows = {
            "pick": (both, 'route = function(req, candidates) return { attempts = { { target = req.metadata.to } }, explain = "as asked" } end'),
            "none": (both, "route = function() return nil end"),
            "bad": (both, 'route = function() return { attempts = { { target = "elsewhere/x" } } } end'),
            "weighted": ('{ "a/one", weight = 3 }, { "b/two", weight = 1 }', ""),
            "off": ('{ "a/one", weight = 0 }, { "b/two", weight = 2 }', ""),
            "sticky": (both, '''route = function(req, candidates)
                return { attempts = { { pick = "hash", of = { { target = "a/one" }, { target = "b/two" } } } }, sticky = req.session }
            end'''),
            "patch": (both, '''route = function(req, candidates)
                return { attempts = { { target = "a/one", patch = { max_tokens = 7 } } },
                         budget = { max_attempts = 1 }, on_exhausted = { status = 503, code = "house_is_full", retry_after_s = 5 } }
            end'''),
            "cached": (both, '''route = function(req, candidates)
                moongate.kv.incr("asked", 1)
                return { attempts = { { pick = "weighted", of = { { target = "a/one", weight = 1 }, { target = "b/two", weight = 1 } } } },
                         cache = { key = "k", ttl_ms = 10000 } }
            end'''),
            "asked": (both, 'on_request = function(req) return req:respond { text = "-" } end'),
            "params": ('{ "a/one", params = { temperature = 0, top_p = 0.5 } }', ""),
            "as-asked": ('"a/*"', ""),
            "glob-*": ('"a/*"', ""),
        }
        workflows = "".join(f'["{name}"] = {{ targets = {{ {targets} }}, {fields} }},' for name, (targets, fields) in rows.items())
        return (f'return {{ providers = {{ a = {{ base_url = "{cls.up.url}" }}, b = {{ base_url = "{cls.b.url}" }} }}, '
                f'workflows = {{ {workflows} }} }}')

    def providers(self, model, n, **more):
        return [self.gw.chat(model, **more).headers["x-moongate-provider"] for _ in range(n)]

    def test_the_plan_is_obeyed_and_explained(self):
        for target in ("a/one", "b/two"):
            answer = self.gw.chat("pick", metadata={"to": target})
            provider, model = target.split("/")
            self.assertEqual((answer.headers["x-moongate-provider"], answer.headers["x-moongate-model"]), (provider, model))
            self.assertEqual(self.gw.trace(answer)["explain"], "as asked")

    def test_no_plan_asks_the_default_policy(self):
        answer = self.gw.chat("none")
        self.assertEqual((answer.status, answer.headers["x-moongate-provider"]), (200, "a"))
        self.assertIn("default policy", self.gw.trace(answer)["explain"])

    def test_a_plan_that_leaves_the_workflow_is_a_fault_and_the_default_is_asked(self):
        answer = self.gw.chat("bad")
        self.assertEqual((answer.status, answer.headers["x-moongate-provider"]), (200, "a"))
        self.assertIn("elsewhere/x", notes(self.gw, answer))

    def test_weights_split_the_traffic(self):
        drawn = self.providers("weighted", 120)
        self.assertTrue(60 < drawn.count("a") < 112, f"a answered {drawn.count('a')} of 120, expected about 90")  # > 6 sigma

    def test_weight_zero_is_only_fallen_back_to(self):
        self.assertEqual(set(self.providers("off", 20)), {"b"})
        self.b.answer(error_answer(503), json_answer("b"))
        self.assertEqual(self.providers("off", 1), ["a"])
        self.b.answer(json_answer("b"))

    def test_a_cached_plan_still_draws(self):
        drawn = self.providers("cached", 60)
        self.assertTrue(10 < drawn.count("a") < 50, drawn)

    def test_a_session_stays_where_it_was(self):
        homes = {session: set(self.providers("sticky", 5, headers={"x-moongate-session": session})) for session in map(str, range(12))}
        self.assertTrue(all(len(home) == 1 for home in homes.values()), homes)
        self.assertEqual(set.union(*homes.values()), {"a", "b"})

    def test_an_entry_patches_the_body_and_the_plan_words_the_end(self):
        self.assertEqual(self.gw.chat("patch").status, 200)
        self.assertEqual(self.sent().json["max_tokens"], 7)
        self.up.answer(error_answer(503))
        answer = self.gw.chat("patch")
        self.assertEqual((answer.status, answer.json["error"]["code"], answer.headers["retry-after"]), (503, "house_is_full", "5"))
        self.assertEqual(self.up.count - self.before, 2)

    def test_a_target_sets_its_own_parameters(self):
        self.gw.chat("params", temperature=1, user="u")
        sent = self.sent().json
        self.assertEqual((sent["temperature"], sent["top_p"], sent["user"], sent["model"]), (0, 0.5, "u", "one"))

    def test_a_glob_passes_the_model_on(self):
        self.gw.chat("glob-9")
        self.assertEqual(self.sent().json["model"], "glob-9")


class Attempts(Case):
    @classmethod
    def project(cls):
        workflows = {name: "" for name in ("patch", "plain", "explicit")}
        workflows["explicit"] = 'classify = function(att) return { class = "overloaded", action = "fail", client = { status = 418, code = "teapot", message = "short and stout" } } end'
        extra = '''
            plugins = {
              { as = "patcher", when = { workflows = { "patch" } }, on_attempt = function(self, req, att)
                  return { model = att.n == 1 and "model-0" or "model-1", params = { seed = att.n, user = false },
                           headers = { ["x-try"] = tostring(att.n), ["x-tenant"] = "blue" } }
              end },
            },
            classify = function(att)
              if att.status == 400 and att.error.code == "try_elsewhere" then
                return { class = "overloaded", action = "fallback", explain = "house rule" }
              elseif att.status == 299 then
                return { class = "server_error", action = "fallback" }
              end
            end,'''
        return lua(cls.up, workflows, extra, '"p0/model-0", "p0/model-1"')

    def test_each_attempt_is_patched(self):
        self.up.answer(error_answer(503), json_answer("ok"))
        answer = self.gw.chat("patch")

        self.assertEqual(answer.status, 200)
        first, second = self.sent(), self.sent()
        self.assertEqual([(r.json["model"], r.json["seed"], r.headers["x-try"]) for r in (first, second)], [("model-0", 1, "1"), ("model-1", 2, "2")])
        self.assertEqual(first.headers["x-tenant"], "blue")

    def test_a_house_rule_turns_a_400_into_a_fallback(self):
        self.up.answer(error_answer(400, "try_elsewhere"), json_answer("ok"))
        answer = self.gw.chat("plain")

        self.assertEqual((answer.status, answer.headers["x-moongate-attempts"]), (200, "2"))
        attempt = self.gw.trace(answer)["attempts"][0]
        self.assertEqual((attempt["class"], attempt["action"]), ("overloaded", "fallback"))

    def test_what_the_rule_does_not_name_goes_to_the_default_taxonomy(self):
        self.up.answer(error_answer(400, "other"))
        answer = self.gw.chat("plain")
        self.assertEqual((answer.status, self.up.count - self.before), (400, 1))

    def test_a_verdict_words_what_the_client_sees(self):
        self.up.answer(error_answer(503))
        answer = self.gw.chat("explicit")
        self.assertEqual((answer.status, answer.json["error"]["code"], answer.json["error"]["message"]), (418, "teapot", "short and stout"))
        self.assertEqual(self.up.count - self.before, 1)


MASK = '''on_chunk = function(c)
            local text = c.text:gsub("secret", "[gone]")
            return text
        end'''


class Streams(Case):
    @classmethod
    def project(cls):
        return lua(cls.up, {
            "filter": MASK + ', stream = { mode = "filter", hold = 8 }',
            "observe": '''on_chunk = function(c) moongate.kv.incr("shared:chunks", 1) return "changed" end, stream = { mode = "observe" },
                on_request = function(req)
                  if req.messages[1]:text() == "chunks?" then return req:respond { text = tostring(moongate.kv.get("shared:chunks")) } end
                end''',
            "buffer": MASK + ', stream = { mode = "buffer" }',
            "reject": MASK + ', stream = { mode = "reject" }',
            "undeclared": MASK,
            "stop": '''on_chunk = function(c)
                if c.text:find("enough", 1, true) then return c:stop { code = "house_rule", message = "that will do" } end
            end, stream = { hold = 8 }''',
            "broken-guard": 'on_chunk = function(c) error "boom" end, stream = { hold = 8 }',
        })

    def check(self, model, words, expected, pieces=None):
        self.up.answer(stream(*good_events(*words), pieces=pieces))
        answer = self.ask(model, stream=True)
        self.assertEqual((answer.text, answer.clean), (expected, True))
        self.assertEqual(answer.events[-1], "[DONE]")
        return answer

    def test_a_filter_sees_across_the_borders_of_chunks(self):
        text = "a secret is a secret, étés 🌙 apart"
        for size in (1, 2, 3, 5, 40):
            self.check("filter", [text[i:i + size] for i in range(0, len(text), size)], text.replace("secret", "[gone]"))
        self.check("filter", ["a sec", "ret"], "a [gone]", pieces=3)

    def test_the_last_word_may_come_with_the_finish(self):
        self.up.answer(stream(chunk({"content": "a sec"}), chunk({"content": "ret tail"}, "stop"), "[DONE]"))
        self.assertEqual(self.ask("filter", stream=True).text, "a [gone] tail")

    def test_choices_are_kept_apart(self):
        def of(index, text, finish=None):
            return {**chunk(), "choices": [{"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}]}
        self.up.answer(stream(of(0, "zero sec"), of(1, "one "), of(0, "ret"), of(1, "se"), of(0, None, "stop"), of(1, "cret"), of(1, None, "stop"), "[DONE]"))
        answer = self.ask("filter", stream=True, n=2)
        texts = {0: "", 1: ""}
        for event in answer.events[:-1]:
            for choice in json.loads(event)["choices"]:
                texts[choice["index"]] += choice["delta"].get("content") or ""
        self.assertEqual((texts, answer.clean), ({0: "zero [gone]", 1: "one [gone]"}, True))

    def test_text_moves_on_while_the_stream_runs(self):
        gate = threading.Event()
        events = good_events("long before the end ", "and the end")
        self.up.answer(stream(*events[:2], gate, *events[2:]))
        with self.gw.connect() as sock:
            body = b'{"model":"filter","stream":true,"messages":[]}'
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                         % (self.gw.keys["main"].encode(), len(body), body))
            seen = b""
            while b"long before" not in seen:
                seen += sock.recv(65536)
            gate.set()
            while not seen.endswith(b"0\r\n\r\n"):
                seen += sock.recv(65536)
        self.assertIn(b"[DONE]", seen)

    def test_an_observer_changes_nothing_and_is_called(self):
        self.check("observe", ["a", "b"], "ab")
        self.assertGreaterEqual(float(content(self.ask("observe", "chunks?"))), 1)

    def test_a_buffer_holds_all_until_the_end(self):
        gate = threading.Event()
        events = good_events("a secret ", "and more")
        self.up.answer(stream(*events[:3], gate, *events[3:]))
        with self.gw.connect() as sock:
            body = b'{"model":"buffer","stream":true,"messages":[]}'
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                         % (self.gw.keys["main"].encode(), len(body), body))
            self.sent()
            sock.settimeout(0.3)
            seen = b""
            with self.assertRaises(TimeoutError):
                while True:
                    seen += sock.recv(65536)
            self.assertNotIn(b"and more", seen)
            gate.set()
            sock.settimeout(PATIENCE_S)
            while not seen.endswith(b"0\r\n\r\n"):
                seen += sock.recv(65536)
        self.assertIn(b"[gone]", seen)
        self.assertNotIn(b"secret", seen)

    def test_a_hook_that_does_not_say_how_is_buffered(self):
        self.check("undeclared", ["se", "cret"], "[gone]")

    def test_streams_can_be_refused(self):
        answer = self.ask("reject", stream=True)
        self.assertEqual(answer.status, 400)
        self.assertEqual(self.up.count, self.before)
        self.assertEqual(self.ask("reject").status, 200)

    def test_a_guard_stops_in_the_middle_with_a_typed_error(self):
        self.up.answer(stream(*good_events("so far so good, ", "more, ", "enough", " secrets")))
        answer = self.ask("stop", stream=True)

        self.assertFalse(answer.clean)
        self.assertEqual(json.loads(answer.events[-1])["error"]["code"], "house_rule")
        self.assertNotIn("secrets", answer.text)
        self.assertNotIn("[DONE]", answer.events)
        self.assertFalse(self.gw.trace(answer)["clean"])

    def test_tool_calls_and_other_fields_pass_a_filter_untouched(self):
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"secret":1}'}}
        self.up.answer(stream(chunk({"role": "assistant", "content": None, "tool_calls": [call]}, system_fingerprint="fp"), chunk({}, "tool_calls"), "[DONE]"))
        answer = self.ask("filter", stream=True)

        self.assertEqual(json.loads(answer.events[0])["choices"][0]["delta"]["tool_calls"], [call])
        self.assertEqual(json.loads(answer.events[0])["system_fingerprint"], "fp")
        self.assertTrue(answer.clean)


class OnResponse(Case):
    @classmethod
    def project(cls):
        return lua(cls.up, {
            "replace": '''on_response = function(res)
                if not res.sent then return res:replace { text = res:text() .. " (" .. res.usage.output_tokens .. " tokens)" } end
            end''',
            "deny": "",
            "edited": "",
            "retry": '''on_response = function(res)
                if res:text() == "bad" then return res:retry { reason = "bad taste" } end
            end''',
            "wait": f'''on_response = function(res)
                local answer = moongate.http.request {{ url = "http://127.0.0.1:{cls.side.port}/judge", body = res:text() }}
                return res:replace {{ text = answer.body }}
            end''',
            "late": '''on_response = function(res)
                local outcome, err = res:replace { text = "too late" }
                moongate.log.info("asked late", { streamed = res.streamed, sent = res.sent, code = err and err.code or "none", finish = res.finish })
            end, on_chunk = function(c) end, stream = { mode = "observe" }''',
        }, f'''inline = {{ grant = {{ "net:http://127.0.0.1:{cls.side.port}" }} }},
            plugins = {{ {{ as = "editor", when = {{ workflows = "edited" }}, fail = {{ on_response = "closed" }},
              on_response = function(self, res) return res:replace {{ text = res:text():upper() }} end }}, {{ as = "judge", when = {{ workflows = "deny" }}, fail = {{ on_response = "closed" }},
              on_response = function(self, res) return res:deny {{ status = 422, code = "unfit", message = "not for you" }} end }} }},''',
            '"p0/model-0", "p0/model-1"')

    def test_it_can_replace_the_answer_and_the_rest_stays(self):
        self.up.answer(respond(200, {**completion("fine"), "x-extra": [1, 2]}))
        answer = self.ask("replace")
        self.assertEqual((content(answer), answer.json["x-extra"], answer.json["usage"]["total_tokens"]), ("fine (3 tokens)", [1, 2], 12))

    def test_it_can_withhold_the_answer(self):
        answer = self.ask("deny")
        self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "unfit"))
        self.assertNotIn(b"ok", answer.body.replace(b"token", b""))

    def test_a_stream_with_a_guard_behind_it_is_held(self):
        self.up.answer(stream(*good_events("not ", "for you")))
        answer = self.ask("deny", stream=True)
        self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "unfit"))

    def test_a_held_stream_is_replaced_and_stays_a_whole_stream(self):
        call = {**chunk({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})}
        events = good_events("a word ", "or two")
        self.up.answer(stream(*events[:3], call, *events[3:]))
        answer = self.ask("edited", stream=True, stream_options={"include_usage": True})

        self.assertEqual((answer.text, answer.clean, answer.events[-1]), ("A WORD OR TWO", True, "[DONE]"))
        sent = [json.loads(event) for event in answer.events[:-1]]
        self.assertEqual(sent[0]["choices"][0]["delta"]["role"], "assistant")
        self.assertEqual([event["choices"][0]["finish_reason"] for event in sent if event["choices"]][-1], "stop")
        self.assertEqual(sent[-1]["usage"], USAGE)
        self.assertIn(call["choices"], [event["choices"] for event in sent])

    def test_it_can_ask_the_next_target(self):
        self.up.answer(json_answer("bad"), json_answer("good"))
        answer = self.ask("retry")
        self.assertEqual((content(answer), answer.headers["x-moongate-attempts"]), ("good", "2"))
        self.assertIn("bad taste", json.dumps(self.gw.trace(answer)))

    def test_it_may_wait(self):
        self.side.answer(respond(200, b"judged", {"content-type": "text/plain"}))
        self.assertEqual(content(self.ask("wait")), "judged")
        self.assertEqual(self.side.next_request().body, b"ok")

    def test_after_a_stream_it_can_only_read(self):
        self.up.answer(stream(*good_events("live")))
        answer = self.ask("late", stream=True)
        self.assertEqual((answer.text, answer.clean), ("live", True))
        self.assertIn('"code":"sent"', notes(self.gw, answer))
        self.assertIn('"streamed":true', notes(self.gw, answer))


class Plugins(Case):
    files = {
        "plugins/stamp/plugin.json": json.dumps({
            "manifest": 1, "name": "stamp", "version": "1.0.0", "api": 1, "title": "Stamp", "summary": "Marks requests.", "license": "Apache-2.0",
            "stage": "transform", "hooks": ["on_request", "on_response"], "permissions": {"content": ["request", "response"], "kv": {}},
            "config": {"type": "object", "additionalProperties": False, "required": ["mark"],
                       "properties": {"mark": {"type": "string", "minLength": 1}, "times": {"type": "integer", "default": 2}}}}),
        "plugins/stamp/init.lua": '''
            local words = require "words"
            local M = {}
            M.__index = M
            function M.new(config) return setmetatable({ mark = words.repeated(config.mark, config.times) }, M) end
            function M:on_request(req)
              req.messages:set(1, req.messages[1]:text() .. self.mark)
              moongate.kv.incr("mine", 1)
              moongate.log.info("stamped", { instance = moongate.instance, plugin = moongate.plugin, n = moongate.kv.get("mine") })
            end
            function M:on_response(res)
              if not res.sent then return res:replace { text = res:text() .. self.mark } end
            end
            return M''',
        "plugins/stamp/words.lua": "local W = {} function W.repeated(word, n) return word:rep(n) end return W",
    }

    @classmethod
    def project(cls):
        grant = 'grant = { "content:request", "content:response", "kv" }'
        return lua(cls.up, {"chat": "", "other": ""}, f'''
            plugins = {{
              {{ use = "stamp", as = "first", {grant}, config = {{ mark = "a" }}, when = {{ workflows = "chat" }} }},
              {{ use = "stamp", as = "second", {grant}, config = {{ mark = "b", times = 1 }} }},
              {{ as = "third", on_request = function(self, req) req.messages:set(1, req.messages[1]:text() .. self.config.end_mark) end,
                 config = {{ end_mark = "!" }} }},
            }},
            on_log = function(rec)
              rec.metadata = {{ team = rec.metadata.team, who = "redacted" }}
              rec.notes = rec.notes:gsub("stamped", "[stamped]")
              if rec.workflow == "other" then return false end
            end,''')

    def test_plugins_run_down_the_list_with_their_settings_and_up_for_answers(self):
        answer = self.ask("chat", "x")
        self.assertEqual(self.sent().json["messages"][0]["content"], "xaab!")
        self.assertEqual(content(answer), "okbaa")

    def test_when_chooses_who_is_called(self):
        self.ask("other", "x")
        self.assertEqual(self.sent().json["messages"][0]["content"], "xb!")

    def test_instances_have_their_own_dictionary_and_name(self):
        found = notes(self.gw, self.ask("chat", "x"))
        self.assertIn('"instance":"first"', found)
        self.assertIn('"instance":"second"', found)
        self.assertIn('"plugin":"stamp"', found)

    def test_on_log_redacts_what_is_kept(self):
        answer = self.ask("chat", metadata={"team": "blue", "who": "bob@example.com"})
        trace = self.gw.trace(answer)
        self.assertEqual(trace["metadata"], {"team": "blue", "who": "redacted"})
        self.assertIn("[stamped]", json.dumps(trace))
        self.assertNotIn("bob@example.com", json.dumps(trace) + self.gw.cli("trace", trace["id"]) + self.gw.cli("logs", "--json"))

    def test_on_log_can_drop_all_but_the_usage(self):
        trace = self.gw.trace(self.ask("other", metadata={"who": "bob@example.com"}))
        self.assertEqual((trace["metadata"], trace["explain"]), (None, None))
        self.assertEqual([note["text"] for note in trace["notes"]], ["on_log dropped metadata, explanation and notes"])
        self.assertEqual(trace["attempts"][0]["usage"]["input_tokens"], 9)


class Refused(unittest.TestCase):
    """What is wrong with a plugin is said by `moongate check`, with the place."""

    def check(self, project, files={}, expected=""):
        with Upstream() as up, tempfile.TemporaryDirectory(prefix="moongate-test-") as folder:
            for name, text in {**files, "gateway.lua": "return {}", "projects/main.lua": project(up)}.items():
                os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
                with open(os.path.join(folder, name), "w") as out:
                    out.write(text)
            done = subprocess.run([BIN, "check", folder], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout + done.stderr, expected)

    def test_a_setting_that_is_missing(self):
        self.check(lambda up: lua(up, extra='plugins = { { use = "stamp", grant = { "content:request", "content:response", "kv" } } }'), Plugins.files, "mark")

    def test_a_permission_that_was_not_granted(self):
        self.check(lambda up: lua(up, extra='plugins = { { use = "stamp", config = { mark = "a" } } }'), Plugins.files, "content:request")

    def test_a_plugin_that_is_not_there(self):
        self.check(lambda up: lua(up, extra='plugins = { { use = "nobody" } }'), {}, "nobody")

    def test_lua_that_does_not_parse(self):
        self.check(lambda up: lua(up, extra='route = file "policies/route.lua"'), {"projects/policies/route.lua": "return function(\n\nend"}, r"route\.lua:\d")

    def test_lua_that_reaches_outside(self):
        for code in ("io.open('/etc/passwd')", "os.execute('true')", "require 'ffi'", "loadstring('return 1')()", "debug.getregistry()"):
            with self.subTest(code):
                self.check(lambda up: lua(up, extra='route = file "policies/route.lua"'), {"projects/policies/route.lua": f"{code}\nreturn function() end"}, r"route\.lua:1")


if __name__ == "__main__":
    main()
