"""Usage adds up: what the scripted providers said they counted is what events, reports and CSV say, to the token and the
picodollar, whatever happened to the request."""

import csv
import io
import json
import os
import threading
import unittest

from moongate import *

# micro-US-dollars per million tokens, which is picodollars per token
RATES = {"input": 2000000, "cached_read": 200000, "cached_write": 2500000, "output": 10000000, "input_audio": 7000000}
CATALOGUE = {"version": 1, "collected": "2026-11-24", "source": "the test", "providers": [
    {"name": "p0", "also": ["p1"], "models": [
        {"model": "model-0", "match": ["model-1"], "prices": [{**RATES, "tiers": {"priority": 2000}}]}]}]}


class Meter:
    """What a provider reported in its answers."""

    def __init__(self):
        self.lock = threading.Lock()
        self.input = self.output = self.cached = self.picousd = self.calls = 0

    def usage(self, prompt, completion, cached=0, written=0, audio=0, reasoning=0, tier=None):
        with self.lock:
            self.calls += 1
            self.input += prompt
            self.output += completion
            self.cached += cached
            plain = prompt - cached - written - audio
            self.picousd += (plain * RATES["input"] + cached * RATES["cached_read"] + written * RATES["cached_write"]
                             + audio * RATES["input_audio"] + completion * RATES["output"]) * (2 if tier == "priority" else 1)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio},
                "completion_tokens_details": {"reasoning_tokens": reasoning}}

    def whole(self, *counts, tier=None, **more):
        def script(sock, request):
            body = {**completion("fine"), "usage": self.usage(*counts, tier=tier, **more)}
            respond(200, {**body, "service_tier": tier} if tier else body)(sock, request)
        return script

    def streamed(self, *counts, **more):
        def script(sock, request):
            last = {**chunk(), "choices": [], "usage": self.usage(*counts, **more)}
            stream(*good_events("fine")[:-2], last, "[DONE]")(sock, request)
        return script


def priced(*upstreams, **more):
    """A gateway that knows what its providers cost."""
    gw = Gateway(project(*upstreams, **more), env={"MOONGATE_LOG": "info"})
    gw.write("data/prices.json", json.dumps(CATALOGUE))
    return gw


def events(gw, *args):
    return [json.loads(line) for line in gw.cli("usage", "events", *args).splitlines()]


def report(gw, *args):
    return json.loads(gw.cli("usage", "--json", *args))


def sums(rows, name):
    return sum(row[name] or 0 for row in rows)


