"""Every limit there is, of everybody who can have one, as the official SDK meets it: the error and its code, which limit it was,
its value, whose it is and when it frees up; the headers that tell of it before; and what operators see."""

import json
import re
import unittest

import openai

from moongate import *

HI = [{"role": "user", "content": "hi"}]
ANN = {"user": "ann"}

# How a limit is written, what the SDK must be told, and what of it is in the headers.
KINDS = {
    "requests": dict(lua="requests_per_minute = 2, burst = 1", code="rate_limit_exceeded", key="requests_per_minute",
                     says=r"2 requests per minute", when=r"Try again in \d+\.\d{3} s", retry=(1, 30), header=("requests", "2")),
    "tokens": dict(lua="tokens_per_minute = 100", code="rate_limit_exceeded", key="tokens_per_minute",
                   says=r"100 tokens per minute, and this request may need \d+", when=r"Try again in \d+\.\d{3} s", retry=(1, 60),
                   header=("tokens", "100")),
    "concurrency": dict(lua="concurrency = 1", code="concurrency_limit_exceeded", key="concurrency", says=r"1 requests at once",
                        when=r"Try again when one of them has ended", retry=(1, 1), header=None),
    **{f"budget per {period}": dict(lua=f'budget = {{ per = "{period}", usd = 100 }}', code="insufficient_quota", key="budget",
                                    says=rf"\$100\.00 per {period}, and this request may cost \$\d+\.\d+",
                                    when=r"It is renewed at \d{4}-\d\d-\d\dT00:00:00Z", retry=(1, days * 86400), header=None)
       for period, days in (("day", 1), ("week", 7), ("month", 31))},
}
# Where it is written, and how the refusal names the place and whose it is.
SCOPES = {
    "project": ("%s", "", "", "limits.%s", r"project '\w+'"),
    "workflow": ("", "limits = { %s }", "", "workflows.chat.limits.%s", r"workflow 'chat'"),
    "key": ("per_key = { %s }", "", "", "limits.per_key.%s", r"this API key \(key_\w+\)"),
    "key of a workflow": ("", "limits = { per_key = { %s } }", "", "workflows.chat.limits.per_key.%s", r"this API key \(key_\w+\) in workflow 'chat'"),
    "user": ("per_metadata = { user = { %s } }", "", "", "limits.per_metadata.user.%s", r"metadata 'user' = 'ann'"),
    "user of a workflow": ("", "limits = { per_metadata = { user = { %s } } }", "", "workflows.chat.limits.per_metadata.user.%s",
                           r"metadata 'user' = 'ann' in workflow 'chat'"),
    "key's own": ("", "", "%s", "key.limits.%s", r"this API key \(key_\w+\)"),
}
OWN = {"requests": ["requests_per_minute=2", "burst=1"], "tokens": ["tokens_per_minute=100"], "concurrency": ["concurrency=1"],
       **{f"budget per {period}": [f"budget=100/{period}"] for period in ("day", "week", "month")}}


def project_of(up, scope, kind):
    limits, workflow, own = (part % KINDS[kind]["lua"] if part else "" for part in SCOPES[scope][:3])
    return (f'return {{ providers = {{ p = {{ base_url = "{up.url}", api_key = "k", breaker = false }} }}, '
            f'workflows = {{ chat = {{ targets = {{ {{ target = "p/m", price_usd = {{ input = 1e6, output = 1e6 }} }} }}, {workflow} }} }}, '
            f'limits = {{ {limits} }} }}')


def hold_or_answer(sock, request):
    """Who asks to be held gets the beginning of a stream, and no end."""
    held = request.json["messages"][0]["content"] == "hold"
    (stream(*good_events("a")[:2], then="stall") if held else json_answer("hello"))(sock, request)


