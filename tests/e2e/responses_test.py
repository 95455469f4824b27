"""The Responses API with state kept by the gateway: OpenAI's SDK, unmodified, goes on from answers of every vendor, fetches, lists
and deletes them. The vendors are simulated ones that keep nothing and refuse what the vendor refuses."""

import signal
import sqlite3
import threading
import unittest

import openai

import vendors
from moongate import *
from vendors import Say

MODELS = {"openai_chat": "gpt-5.2", "openai_responses": "gpt-5.2", "anthropic": "claude-opus-4-6", "gemini": "gemini-3-pro"}
TOOLS = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"k": {"type": "integer"}}, "required": ["k"],
                                                          "additionalProperties": False}, "strict": True}]


def project_of(ups, extra="", workflows=""):
    providers = "".join(f'{name} = {{ adapter = "{up.name}", base_url = "{up.url}", api_key = "secret", breaker = false }}, ' for name, up in ups.items())
    flows = "".join(f'{name} = {{ targets = {{ "{name}/{MODELS[up.name]}" }}, max_attempts = 1 }}, ' for name, up in ups.items())
    return f"return {{ providers = {{ {providers} }}, workflows = {{ {flows} {workflows} }}, {extra} }}"


def texts(vendor):
    """All texts of the last request that a vendor took, in order, whatever its dialect."""
    found = []

    def walk(value, key=None):
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, name)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, key)
        elif isinstance(value, str) and key in ("text", "content", "input", "output"):
            found.append(value)

    for name in ("input", "messages", "contents"):
        walk(vendor.body.get(name), name)
    return found


class World(unittest.TestCase):
    """One gateway over one vendor of each dialect."""

    extra, gateway, names = "", "", list(MODELS)

    def setUp(self):
        self.ups = {}
        for name in self.names:
            self.ups[name] = self.enterContext(vendors.start(name))
        self.gw = self.enterContext(Gateway(self.projects(), self.gateway))
        self.sdk = self.gw.client()

    def projects(self):
        return project_of(self.ups, self.extra)

    def tearDown(self):
        for up in self.ups.values():
            self.assertEqual(up.refused, [])

    def raises(self, kind, call, *args, **more):
        with self.assertRaises(kind) as raised:
            call(*args, **more)
        return raised.exception

    def ask(self, model, input, stream=False, **more):
        """An answer of the SDK, whole or from the end of its stream."""
        if not stream:
            return self.sdk.responses.create(model=model, input=input, **more)
        with self.sdk.responses.create(model=model, input=input, stream=True, **more) as events:
            return [event.response for event in events if event.type in ("response.completed", "response.incomplete")][-1]