class AddsUp(unittest.TestCase):
    def test_what_the_providers_reported_is_what_was_used_to_the_token(self):
        meter = Meter()
        with Upstream() as first, Upstream() as second, priced(first, second) as gw:
            first.answer(
                meter.whole(1000, 10),
                meter.whole(1000, 10, cached=900, reasoning=5),
                meter.whole(5000, 1, written=4096),
                meter.whole(300, 7, tier="priority"),
                meter.whole(300, 7, audio=200),
                error_answer(500),                                # one failed attempt, then the other provider
                meter.streamed(777, 3, cached=512),
                stream(*good_events("fine")[:2], then="cut"))     # breaks off: nobody says what it took
            second.answer(meter.whole(50, 5))
            for _ in range(6):
                self.assertEqual(gw.chat().status, 200)
            self.assertEqual(gw.chat(stream=True).text, "fine")
            gw.chat(stream=True)

            all_events = events(gw)
            reported = [e for e in all_events if e["tokens"] == "reported"]
            self.assertEqual(len(reported), meter.calls)
            self.assertEqual(sums(reported, "input_tokens"), meter.input)
            self.assertEqual(sums(reported, "output_tokens"), meter.output)
            self.assertEqual(sums(reported, "cached_read_tokens"), meter.cached)
            self.assertEqual(sums(reported, "cost_picousd"), meter.picousd)
            self.assertEqual(len(all_events), first.count + second.count)
            self.assertEqual(len({e["id"] for e in all_events}), len(all_events))

            total = report(gw)["total"]
            for name in ("input_tokens", "output_tokens", "cached_read_tokens", "cached_write_tokens", "input_audio_tokens",
                         "reasoning_tokens", "cost_picousd", "bytes_sent", "bytes_received"):
                self.assertEqual(total[name], sums(all_events, name), name)
            for by in ("project", "key", "workflow", "provider,model", "class,reason", "served,tier", "hour,day,month", "dialect,charged"):
                rows = report(gw, "--by", by)["rows"]
                self.assertEqual(sums(rows, "cost_picousd"), total["cost_picousd"], by)
                self.assertEqual(sums(rows, "attempts"), len(all_events), by)
            table = list(csv.DictReader(io.StringIO(gw.cli("usage", "--csv", "--by", "provider"))))
            self.assertEqual(sum(int(row["input_tokens"]) for row in table), total["input_tokens"])

            gw.stop()
            self.assertEqual(report(gw)["total"], total)          # the store says the same without a gateway
            self.assertEqual(events(gw), all_events)
            self.assertEqual(events(gw, "--from", "1d", "--to", "2100-01-01"), all_events)
            self.assertEqual(events(gw, "--to", "2020-01-01"), [])

    def test_an_event_says_who_asked_whom_for_what(self):
        meter = Meter()
        with Upstream(meter.whole(10, 2, tier="priority")) as up, priced(
                up, workflow="", provider="breaker = false") as gw:
            gw.request("POST", "/v1/chat/completions", {
                "model": "chat", "messages": [{"role": "user", "content": "hello"}], "metadata": {"tier": "gold", "seat": "7"}},
                {"x-moongate-session": "s-1"})
            event, = events(gw)
            self.assertEqual((event["version"], event["attempt"]), (1, 1))
            self.assertEqual((event["project"], event["workflow"], event["provider"]), ("main", "chat", "p0"))
            self.assertEqual((event["model"], event["model_served"], event["tier"]), ("model-0", "served", "priority"))
            self.assertEqual((event["dialect"], event["session"], event["reason"], event["class"]), ("openai_chat", "s-1", "first", "none"))
            self.assertEqual(event["metadata"], {"tier": "gold", "seat": "7"})
            self.assertEqual((event["price"], event["served"], event["charged"]), ("catalogue", True, True))
            self.assertGreater(event["latency_us"]["total"], event["latency_us"]["first_byte"] - 1)
            attempt, = json.loads(gw.cli("trace", event["exchange"], "--json"))["attempts"]
            self.assertEqual((attempt["model_served"], attempt["tier"], attempt["arm"], attempt["dialect"], attempt["charged"]),
                             ("served", "priority", event["arm"], "openai_chat", True))
            self.assertRegex(gw.cli("trace", event["exchange"]), "served by served.*tier priority")
            rows = report(gw, "--by", "metadata.tier,metadata.absent", "--where", "metadata.seat=7")["rows"]
            self.assertEqual([(row["metadata.tier"], row["metadata.absent"]) for row in rows], [("gold", None)])
            self.assertEqual(report(gw, "--where", "metadata.seat=8")["total"]["attempts"], 0)

    def test_a_client_that_leaves_and_a_hedge_that_loses_are_billed_once_each_by_estimate(self):
        slow = threading.Event()
        meter = Meter()
        with Upstream(stream(*good_events("one")[:2], slow, then="stall")) as first, Upstream(meter.streamed(20, 4)) as second, \
                priced(first, second, workflow="hedge = { after_ms = 300 }") as gw:   # the first has the request by then, on a busy machine too
            first.answer(stream(slow, then="stall"))
            self.assertEqual(gw.chat(stream=True).text, "fine")   # the second was faster
            first.answer(stream(*good_events("one", "two")[:3], then="stall"))
            with gw.connect() as sock:
                body = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "x" * 400}]}).encode()
                sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
                             b"content-length: %d\r\n\r\n" % (gw.keys["main"].encode(), len(body)) + body)
                seen = b""
                while b"two" not in seen:
                    seen += sock.recv(65536)
            slow.set()                     # it waits for this, and then sees that nobody reads any more
            first.closed.get(timeout=PATIENCE_S)
            first.closed.get(timeout=PATIENCE_S)
            deadline = time.monotonic() + PATIENCE_S
            while len(all_events := events(gw)) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)

            by_reason = {(e["provider"], e["class"]): e for e in all_events}
            self.assertEqual(len(all_events), 3)
            left = [e for e in all_events if e["provider"] == "p0"]
            self.assertEqual([e["tokens"] for e in left], ["estimated", "estimated"])
            self.assertEqual([e["served"] for e in left], [False, True])
            self.assertEqual(by_reason["p1", "none"]["input_tokens"], meter.input)
            self.assertTrue(all(e["input_tokens"] > 0 and e["cost_picousd"] > 0 for e in left))


