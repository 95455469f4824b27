"""/providers/NAME/…: what no surface offers reaches the vendor as it was sent and comes back as it is, and nothing that holds
for other requests is walked around by it."""

import hashlib
import json
import threading
import unittest

import anthropic
import openai
from google import genai
from google.genai import errors

from moongate import *

OFF = "breaker = false"


def vendor(up, adapter="openai", rules="true", more=OFF, version="v1"):
    return (f'{{ adapter = "{adapter}", base_url = "http://127.0.0.1:{up.port}{"/" + version if version else ""}", api_key = "sk-vendor-{adapter}", '
            f"passthrough = {rules}, {more} }}")


def only(*named, extra=""):
    """A project of nothing but these providers: pairs of a name and what stands behind it."""
    return "return { providers = { " + "".join(f"{name} = {text}, " for name, text in named) + " }, allow_direct = true, " + extra + " }"


def one(up, **options):
    extra = options.pop("extra", "")
    return only(("acme", vendor(up, **options)), extra=extra)


def ask(gw, method, path, body=None, headers=None, **more):
    return gw.request(method, "/providers/acme" + path, body, headers, **more)


class AsItIs(unittest.TestCase):
    def test_method_path_query_headers_and_body_go_out_and_status_headers_and_bytes_come_back(self):
        odd = b'{"b" : 1.50,\n "a":"\xc3\xa9"}'
        with Upstream(respond(418, odd, {"x-odd": "yes", "content-type": "application/vnd.odd+json"})) as up, Gateway(one(up)) as gw:
            got = ask(gw, "PATCH", "/v1/things/a%20b?x=1&y=%2F", odd, {"x-mine": "1", "content-type": "application/x-odd"})
            sent = up.next_request()
            self.assertEqual((sent.method, sent.path, sent.body), ("PATCH", "/v1/things/a%20b?x=1&y=%2F", odd))
            self.assertEqual((sent.headers["x-mine"], sent.headers["content-type"]), ("1", "application/x-odd"))
            self.assertEqual(sent.headers["authorization"], "Bearer sk-vendor-openai")
            self.assertEqual((got.status, got.body, got.headers["x-odd"], got.headers["content-type"]), (418, odd, "yes", "application/vnd.odd+json"))
            self.assertEqual(got.headers["x-moongate-provider"], "acme")
            trace = gw.trace(got)
            self.assertEqual((trace["status"], trace["path"], trace["bytes_in"], trace["bytes_out"]), (418, "/providers/acme/v1/things/a%20b", len(odd), len(odd)))

    def test_every_method_and_answers_without_a_body(self):
        def script(sock, request):
            body = b"" if request.method == "HEAD" else b"x" * 7
            if request.method == "DELETE":
                sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n" + body)

        with Upstream(script) as up, Gateway(one(up)) as gw:
            for method, status, body in (("GET", 200, b"x" * 7), ("HEAD", 200, b""), ("PUT", 200, b"x" * 7), ("DELETE", 204, b""), ("POST", 200, b"x" * 7)):
                got = ask(gw, method, "/files/1")
                self.assertEqual((got.status, got.body, got.clean), (status, body, True), method)
                self.assertNotIn("transfer-encoding", got.headers)
                sent = up.next_request()
                self.assertEqual((sent.method, sent.path), (method, "/v1/files/1"))
                self.assertEqual("content-length" in sent.headers, method[0] == "P", method)
            self.assertEqual(ask(gw, "HEAD", "/files/1").headers["content-length"], "7")
            self.assertEqual(ask(gw, "OPTIONS", "/files/1").status, 405)

    def test_one_path_however_its_base_is_spelt(self):
        with Upstream(respond(200, {})) as up, Gateway(only(("acme", vendor(up, version="openai/v1")), ("bare", vendor(up, version="")))) as gw:
            for path, at in (("/files", "/openai/v1/files"), ("/v1/files", "/openai/v1/files"), ("/openai/v1/files", "/openai/v1/files"),
                             ("/v2/files", "/openai/v2/files"), ("/upload/v1/files", "/openai/upload/v1/files"), ("/files/v1", "/openai/v1/files/v1")):
                ask(gw, "GET", path)
                self.assertEqual(up.next_request().path, at)
            gw.request("GET", "/providers/bare/v1/files")
            self.assertEqual(up.next_request().path, "/v1/files")

    def test_events_arrive_while_the_vendor_still_speaks(self):
        go = threading.Event()
        with Upstream(stream({"n": 1}, go, {"n": 2}, "[DONE]")) as up, Gateway(one(up)) as gw, gw.connect() as sock:
            sock.sendall(f"GET /providers/acme/v1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gw.keys['main']}\r\n\r\n".encode())
            file, seen = sock.makefile("rb"), b""
            while b'"n": 1' not in seen:
                seen += file.readline()
            self.assertNotIn(b'"n": 2', seen)
            go.set()
            while b"[DONE]" not in seen:
                seen += file.readline()

    def test_a_slow_reader_slows_the_vendor_and_gets_every_byte(self):
        blob = hashlib.sha256(b"x").digest() * (1 << 19)                   # 16 MiB that are no text
        sent = threading.Event()

        def script(sock, request):
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n" % len(blob))
            sock.sendall(blob)
            sent.set()

        with Upstream(script) as up, Gateway(one(up)) as gw, gw.connect() as sock:
            sock.sendall(f"GET /providers/acme/v1/files/1/content HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gw.keys['main']}\r\n\r\n".encode())
            up.next_request()
            self.assertFalse(sent.wait(1))                                 # nobody holds 16 MiB for a client who reads nothing
            got = read_response(sock.makefile("rb"))
            self.assertEqual((got.headers["content-length"], got.body == blob), (str(len(blob)), True))

    def test_a_cut_answer_is_cut_for_the_client_and_a_silent_vendor_is_an_error_in_its_dialect(self):
        with Upstream(stream("a", then="cut"), close) as up, Gateway(one(up, adapter="anthropic")) as gw:
            self.assertFalse(ask(gw, "GET", "/v1/things").clean)
            got = ask(gw, "GET", "/v1/things")
            self.assertEqual((got.status, got.json["type"]), (502, "error"))
            self.assertEqual(up.count, 2)                                  # one provider was named, and asked once

    def test_addresses_of_the_vendor_lead_through_here(self):
        with Upstream() as up, Gateway(one(up)) as gw:
            there, here = f"http://127.0.0.1:{up.port}", "http://gw.example/providers/acme"
            for name, value, got in (("x-goog-upload-url", there + "/upload/v1/files?id=1", here + "/upload/v1/files?id=1"), ("location", "/v1/files/2", here + "/v1/files/2"),
                                     ("location", "https://signed.example/a", "https://signed.example/a"), ("location", "//signed.example/a", "//signed.example/a"),
                                     ("operation-location", there + "0/v1/a", there + "0/v1/a"), ("location", "b", "b")):
                up.answer(respond(302, b"", {name: value}))
                self.assertEqual(ask(gw, "GET", "/v1/files/1/content", headers={"host": "gw.example"}).headers[name], got)

    def test_a_client_may_bring_its_own_key_against_repetition(self):
        with Upstream(respond(200, {})) as up, Gateway(one(up, more='breaker = false, idempotency_header = "idempotency-key"')) as gw:
            ask(gw, "POST", "/v1/batches", {}, {"idempotency-key": "mine"})
            self.assertEqual([value for name, value in up.next_request().raw_headers if name.lower() == "idempotency-key"], ["mine"])
            got = ask(gw, "POST", "/v1/batches", {})
            self.assertEqual(up.next_request().headers["idempotency-key"], got.headers["x-request-id"])

    def test_what_always_fails_stops_no_conversation(self):
        with Upstream(respond(500, {})) as up, Gateway(one(up, more="breaker = { consecutive = 2, min_calls = 2, open_ms = 60000 }")) as gw:
            statuses = [ask(gw, "GET", "/v1/broken").status for _ in range(8)]
            self.assertEqual((statuses[0], statuses[-1]), (500, 503))      # left alone after a while
            up.answer(json_answer("hello"))
            self.assertEqual(ask(gw, "POST", "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}).status, 200)

    def test_a_post_that_nobody_knows_is_never_sent_twice(self):
        with Upstream(respond(200, {}), close, respond(200, {})) as up, Gateway(one(up)) as gw:
            self.assertEqual(ask(gw, "GET", "/batches").status, 200)
            self.assertEqual(ask(gw, "POST", "/batches", {}).status, 502)
            self.assertEqual(up.count, 2)


class Guarded(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = Upstream(respond(200, {"ok": True}, {"set-cookie": "a=b", "authorization": "Bearer theirs", "openai-organization": "org-ours",
                                                      "www-authenticate": "Bearer"})).__enter__()
        rules = '{ deny = { "DELETE *", "/v1/secret*" } }'
        main = only(("acme", vendor(cls.up, rules=rules)), ("off", vendor(cls.up, rules="false")), ("never", f'{{ base_url = "{cls.up.url}" }}'),
                    ("few", vendor(cls.up, rules='{ allow = { "GET /v1/files*" } }')), ("boss", vendor(cls.up, rules="{ administration = true }")), ("gone", vendor(cls.up)), extra='workflows = { ["acme/old"] = "acme/old" },')
        cls.gw = Gateway({"main": main, "other": only(("theirs", vendor(cls.up)))}).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.gw.__exit__(None, None, None)
        cls.up.__exit__(None, None, None)

    def refused(self, method, path, status, code, headers=None, body=None):
        before = self.up.count
        got = self.gw.request(method, path, body, headers)
        self.assertEqual((got.status, got.json["error"]["code"]), (status, code), path)
        self.assertEqual(self.up.count, before, path)
        return got

    def test_without_a_key_nobody_gets_through(self):
        got = self.gw.request("GET", "/providers/acme/v1/files", key=False)
        self.assertEqual((got.status, got.json["error"]["code"]), (401, "missing_api_key"))
        got = self.gw.request("GET", "/providers/acme/v1/files", headers={"x-api-key": "wrong"}, key=False)
        self.assertEqual((got.status, got.json["type"]), (401, "error"))   # in the dialect of whoever sends such a header

    def test_only_a_provider_of_the_project_that_is_open(self):
        for name, code in (("off", "passthrough_off"), ("never", "passthrough_off")):
            self.refused("GET", f"/providers/{name}/v1/files", 403, code)
        for name in ("theirs", "nobody", "ACME", "acme%2e", "..", "acme%2f..%2foff"):
            self.refused("GET", f"/providers/{name}/v1/files", 404, "unknown_provider")
        for path in ("/providers/", "/providers/acme", "/providers/acme/", "/providers//v1/files"):
            self.refused("GET", path, 404, "unknown_path")

    def test_no_path_that_could_be_read_in_two_ways(self):
        for path in ("/v1/../admin", "/../x", "/v1/files/..", "/v1/%2e%2e/x", "/v1/.%2E/x", "/./v1", "/v1//files", "//evil.example/x", "/v1/..;/x",
                     "/v1/..;a=b/x", "/v1/%2e%2e%2fx", "/v1/a%2f..%2f..%2fx", "/v1/%5c..%5cx", "/v1/%252e%252e/x", "/v1/%00", "/v1/%0d%0ahost:%20x",
                     "/v1/x%3fy", "/v1/x%23y", "/v1/%zz", "/v1/%", "/v1/%2", "/v1/a%09b", "/v1/" + "a" * 1100):
            self.refused("GET", "/providers/acme" + path, 400, "invalid_path")
        before = self.up.count
        self.assertEqual(self.gw.request("GET", "/providers/acme/v1/a\\..\\b").status, 400)
        self.assertEqual(self.up.count, before)

    def test_rules_hold_however_a_path_is_spelt(self):
        for path in ("/v1/secret", "/secret", "/v1/secrets/a", "/v1/Secret", "/v1/%73ecret", "/v1/secret/", "/v1/secret%2fa"):
            self.refused("GET", "/providers/acme" + path, 403, "path_not_allowed")
        self.refused("DELETE", "/providers/acme/v1/files/1", 403, "path_not_allowed")
        self.refused("POST", "/providers/few/v1/files", 403, "path_not_allowed", body={})
        self.refused("GET", "/providers/few/v1/batches", 403, "path_not_allowed")
        self.assertEqual(self.gw.request("GET", "/providers/few/files/1").status, 200)

    def test_an_account_is_not_administered_by_clients(self):
        for path in ("/v1/organization/admin_api_keys", "/v1/organizations/me", "/v1/Organization/users", "/api/v1/keys", "/v1/%6frganization/users", "/v1/users",
                     "/organization/invites", "/v1/dashboard/billing/usage", "/v1/organizations/workspaces", "/v1/projects/p/service_accounts", "/v1/api-keys"):
            self.refused("GET", "/providers/acme" + path, 403, "path_not_allowed")
        self.assertEqual(self.gw.request("GET", "/providers/boss/v1/organization/users").status, 200)
        for path in ("/v1/models", "/v1/files", "/v1/vector_stores/vs_1/files", "/v1/responses/resp_1"):
            self.assertEqual(self.gw.request("GET", "/providers/acme" + path).status, 200, path)

    def test_what_the_client_sends_of_itself_stays_here(self):
        mine = self.gw.keys["main"]
        got = self.gw.request("GET", f"/providers/acme/v1/files?key={mine}&a=1&%6bey=x&api_key=y&X-Amz-Signature=z&b=2", headers={
            "x-api-key": mine, "api-key": mine, "x-goog-api-key": mine, "cookie": "s=1", "x-http-method-override": "DELETE", "x-original-url": "/v1/secret",
            "openai-organization": "org-mine", "x-forwarded-host": "evil", "x-amz-security-token": "t", "proxy-authorization": "p", "x-moongate-session": "s",
            "connection": "keep-alive, x-drop", "x-drop": "1", "origin": "https://evil.example", "x-auth-token": mine})
        sent = self.up.requests.queue[-1]
        self.assertEqual(got.status, 200)
        self.assertEqual(sent.path, "/v1/files?a=1&b=2")
        self.assertNotIn(mine, str(sent.raw_headers))
        self.assertEqual([value for name, value in sent.raw_headers if name.lower() == "authorization"], ["Bearer sk-vendor-openai"])
        for name in ("x-api-key", "api-key", "cookie", "x-http-method-override", "x-original-url", "openai-organization", "x-forwarded-host",
                     "x-amz-security-token", "proxy-authorization", "x-moongate-session", "x-drop", "origin", "x-auth-token"):
            self.assertNotIn(name, sent.headers)
        for name in ("set-cookie", "authorization", "openai-organization", "www-authenticate"):
            self.assertNotIn(name, got.headers)

    def test_upgrades_and_odd_methods_are_refused_in_words(self):
        self.refused("GET", "/providers/acme/v1/realtime?model=x", 501, "upgrade_not_supported", {"connection": "upgrade", "upgrade": "websocket"})
        self.refused("REPORT", "/providers/acme/v1/files", 405, "method_not_allowed")

    def test_what_is_refused_is_in_the_log_with_its_path(self):
        got = self.refused("GET", "/providers/acme/v1/organization/users", 403, "path_not_allowed")
        self.assertEqual(self.gw.trace(got)["path"], "/providers/acme/v1/organization/users")

    def test_a_provider_or_a_model_that_was_switched_off(self):
        self.gw.cli("provider", "disable", "gone", "--project", "main")
        self.refused("GET", "/providers/gone/v1/files", 403, "provider_disabled")
        self.gw.cli("workflow", "disable", "acme/old", "--project", "main")
        self.refused("POST", "/providers/acme/v1/chat/completions", 503, "workflow_disabled", body={"model": "old", "messages": []})


CHEAP = "{ input = 1000000, output = 1000000 }"                            # a dollar a token


class Counted(unittest.TestCase):
    def test_requests_concurrency_and_usage_of_what_can_be_read(self):
        with Upstream(json_answer("hello")) as up, Gateway(one(up, extra="limits = { requests_per_minute = 60, burst = 2 },")) as gw:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
            got = ask(gw, "POST", "/v1/chat/completions", body)
            self.assertEqual((got.status, got.headers["x-ratelimit-remaining-requests"]), (200, "1"))
            attempt = gw.trace(got)["attempts"][0]
            event = json.loads(gw.cli("usage", "events").splitlines()[-1])
            self.assertEqual((event["operation"], event["input_tokens"], event["workflow"]), ("passthrough", 9, "acme/gpt-4o"))
            self.assertGreater(min(event["bytes_sent"], event["bytes_received"]), 50)
            self.assertEqual((attempt["usage"]["input_tokens"], attempt["usage"]["output_tokens"], attempt["model"]), (9, 3, "gpt-4o"))
            ask(gw, "GET", "/v1/files")
            got = ask(gw, "GET", "/v1/files")
            self.assertEqual((got.status, got.json["error"]["code"]), (429, "rate_limit_exceeded"))

    def test_usage_of_streams_too(self):
        with Upstream(stream(*good_events("hel", "lo"))) as up, Gateway(one(up)) as gw:
            got = ask(gw, "POST", "/v1/chat/completions", {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
            self.assertEqual(got.text, "hello")
            self.assertNotIn(b"stream_options", up.next_request().body)    # bytes are the client's own
            self.assertEqual(gw.trace(got)["attempts"][0]["usage"]["output_tokens"], 3)

    def test_a_budget_has_no_hole(self):
        budget = "limits = { budget = { usd = 30 } },"
        target = f'workflows = {{ x = {{ {{ target = "acme/m", price_usd = {CHEAP} }} }} }},'
        chat = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        with Upstream(json_answer("hello")) as up, Gateway(one(up, extra=budget + target)) as gw:
            for method, path, body in (("POST", "/v1/images/generations", {"model": "m"}), ("GET", "/v1/files", None), ("POST", "/v1/batches", {}),
                                       ("POST", "/v1/chat/completions/", chat), ("POST", "/v1/%63hat/completions", chat),
                                       ("POST", "/v1/chat/completions", {**chat, "model": "unpriced"}),
                                       ("POST", "/v1/responses", {"model": "m", "input": "hi", "background": True})):
                got = ask(gw, method, path, body)
                self.assertEqual((got.status, got.json["error"]["code"]), (403, "passthrough_unpriced"), path)
                self.assertEqual(got.headers["x-should-retry"], "false")
            self.assertEqual(up.count, 0)
            statuses = [ask(gw, "POST", "/v1/chat/completions", chat).status for _ in range(4)]
            self.assertEqual(statuses[0], 200)
            self.assertEqual(statuses[-1], 429)

    def test_a_price_for_each_call_and_each_byte(self):
        rules = "{ price_usd = { request = 1, megabyte = 1000000 } }"      # a dollar, and another for each byte
        with Upstream(respond(200, b"12345"), respond(500, {"error": {"message": "no"}}), respond(200, b"")) as up, Gateway(
                one(up, rules=rules, extra="limits = { budget = { usd = 20 } },")) as gw:
            got = ask(gw, "POST", "/v1/things", b"123")
            self.assertEqual(got.body, b"12345")
            self.assertEqual(gw.trace(got)["attempts"][0]["cost_microusd"], 9000000)
            got = ask(gw, "POST", "/v1/things", b"123")                    # an error is not charged
            self.assertEqual((got.status, gw.trace(got)["attempts"][0]["cost_microusd"]), (500, 0))
            self.assertEqual(ask(gw, "GET", "/v1/things").status, 200)     # reading costs nothing here
            got = ask(gw, "POST", "/v1/things", b"1" * 30)
            self.assertEqual((got.status, got.json["error"]["code"]), (429, "insufficient_quota"))

    def test_a_key_for_some_models_gets_those_and_nothing_that_is_not_known(self):
        with Upstream(json_answer("hello")) as up, Gateway(one(up)) as gw:
            key = json.loads(gw.cli("key", "create", "--project", "main", "--name", "few", "--workflows", "acme/gpt-4o", "--json"))["key"]
            every = json.loads(gw.cli("key", "create", "--project", "main", "--name", "all", "--workflows", "acme/*", "--json"))["key"]
            for model, body, status in (("gpt-4o", {}, 200), ("gpt-5", {}, 403), ("gpt-4o", {"extra": 1}, 200)):
                got = ask(gw, "POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}], **body},
                          {"authorization": f"Bearer {key}"})
                self.assertEqual(got.status, status, model)
            twice = b'{"model":"gpt-4o","model":"gpt-5","messages":[]}'
            self.assertEqual(ask(gw, "POST", "/v1/chat/completions", twice, {"authorization": f"Bearer {key}"}).status, 400)
            for method, path, body in (("GET", "/v1/files", None), ("POST", "/v1/images/generations", {"model": "gpt-4o"}),
                                       ("POST", "/v1/chat/completions/", {"model": "gpt-5"})):
                got = ask(gw, method, path, body, {"authorization": f"Bearer {key}"})
                self.assertEqual((got.status, got.json["error"]["code"]), (403, "model_not_allowed"), path)
                self.assertEqual(ask(gw, method, path, body, {"authorization": f"Bearer {every}"}).status, 200, path)

    def test_no_client_can_have_the_key_benched_that_others_use(self):
        refusal = error_answer(401, "invalid_api_key", message="this endpoint wants sk-vendor-openai of another kind")
        with Upstream(refusal, json_answer("hello")) as up, Gateway(one(up)) as gw:
            got = ask(gw, "GET", "/v1/things")
            self.assertEqual(got.status, 401)
            self.assertNotIn(b"sk-vendor-openai", got.body)                # some repeat the key that they refuse
            self.assertEqual(gw.chat(model="acme/m").status, 200)


class Hooks(unittest.TestCase):
    def test_a_guard_sees_requests_and_is_not_walked_around_on_the_way_back(self):
        guard = """on_request = function(req)
          for _, m in ipairs(req.messages) do if m:text():find("secret") then return req:deny { status = 403, code = "secret", message = "No." } end end
        end,"""
        with Upstream(json_answer("hello")) as up, Gateway(one(up, extra=guard)) as gw:
            for text, status in (("secret", 403), ("hi", 200)):
                got = ask(gw, "POST", "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": text}]})
                self.assertEqual(got.status, status, got.body)
            self.assertEqual(ask(gw, "PUT", "/v1/files", b"\x00\x01").status, 200)
        for hook in ("on_response = function(res) end,", "on_chunk = function(c) end,"):
            with Upstream(json_answer("hello")) as up, Gateway(only(("acme", vendor(up)), ("free", vendor(up, rules="{ unfiltered = true }")), extra=hook)) as gw:
                got = ask(gw, "GET", "/v1/files")
                self.assertEqual((got.status, got.json["error"]["code"]), (403, "passthrough_guarded"))
                self.assertEqual(gw.request("GET", "/providers/free/v1/files").status, 200)


class Sdks(unittest.TestCase):
    """Official SDKs whose base URL is /providers/NAME."""

    def root(self, gw, name="acme"):
        return f"http://127.0.0.1:{gw.port}/providers/{name}"

    def test_openai(self):
        file = {"id": "file-1", "object": "file", "bytes": 3, "created_at": 1, "filename": "a.txt", "purpose": "batch", "status": "processed"}
        with Upstream(respond(200, {"object": "list", "data": [file], "has_more": False}), respond(200, file), respond(200, b"abc", {"content-type": "application/octet-stream"}),
                      stream(*good_events("hel", "lo")), error_answer(404, "not_there")) as up, Gateway(one(up)) as gw:
            client = openai.OpenAI(base_url=self.root(gw) + "/v1", api_key=gw.keys["main"], max_retries=0)
            self.assertEqual([each.id for each in client.files.list()], ["file-1"])
            self.assertEqual(client.files.create(file=("a.txt", b"abc"), purpose="batch").id, "file-1")
            up.next_request()
            self.assertIn(b'filename="a.txt"', up.next_request().body)
            self.assertEqual(client.files.content("file-1").read(), b"abc")
            pieces = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
            self.assertEqual("".join(each.choices[0].delta.content or "" for each in pieces if each.choices), "hello")
            with self.assertRaises(openai.NotFoundError) as caught:
                client.batches.retrieve("b")
            self.assertEqual(caught.exception.code, "not_there")

    def test_anthropic(self):
        batch = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended", "created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z",
                 "request_counts": {"canceled": 0, "errored": 0, "expired": 0, "processing": 0, "succeeded": 1}}
        with Upstream(respond(200, batch), respond(404, {"type": "error", "error": {"type": "not_found_error", "message": "no"}})) as up, Gateway(
                one(up, adapter="anthropic")) as gw:
            client = anthropic.Anthropic(base_url=self.root(gw), api_key=gw.keys["main"], max_retries=0)
            self.assertEqual(client.messages.batches.retrieve("msgbatch_1").processing_status, "ended")
            sent = up.next_request()
            self.assertEqual((sent.path, sent.headers["x-api-key"]), ("/v1/messages/batches/msgbatch_1", "sk-vendor-anthropic"))
            self.assertRegex(sent.headers["anthropic-version"], r"^20\d\d-\d\d-\d\d$")
            with self.assertRaises(anthropic.NotFoundError):
                client.messages.batches.retrieve("msgbatch_2")
            with self.assertRaises(anthropic.PermissionDeniedError):
                client.get("/v1/organizations/users", cast_to=object)

    def test_google_genai(self):
        cached = {"name": "cachedContents/1", "model": "models/gemini-3", "createTime": "2026-01-01T00:00:00Z"}
        with Upstream(respond(200, cached), respond(404, {"error": {"code": 404, "message": "no", "status": "NOT_FOUND"}})) as up, Gateway(
                one(up, adapter="gemini", version="v1beta")) as gw:
            client = genai.Client(api_key=gw.keys["main"], http_options={"base_url": self.root(gw), "api_version": "v1beta"})
            self.assertEqual(client.caches.get(name="cachedContents/1").name, "cachedContents/1")
            sent = up.next_request()
            self.assertEqual((sent.path, sent.headers["x-goog-api-key"]), ("/v1beta/cachedContents/1", "sk-vendor-gemini"))
            with self.assertRaises(errors.ClientError) as caught:
                client.caches.get(name="cachedContents/2")
            self.assertEqual(caught.exception.status, "NOT_FOUND")


if __name__ == "__main__":
    main()
