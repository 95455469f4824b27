"""What users of other gateways suffer from, and what shows that it does not happen here.

pitfall                                                          shown by
---------------------------------------------------------------  -----------------------------------------------------------
no fallback when a stream breaks after the headers               failover_test BeforeContent, faults/streams_test Resume, Hold
a fallback mid-stream that nobody asked for                      failover_test AfterContent, faults/streams_test Error
a cut stream, or a lost connection, that ends as a clean 200     failover_test AfterContent, tls_test a_stream_cut_without…
an error event passed on as content, or seen only when first     failover_test AfterContent, faults_test
200 with nothing in it: a success, kept, closing breakers        Empty below, failover_test BeforeContent, faults/classes_test
a provider that is silent before its headers                     Waiting below, faults_test hang, headers_only
a stream that falls silent; a stall limit that is not ours       Waiting below, failover_test AfterContent, faults_test stall
a long stream killed by a limit meant for something else         Waiting below
the same silent provider tried again and again                   Waiting below
a fresh budget for each fallback                                 failover_test the_deadline_covers…, faults/knobs_test Budgets
keys that work left unused when others do not                    Keys below, faults/knobs_test Keys
Retry-After ignored, or waited for beyond any use                Retries below, faults/knobs_test Waiting
429 without Retry-After hammered; retry storms                   Retries below, faults/health_test RetryBudgets
no breaker, or one that opens to full traffic without a probe    Outage below, faults/health_test Breakers
the request that meets the failure fails                         openai_sdk_test the_next_provider_answers…, Outage below
the client's own mistake tried everywhere                        failover_test a_clients_own_mistake…
refusals of a content filter sent to the next vendor             Filters below, faults/knobs_test Filters
a prefill that is refused and hides the cause                    Rescue below
an error in the middle of a stream spins                         Streams below
one malformed line kills the stream, or is passed on             failover_test one_malformed_event…, faults/oddities_test
waiting for a [DONE] that never comes                            Streams below, faults_test no_done_hang
the usage chunk dropped because it has choices                   Streams below, faults/oddities_test
the client leaves and the provider works on, unbilled            durability_test Leaving, faults/knobs_test Leaving
cached tokens counted twice or not at all                        Money below, unit.chat.adapter
a timeout settled as a success without tokens                    Money below
failed attempts folded into one line                             durability_test every_attempt_has_its_own_usage
the database in the way of requests                              durability_test Full
memory that grows with reloads, streams, slow readers            reload_test Soak, protocol_test a_slow_reader…, ops_test Many
Nagle, delayed acknowledgements, sleeps before the first chunk   Speed below
an answer buffered that should stream                            openai_sdk_test a_stream_arrives_word_by_word
one busy stream starves its worker                               Speed below
unknown fields dropped, tools reordered                          Bytes below, hooks_test edits_are_spliced…
large answers refused                                            Bytes below, failover_test Large
an edit that needs a restart; nobody knows which one runs        reload_test, header x-moongate-generation
keys in logs, traces, guardrails or the store                    Secrets below, ops_test the_store_keeps_no_key, attack_upstream_test
a browser's Origin sent upstream                                 protocol_test Forwarding
guards that stream = true walks around                           hooks_test Streams, OnResponse
connections shared by tenants                                    attack_upstream_test no_connection_is_shared…

Budgets of money over time and translation between dialects are of later issues.
"""

import statistics
import time
import unittest

from moongate import *

OK = stream(*good_events("fine"))


def chatted(gw, answer):
    return gw.trace(answer)["attempts"]


