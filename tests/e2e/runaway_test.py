"""Plugins that misbehave cost their own request, say so in the timeline, and leave the others alone."""

import threading
import time
import unittest

from moongate import Gateway, main

SIM = 'providers = { sim = { kind = "simulated", models = { moon = { ttft_ms = 1, tokens_per_s = 10000, output_tokens = 5 } } } },'

# What a hook does, and the words in the timeline that tell of it. On a busy machine time may run out before memory does.
RUNAWAYS = {
    "loop": ("while true do end", "ran past its deadline"),
    "pcall": ("while true do pcall(function() while true do end end) end", "ran past its deadline"),
    "pattern": ("return (('a'):rep(300000):match('.-b'))", "ran past its deadline"),
    "bomb": ("local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end", "ran out of memory|deadline"),
    "swallow": ("local t = {} while true do pcall(function() while true do t[#t + 1] = ('x'):rep(100000) .. #t end end) end",
                "ran out of memory|deadline"),
    "gsub": ("local function f() return (('x'):gsub('x', f)) end f()", "nest deeper"),
    "coroutines": ("local function f() return coroutine.wrap(f)() end f()", "nest deeper"),
    "recursion": ("local function f() return f() + 1 end f()", "stack overflow|ran out of memory|deadline"),
    "error": ("error('boom')", "boom"),
    "value": ("error(setmetatable({}, { __tostring = function() while true do end end }))", "error value is a table"),
    "waits": ("while true do moongate.time.sleep(100) end", "did not finish within 2000 ms"),
}

# Later requests must not be delayed by more than a burst or two, on a machine that runs other tests meanwhile.
LATE_S = 0.5


def workflows():
    """Per runaway a workflow with it in on_request, and per hook one that only raises."""
    rows = [f"{name} = {{ targets = 'sim/moon', on_request = function(req) {code} end }}," for name, (code, _) in RUNAWAYS.items()]
    for hook in ("on_request", "route", "classify", "on_chunk", "on_response"):
        stream = ", stream = { hold = 4 }" if hook == "on_chunk" else ""
        rows.append(f"raises_{hook} = {{ targets = 'sim/moon', {hook} = function() error 'boom' end{stream} }},")
    rows.append("closed = { targets = 'sim/moon', on_request = function() error 'boom' end },")
    return " ".join(rows)


def project(more=""):
    return "return { %s workflows = { %s }, %s }" % (SIM, workflows(), more)


CALM = "return { %s workflows = { chat = 'sim/moon' } }" % SIM
ONE_WORKER = 'return { listen = "127.0.0.1:0", admin = "127.0.0.1:0", workers = 1, data_dir = "data" }'


def notes(gateway, response):
    return " | ".join(note["text"] for note in gateway.trace(response)["notes"])