class EveryLimit(unittest.TestCase):
    """9 tokens in and 3 out; at a million dollars a million tokens one call is $12."""

    @classmethod
    def setUpClass(cls):
        cls.up = Upstream(hold_or_answer).__enter__()
        cls.names = {(scope, kind): re.sub(r"\W", "", f"{scope}{kind}") for scope in SCOPES for kind in KINDS}
        cls.gw = Gateway({name: project_of(cls.up, *pair) for pair, name in cls.names.items()}).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.gw.__exit__(None, None, None)
        cls.up.__exit__(None, None, None)

    def client(self, scope, kind):
        name = self.names[scope, kind]
        if scope != "key's own":
            return self.gw.client(name)
        options = [word for limit in OWN[kind] for word in ("--limit", limit)]
        made = json.loads(self.gw.cli("key", "create", "--project", name, "--json", *options))
        return self.gw.client(name, api_key=made["key"])

    def ask(self, client, **more):
        return client.chat.completions.with_raw_response.create(**{"model": "chat", "messages": HI, "max_tokens": 3, "metadata": ANN, **more})

    def refuse(self, client, kind):
        """Up to the refusal: the headers of the last answer before it, and the error."""
        headers = None
        if kind == "concurrency":
            with client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hold"}], metadata=ANN, stream=True):
                with self.assertRaises(openai.RateLimitError) as caught:
                    self.ask(client)
            return headers, caught.exception
        with self.assertRaises(openai.RateLimitError) as caught:
            for _ in range(20):
                headers = self.ask(client).headers
        return headers, caught.exception

    def check_error(self, error, scope, kind):
        spec, (_, _, _, path, whose) = KINDS[kind], SCOPES[scope]
        self.assertEqual((error.status_code, error.type, error.code), (429, "rate_limit_error", spec["code"]))
        self.assertEqual(error.param, path % spec["key"])
        self.assertRegex(error.body["message"], rf"^Limit reached for {whose}: {spec['says']} \({re.escape(error.param)}\)\. {spec['when']}\.$")
        least, most = spec["retry"]
        self.assertTrue(least <= int(error.response.headers["retry-after"]) <= most, error.response.headers["retry-after"])
        self.assertTrue(0 < int(error.response.headers["retry-after-ms"]) <= most * 1000)
        self.assertEqual(error.response.headers.get("x-should-retry"), "false" if "budget" in kind else None)

    def check_headers(self, headers, kind):
        """Both of the answer that passed and of the refusal."""
        if not KINDS[kind]["header"]:
            self.assertFalse([name for name in headers or () if name.startswith("x-ratelimit-")])
            return
        what, most = KINDS[kind]["header"]
        self.assertEqual(headers[f"x-ratelimit-limit-{what}"], most)
        self.assertTrue(0 <= int(headers[f"x-ratelimit-remaining-{what}"]) <= int(most))
        self.assertRegex(headers[f"x-ratelimit-reset-{what}"], r"^(\d+m)?\d+(\.\d+)?(ms|s)$")

    def check_list(self, scope, kind):
        spec, name = KINDS[kind], self.names[scope, kind]
        rows = json.loads(self.gw.cli("limits", "--project", name, "--json"))["limits"]
        row = next(row for row in rows if row["limit"] == SCOPES[scope][3] % spec["key"])
        self.assertEqual((row["project"], row["refused"]), (name, 1))
        self.assertEqual(row["per"], kind.split()[-1] if "budget" in kind else None)
        self.assertGreaterEqual(row["max"], row["left"])


def make(scope, kind):
    def test(self):
        client = self.client(scope, kind)
        headers, error = self.refuse(client, kind)
        self.check_error(error, scope, kind)
        self.check_headers(headers, kind)
        self.check_headers(error.response.headers, kind)
        self.check_list(scope, kind)

    return test


for scope in SCOPES:
    for kind in KINDS:
        name = re.sub(r"\W+", "_", f"{kind}_of_a_{scope}".replace("'s", "s"))
        setattr(EveryLimit, f"test_{name}", make(scope, kind))


class BeforeTheLimits(unittest.TestCase):
    """Answers from before workflow and user are known tell what is left of project and key, and cost nothing of it."""

    def test_refusals_and_the_list_of_models_have_the_figures_of_project_and_key(self):
        limits = ("requests_per_minute = 600, burst = 50, per_key = { requests_per_minute = 300, burst = 5, tokens_per_minute = 700 }, "
                  "per_metadata = { user = { requests_per_minute = 1, burst = 1 } }")
        with Upstream() as up, Gateway(project_of(up, "project", "requests").replace(KINDS["requests"]["lua"], limits)) as gw:
            client, seen = gw.client(), []
            for ask in (lambda: client.chat.completions.create(model="nix", messages=HI),
                        lambda: client.chat.completions.create(model="chat", messages=HI, extra_headers={"x-moongate-metadata": "no"}),
                        lambda: client.chat.completions.create(model="chat", messages=HI, extra_headers={"x-moongate-deadline-ms": "x"})):
                with self.assertRaises(openai.APIStatusError) as caught:
                    ask()
                seen.append(caught.exception.response.headers)
            seen.append(client.models.with_raw_response.list().headers)
            gw.cli("project", "disable", "main")
            with self.assertRaises(openai.PermissionDeniedError) as caught:
                client.models.list()
            seen.append(caught.exception.response.headers)
            for headers in seen:
                self.assertEqual([headers[f"x-ratelimit-{name}"] for name in ("limit-requests", "remaining-requests", "reset-requests", "limit-tokens", "remaining-tokens")],
                                 ["300", "5", "0ms", "700", "700"])
            stranger = gw.client(api_key="mg-main-nobody")
            with self.assertRaises(openai.AuthenticationError) as caught:
                stranger.models.list()
            self.assertFalse([name for name in caught.exception.response.headers if name.startswith("x-ratelimit")])
            self.assertEqual(up.count, 0)


if __name__ == "__main__":
    main()