class Waiting(unittest.TestCase):
    def test_a_silent_provider_is_left_after_one_try(self):
        for script in (hang, stream(then="stall"), stream(*[b": ping\n\n"] * 5, then="stall")):
            with Upstream(script) as silent, Upstream(OK) as good, \
                    Gateway(project(silent, good, workflow="timeouts_ms = { first_token = 250 }")) as gw:
                began = time.monotonic()
                answer = gw.chat(stream=True)
                self.assertEqual((answer.text, silent.count), ("fine", 1))
                self.assertLess(time.monotonic() - began, 2)
                self.assertEqual(chatted(gw, answer)[0]["class"], "timeout_ttft")

    def test_a_connection_that_never_comes_up_is_left_at_its_timer(self):
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:  # nobody accepts: the backlog fills up
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
                self.addCleanup(filler.close)
            url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
            with Upstream(OK) as good, Gateway(project(url, good, workflow="timeouts_ms = { connect = 250 }")) as gw:
                answer = gw.chat(stream=True)
                self.assertEqual(answer.text, "fine")
                self.assertEqual(chatted(gw, answer)[0]["class"], "timeout_connect")

    def test_the_configured_stall_limit_is_the_one_that_holds(self):
        for idle_ms, text, clean in ((300, "a", False), (3000, "ab", True)):
            def pause(sock, request):
                stream_head(sock)
                events = good_events("a", "b")
                for event in events[:2]:
                    send_event(sock, event)
                time.sleep(0.8)
                for event in events[2:]:
                    send_event(sock, event)
                sock.sendall(b"0\r\n\r\n")

            with self.subTest(idle_ms), Upstream(pause) as up, Gateway(project(up, workflow=f"timeouts_ms = {{ idle = {idle_ms} }}")) as gw:
                answer = gw.chat(stream=True)
                self.assertEqual((answer.text, answer.clean), (text, clean))

    def test_a_long_stream_that_goes_on_is_not_cut(self):
        def slowly(sock, request):
            stream_head(sock)
            for event in good_events(*["word "] * 12):
                send_event(sock, event)
                time.sleep(0.1)
            sock.sendall(b"0\r\n\r\n")

        with Upstream(slowly) as up, Gateway(project(up, workflow="timeouts_ms = { connect = 400, first_token = 400, idle = 400 }")) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.text, answer.clean), ("word " * 12, True))


def stream_head(sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")


def send_event(sock, event):
    data = b"data: %s\n\n" % (event if isinstance(event, str) else json.dumps(event)).encode()
    sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))


class Retries(unittest.TestCase):
    def test_a_provider_is_asked_again_when_it_said_and_not_before(self):
        limited = error_answer(429, "rate_limit_exceeded", headers={"retry-after": "1"})
        with Upstream(limited, json_answer("ok")) as up, Gateway(project(up)) as gw:
            began = time.monotonic()
            answer = gw.chat()
            self.assertEqual((answer.status, up.count), (200, 2))
            self.assertGreaterEqual(time.monotonic() - began, 1)

    def test_a_wait_beyond_the_deadline_is_not_begun_and_the_client_is_told(self):
        limited = error_answer(429, "rate_limit_exceeded", headers={"retry-after": "30"})
        with Upstream(limited) as up, Gateway(project(up, workflow="deadline_ms = 5000")) as gw:
            began = time.monotonic()
            answer = gw.chat()
            self.assertEqual((answer.status, up.count), (429, 1))
            self.assertLess(time.monotonic() - began, 3)
            self.assertEqual(answer.headers["retry-after"], "30")

    def test_an_outage_costs_few_calls_and_some_patience_between_them(self):
        times = []

        def limited(sock, request):
            times.append(time.monotonic())
            error_answer(429, "rate_limit_exceeded")(sock, request)

        with Upstream(limited) as up, Gateway(project(up)) as gw:
            self.assertEqual(gw.chat().status, 429)
            self.assertLessEqual(up.count, 4)
            self.assertTrue(all(later - earlier > 0.05 for earlier, later in zip(times, times[1:])), times)


def first_provider(lua, more, key='api_key = "secret-0"'):
    """The project with other settings of its first provider."""
    return lua.replace('api_key = "secret-0"', f"{key}, {more}" if more else key)


class Outage(unittest.TestCase):
    def test_a_target_in_an_outage_is_left_alone_and_let_back_in_with_care(self):
        """15 requests meet an outage: all are answered, and few of them bother the target that is down."""
        times, well = [], threading.Event()

        def provider(sock, request):
            times.append(time.monotonic())
            (json_answer("back") if well.is_set() else error_answer(500))(sock, request)

        def ask():
            return gw.chat().json["choices"][0]["message"]["content"]

        with Upstream(provider) as a, Upstream(json_answer("stand-in")) as b, \
                Gateway(first_provider(project(a, b), "breaker = { consecutive = 3, open_ms = 600, ramp_ms = 500 }")) as gw:
            self.assertEqual([ask() for _ in range(15)], ["stand-in"] * 15)
            self.assertEqual(len([at for at in times if at < times[2] + 0.5]), 3, "three failures open it")
            well.set()
            deadline = time.monotonic() + PATIENCE_S
            while ask() != "back" and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.7)
            self.assertEqual([ask() for _ in range(5)], ["back"] * 5)


