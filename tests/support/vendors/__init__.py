"""Simulated vendors that refuse what the vendor refuses: written from the vendors' formats, never from our code.

    with vendors.start("anthropic") as up:
        up.say(Say("Hello", calls=[("f", {"k": 1})]))

Each module has check_headers, or check_request where the key covers more than them, check (a request's body; raises
Refused), whole and events (what it says), refusal (its shape of an error, and headers beside it). A vendor keeps what it
signed: state that it never gave out is refused as forged.
"""

import importlib
import json
from urllib.parse import urlsplit

import moongate
from vendors.shape import Refused


class Say:
    """An answer. `finish`: "stop", "length" or "refusal"; `pieces`: what a stream breaks its text into; `breaks`: a stream
    that is cut after its text, that ends with an error in the vendor's shape, or that says no more until the gateway
    leaves ("cut", "error", "stall"); with "stall" a whole answer never comes; `cites`: the page that the text was taken
    from, for vendors that say so."""

    def __init__(self, text="", thought="", calls=(), finish="stop", pieces=3, breaks=None, cites=None):
        self.text, self.thought, self.calls, self.finish, self.pieces, self.breaks = text, thought, list(calls), finish, pieces, breaks
        self.cites = cites

    def cut(self, text):
        size = max(1, len(text) // self.pieces)
        return [text[i:i + size] for i in range(0, len(text), size)]


class Fail:
    """An error: "auth", "missing", "rate", "bad", "context", "overloaded" or "server"."""

    def __init__(self, kind, **headers):
        self.kind, self.headers = kind, headers


USAGE = {"input": 109, "cached": 100, "output": 12, "thought": 4}  # everything in, of it from the cache; everything out, of it thought


class Vendor(moongate.Upstream):
    """A vendor's endpoint. It takes what it is to say from `say`, in order; the last one stays. One may be a function of the
    request's body."""

    def __init__(self, name):
        super().__init__(self.serve)
        self.name, self.dialect = name, importlib.import_module(f"vendors.{name}")
        self.turns, self.signed, self.refused = [], set(), []
        self.version = ""  # of the API, as the request says it
        self.body, self.sent = None, None  # the last request that was taken, the last answer

    def say(self, *turns):
        with self.lock:
            self.turns = list(turns)

    def sign(self, text):
        """State of the vendor's own, which it knows again."""
        self.signed.add(text)
        return text

    def serve(self, sock, request):
        try:
            streams = self.read(request)
        except Refused as refused:
            self.refused.append(str(refused))
            return self.fail(sock, request, refused.kind, str(refused), refused.param)
        with self.lock:
            turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        if callable(turn):
            turn = turn(json.loads(request.body))
        if isinstance(turn, Fail):
            return self.fail(sock, request, turn.kind, "as the test wants it", "messages" if turn.kind == "bad" else None, turn.headers)
        if not streams and turn.breaks == "stall":
            return moongate.hang(sock)
        if not streams:
            self.sent = json.dumps(self.dialect.whole(turn, self))
            return moongate.respond(200, self.sent.encode())(sock, request)
        events = [each if isinstance(each, bytes) else f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n".encode()
                  for each in self.dialect.events(turn, self)]
        self.sent = b"".join(events).decode(errors="replace")
        moongate.stream(*events, then=turn.breaks if turn.breaks in ("cut", "stall") else "end",
                        type=getattr(self.dialect, "STREAM_TYPE", "text/event-stream"))(sock, request)

    def read(self, request):
        """Checks a request; whether it asks for a stream."""
        if hasattr(self.dialect, "check_request"):
            self.dialect.check_request(request, self)
        else:
            self.dialect.check_headers(request.headers, self)
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise Refused("content-type must be application/json")
        try:
            body = json.loads(request.body, object_pairs_hook=no_member_twice)
        except ValueError as error:
            raise Refused(f"We could not parse the JSON body of your request: {error}") from error
        self.body = body
        return self.dialect.check(body, urlsplit(request.path), self)

    def fail(self, sock, request, kind, message, param=None, headers=None):
        status, body, *more = self.dialect.refusal(kind, message, param)
        headers = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        moongate.respond(status, body, {**headers, **(more[0] if more else {})}, "Error")(sock, request)

    @property
    def config(self):
        """How a project names it as a provider: where it is asked, and with which key."""
        base = self.url.removesuffix("/v1") + getattr(self.dialect, "VERSION", "/v1")
        return f'adapter = "{self.name}", base_url = "{base}", ' + getattr(self.dialect, "CONFIG", 'api_key = "secret", ')


def no_member_twice(pairs):
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a member stands there twice")
    return dict(pairs)


def start(name):
    return Vendor(name)