class Unreported(unittest.TestCase):
    def test_a_usage_without_counts_is_none_and_what_it_took_is_estimated(self):
        for usage in ({}, {"total_tokens": 100}, {"prompt_tokens": None, "completion_tokens": None}, {"prompt_tokens": 0, "completion_tokens": 0}):
            with Upstream(respond(200, {**completion("a whole sentence of an answer"), "usage": usage})) as up, priced(up) as gw:
                self.assertEqual(gw.chat().status, 200)
                event, = events(gw)
                self.assertEqual(event["tokens"], "estimated", usage)
                self.assertGreater(min(event["input_tokens"], event["output_tokens"], event["cost_picousd"]), 0, usage)

    def test_an_estimate_is_no_more_than_was_asked_for(self):
        with Upstream() as up, priced(up) as gw:
            up.answer(stream(*good_events(*["word " * 100] * 8)[:-2], then="cut"))
            gw.chat(stream=True, max_tokens=30)
            gw.chat(stream=True)
            first, second = [e for e in events(gw) if e["output_tokens"]]
            self.assertEqual((first["tokens"], first["output_tokens"]), ("estimated", 30))
            self.assertGreater(second["output_tokens"], 300)


class Metadata(unittest.TestCase):
    def test_nobodys_metadata_spoils_the_months_bill(self):
        bad = ['{"user":"a\\u0000b"}', '{"user":' * 17 + "1" + "}" * 17, "[1]", '{"user":']
        with Upstream() as up, Gateway(project(up)) as gw:
            for text in bad:
                answer = gw.chat(headers={"x-moongate-metadata": text})
                self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "invalid_metadata"), text)
            body = b'{"model":"chat","messages":[{"role":"user","content":"x"}],"metadata":%s}'
            for text in bad[:2]:
                self.assertEqual(gw.request("POST", "/v1/chat/completions", body % text.encode()).status, 400, text)
            self.assertEqual(gw.request("POST", "/v1/chat/completions", body % b'{"user":"\\\\u0000 \\ud83d\\ude00"}').status, 200)
            event, = events(gw)
            self.assertEqual(event["metadata"], {"user": "\\u0000 😀"})


class Interrupted(unittest.TestCase):
    def test_what_a_killed_gateway_had_sent_costs_its_input_and_counts_for_the_budget(self):
        catalogue = {"version": 1, "providers": [{"name": "p0", "models": [{"model": "model-0", "prices": [{"input": 2000000000, "output": 1}]}]}]}
        with Upstream(stream(*good_events("one")[:2], then="stall")) as up, Gateway(
                project(up, extra='limits = { budget = { per = "month", usd = 5 } }'), files={"data/prices.json": json.dumps(catalogue)}) as gw:
            with gw.connect() as sock:
                body = json.dumps({"model": "chat", "stream": True, "max_tokens": 1, "metadata": {"customer": "bob"}, "messages": [{"role": "user", "content": "x" * 8000}]}).encode()
                sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
                             b"x-moongate-session: s-1\r\ncontent-length: %d\r\n\r\n" % (gw.keys["main"].encode(), len(body)) + body)
                seen = b""
                while b"one" not in seen:
                    self.assertTrue(more := sock.recv(65536), seen)
                    seen += more
                gw.stop(signal.SIGKILL)                # while the client is there: an attempt whose client left is settled
            gw.lines.clear()
            gw.start()
            event, = events(gw)
            self.assertEqual((event["interrupted"], event["tokens"], event["price"]), (True, "estimated", "catalogue"))
            self.assertEqual((event["metadata"], event["session"]), ({"customer": "bob"}, "s-1"))
            self.assertGreater(event["input_tokens"], 1500)
            self.assertEqual(event["cost_picousd"], event["input_tokens"] * 2000000000)
            self.assertEqual(report(gw)["total"]["cost_picousd"], event["cost_picousd"])
            up.answer(json_answer("fine"))
            refused = gw.chat(max_tokens=1, content="y" * 8000)           # 4 of 5 dollars are spent
            self.assertEqual(refused.status, 429)
            self.assertIn("$5.00 per month", refused.json["error"]["message"])
            # and a later price holds for it as for any other
            gw.write("new.json", json.dumps({"version": 1, "providers": [{"name": "p0", "models": [
                {"model": "model-0", "prices": [{"input": 1, "output": 1}]}]}]}))
            gw.cli("usage", "reprice", "--prices", os.path.join(gw.path, "new.json"))
            self.assertEqual(events(gw)[0]["cost_picousd"], event["input_tokens"])