class Empty(unittest.TestCase):
    def test_an_answer_with_nothing_in_it_is_neither_kept_nor_taken_for_recovery(self):
        def ask():
            return gw.chat().json["choices"][0]["message"]["content"]

        with Upstream(json_answer("good"), json_answer("")) as up, \
                Gateway(first_provider(project(up, workflow="offline = { last_good_ms = 60000 }"), "breaker = { consecutive = 2, open_ms = 300, ramp_ms = 0 }")) as gw:
            self.assertEqual([ask() for _ in range(5)], ["good"] * 5)  # the last good answer stands in for empty ones
            time.sleep(0.5)
            ask()  # a probe that is answered with nothing
            before = up.count
            self.assertEqual([ask() for _ in range(3)], ["good"] * 3)
            self.assertLessEqual(up.count - before, 2)  # one early call a second, and a second may begin in between


class Keys(unittest.TestCase):
    def test_every_key_is_tried_before_the_target_is_given_up(self):
        def by_key(sock, request):
            good = request.headers["authorization"].endswith("good")
            (json_answer("ok") if good else error_answer(401, "invalid_api_key"))(sock, request)

        keys = 'api_keys = { "dead-1", "dead-2", "dead-3", "good" }'
        with Upstream(by_key) as up, Gateway(first_provider(project(up, workflow="max_attempts = 5"), "", keys)) as gw:
            for _ in range(8):
                self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], "ok")
            self.assertLessEqual(up.count, 8 + 3, "each dead one is met once")


class Filters(unittest.TestCase):
    def test_what_a_filter_refused_is_not_sent_to_the_next_vendor(self):
        refusals = (error_answer(400, "content_policy_violation"), error_answer(400, "content_filter"), json_answer(None, refusal="no"),
                    respond(200, completion("fi", finish="content_filter")))
        with Upstream() as a, Upstream() as b, Gateway(project(a, b)) as gw:
            for script in refusals:
                a.answer(script)
                gw.chat()
            self.assertEqual((a.count, b.count), (len(refusals), 0))


class Rescue(unittest.TestCase):
    def test_a_prefill_that_is_refused_does_not_hide_why_it_was_needed(self):
        begun = stream(*good_events("The har", "bour")[:3], then="cut")
        refused = error_answer(400, None, message="This model does not support assistant message prefill.")
        with Upstream(begun) as a, Upstream(stream(*good_events("Another text")), refused) as b:
            lua = project(a, b, workflow='rescue = "resume"').replace('"p1/model-1",', '{ "p1/model-1", prefill = true },')
            with Gateway(lua) as gw:
                answer = gw.chat(stream=True)
                self.assertEqual((answer.text, answer.clean), ("The harbour", False))
                error = json.loads(answer.events[-1])["error"]
                self.assertEqual(error["code"], "truncated_stream")
                self.assertNotIn("prefill", error["message"].split("Tried:")[0])