class Turns(World):
    def test_a_conversation_goes_on_from_its_last_answer_over_every_vendor(self):
        for name in MODELS:
            for stream in (False, True):
                with self.subTest(vendor=name, stream=stream):
                    self.ups[name].say(Say("Kiel."), Say("Two."), Say("Three."))
                    first = self.ask(name, "Where?", stream, instructions="Be brief.")
                    second = self.ask(name, "How many?", stream, previous_response_id=first.id)
                    self.assertEqual(texts(self.ups[name]), ["Where?", "Kiel.", "How many?"])
                    self.assertNotIn("Be brief.", json.dumps(self.ups[name].body))
                    third = self.ask(name, [{"role": "user", "content": "And now?"}], stream, previous_response_id=second.id)
                    self.assertEqual(texts(self.ups[name]), ["Where?", "Kiel.", "How many?", "Two.", "And now?"])
                    self.assertEqual((third.previous_response_id, third.store, third.output_text), (second.id, True, "Three."))
                    self.assertNotIn("previous_response_id", self.ups[name].body)

    def test_a_branch_goes_on_from_where_it_began(self):
        self.ups["anthropic"].say(Say("One."), Say("Two."), Say("Other."))
        first = self.ask("anthropic", "1?")
        self.ask("anthropic", "2?", previous_response_id=first.id)
        self.ask("anthropic", "else?", previous_response_id=first.id)
        self.assertEqual(texts(self.ups["anthropic"]), ["1?", "One.", "else?"])

    def test_calls_their_results_and_reasoning_go_on_over_every_vendor(self):
        for name in MODELS:
            for stream in (False, True):
                with self.subTest(vendor=name, stream=stream):
                    self.ups[name].say(Say("", thought="Hm." if name != "openai_chat" else "", calls=[("f", {"k": 1})]), Say("Done."))
                    first = self.ask(name, "Do it.", stream, tools=TOOLS, reasoning={"effort": "low"})
                    call = next(item for item in first.output if item.type == "function_call")
                    second = self.ask(name, [{"type": "function_call_output", "call_id": call.call_id, "output": "42"}], stream,
                                      tools=TOOLS, reasoning={"effort": "low"}, previous_response_id=first.id)
                    self.assertEqual(second.output_text, "Done.")

    def test_a_conversation_moves_from_vendor_to_vendor(self):
        said, last = [], None
        for turn, name in enumerate([*MODELS, *reversed(MODELS)]):
            self.ups[name].say(Say(f"a{turn}", thought="Hm." if name in ("anthropic", "openai_responses") else ""))
            last = self.ask(name, f"q{turn}", turn % 2 == 1, previous_response_id=last and last.id, reasoning={"effort": "low"})
            self.assertEqual([text for text in texts(self.ups[name]) if text != "Hm."], said + [f"q{turn}"])
            said += [f"q{turn}", f"a{turn}"]

    def test_a_provider_is_told_to_keep_nothing_and_never_reads_an_id_of_ours(self):
        up = self.ups["openai_responses"]
        up.say(Say("One.", thought="Hm."), Say("Two."), Say("Three."))
        first = self.ask("openai_responses", "1?", store=True)
        self.assertIs(up.body["store"], False)
        self.assertEqual(up.body["include"], ["reasoning.encrypted_content"])
        self.ask("openai_responses", "2?", previous_response_id=first.id)
        self.assertIs(up.body["store"], False)
        self.assertNotIn(first.id, json.dumps(up.body))
        self.ups["gemini"].say(Say("G."))
        ours = self.ask("gemini", "3?")
        self.ask("openai_responses", "4?", previous_response_id=ours.id)
        self.assertNotIn(ours.id.removeprefix("resp_"), json.dumps(up.body))

    def test_what_is_not_to_be_stored_is_sent_as_it_came_and_not_found_later(self):
        up = self.ups["openai_responses"]
        up.say(Say("One."))
        body = b'{"model":"openai_responses",  "input":"1?", "store" : false}'
        answer = self.gw.request("POST", "/v1/responses", body)
        self.assertEqual(answer.status, 200)
        self.assertEqual(up.sent, answer.body.decode())
        error = self.raises(openai.BadRequestError, self.ask, "openai_responses", "2?", previous_response_id=answer.json["id"])
        self.assertEqual((error.code, error.param), ("previous_response_not_found", "previous_response_id"))
        self.assertEqual(error.body["message"], f"Previous response with id '{answer.json['id']}' not found.")
        self.assertEqual(error.body["type"], "invalid_request_error")

    def test_items_that_are_named_are_said_again_over_every_vendor(self):
        for name in MODELS:
            for stream in (False, True):
                with self.subTest(vendor=name, stream=stream):
                    self.ups[name].say(Say("Kiel.", thought="Hm." if name in ("anthropic", "openai_responses") else ""), Say("Two."), Say("Three."))
                    first = self.ask(name, "Where?", stream, reasoning={"effort": "low"})
                    named = [{"type": "item_reference", "id": item.id} for item in first.output]
                    user = {"role": "user", "content": "How many?"}
                    second = self.ask(name, [{"role": "user", "content": "Where?"}, *named, user], stream, reasoning={"effort": "low"})
                    self.assertEqual([text for text in texts(self.ups[name]) if text != "Hm."], ["Where?", "Kiel.", "How many?"])
                    self.assertNotIn("item_reference", json.dumps(self.ups[name].body))
                    self.ask(name, [{"type": "item_reference", "id": second.output[-1].id}, user], stream, previous_response_id=first.id, store=False,
                             reasoning={"effort": "low"})
                    self.assertEqual("|".join(text for text in texts(self.ups[name]) if text != "Hm.").replace("Kiel.|Two.", "Kiel.Two."),
                                     "Where?|Kiel.Two.|How many?")
        for body in ([{"type": "item_reference", "id": "msg_nobody"}], [{"type": "item_reference"}], [{"type": "item_reference", "id": 7}],
                     [named[0], {"type": "item_reference", "id": "msg_x"}]):
            error = self.raises(openai.NotFoundError, self.ask, "anthropic", body)
            self.assertEqual((error.param, error.code), ("input", "item_not_found"), body)
        error = self.raises(openai.BadRequestError, self.ask, "anthropic", [{"type": "item_reference", "id": "msg_x"}] * 300)
        self.assertEqual(error.code, "conversation_too_large")

    def test_an_answer_that_failed_or_broke_off_is_not_kept(self):
        up = self.ups["anthropic"]
        up.say(Say("Half an answer.", breaks="cut"))
        ids = []
        with self.assertRaises(openai.APIError):
            with self.sdk.responses.create(model="anthropic", input="1?", stream=True) as events:
                for event in events:
                    if event.type == "response.created":
                        ids.append(event.response.id)
        self.raises(openai.NotFoundError, self.sdk.responses.retrieve, ids[0])