class Charge(unittest.TestCase):
    def test_who_pays_for_attempts_that_served_nobody_is_the_projects_policy(self):
        for policy, expected in (("all", [True, True]), ("serving", [False, True])):
            meter = Meter()
            with Upstream(stream(*good_events()[:1], {**chunk(), "choices": [], "usage": meter.usage(100, 1)}, then="cut")) as first, \
                    Upstream(meter.whole(10, 2)) as second, priced(first, second, extra=f'charge = "{policy}"') as gw:
                first.answer(respond(200, {**completion(None), "usage": meter.usage(100, 1)}))   # billed, and no answer
                self.assertEqual(gw.chat().status, 200)
                found = events(gw)
                self.assertEqual([e["charged"] for e in found if e["input_tokens"]][-2:], expected, policy)
                self.assertEqual([e["served"] for e in found][-1], True)
                rows = {row["charged"]: row for row in report(gw, "--by", "charged")["rows"]}
                total = report(gw)["total"]
                self.assertEqual(total["charged_picousd"], rows["true"]["cost_picousd"])
                self.assertEqual(total["charged_picousd"] == total["cost_picousd"], policy == "all")


    def test_a_function_says_who_pays_and_knows_what_an_event_knows(self):
        meter = Meter()
        policy = """charge = function(a)
            if a.metadata.plan == "flat" then return false end
            if a.class ~= "none" then return a.attempts == 2 and a.reason == "first" and a.cost_picousd > 1000 end
            assert(a.served and a.reported and a.provider == "p1" and a.model_served == "served" and a.tier == "priority")
        end,"""
        def billed_for_nothing(sock, request):
            respond(200, {**completion(None), "usage": meter.usage(100, 1)})(sock, request)
        with Upstream(billed_for_nothing) as first, \
                Upstream(meter.whole(10, 2, tier="priority")) as second, priced(first, second, extra=policy) as gw:
            for plan in ("metered", "flat"):
                self.assertEqual(gw.chat(metadata={"plan": plan}).status, 200)
            found = events(gw)
            self.assertEqual([(e["metadata"]["plan"], e["served"], e["charged"]) for e in found],
                             [("metered", False, True), ("metered", True, True), ("flat", False, False), ("flat", True, False)])
            total = report(gw)["total"]
            self.assertEqual(total["cost_picousd"], meter.picousd)
            self.assertEqual(total["charged_picousd"], sums(found[:2], "cost_picousd"))

    def test_a_function_that_fails_leaves_it_to_serving_and_is_told(self):
        for body, words in (("error('no idea')", "no idea"), ("while true do end", "deadline"), ("return 'yes'", "expected true, false or nil"),
                            ("return os.getenv('HOME')", "attempt to call field 'getenv'")):
            meter = Meter()
            with Upstream(respond(200, {**completion(None), "usage": meter.usage(100, 1)})) as first, \
                    Upstream(meter.whole(10, 2)) as second, priced(first, second, extra=f"charge = function(a) {body} end,") as gw:
                answer = gw.chat()
                self.assertEqual(answer.status, 200, body)
                self.assertEqual([e["charged"] for e in events(gw)], [False, True], body)
                gw.wait_line(f"plugin.fault.*hook=charge.*{words}")
                self.assertTrue(any("charge" in note["text"] and words in note["text"] for note in gw.trace(answer)["notes"]), body)

    def test_a_function_that_fails_again_and_again_is_left_alone_for_a_while(self):
        with Upstream() as up, Gateway(project(up, extra="charge = function() error('no') end,"), gateway="workers = 1,") as gw:
            for _ in range(6):
                last = gw.chat()
            self.assertEqual([e["charged"] for e in events(gw)], [True] * 6)
            self.assertTrue(any("quarantined after repeated faults: what served is charged" in note["text"] for note in gw.trace(last)["notes"]))

    def test_the_function_may_stand_in_a_file_and_nothing_else_is_a_policy(self):
        with Upstream(error_answer(400)) as up, Gateway(project(up, extra='charge = file "pay.lua",'), files={
                "projects/pay.lua": "return function(a) return a.status ~= 400 end"}) as gw:
            gw.chat()
            self.assertEqual([e["charged"] for e in events(gw)], [False])
        for wrong in ('"sometimes"', "7", "{}"):
            gw = Gateway(project("http://127.0.0.1:1", extra=f"charge = {wrong},"))
            done = subprocess.run([BIN, "check", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertNotEqual(done.returncode, 0, wrong)
            self.assertIn('expected one of "all", "serving" or a function', done.stdout + done.stderr, wrong)
            gw.folder.cleanup()


class Page(unittest.TestCase):
    def test_the_page_about_events_names_every_member(self):
        source = os.environ.get("MOONGATE_SOURCE_DIR", ".")
        with open(os.path.join(source, "docs/reference/usage-events.md")) as page:
            named = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in page if line.startswith("| `"))))
        with Upstream() as up, Gateway(project(up)) as gw:
            gw.chat()
            event, = events(gw)
            units = {"images", "audio_ms", "characters", "searches"}  # only in events that have some
            self.assertEqual(set(event) | units, named - {"all", "serving", "charge"})