class Streams(unittest.TestCase):
    def test_an_error_in_the_middle_ends_it_once(self):
        error = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}
        with Upstream(stream(*good_events("par")[:2], error, then="stall")) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.text, answer.clean), ("par", False))
            self.assertEqual(json.loads(answer.events[-1])["error"]["code"], "rate_limited")
            before = cpu_s(gw.process.pid)
            self.assertEqual(chatted(gw, answer)[0]["class"], "rate_limited")
            time.sleep(0.5)
            self.assertLess(cpu_s(gw.process.pid) - before, 0.25)
            self.assertEqual(up.count, 1)

    def test_an_answer_that_has_finished_does_not_wait_for_done(self):
        with Upstream(stream(*good_events("a")[:-1], then="stall")) as up, Gateway(project(up)) as gw:
            began = time.monotonic()
            answer = gw.chat(stream=True)
            self.assertEqual((answer.text, answer.clean), ("a", True))
            self.assertLess(time.monotonic() - began, 10)

    def test_a_stream_of_two_choices_has_not_finished_with_the_first(self):
        def of(index, text, finish=None):
            return {**chunk(), "choices": [{"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}]}
        begun = [of(0, "zero"), of(1, "one"), of(0, None, "stop")]
        with Upstream(stream(*begun, then="cut")) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True, n=2)
            self.assertEqual((answer.clean, chatted(gw, answer)[0]["class"]), (False, "truncated_stream"))
            up.answer(stream(*begun, of(1, None, "stop"), "[DONE]"))
            answer = gw.chat(stream=True, n=2)
            self.assertEqual((answer.clean, answer.events[-1]), (True, "[DONE]"))

    def test_usage_that_comes_with_choices_counts_and_arrives(self):
        last = {**chunk({}, "stop"), "usage": USAGE}
        with Upstream(stream(chunk({"content": "a"}), last, "[DONE]")) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True, stream_options={"include_usage": True})
            self.assertEqual(json.loads(answer.events[-2])["usage"], USAGE)
            self.assertEqual(chatted(gw, answer)[0]["usage"]["output_tokens"], 3)


class Money(unittest.TestCase):
    def test_cached_and_reasoning_tokens_are_parts_of_the_whole(self):
        usage = {"prompt_tokens": 1000, "completion_tokens": 300, "total_tokens": 1300,
                 "prompt_tokens_details": {"cached_tokens": 900, "audio_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 250}}
        with Upstream(respond(200, {**completion("a"), "usage": usage})) as up, Gateway(project(up)) as gw:
            answer = gw.chat()
            seen = chatted(gw, answer)[0]["usage"]
            self.assertEqual((seen["input_tokens"], seen["cached_read_tokens"], seen["output_tokens"], seen["reasoning_tokens"], seen["reported"]),
                             (1000, 900, 300, 250, True))
            row = json.loads(gw.cli("logs", "--json"))
            self.assertEqual((row["input_tokens"], row["output_tokens"], row["estimated"]), (1000, 300, False))

    def test_a_timeout_is_no_success(self):
        with Upstream(hang) as up, Gateway(project(up, workflow="timeouts_ms = { total = 200 }, max_attempts = 1")) as gw:
            answer = gw.chat()
            trace = gw.trace(answer)
            self.assertEqual((answer.status, trace["class"], trace["attempts"][0]["class"]), (504, "timeout_total", "timeout_total"))
            self.assertFalse(trace["attempts"][0]["usage"]["reported"])


class Speed(unittest.TestCase):
    def test_a_chunk_passes_without_a_pause(self):
        """Each event waits for the client to have read the one before: 60 round trips, with nothing in between."""
        turn = threading.Semaphore(0)

        def in_turns(sock, request):
            stream_head(sock)
            for event in good_events(*["word "] * 60):
                turn.acquire(timeout=PATIENCE_S)
                send_event(sock, event)
            sock.sendall(b"0\r\n\r\n")

        with Upstream(in_turns) as up, Gateway(project(up), "workers = 1,") as gw, gw.connect() as sock:
            body = b'{"model":"chat","stream":true,"messages":[]}'
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                         % (gw.keys["main"].encode(), len(body), body))
            turn.release(2)
            trips, seen = [], b""
            while len(trips) < 58:
                began = time.monotonic()
                turn.release()
                while seen.count(b"word") <= len(trips):
                    data = sock.recv(65536)
                    self.assertTrue(data)
                    seen += data
                trips.append(time.monotonic() - began)
            turn.release(100)
            self.assertLess(statistics.median(trips), 0.02, trips)

    def test_answers_on_a_warm_connection_take_no_acknowledgement_timer(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up), "workers = 1,") as gw, gw.connect() as sock, sock.makefile("rb") as file:
            body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "x" * 3000}]}).encode()
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n" % (gw.keys["main"].encode(), len(body))
            trips = []
            for _ in range(40):
                began = time.monotonic()
                sock.sendall(head)
                sock.sendall(body)
                self.assertEqual(read_response(file).status, 200)
                trips.append(time.monotonic() - began)
            self.assertLess(statistics.median(trips), 0.02, trips)

    def test_a_flood_leaves_room_for_others_on_its_worker(self):
        stop = threading.Event()

        def flood(sock, request):
            if not request.json.get("stream"):
                return json_answer("ok")(sock, request)
            stream_head(sock)
            while not stop.is_set():
                send_event(sock, chunk({"content": "x" * 20000}))
            raise Closed

        def drink(sock):
            try:
                while sock.recv(1 << 20):
                    pass
            except OSError:
                pass

        with Upstream(flood) as up, Gateway(project(up), "workers = 1,") as gw, gw.connect() as a, gw.connect() as b:
            body = b'{"model":"chat","stream":true,"messages":[]}'
            for sock in (a, b):
                sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                             % (gw.keys["main"].encode(), len(body), body))
                threading.Thread(target=drink, args=(sock,), daemon=True).start()
                up.next_request()
            trips = []
            for _ in range(10):
                began = time.monotonic()
                self.assertEqual(gw.chat().status, 200)
                trips.append(time.monotonic() - began)
            stop.set()
            self.assertLess(statistics.median(trips), 0.5, trips)


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bytes(unittest.TestCase):
    def test_what_nobody_knows_passes_as_it_came_both_ways(self):
        body = (b'{\n "tools" : [{"type":"function","function":{"name":"zeta"}}, {"type":"function","function":{"name":"alpha"}}],\t"model":"chat",'
                b'"x_new":{"deep":[1,2.50,-0,1e5,"\\ud83c\\udf19",true,null]},"messages":[{"role":"user","content":[{"type":"text","text":"a",'
                b'"cache_control":{"type":"ephemeral"}}]}],"reasoning_effort":"low","seed":12345678901234567890 }\n')
        reply = (b'{"id":"x", "object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9",'
                 b'"thinking_blocks":[{"signature":"abc"}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},'
                 b'"big":12345678901234567890, "x_y":1.10}')
        with Upstream(respond(200, reply)) as up, Gateway(project(up)) as gw:
            answer = gw.request("POST", "/v1/chat/completions", body)
            self.assertEqual(answer.body, reply)
            self.assertEqual(up.next_request().body, body.replace(b'"chat"', b'"model-0"'))

    def test_embeddings_of_many_megabytes_pass(self):
        data = [{"object": "embedding", "index": i, "embedding": [0.125] * 3072} for i in range(256)]
        reply = json.dumps({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}).encode()
        with Upstream(respond(200, reply)) as up, Gateway(project(up)) as gw:
            answer = gw.request("POST", "/v1/embeddings", {"model": "chat", "input": ["a"] * 256})
            self.assertEqual((len(answer.body), answer.body == reply), (len(reply), True))
            self.assertEqual(chatted(gw, answer)[0]["usage"]["input_tokens"], 7)