class Fetching(World):
    names = ["anthropic", "openai_responses"]

    def chain(self):
        self.ups["anthropic"].say(Say("One."), Say("Two."))
        first = self.ask("anthropic", "1?")
        return first, self.ask("anthropic", [{"role": "user", "content": "2?"}], True, previous_response_id=first.id)

    def test_an_answer_is_fetched_as_it_was_read(self):
        for name in self.names:
            for stream in (False, True):
                self.ups[name].say(Say("One."))
                said = self.ask(name, "1?", stream, metadata={"a": "b"})
                self.assertEqual(self.sdk.responses.retrieve(said.id).to_dict(), said.to_dict())

    def test_its_input_is_listed_page_by_page_with_what_came_before(self):
        _, second = self.chain()
        page = self.sdk.responses.input_items.list(second.id, order="asc", limit=2)
        self.assertEqual([item.content[0].text for item in page.data], ["1?", "One."])
        self.assertTrue(page.has_more)
        everything = list(self.sdk.responses.input_items.list(second.id, order="asc", limit=1))
        self.assertEqual([item.content[0].text for item in everything], ["1?", "One.", "2?"])
        self.assertEqual([item.role for item in everything], ["user", "assistant", "user"])
        self.assertEqual([item.id for item in self.sdk.responses.input_items.list(second.id)], [item.id for item in reversed(everything)])
        for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=msg_nobody"):
            answer = self.gw.request("GET", f"/v1/responses/{second.id}/input_items?{query}")
            self.assertEqual((answer.status, answer.json["error"]["param"]), (400, query.split("=")[0]), query)

    def test_what_was_deleted_is_gone_and_nothing_goes_on_from_what_followed_it(self):
        first, second = self.chain()
        self.sdk.responses.delete(first.id)
        self.raises(openai.NotFoundError, self.sdk.responses.retrieve, first.id)
        self.raises(openai.NotFoundError, self.sdk.responses.delete, first.id)
        self.assertEqual(self.sdk.responses.retrieve(second.id).id, second.id)
        self.assertEqual([item.content[0].text for item in self.sdk.responses.input_items.list(second.id)], ["2?"])
        error = self.raises(openai.BadRequestError, self.ask, "anthropic", "3?", previous_response_id=second.id)
        self.assertEqual(error.code, "previous_response_not_found")
        self.sdk.responses.delete(second.id)
        self.raises(openai.NotFoundError, self.sdk.responses.retrieve, second.id)

    def test_only_what_runs_in_the_background_can_be_cancelled_and_nothing_does(self):
        first, _ = self.chain()
        error = self.raises(openai.BadRequestError, self.sdk.responses.cancel, first.id)
        self.assertIn("Cannot cancel a synchronous response.", error.body["message"])
        self.raises(openai.NotFoundError, self.sdk.responses.cancel, "resp_nobody")
        error = self.raises(openai.BadRequestError, self.ask, "anthropic", "1?", background=True)
        self.assertEqual(error.param, "background")
        error = self.raises(openai.BadRequestError, self.ask, "anthropic", "1?", conversation="conv_1")
        self.assertEqual(error.param, "conversation")
        answer = self.gw.request("GET", f"/v1/responses/{first.id}?stream=true&starting_after=3")
        self.assertEqual((answer.status, answer.json["error"]["param"]), (400, "stream"))

    def test_ids_that_are_none_are_not_found(self):
        for id in ("resp_" + "x" * 200, "..%2F..%2Fetc", "a%00b", "%27%20OR%201=1", "resp_%C3%A4", "x/y", "%"):
            for method in ("GET", "DELETE"):
                answer = self.gw.request(method, f"/v1/responses/{id}")
                self.assertIn(answer.status, (400, 404), id)
        for id in ("", "x" * 500, "../x", "resp_'; DROP TABLE responses; --", "\u00e4", "a\u0000b"):
            answer = self.gw.request("POST", "/v1/responses", {"model": "anthropic", "input": "hi", "previous_response_id": id})
            self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "previous_response_not_found"), id)
        for value in (7, True, [], {}):
            answer = self.gw.request("POST", "/v1/responses", {"model": "anthropic", "input": "hi", "previous_response_id": value})
            self.assertEqual((answer.status, answer.json["error"]["param"]), (400, "previous_response_id"), value)

    def test_a_key_spelt_with_escapes_reaches_no_provider(self):
        first, _ = self.chain()
        self.ups["openai_responses"].say(Say("Three."))
        body = '{"model":"openai_responses","input":"3?","previous\\u005fresponse_id":"%s","st\\u006fre":true}' % first.id
        answer = self.gw.request("POST", "/v1/responses", body.encode())
        self.assertEqual(answer.status, 200)
        self.assertEqual(texts(self.ups["openai_responses"]), ["1?", "One.", "3?"])
        self.assertNotIn(first.id, json.dumps(self.ups["openai_responses"].body))
        self.assertIs(self.ups["openai_responses"].body["store"], False)