class Calm(threading.Thread):
    """Requests of another project on the same worker, one after another; remembers the slowest."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.client, self.stopping, self.slowest_s, self.count, self.failed = gateway.client("calm"), False, 0, 0, None

    def run(self):
        while not self.stopping:
            began = time.monotonic()
            try:
                self.client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}])
            except Exception as error:
                self.failed = error
                return
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.count += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *ignored):
        self.stopping = True
        self.join()


class Runaways(unittest.TestCase):
    def test_each_costs_its_own_request_and_is_shown(self):
        with Gateway({"main": project(), "calm": CALM}, ONE_WORKER) as gateway, Calm(gateway) as calm:
            for name, (_, words) in RUNAWAYS.items():
                with self.subTest(name):
                    answer = gateway.chat(name)
                    self.assertEqual(answer.status, 200)  # inline code fails open
                    self.assertRegex(notes(gateway, answer), words)
            calm.stopping = True
            calm.join()
            self.assertIsNone(calm.failed)
            self.assertGreater(calm.count, 10)
            self.assertLess(calm.slowest_s, LATE_S)

    def test_an_error_in_every_hook_is_a_note_and_an_answer(self):
        with Gateway({"main": project()}, ONE_WORKER) as gateway:
            for hook in ("on_request", "route", "on_response"):
                with self.subTest(hook):
                    answer = gateway.chat(f"raises_{hook}")
                    self.assertEqual(answer.status, 200)
                    self.assertIn("boom", notes(gateway, answer))
            with self.subTest("on_chunk"):
                answer = gateway.chat("raises_on_chunk", stream=True)
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.events[-1], "[DONE]")
                self.assertIn("boom", notes(gateway, answer))

    def test_hooks_without_a_workflow_fail_open_too(self):
        for code, words in (("error 'boom'", "boom"), ("while true do end", "ran past its deadline")):
            hooks = "".join(f"{hook} = function() {code} end, " for hook in ("on_attempt", "classify"))
            text = ("return { %s workflows = { chat = { 'sim/fault:overloaded', 'sim/moon' } }, %s }" % (SIM, hooks))
            with self.subTest(words), Gateway({"main": text, "calm": CALM}, ONE_WORKER) as gateway, Calm(gateway) as calm:
                answer = gateway.chat()
                self.assertEqual((answer.status, answer.headers["x-moongate-attempts"]), (200, "2"))
                trace = gateway.trace(answer)
                self.assertEqual(trace["attempts"][0]["class"], "overloaded")
                told = " | ".join(note["text"] for note in trace["notes"])
                self.assertIn(words, told)
                for hook in ("on_attempt", "classify"):
                    self.assertIn(hook, told)
                self.assertIsNone(calm.failed)
                self.assertLess(calm.slowest_s, LATE_S)

    def test_a_redaction_that_fails_keeps_nothing(self):
        for code in ("error 'boom'", "while true do end"):
            text = "return { %s workflows = { chat = 'sim/moon' }, on_log = function() %s end }" % (SIM, code)
            with self.subTest(code), Gateway({"main": text}, ONE_WORKER) as gateway:
                answer = gateway.chat(metadata={"who": "bob@example.com"})
                self.assertEqual(answer.status, 200)
                trace = gateway.trace(answer)
                self.assertNotIn("bob@example.com", str(trace))
                self.assertIn("on_log dropped", str(trace["notes"]))
                self.assertGreater(trace["attempts"][0]["usage"]["output_tokens"], 0)
                gateway.wait_line("plugin.fault.*on_log")

    def test_loops_in_streams_and_policies_end_and_the_answer_arrives(self):
        text = """return { %s workflows = {
            route = { targets = "sim/moon", route = function() while true do end end },
            chunk = { targets = "sim/moon", on_chunk = function() while true do end end, stream = { hold = 4 } } } }""" % SIM
        with Gateway({"main": text, "calm": CALM}, ONE_WORKER) as gateway, Calm(gateway) as calm:
            for name in ("route", "chunk"):
                with self.subTest(name):
                    answer = gateway.chat(name, stream=True)
                    self.assertEqual((answer.status, answer.clean, answer.events[-1]), (200, True, "[DONE]"))
                    self.assertIn("ran past its deadline", notes(gateway, answer))
            self.assertIsNone(calm.failed)
            self.assertLess(calm.slowest_s, LATE_S)

    def test_a_closed_hook_refuses_instead(self):
        with Gateway({"main": project('inline = { fail = { on_request = "closed" } }')}, ONE_WORKER) as gateway:
            answer = gateway.chat("closed")
            self.assertEqual(answer.status, 503)
            self.assertEqual(answer.json["error"]["code"], "plugin_failed")
            self.assertIn("boom", notes(gateway, answer))

    def test_what_fails_again_and_again_is_left_alone(self):
        with Gateway({"main": project()}, ONE_WORKER) as gateway:
            for _ in range(6):
                self.assertEqual(gateway.chat("error").status, 200)
            gateway.wait_line("plugin.quarantined")
            answer = gateway.chat("error")
            self.assertEqual(answer.status, 200)
            self.assertNotIn("boom", notes(gateway, answer))

    def test_a_client_that_leaves_ends_a_hook_that_waits(self):
        with Gateway({"main": project()}, ONE_WORKER) as gateway:
            sock = gateway.connect()
            body = b'{"model":"waits","messages":[{"role":"user","content":"x"}]}'
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                         % (gateway.keys["main"].encode(), len(body), body))
            time.sleep(0.3)  # nothing tells from outside that the hook waits now
            sock.close()
            began = time.monotonic()
            self.assertEqual(gateway.chat("error").status, 200)
            gateway.stop()
            self.assertLess(time.monotonic() - began, 1.5)  # the hook would have waited for 2 s


if __name__ == "__main__":
    main()
