"""Every class of failure, by the signatures of wire/failures.md, × {stream, whole} × {the fallback works, both fail}.

A row is one signature: what the provider sends. What must follow is one table more, by class. Whatever fails here fails
before the client has seen content, so the only trace of it a client may see is the answer of the next target.
"""

import datetime
import email.utils

from wall import *

OK = [json_answer("fine")]
OK_STREAM = [stream(*good_events("fi", "ne"))]
ROLE = good_events()[0]


@dataclass
class Class:
    """What follows from a class: the bounds of calls per side, and the client's last word when nothing works."""
    tries: int  # calls a side may see at most
    next: bool  # whether the next target is tried
    status: tuple  # what the client sees when both fail
    pause_s: float = 0  # the least time between two calls of a side
    code: str = None  # of the error; None: the class's own name, "": the provider's own


# Pauses are those of meter/failure.h and of the wire reference (§1): network 50 ms, server_error 250 ms, overloaded 1 s,
# 429 without Retry-After 500 ms. Times are measured at the provider, so a fifth is allowed for what happens on the way.
CLASSES = {
    "network": Class(3, True, (502,), 0.05),
    "timeout_connect": Class(2, True, (504,), 0.05),
    "timeout_ttft": Class(1, True, (504,)),
    "timeout_idle": Class(1, True, (504,)),
    "timeout_total": Class(1, True, (504,)),
    "rate_limited": Class(3, True, (429,), 0.5),
    "quota_billing": Class(1, True, (429,)),
    "overloaded": Class(3, True, (503,), 1),
    "server_error": Class(3, True, (502,), 0.25),
    "auth": Class(1, True, (502,)),
    "permission": Class(1, True, (502,)),
    "model_not_found": Class(1, True, (404,)),
    "invalid_request": Class(1, False, (400, 405, 415, 422), code=""),
    "context_length": Class(1, True, (400,), code=""),
    "payload_too_large": Class(1, True, (413,), code=""),
    "content_filter": Class(1, False, (400, 403), code=""),
    "empty_response": Class(2, True, (502,)),
    "truncated_stream": Class(3, True, (502,)),
    "invalid_json": Class(2, True, (502,)),
    "schema_mismatch": Class(2, True, (502,)),
    "conflict": Class(3, True, (409,), 0.1, code=""),
    "state_lost": Class(1, False, (400, 404), code=""),
}

EXCEPTIONS = {400: openai.BadRequestError, 404: openai.NotFoundError, 409: openai.ConflictError, 422: openai.UnprocessableEntityError,
              429: openai.RateLimitError, 403: openai.PermissionDeniedError}


@dataclass
class Signature:
    name: str
    class_: tuple  # of the first attempt: one name, or those that would be right
    streamed: object = None  # script of a streamed request; None: there is no such thing
    whole: object = None
    workflow: str = ""
    target: str = ""  # of every side that fails
    url: str = None  # instead of scripts
    pause_s: float = None  # instead of the class's
    at_least_s: float = 0  # the request takes that long: a timer


def said(name, class_, status, code=None, type="invalid_request_error", message="no", headers=None, **more):
    """An error status with an OpenAI error object."""
    script = error_answer(status, code, type, message, headers)
    return Signature(name, (class_,) if isinstance(class_, str) else class_, script, script, **more)


def body(name, class_, status, body, headers=None, **more):
    script = respond(status, body, headers)
    return Signature(name, (class_,) if isinstance(class_, str) else class_, script, script, **more)


def html(name, status, headers=None):
    page = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><center>cloudflare</center></body></html>"
    return body(name, "server_error", status, page, {"content-type": "text/html; charset=UTF-8", **(headers or {})})


def streamed(name, class_, *events, then="end", **more):
    return Signature(name, (class_,) if isinstance(class_, str) else class_, stream(*events, then=then), **more)


def whole(name, class_, answer, headers=None, then=None, **more):
    def script(sock, request):
        respond(200, answer, headers)(sock, request)
        if then:
            then(sock, request)
    return Signature(name, (class_,) if isinstance(class_, str) else class_, None, script, **more)