class Walls(World):
    names = ["anthropic"]

    def projects(self):
        return {"main": project_of(self.ups), "other": project_of(self.ups), "shared": project_of(self.ups, 'responses = { per = "project" }')}

    def test_a_project_and_a_key_find_only_what_is_theirs(self):
        up = self.ups["anthropic"]
        up.say(Say("One."))
        first = self.ask("anthropic", "1?")
        second_key = self.gw.create_key("main")
        for stranger in (self.gw.client("other"), self.gw.client(api_key=second_key)):
            count = up.count if hasattr(up, "count") else None
            for call in (stranger.responses.retrieve, stranger.responses.delete, stranger.responses.cancel, stranger.responses.input_items.list):
                self.raises(openai.NotFoundError, call, first.id)
            error = self.raises(openai.BadRequestError, stranger.responses.create, model="anthropic", input="2?", previous_response_id=first.id)
            self.assertEqual(error.body["message"], f"Previous response with id '{first.id}' not found.")
            self.raises(openai.NotFoundError, stranger.responses.create, model="anthropic", input=[{"type": "item_reference", "id": first.output[0].id}])
            self.assertEqual(count, up.count if hasattr(up, "count") else None)
        self.assertEqual(self.sdk.responses.retrieve(first.id).id, first.id)

    def test_keys_of_a_project_share_what_it_keeps_where_its_file_says_so(self):
        self.ups["anthropic"].say(Say("One."))
        first = self.gw.client("shared").responses.create(model="anthropic", input="1?")
        other = self.gw.client("shared", api_key=self.gw.create_key("shared"))
        other.responses.create(model="anthropic", input="2?", previous_response_id=first.id)
        self.assertEqual(texts(self.ups["anthropic"]), ["1?", "One.", "2?"])
        self.raises(openai.NotFoundError, self.sdk.responses.retrieve, first.id)

    def test_a_rotated_key_finds_what_the_old_one_kept(self):
        self.ups["anthropic"].say(Say("One."))
        first = self.ask("anthropic", "1?")
        id = next(row["id"] for row in json.loads(self.gw.cli("key", "list", "--json"))["keys"] if row["project"] == "main")
        rotated = json.loads(self.gw.cli("key", "rotate", id, "--json"))["key"]
        self.assertEqual(self.gw.client(api_key=rotated).responses.retrieve(first.id).id, first.id)