INVOICING = """plugins = { { use = "invoicing", config = {
    default = { margin_percent = 20, free_tokens = 1000 },
    customers = { acme = { free_tokens = 0 }, own = { input_usd = 3.5, output_usd = 12, free_tokens = 0 }, whale = { free_tokens = 0, margin_percent = 0 } },
    volume = { { above_usd = 1, discount_percent = 10 }, { above_usd = 3, discount_percent = 50 } }, format = "%s" } } },"""


class Invoice(unittest.TestCase):
    def bill(self, gw, *args, check=True, project="main"):
        done = subprocess.run([BIN, "usage", "bill", "--plugin", "invoicing", "--project", project, "-c", gw.path, *args], capture_output=True,
                              text=True, timeout=PATIENCE_S)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout if check else done

    def test_each_customer_owes_by_its_rates_its_free_tokens_and_its_volume(self):
        meter = Meter()
        with Upstream(meter.whole(600, 100)) as up, priced(up, extra=INVOICING % "json") as gw:
            for customer, calls in (("acme", 1), ("globex", 2), ("own", 1)):
                for _ in range(calls):
                    self.assertEqual(gw.chat(metadata={"customer": customer}).status, 200)
            gw.chat()
            up.answer(meter.whole(2000000, 0))
            gw.chat(metadata={"customer": "whale"})
            gw.chat("p0/thing", metadata={"customer": "whale"})           # nobody knows its price

            invoices = {line["customer"]: line for line in json.loads(self.bill(gw))["invoices"]}
            cost = 600 * 2 + 100 * 10                                     # microdollars of one call
            self.assertEqual(invoices["acme"]["amount_usd"], f"0.{round(cost * 1.2):06d}000000")
            # 1,400 tokens, of which 1,000 are free: the last 400 of the second call's 700
            self.assertEqual((invoices["globex"]["free_tokens"], invoices["globex"]["amount_usd"]), (1000, f"0.{cost * 120 * 4 * 10000 // 7:012d}"[:14]
                             if cost * 1200000 * 4 % 7 == 0 else "0.%012d" % round(cost * 1200000 * 400 / 700)))
            self.assertEqual(invoices["own"]["amount_usd"], f"0.{round(600 * 3.5 + 100 * 12):06d}000000")
            self.assertEqual((invoices["nobody"]["attempts"], invoices["nobody"]["amount_usd"]), (1, "0.000000000000"))
            whale = invoices["whale"]                                     # 4 dollars: 2 of them at 10 % off, 1 at 50 % off
            self.assertEqual((whale["sum_usd"], whale["discount_usd"], whale["amount_usd"], whale["unpriced"]),
                             ("4.000000000000", "0.700000000000", "3.300000000000", 1))
            self.assertEqual(json.loads(self.bill(gw, "--to", "2020-01-01")), {"invoices": []})
            gw.stop()
            self.assertEqual({line["customer"]: line for line in json.loads(self.bill(gw))["invoices"]}, invoices)

    def test_only_what_the_project_pays_for_is_on_it_and_only_its_own(self):
        meter = Meter()
        def billed_for_nothing(sock, request):
            respond(200, {**completion(None), "usage": meter.usage(100, 1)})(sock, request)
        with Upstream(billed_for_nothing) as first, Upstream(meter.whole(10, 2)) as second:
            text = project(first, second, extra=INVOICING % "csv" + 'charge = "serving",')
            with Gateway({"main": text, "other": text}, env={"MOONGATE_LOG": "info"}, files={"data/prices.json": json.dumps(CATALOGUE)}) as gw:
                gw.chat(metadata={"customer": 'a,"b"'})
                gw.chat(headers={"authorization": f"Bearer {gw.keys['other']}"})
                line, = csv.DictReader(io.StringIO(self.bill(gw)))
                self.assertEqual((line["customer"], line["attempts"], line["input_tokens"]), ('a,"b"', "1", "10"))
                line, = csv.DictReader(io.StringIO(self.bill(gw, project="other")))
                self.assertEqual((line["customer"], line["attempts"]), ("nobody", "1"))

    def test_wrong_settings_are_refused_with_the_project_and_a_missing_plugin_when_the_bill_is_asked_for(self):
        for config, words in (("customers = { a = { margin = 1 } }", "margin"), ("volume = { { above_usd = 2, discount_percent = 1 }, { above_usd = 1, discount_percent = 1 } }", "must grow"),
                              ('format = "pdf"', "format")):
            gw = Gateway(project("http://127.0.0.1:1", extra='plugins = { { use = "invoicing", config = { %s } } },' % config))
            done = subprocess.run([BIN, "check", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertNotEqual(done.returncode, 0, config)
            self.assertIn(words, done.stdout + done.stderr, config)
            gw.folder.cleanup()
        with Upstream() as up, Gateway(project(up)) as gw:
            done = self.bill(gw, check=False)
            self.assertIn('lists no plugin "invoicing"', done.stderr)
            self.assertNotEqual(self.bill(gw, project="../main", check=False).returncode, 0)
            for args, words in ((["bill"], "needs a Lua file"), (["bill", "--plugin", "x"], "needs --project"), (["bill", "a.lua", "--plugin", "x"], "needs a Lua file"),
                                (["--plugin", "x"], "is for bill"), (["reprice", "--project", "x"], "--from and --to")):
                done = gw.cli("usage", *args, check=False)
                self.assertEqual(done.returncode, 2, args)
                self.assertIn(words, done.stderr, args)

    def test_a_plugin_that_fails_ends_the_bill_and_is_told_with_its_line(self):
        manifest = {"manifest": 1, "name": "mine", "version": "1.0.0", "api": 1, "title": "t", "summary": "s", "license": "Apache-2.0", "stage": "observe",
                    "hooks": ["on_bill", "on_invoice"], "permissions": {}}
        for text, words in (("return { on_bill = function(self, e)\n while true do end end, on_invoice = function() return '' end }", "deadline"),
                            ("return { on_bill = function(self, e)\n error('no') end, on_invoice = function() return '' end }", "init.lua:2: no"),
                            ("return { on_bill = function() end, on_invoice = function() return {} end }", "what on_invoice returns")):
            with Upstream() as up, Gateway(project(up, extra='plugins = { { use = "mine" } },'), files={
                    "plugins/mine/plugin.json": json.dumps(manifest), "plugins/mine/init.lua": text}) as gw:
                gw.chat()
                done = subprocess.run([BIN, "usage", "bill", "--plugin", "mine", "--project", "main", "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)
                self.assertEqual(done.returncode, 1, text)
                self.assertIn(words, done.stderr, text)


class Bill(unittest.TestCase):
    def test_a_script_that_fails_is_told_with_its_line(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            gw.chat()
            for text, words in (("return 1", "it must return"), ("return {", "unexpected symbol|expected"),
                                ("return { event = function(e)\n error('no') end, invoice = function() return '' end }", "bill.lua:2: no"),
                                ("return { event = function(e) os.exit(0) end, invoice = function() return '' end }", "global 'os'"),
                                ("return { event = function(e) end, invoice = function() return 1 end }", "must return a text")):
                gw.write("bill.lua", text)
                done = gw.cli("usage", "bill", os.path.join(gw.path, "bill.lua"), check=False)
                self.assertEqual(done.returncode, 1, text)
                self.assertRegex(done.stderr, words)


class Prices(unittest.TestCase):
    def test_a_target_with_its_own_price_keeps_it_and_what_nobody_knows_is_not_free(self):
        meter = Meter()
        with Upstream(meter.whole(1000, 100, cached=400)) as up, priced(up, extra="") as gw:
            gw.write("projects/main.lua", f"""return {{
                providers = {{ p0 = {{ adapter = "openai", base_url = "{up.url}", api_key = "k" }},
                               other = {{ adapter = "openai", base_url = "{up.url}", api_key = "k" }} }},
                workflows = {{ own = {{ targets = {{ {{ "p0/model-0", price_usd = {{ input = 1, output = 3 }} }} }} }},
                               cached = {{ targets = {{ {{ "p0/model-0", price_usd = {{ input = 1, output = 3, cached_read = 0.25 }} }} }} }},
                               chat = "p0/model-0", unknown = "other/thing" }} }}""")
            gw.wait_line(r"generation.*number=2|project=main.*generation=2|reload")
            for name in ("own", "cached", "chat", "unknown"):
                deadline = time.monotonic() + PATIENCE_S
                while gw.chat(name).status == 404 and time.monotonic() < deadline:
                    time.sleep(0.05)
            rows = {row["workflow"]: row for row in report(gw, "--by", "workflow")["rows"]}
            self.assertEqual(rows["own"]["cost_usd"], "0.001300000000")
            self.assertEqual(rows["cached"]["cost_usd"], "0.001000000000")
            self.assertEqual(rows["chat"]["cost_usd"], "0.002280000000")
            self.assertEqual((rows["unknown"]["cost_usd"], rows["unknown"]["unpriced"]), ("0.000000000000", 1))
            self.assertIn("no price", gw.cli("usage"))

    def test_a_provider_of_any_name_has_the_prices_of_whom_it_is(self):
        meter = Meter()
        catalogue = {"version": 1, "providers": [
            {"name": "groq", "models": [{"model": "fast", "prices": [{"input": 3, "output": 5}]}]},
            {"name": "named", "models": [{"model": "fast", "prices": [{"input": 7, "output": 7}]}]}]}
        def tunnelled(sock, request):
            if request.method == "CONNECT":
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                meter.whole(100, 10)(sock, request)
        with Upstream(tunnelled) as up, Gateway("""return {
                providers = { ours = { base_url = "http://api.groq.com/openai/v1", proxy = "%s", api_key = "k" },
                              named = { base_url = "http://api.groq.com/openai/v1", proxy = "%s", api_key = "k" } },
                workflows = { chat = "ours/fast", other = "named/fast" } }""" % ((up.url.rsplit("/", 1)[0],) * 2),
                files={"data/prices.json": json.dumps(catalogue)}) as gw:
            self.assertEqual(gw.chat().status, 200)
            self.assertEqual(gw.chat("other").status, 200)
            self.assertEqual([e["cost_picousd"] for e in events(gw)], [350, 770])
            gw.write("new.json", json.dumps({"version": 1, "providers": [{"name": "groq", "models": [
                {"model": "fast", "prices": [{"input": 1, "output": 1}]}]}]}))
            gw.cli("usage", "reprice", "--prices", os.path.join(gw.path, "new.json"))
            self.assertEqual([e["cost_picousd"] for e in events(gw)], [110, 110])

    def test_a_list_of_the_project_leaves_the_prices_alone_that_it_does_not_name(self):
        meter = Meter()
        catalogue = {"version": 1, "providers": [{"name": "p0", "project": "main", "models": [
            {"model": "other", "prices": [{"input": 7}]}, {"model": "model-0", "prices": [{"from": "2099-01-01", "input": 9}]}]}]}
        with Upstream(meter.whole(100, 0)) as up, Gateway(
                project(up).replace('"p0/model-0",', '{ "p0/model-0", price_usd = { input = 1 } }, '), files={"data/prices.json": json.dumps(catalogue)}) as gw:
            gw.chat()
            event, = events(gw)
            self.assertEqual((event["cost_picousd"], event["price"]), (100000000, "target"))
            gw.cli("usage", "reprice")
            self.assertEqual(events(gw), [event])

    def test_the_cheapest_is_found_in_the_catalogue_and_policies_see_its_prices(self):
        meter = Meter()
        catalogue = {"version": 1, "providers": [
            {"name": "p0", "models": [{"model": "model-0", "prices": [{"input": 3000000, "output": 9000000}]}]},
            {"name": "p1", "models": [{"model": "model-1", "prices": [{"input": 2000000, "output": 8000000}]}]}]}
        with Upstream(meter.whole(1, 1)) as dear, Upstream(meter.whole(1, 1)) as cheap, Gateway(
                project(dear, cheap, workflow="""balance = "cheapest", route = function(req, candidates)
                    moongate.log.info("prices", { dear = candidates["p0/model-0"].price_in_microusd, cheap = candidates["p1/model-1"].price_out_microusd })
                end"""), files={"data/prices.json": json.dumps(catalogue)}, env={"MOONGATE_LOG": "info"}) as gw:
            for _ in range(5):
                self.assertEqual(gw.chat().status, 200)
            self.assertEqual((dear.count, cheap.count), (0, 5))
            gw.wait_line(r"prices \{\"cheap\":8000000,\"dear\":3000000\}")

    def test_the_past_is_priced_again_with_the_gateway_running_and_without(self):
        meter = Meter()
        with Upstream(meter.whole(1000, 100, cached=400)) as up, priced(up) as gw:
            for _ in range(5):
                gw.chat()
            before = report(gw)["total"]
            self.assertEqual(before["cost_picousd"], meter.picousd)
            dearer = os.path.join(gw.path, "dearer.json")
            with open(dearer, "w") as out:
                json.dump({"version": 1, "providers": [{"name": "p0", "models": [
                    {"model": "model-0", "prices": [{"input": 3000000, "cached_read": 300000, "output": 20000000}]}]}]}, out)
            said = json.loads(gw.cli("usage", "reprice", "--prices", dearer, "--dry-run", "--json"))
            self.assertEqual((said["changed"], report(gw)["total"]), (5, before))

            said = json.loads(gw.cli("usage", "reprice", "--prices", dearer, "--json"))
            after = 5 * (600 * 3000000 + 400 * 300000 + 100 * 20000000)
            self.assertEqual(said["changed"], 5)
            self.assertEqual(said["before_usd"], before["cost_usd"])
            self.assertEqual(report(gw)["total"]["cost_picousd"], after)
            self.assertEqual(said["after_usd"], report(gw)["total"]["cost_usd"])
            self.assertTrue(all(e["repriced"] for e in events(gw)))
            self.assertEqual(json.loads(gw.cli("usage", "reprice", "--prices", dearer, "--json"))["changed"], 0)

            gw.stop()
            self.assertEqual(json.loads(gw.cli("usage", "reprice", "--json"))["after_usd"], before["cost_usd"])
            self.assertEqual(report(gw)["total"]["cost_picousd"], before["cost_picousd"])

    def test_a_new_catalogue_is_taken_while_traffic_flows_and_a_broken_one_is_not(self):
        meter = Meter()
        with Upstream(meter.whole(100, 0)) as up, Gateway(project(up)) as gw:
            gw.chat()
            self.assertEqual(report(gw)["total"]["unpriced"], 1)
            genai = os.path.join(gw.path, "genai.json")
            with open(genai, "w") as out:
                json.dump([{"id": "p0", "models": [{"id": "model-0", "match": {"equals": "model-0"}, "prices": {"input_mtok": 2.5, "output_mtok": 10}}]}], out)
            refused = gw.cli("prices", "import", genai, check=False)
            self.assertEqual(refused.returncode, 1)
            self.assertRegex(refused.stderr, r"it has prices of 1 models, and \d+ have one now")
            self.assertFalse(os.path.exists(os.path.join(gw.path, "data/prices.json")))
            self.assertIn("1 models of 1 providers", gw.cli("prices", "import", "--force", genai))
            gw.wait_line("prices.reloaded")
            gw.chat()
            self.assertEqual(report(gw)["total"]["cost_usd"], "0.000250000000")
            self.assertIn("2.50", gw.cli("prices", "list", "p0"))

            for empty in ("[]", '{"version": 1, "providers": []}'):
                gw.write("empty.json", empty)
                done = gw.cli("prices", "import", "--force", os.path.join(gw.path, "empty.json"), check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn("no price in it", done.stderr)
            gw.write("dear.json", json.dumps({"version": 1, "providers": [{"name": "p0", "models": [
                {"model": "model-0", "prices": [{"input": 2500001, "output": 30000000}]}]}]}))
            self.assertIn("p0/model-0: 2.50 in and 10.00 out become 2.500001 and 30.00", gw.cli("prices", "import", os.path.join(gw.path, "dear.json")))
            gw.cli("prices", "import", genai)

            gw.write("data/prices.json", "{")
            gw.wait_line("prices.kept")
            gw.chat()
            self.assertEqual(report(gw)["total"]["cost_usd"], "0.000500000000")

    def test_what_is_asked_wrongly_is_told(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            for args, words in ((["--by", "colour"], "a dimension"), (["--where", "x"], "dimension=value"), (["--from", "soon"], "a time"),
                                (["frobnicate"], "reprice"), (["--dry-run"], "for reprice"), (["events", "--by", "day"], "--from and --to and --project")):
                done = gw.cli("usage", *args, check=False)
                self.assertEqual(done.returncode, 2, args)
                self.assertIn(words, done.stderr, args)
            missing = gw.cli("usage", "reprice", "--prices", "/nowhere.json", check=False)
            self.assertEqual(missing.returncode, 1)


if __name__ == "__main__":
    main()