class Secrets(unittest.TestCase):
    def test_no_key_is_in_a_log_a_trace_or_the_store(self):
        guard = 'on_request = function(req) moongate.log.info("seen", { auth = req.headers.authorization, cookie = req.headers.cookie }) end,'
        with Upstream(error_answer(500), json_answer("ok")) as bad, Upstream(json_answer("ok")) as good, \
                Gateway(project(bad, good, extra=guard).replace("secret-", "sk-upstream-"), 'log = { level = "debug" },') as gw:
            answer = gw.chat(headers={"cookie": "session=sk-cookie"})
            gw.request("POST", "/v1/chat/completions", {"model": "chat"}, {"authorization": "Bearer sk-of-somebody"}, key=False)
            told = json.dumps(gw.trace(answer)) + gw.cli("trace", answer.headers["x-request-id"]) + gw.cli("logs", "--json") + gw.cli("key", "list", "--json")
            self.assertEqual(bad.next_request().headers["authorization"], "Bearer sk-upstream-0")
            gw.stop()
            told += "\n".join(gw.lines)
            secrets = ("sk-upstream-", "sk-of-somebody", "sk-cookie", gw.keys["main"].rsplit("-", 1)[-1])
            for secret in secrets:
                self.assertNotIn(secret, told)
            for folder, _, names in os.walk(f"{gw.path}/data"):
                for name in names:
                    if os.path.isfile(os.path.join(folder, name)):
                        with open(os.path.join(folder, name), "rb") as file:
                            data = file.read()
                        for secret in secrets:
                            self.assertNotIn(secret.encode(), data, name)


if __name__ == "__main__":
    main()