class Store(World):
    names = ["anthropic"]

    def again(self, number=signal.SIGTERM):
        """Another process over the same data; the SDK keeps its key."""
        key = self.gw.keys["main"]
        if number == signal.SIGKILL:
            self.gw.process.kill()
            self.gw.process.wait()
            self.gw.reader.join()
            self.gw.process.stderr.close()
        else:
            self.assertEqual(self.gw.stop(number), 0)
        self.gw.lines = []
        self.gw.start()
        self.gw.keys["main"] = key
        self.sdk = self.gw.client()

    def test_what_was_read_to_its_end_can_be_gone_on_from_after_a_restart_and_after_a_kill(self):
        up = self.ups["anthropic"]
        up.say(Say("One."), Say("Two."), Say("Three."))
        first = self.ask("anthropic", "1?")
        self.again()
        second = self.ask("anthropic", "2?", True, previous_response_id=first.id)
        self.again(signal.SIGKILL)
        self.ask("anthropic", "3?", previous_response_id=second.id)
        self.assertEqual(texts(up), ["1?", "One.", "2?", "Two.", "3?"])

    def test_nothing_of_a_conversation_can_be_read_in_the_files(self):
        self.ups["anthropic"].say(Say("Moonlight sonata."))
        self.ask("anthropic", "Which secret tune is it?")
        self.gw.stop()
        for folder, _, files in os.walk(os.path.join(self.gw.path, "data")):
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    data = file.read()
                self.assertNotIn(b"Moonlight sonata", data, name)
                self.assertNotIn(b"secret tune", data, name)

    def test_a_row_that_was_moved_to_another_id_does_not_open(self):
        self.ups["anthropic"].say(Say("One."))
        first, second = self.ask("anthropic", "1?"), self.ask("anthropic", "2?")
        self.gw.stop()
        with sqlite3.connect(os.path.join(self.gw.path, "data", "moongate.db")) as db:
            db.execute("UPDATE responses SET sealed = (SELECT sealed FROM responses WHERE id = ?) WHERE id = ?", (first.id, second.id))
        db.close()
        key = self.gw.keys["main"]
        self.gw.lines = []
        self.gw.start()
        self.gw.keys["main"] = key
        self.sdk = self.gw.client()
        self.assertEqual(self.sdk.responses.retrieve(first.id).id, first.id)
        self.raises(openai.NotFoundError, self.sdk.responses.retrieve, second.id)

    def test_many_at_once_are_all_kept(self):
        self.ups["anthropic"].say(Say("One."))
        ids, lock = [], threading.Lock()

        def work():
            for turn in range(5):
                answer = self.ask("anthropic", f"{turn}?", turn % 2 == 1)
                self.sdk.responses.retrieve(answer.id)
                with lock:
                    ids.append(answer.id)

        threads = [threading.Thread(target=work) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        self.assertEqual(len(set(ids)), 40)


class Operators(World):
    names = ["anthropic"]

    def projects(self):
        return {"main": project_of(self.ups), "other": project_of(self.ups)}

    def kept(self, **more):
        return {row["project"]: row["count"] for row in json.loads(self.gw.cli("responses", "--json", **more))["responses"]}

    def test_they_see_how_much_is_kept_and_erase_it(self):
        self.ups["anthropic"].say(Say("Yes."))
        second_key = self.gw.create_key("main")
        mine, mine_too = self.ask("anthropic", "1?"), self.ask("anthropic", "2?")
        other_key = self.gw.client(api_key=second_key).responses.create(model="anthropic", input="3?")
        other = self.gw.client("other").responses.create(model="anthropic", input="4?")
        self.assertEqual(self.kept(), {"main": 3, "other": 1})
        self.assertRegex(self.gw.cli("responses"), r"(?m)^main +3 ")
        id = next(row["id"] for row in json.loads(self.gw.cli("key", "list", "--json"))["keys"] if row["project"] == "main" and self.gw.keys["main"].endswith(row.get("last", "")))
        erased = json.loads(self.gw.cli("responses", "erase", "main", "--key", id, "--json"))["erased"]
        self.assertEqual(self.kept(), {"main": 3 - erased, "other": 1})
        self.assertIn("erased", self.gw.cli("responses", "erase", "main"))
        self.assertEqual(self.kept(), {"other": 1})
        for client, gone in ((self.sdk, mine), (self.sdk, mine_too), (self.gw.client(api_key=second_key), other_key)):
            self.raises(openai.NotFoundError, client.responses.retrieve, gone.id)
        self.assertEqual(self.gw.client("other").responses.retrieve(other.id).id, other.id)
        self.assertIn("responses.erase", self.gw.cli("audit"))
        _, metrics = self.gw.ask_admin("GET", "/metrics")
        self.assertRegex(metrics, r"(?m)^moongate_responses_kept_total 4$")
        self.assertRegex(metrics, r"(?m)^moongate_responses_waiting_bytes 0$")
        self.gw.stop()
        self.assertEqual(self.kept(), {"other": 1})
        self.gw.cli("responses", "erase", "other")
        self.assertEqual(self.kept(), {})
        self.gw.lines = []
        self.gw.start()

    def test_what_a_project_kept_can_be_erased_when_it_is_configured_no_more(self):
        self.ups["anthropic"].say(Say("Yes."))
        self.gw.client("other").responses.create(model="anthropic", input="1?")
        os.remove(os.path.join(self.gw.path, "projects/other.lua"))
        self.gw.cli("responses", "erase", "other")
        self.assertEqual(self.kept(), {})


class TimeLimit(World):
    names = ["anthropic"]
    extra = "responses = { max_age_ms = 60000 }"

    def test_what_is_too_old_is_not_found_and_swept_away(self):
        self.ups["anthropic"].say(Say("Yes."))
        first = self.ask("anthropic", "1?")
        second = self.ask("anthropic", "other")
        path = os.path.join(self.gw.path, "data", "moongate.db")
        with sqlite3.connect(path, timeout=20) as db:
            db.execute("UPDATE response_threads SET expires_us = 1 WHERE thread = (SELECT thread FROM responses WHERE id = ?)", (first.id,))
        db.close()
        self.raises(openai.NotFoundError, self.sdk.responses.retrieve, first.id)
        self.raises(openai.BadRequestError, self.ask, "anthropic", "2?", previous_response_id=first.id)
        key = self.gw.keys["main"]
        self.gw.stop()
        self.gw.lines = []
        self.gw.start()                # it sweeps a second after its start, then once a minute
        deadline = time.monotonic() + PATIENCE_S
        while json.loads(self.gw.cli("responses", "--json"))["responses"][0]["count"] != 1:
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(self.gw.client(api_key=key).responses.retrieve(second.id).id, second.id)


class Bounded(World):
    names = ["anthropic"]
    extra = 'responses = { max_count = 3, max_bytes = "4KB" }'.replace('"4KB"', "8192")

    def test_the_oldest_conversation_makes_room_as_a_whole(self):
        self.ups["anthropic"].say(Say("Yes."))
        first = self.ask("anthropic", "1?")
        second = self.ask("anthropic", "2?", previous_response_id=first.id)
        third = self.ask("anthropic", "other")
        fourth = self.ask("anthropic", "more", previous_response_id=third.id)
        for gone in (first, second):
            self.raises(openai.NotFoundError, self.sdk.responses.retrieve, gone.id)
        for kept in (third, fourth):
            self.assertEqual(self.sdk.responses.retrieve(kept.id).id, kept.id)

    def test_one_that_is_larger_than_all_that_may_be_kept_says_so(self):
        self.ups["anthropic"].say(Say("Yes."))
        small = self.ask("anthropic", "1?")
        large = self.sdk.responses.with_raw_response.create(model="anthropic", input="x" * 20000)
        self.assertEqual(large.headers["x-moongate-warning"], "not_stored")
        self.raises(openai.NotFoundError, self.sdk.responses.retrieve, large.parse().id)
        self.assertEqual(self.sdk.responses.retrieve(small.id).id, small.id)


class LongConversations(World):
    names = ["anthropic"]
    gateway = "limits = { body_bytes = 65536 },"

    def test_a_conversation_longer_than_a_request_may_be_is_refused(self):
        self.ups["anthropic"].say(Say("Yes."))
        last = self.ask("anthropic", "x" * 40000)
        last = self.ask("anthropic", "y" * 10000, previous_response_id=last.id)
        error = self.raises(openai.BadRequestError, self.ask, "anthropic", "z" * 30000, previous_response_id=last.id)
        self.assertEqual((error.code, error.param), ("conversation_too_large", "previous_response_id"))


RESPONSE = {"id": "resp_up1", "object": "response", "created_at": 1795392000, "model": "m", "error": None, "incomplete_details": None, "output": [],
            "status": "in_progress", "store": False, "previous_response_id": None}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}