def error(code=None, type="server_error", message="The server had an error while processing your request."):
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def raw(data, then=close):
    def script(sock, request):
        sock.sendall(data)
        then(sock, request)
    return script


def drip(sock, request):
    """A head, then blanks for ever."""
    kind = b"text/event-stream" if request.json.get("stream") else b"application/json"
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n" % kind)
    while True:
        sock.sendall(b"1\r\n\n\r\n")
        time.sleep(0.05)


def comments(sock, request):
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        sock.sendall(b"10\r\n: keep-alive\r\n\r\n\r\n")
        time.sleep(0.05)


def in_a_date(seconds):
    def script(sock, request):
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        error_answer(429, "rate_limit_exceeded", "requests", headers={"retry-after": email.utils.format_datetime(at, usegmt=True)})(sock, request)
    return script


def tool_answer(arguments):
    return completion(None, finish="tool_calls", tool_calls=[
        {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": arguments}}])


TTFT = "timeouts_ms = { first_token = 300 },"
TOTAL = "timeouts_ms = { total = 400 },"
IDLE = "timeouts_ms = { idle = 300 },"
CUT_JSON = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"mess'
GROQ_DAY = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7h12m0s", "retry-after": "25920"}

SIGNATURES = [
    # network
    Signature("closed before an answer", ("network",), close, close),
    Signature("reset before an answer", ("network",), reset, reset),
    Signature("nobody listens", ("network",), url="refused"),
    Signature("TLS that is none", ("network",), url="no tls"),
    Signature("a name that does not exist", ("network",), url="http://nothing.invalid/v1"),
    # the four timers
    Signature("a connection that never comes up", ("timeout_connect",), url="full", target="timeouts_ms = { connect = 250 },", at_least_s=0.25),
    Signature("silent before its headers, streamed", ("timeout_ttft",), hang, target=TTFT, at_least_s=0.3),
    Signature("silent before its headers", ("timeout_total",), None, hang, target=TOTAL, at_least_s=0.4),
    streamed("silent after its headers", "timeout_ttft", then="stall", target=TTFT, at_least_s=0.3),
    streamed("silent after the role", "timeout_ttft", ROLE, then="stall", target=TTFT, at_least_s=0.3),
    Signature("nothing but comments for ever", ("timeout_ttft",), comments, target=TTFT, at_least_s=0.3),
    Signature("nothing but blanks for ever, streamed", ("timeout_ttft",), drip, target=TTFT, at_least_s=0.3),
    Signature("nothing but blanks for ever", ("timeout_total",), None, drip, target=TOTAL, at_least_s=0.4),
    streamed("silent before content, for longer than idle", "timeout_idle", ROLE, then="stall", target=IDLE, at_least_s=0.3),
    whole("half an answer, then silence", ("timeout_idle", "timeout_total"), CUT_JSON, {"content-length": "5000"},
          then=hang, target="timeouts_ms = { idle = 300, total = 600 },", at_least_s=0.3),
    said("408", "timeout_total", 408, type="timeout", message="Request timed out."),
    said("504 timeout_error", "timeout_total", 504, type="timeout_error"),
    # rate
    said("429 with Retry-After", "rate_limited", 429, "rate_limit_exceeded", "requests", headers={"retry-after": "1"}, pause_s=1),
    said("429 with retry-after-ms", "rate_limited", 429, "rate_limit_exceeded", "tokens", headers={"retry-after-ms": "700"}, pause_s=0.7),
    Signature("429 with a date to come back", ("rate_limited",), in_a_date(2), in_a_date(2), pause_s=1),
    said("429 without Retry-After", "rate_limited", 429, "rate_limit_exceeded", "requests"),
    said("429 of Mistral", "rate_limited", 429, None, "rate_limited", "Service tier capacity exceeded for this model."),
    said("429 of Azure", "rate_limited", 429, "429", None, "Requests have exceeded token rate limit of your current OpenAI S0 pricing tier.",
         headers={"retry-after": "1", "retry-after-ms": "900"}, pause_s=0.9),
    body("429 without a word", "rate_limited", 429, b"", {"content-type": "text/plain"}),
    # money
    said("insufficient quota", "quota_billing", 429, "insufficient_quota", "insufficient_quota"),
    said("hard limit", "quota_billing", 429, "billing_hard_limit_reached", "insufficient_quota"),
    said("spend limit of the project", "quota_billing", 429, "project_spend_limit_exceeded"),
    said("no credit", "quota_billing", 429, "credit_balance_exhausted", None),
    said("402", "quota_billing", 402, "invalid_request_error", "unknown_error", "Insufficient Balance"),
    said("credit too low, as 400", "quota_billing", 400, None, "invalid_request_error", "Your credit balance is too low to access the API."),
    said("requests of the day are spent", "quota_billing", 429, "rate_limit_exceeded", "requests", "Rate limit reached (RPD)", GROQ_DAY),
    # load
    said("503 overloaded", "overloaded", 503, "server_is_overloaded", "service_unavailable_error"),
    said("slow down", "overloaded", 429, "slow_down", "rate_limit_error"),
    said("529", "overloaded", 529, None, "overloaded_error", "Overloaded"),
    said("498 of Groq", "overloaded", 498, "capacity_exceeded", "capacity_exceeded"),
    said("high demand at Azure", "overloaded", 429, None, None, "The system is currently experiencing high demand and cannot process your request."),
    said("llama.cpp is loading", "overloaded", 503, None, "unavailable_error", "Loading model"),
    said("503 of Ollama", "overloaded", 503, None, "api_error", "server busy, please try again. maximum pending requests exceeded"),
    body("503 without a word", "overloaded", 503, b""),
    streamed("overloaded as the first event", "overloaded", error("server_is_overloaded", "service_unavailable_error"), "[DONE]"),
    streamed("DeepSeek runs out before content", "overloaded", ROLE, chunk({}, "insufficient_system_resource"), "[DONE]"),
    # the provider's own faults
    said("500", "server_error", 500, None, "server_error"),
    said("424", "server_error", 424, None, "failed_dependency"),
    html("a proxy's 502", 502),
    html("a proxy's 504", 504),
    html("Cloudflare's 520", 520),
    html("Cloudflare's 524", 524),
    html("a challenge page", 403, {"cf-mitigated": "challenge"}),
    html("a page with 200", 200),
    body("nothing with 200", ("server_error", "invalid_json", "empty_response"), 200, b""),
    body("an error with 200", "server_error", 200, error()),
    Signature("an answer that is not HTTP", ("server_error", "network"), raw(b"HTTP/1.1 two hundred\r\n: none\r\n\r\n"), raw(b"SSH-2.0-OpenSSH_9.2\r\n")),
    streamed("an error as the first event", "server_error", error()),
    streamed("an event named error", "server_error", b'event: error\ndata: {"message":"x","code":"server_error"}\n\n'),
    streamed("an error and DONE, as vLLM does", "server_error", error("InternalServerError", "InternalServerError"), "[DONE]"),
    streamed("finish reason error before content", "server_error", ROLE, chunk({}, "error"), "[DONE]"),
    whole("finish reason error", "server_error", completion("", finish="error")),
    streamed("a code that is a number", "overloaded", {"error": {"message": "upstream", "code": 503}}),
    # the account
    said("401", "auth", 401, "invalid_api_key", message="Incorrect API key provided: sk-****."),
    said("401 of Azure", "auth", 401, "401", None, "Access denied due to invalid subscription key or wrong API endpoint."),
    said("401 by address", "auth", 401, "ip_not_authorized"),
    said("403", "permission", 403, "model_not_allowed"),
    said("403 by region", "permission", 403, "unsupported_country_region_territory", "request_forbidden"),
    said("404", "model_not_found", 404, "model_not_found"),
    said("404 of Azure", "model_not_found", 404, "DeploymentNotFound", None, "The API deployment for this resource does not exist."),
    said("404 of a wrong path", "model_not_found", 404, "404", None, "Resource not found"),
    # the request
    said("400", "invalid_request", 400, "invalid_value", message="Invalid value for 'temperature'."),
    said("400 that speaks of 429", "invalid_request", 400, "invalid_value", message="Invalid value: 'rate limit 429 overloaded insufficient_quota'"),
    said("405", "invalid_request", 405),
    said("415", "invalid_request", 415),
    body("422 of Mistral", "invalid_request", 422, {"detail": [{"loc": ["body", "x"], "msg": "extra fields not permitted", "type": "value_error"}]}),
    said("a user field that is too long", "invalid_request", 400, "string_above_max_length", message="Invalid 'user': string too long."),
    said("context length", "context_length", 400, "context_length_exceeded"),
    said("context length by its text", "context_length", 400, None, message="This model's maximum context length is 8192 tokens."),
    said("context length of Anthropic", "context_length", 400, message="prompt is too long: 210000 tokens > 200000 maximum"),
    said("context length of llama.cpp", "context_length", 400, None, "exceed_context_size_error", "the request exceeds the available context size"),
    said("batch size of llama.cpp", "context_length", 500, None, "server_error", "input is too large to process, increase the physical batch size"),
    said("413", "payload_too_large", 413),
    said("too large for tokens per minute", "payload_too_large", 429, "rate_limit_exceeded", "tokens",
         "Request too large for gpt on tokens per minute (TPM): Limit 30000, Requested 41200."),
    said("413 of Groq", "payload_too_large", 413, "rate_limit_exceeded", "tokens", "Request too large for model on tokens per minute (TPM)"),
    said("policy", "content_filter", 400, "content_policy_violation"),
    said("policy of Azure", "content_filter", 400, "content_filter", None, "The response was filtered", None),
    said("a prompt that is flagged", "content_filter", 400, "invalid_prompt"),
    said("lost state", "state_lost", 400, "previous_response_not_found"),
    said("lost secret of a reasoning", "state_lost", 400, "invalid_encrypted_content"),
    said("409", "conflict", 409, "conflict"),
    # answers that are none
    whole("nothing was said", "empty_response", completion("")),
    whole("null was said", "empty_response", completion(None)),
    whole("no choices", "empty_response", {**completion(""), "choices": []}),
    streamed("nothing was said, streamed", "empty_response", ROLE, chunk({}, "stop"), "[DONE]"),
    streamed("a stream without an event", ("empty_response", "truncated_stream"), "[DONE]"),
    streamed("nothing but three comments", "truncated_stream", *[b": keep-alive\n\n"] * 3),
    streamed("cut before content", "truncated_stream", ROLE, then="cut"),
    streamed("reset before content", "truncated_stream", ROLE, then="reset"),
    streamed("ends before content", "truncated_stream", ROLE),
    streamed("DONE without a finish", "truncated_stream", ROLE, "[DONE]"),
    whole("fewer bytes than promised", "truncated_stream", json.dumps(completion("fine")).encode()[:-9], {"content-length": "400"}, then=close),
    Signature("framing that is none", ("truncated_stream",),
              raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
              raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")),
    whole("cut JSON", "invalid_json", CUT_JSON),
    whole("arguments that are cut", "invalid_json", tool_answer('{"where": "har')),
    whole("text that is no JSON", ("invalid_json", "server_error"), b"upstream is fine, thanks", {"content-type": "text/plain"}),
    streamed("nothing but broken events", ("invalid_json", "truncated_stream", "empty_response"), b"data: {oops\n\n", b"data: {oops\n\n", "[DONE]"),
    said("tools the model could not use", "schema_mismatch", 400, "tool_use_failed", message="Failed to call a function."),
    said("JSON the model could not write", "schema_mismatch", 400, "json_validate_failed"),
]


def places():
    """Addresses where nothing answers; they live as long as this process."""
    refused = socket.socket()
    refused.bind(("127.0.0.1", 0))
    full = socket.create_server(("127.0.0.1", 0), backlog=0)  # nobody accepts: the backlog fills up
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    plain = Upstream(close)
    plain.__enter__()
    held.extend([refused, full, *fillers])
    return {"refused": f"http://127.0.0.1:{refused.getsockname()[1]}/v1", "full": f"http://127.0.0.1:{full.getsockname()[1]}/v1",
            "no tls": f"https://127.0.0.1:{plain.port}/v1"}


held = []


@build
class Classes(WallTest, unittest.TestCase):
    @classmethod
    def rows(cls):
        where, rows = places(), []
        for signature in SIGNATURES:
            url = where.get(signature.url, signature.url)
            for streams in (True, False):
                script = signature.streamed if streams else signature.whole
                if not (url or script):
                    continue
                for works in (True, False):
                    failing = url or [script]
                    rows.append(Scenario(
                        f"{signature.name} - {'stream' if streams else 'whole'} - {'the fallback works' if works else 'both fail'}",
                        {"a": failing, "b": (OK_STREAM if streams else OK) if works else failing}, streams,
                        workflow=f"deadline_ms = 8000, {signature.workflow}", row=(signature, works),
                        targets={"a": "context_window = 8000, " + signature.target,
                                 "b": "context_window = 200000, " + ("" if works else signature.target)}))
        return rows

    def judge(self, scenario, outcome):
        signature, works = scenario.row
        class_ = outcome.attempts[0]["class"]
        self.assertIn(class_, signature.class_)
        rule = CLASSES[class_]
        self.bounds(signature, rule, outcome, works and rule.next)
        self.timeline(outcome, class_)
        self.assertGreaterEqual(outcome.took_s, signature.at_least_s)
        if works and rule.next:
            self.assertIsNone(outcome.error)
            self.assertEqual((outcome.text, outcome.finish, outcome.trace["class"]), ("fine", "stop", "none"))
            self.assertEqual(outcome.headers["x-moongate-attempts"], str(len(outcome.attempts)))
        else:
            self.refused(rule, class_, outcome)

    def bounds(self, signature, rule, outcome, works):
        """Who was called, how often, in which order, and with which pauses."""
        if not signature.url:
            self.assertEqual(len(outcome.calls), len(outcome.attempts) + outcome.redialed)
            tries, again = rule.tries + outcome.redialed, (1 if works else rule.tries) + outcome.redialed
            self.assertRegex(outcome.order, "^a+$" if not rule.next else "^a+b$" if works else "^a+b[ab]*$")
            self.assertLessEqual(len(outcome.of("a")), tries)
            self.assertLessEqual(len(outcome.of("b")), again)
        pause_s = signature.pause_s or rule.pause_s
        for side in "ab" if not outcome.redialed else "":
            for gap in outcome.gaps(side):
                self.assertGreaterEqual(gap, 0.8 * pause_s)
        self.assertLessEqual(outcome.took_s, 8 + 1)
        if outcome.order == "ab":  # the first move to the next target is free: nothing is waited for
            a, b = sorted(outcome.calls, key=lambda call: call.at)
            self.assertLess(b.at - a.at, signature.at_least_s + 2)

    def timeline(self, outcome, class_):
        attempts = outcome.attempts
        self.assertEqual(attempts[0]["reason"], "first")
        for before, after in zip(attempts, attempts[1:]):
            same = before["target"] == after["target"]
            self.assertEqual(before["class"], class_)
            self.assertEqual(after["reason"], "retry" if same else "fallback")
            self.assertEqual(before["action"], "retry" if same else "fallback")
        good = outcome.error is None
        self.assertEqual(attempts[-1]["action"], "accept" if good else "fail")
        self.assertEqual(attempts[-1]["class"], "none" if good else class_)

    def refused(self, rule, class_, outcome):
        """The client is told by a status, in words and a code that can be relied on; never in HTML."""
        self.assertIsNotNone(outcome.error)
        self.assertIsNone(outcome.finish)
        self.assertEqual(outcome.text, "")
        self.assertIn(outcome.status, rule.status)
        if outcome.status in EXCEPTIONS or outcome.status >= 500:
            self.assertIsInstance(outcome.error, EXCEPTIONS.get(outcome.status, openai.InternalServerError))
        if rule.code is None:
            self.assertEqual(outcome.code, class_)
        self.assertEqual(outcome.trace["class"], class_)
        self.assertEqual(outcome.headers["content-type"].split(";")[0], "application/json")
        self.assertNotIn("<", outcome.error.message)
        self.assertNotIn("sk-s", json.dumps(outcome.error.body))
        if class_ == "rate_limited":
            self.assertGreaterEqual(int(outcome.headers.get("retry-after", 0)), 1)


if __name__ == "__main__":
    main()