DONE = {**RESPONSE, "status": "completed", "output": [MESSAGE], "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}


def events(*more, done=DONE):
    told = [{"type": "response.created", "response": RESPONSE}, {"type": "response.output_item.added", "output_index": 0, "item": {**MESSAGE, "content": []}},
            {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "Hi"}, *more,
            {"type": "response.completed", "response": done}]
    return [f"event: {one['type']}\ndata: {json.dumps({**one, 'sequence_number': number})}\n\n".encode() for number, one in enumerate(told)]


class Edges(unittest.TestCase):
    """A provider that does odd things."""

    def world(self, extra="", workflow=""):
        self.up = self.enterContext(Upstream())
        self.gw = self.enterContext(Gateway(f"""return {{ providers = {{ p = {{ adapter = "openai_responses", base_url = "{self.up.url}", api_key = "k", breaker = false }} }},
            workflows = {{ chat = {{ targets = {{ "p/m" }}, {workflow} }} }}, {extra} }}"""))
        self.sdk = self.gw.client()

    def ask(self, **more):
        with self.sdk.responses.create(model="chat", input="hi", stream=True, **more) as stream_of:
            return [event for event in stream_of]

    def test_the_last_event_comes_though_the_provider_does_not_close(self):
        self.world()
        self.up.answer(stream(*events(), then="stall"))
        with self.sdk.responses.create(model="chat", input="hi", stream=True) as told:
            last = next(event for event in told if event.type == "response.completed")
        self.assertIs(last.response.store, True)
        self.assertEqual(self.sdk.responses.retrieve("resp_up1").output_text, "Hi")

    def test_what_comes_behind_the_last_event_stays_behind_it(self):
        self.world()
        self.up.answer(stream(*events(), b"data: [DONE]\n\n"))
        answer = self.gw.request("POST", "/v1/responses", {"model": "chat", "input": "hi", "stream": True})
        self.assertTrue(answer.clean)
        self.assertLess(answer.body.rindex(b"response.completed"), answer.body.rindex(b"}") + 1)
        self.assertEqual(self.sdk.responses.retrieve("resp_up1").output_text, "Hi")

    def test_a_stream_cut_anywhere_is_told_and_kept_the_same(self):
        self.world()
        data = b"".join(events())
        for size in (1, 7, 100, len(data)):
            self.up.answer(stream(*[data[at:at + size] for at in range(0, len(data), size)]))
            told = self.ask()
            self.assertEqual([event.type for event in told][-1], "response.completed")
            self.assertEqual(self.sdk.responses.retrieve("resp_up1").to_dict(), told[-1].response.to_dict())
            self.sdk.responses.delete("resp_up1")

    def test_data_of_several_lines_becomes_one(self):
        self.world()
        pretty = json.dumps({"type": "response.completed", "sequence_number": 9, "response": DONE}, indent=1)
        self.up.answer(stream(*events()[:-1], b"event: response.completed\n" + b"".join(f"data: {line}\n".encode() for line in pretty.split("\n")) + b"\n"))
        self.assertEqual(self.ask()[-1].response.output_text, "Hi")
        self.assertEqual(self.sdk.responses.retrieve("resp_up1").output_text, "Hi")

    def test_an_id_that_a_provider_gives_again_and_again_goes_on_from_the_last_answer(self):
        self.world()
        last = None
        for turn in range(4):
            self.up.answer(respond(200, json.dumps(DONE).encode()))
            last = self.sdk.responses.create(model="chat", input=f"{turn}?", previous_response_id=last)
            sent = self.up.next_request().json["input"]
            self.assertEqual(len(sent) if turn else sent, 2 * turn + 1 if turn else "0?")
            last = last.id

    def test_ids_that_are_none_and_answers_that_are_no_responses_are_not_kept_and_pass(self):
        self.world()
        for body in ({**DONE, "id": "resp_" + "x" * 200}, {**DONE, "id": "a/../b"}, {**DONE, "id": 7}, {**DONE, "status": "queued"}, {**DONE, "status": None}):
            self.up.answer(respond(200, json.dumps(body).encode()))
            answer = self.gw.request("POST", "/v1/responses", {"model": "chat", "input": "hi"})
            self.assertEqual(answer.status, 200, body)
        self.assertEqual(json.loads(self.gw.cli("responses", "--json"))["responses"], [])

    def test_a_locked_store_lets_the_answer_go_and_says_so(self):
        self.world()
        self.up.answer(respond(200, json.dumps(DONE).encode()))
        self.sdk.responses.create(model="chat", input="hi")
        with sqlite3.connect(os.path.join(self.gw.path, "data", "moongate.db"), timeout=20, isolation_level=None) as db:
            db.execute("BEGIN IMMEDIATE")
            answer = self.gw.request("POST", "/v1/responses", {"model": "chat", "input": "hi"})
            self.assertEqual((answer.status, answer.headers.get("x-moongate-warning")), (200, "not_stored"))
            self.assertEqual(self.sdk.responses.retrieve("resp_up1").id, "resp_up1")     # reading goes on
            db.execute("ROLLBACK")
        db.close()
        self.assertIn("could not be kept", json.dumps(self.gw.trace(answer)))

    def test_who_leaves_while_the_answer_is_kept_hurts_nobody(self):
        self.world()
        self.up.answer(stream(*events()))
        for _ in range(30):
            sock = self.gw.connect()
            body = json.dumps({"model": "chat", "input": "hi", "stream": True}).encode()
            sock.sendall(b"POST /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                         % (self.gw.keys["main"].encode(), len(body)) + body)
            sock.recv(100)
            sock.close()
        self.assertEqual(self.ask()[-1].type, "response.completed")

    def test_who_leaves_while_a_conversation_is_recalled_hurts_nobody(self):
        self.world()
        self.up.answer(respond(200, json.dumps(DONE).encode()))
        self.sdk.responses.create(model="chat", input="hi")
        for path in ("POST /v1/responses", "GET /v1/responses/resp_up1", "GET /v1/responses/resp_up1/input_items", "DELETE /v1/responses/resp_none"):
            for _ in range(10):
                sock = self.gw.connect()
                body = json.dumps({"model": "chat", "input": "hi", "previous_response_id": "resp_up1"}).encode() if path.startswith("POST") else b""
                sock.sendall(path.encode() + b" HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                             % (self.gw.keys["main"].encode(), len(body)) + body)
                sock.close()
        self.assertEqual(self.sdk.responses.retrieve("resp_up1").id, "resp_up1")

    def test_requests_on_one_connection_wait_for_the_store_in_turn(self):
        self.world()
        self.up.answer(respond(200, json.dumps(DONE).encode()))
        self.sdk.responses.create(model="chat", input="hi")
        one = b"GET /v1/responses/%s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + self.gw.keys["main"].encode() + b"\r\n\r\n"
        with self.gw.connect() as sock:
            sock.sendall(b"".join(one % id for id in (b"resp_up1", b"resp_none", b"resp_up1")))
            file = sock.makefile("rb")
            self.assertEqual([read_response(file).status for _ in range(3)], [200, 404, 200])

    def test_a_stream_held_to_its_end_is_kept_too(self):
        for workflow in ('rescue = "hold"', "accept = function(res) return true end"):
            with self.subTest(workflow):
                self.world(workflow=workflow)
                self.up.answer(stream(*events()))
                told = self.ask()
                self.assertEqual(self.sdk.responses.retrieve("resp_up1").to_dict(), told[-1].response.to_dict())


class OwnAnswers(World):
    names = ["anthropic"]
    extra = """
      on_request = function(req)
        if (req.messages[#req.messages]:text() or ""):find("who are you") then
          req.messages:set(#req.messages, "[who]")
          return req:respond { text = "A gateway." }
        end
      end,"""

    def projects(self):
        return project_of(self.ups, self.extra, 'calm = { targets = { "anthropic/claude-opus-4-6" }, max_attempts = 1, offline = "Later." },')

    def test_answers_of_hooks_and_of_offline_can_be_gone_on_from(self):
        up = self.ups["anthropic"]
        for stream in (False, True):
            up.say(Say("Kiel."))
            mine = self.ask("anthropic", "who are you?", stream)
            self.assertEqual(mine.output_text, "A gateway.")
            self.assertEqual(self.sdk.responses.retrieve(mine.id).output_text, "A gateway.")
            self.ask("anthropic", "Where?", stream, previous_response_id=mine.id)
            self.assertEqual(texts(up), ["[who]", "A gateway.", "Where?"])
            up.say(vendors.Fail("server"))
            later = self.ask("calm", "1?", stream)
            self.assertEqual(later.output_text, "Later.")
            up.say(Say("Kiel."))
            self.ask("anthropic", "2?", previous_response_id=later.id)
            self.assertEqual(texts(up), ["1?", "Later.", "2?"])


class Rescued(unittest.TestCase):
    def test_an_answer_that_another_vendor_wrote_on_is_kept_as_it_was_read(self):
        with vendors.start("anthropic") as first, vendors.start("openai_responses") as second:
            text = project_of({"anthropic": first, "openai_responses": second},
                              workflows='both = { targets = { "anthropic/claude-opus-4-6", { target = "openai_responses/gpt-5.2", prefill = true } }, rescue = "resume" },')
            with Gateway(text) as gw:
                first.say(Say("Hello there, my good old friend.", breaks="cut"))
                second.say(Say(" And more."))
                with gw.client().responses.create(model="both", input="1?", stream=True) as told:
                    last = [event.response for event in told if event.type == "response.completed"][-1]
                self.assertIn("Hello", last.output_text)
                self.assertEqual(gw.client().responses.retrieve(last.id).to_dict(), last.to_dict())


class Off(World):
    names = ["openai_responses", "anthropic"]
    extra = 'responses = "off"'

    def test_nothing_is_kept_by_anybody(self):
        up = self.ups["openai_responses"]
        for more in ({}, {"store": True}):
            up.say(Say("One."))
            raw = self.sdk.responses.with_raw_response.create(model="openai_responses", input="1?", **more)
            self.assertIs(up.body["store"], False)
            self.assertEqual(raw.headers.get("x-moongate-warning"), "dropped=store" if more else None)
            self.raises(openai.NotFoundError, self.sdk.responses.retrieve, raw.parse().id)
            error = self.raises(openai.BadRequestError, self.ask, "anthropic", "2?", previous_response_id=raw.parse().id)
            self.assertEqual(error.code, "previous_response_not_found")
            self.assertIn("keeps no responses", error.body["message"])


class Refused(World):
    names = ["openai_responses"]
    extra = 'responses = "refuse"'

    def test_who_asks_for_it_is_refused(self):
        self.ups["openai_responses"].say(Say("One."))
        error = self.raises(openai.BadRequestError, self.ask, "openai_responses", "1?", store=True)
        self.assertEqual((error.code, error.param), ("store_not_allowed", "store"))
        self.ask("openai_responses", "1?")
        self.assertIs(self.ups["openai_responses"].body["store"], False)


class LeftToTheProvider(World):
    names = ["openai_responses", "anthropic"]
    extra = 'responses = "provider"'

    def test_bytes_pass_and_the_providers_own_state_is_its_own(self):
        up = self.ups["openai_responses"]
        up.say(Say("One."))
        answer = self.gw.request("POST", "/v1/responses", b'{"model":"openai_responses", "input":"1?", "store":true}')
        self.assertEqual(answer.body.decode(), up.sent)
        self.assertIs(up.body["store"], True)
        self.raises(openai.NotFoundError, self.sdk.responses.retrieve, answer.json["id"])
        error = self.raises(openai.BadRequestError, self.ask, "anthropic", "2?", previous_response_id="resp_1")
        self.assertEqual(error.param, "previous_response_id")


class Hooked(World):
    names = ["anthropic", "openai_responses"]
    extra = """
      on_request = function(req)
        for i, message in ipairs(req.messages) do
          local text = message:text()
          if text and text:find("4111") then req.messages:set(i, (text:gsub("4111%d*", "[card]"))) end
        end
        if req:header("x-test-insert") then req.messages:insert(1, { role = "user", content = "inserted" }) end
      end,
      on_chunk = function(chunk) return (chunk.text:gsub("One", "Uno")) end,
      stream = { mode = "filter" },"""

    def test_what_is_kept_is_what_hooks_left(self):
        for name in self.names:
            self.ups[name].say(Say("One."), Say("Two."))
            first = self.ask(name, "my card is 4111111111111111", True)
            self.assertEqual(first.output_text, "Uno.")
            self.assertEqual(self.sdk.responses.retrieve(first.id).output_text, "Uno.")
            self.assertEqual([item.content[0].text for item in self.sdk.responses.input_items.list(first.id)], ["my card is [card]"])
            self.ask(name, "and now?", previous_response_id=first.id)
            self.assertEqual(texts(self.ups[name]), ["my card is [card]", "Uno.", "and now?"])


if __name__ == "__main__":
    main()
