"""The strict vendors and a gateway before them, for tests in other languages (tests/support/stage.mjs).

Prints one line of JSON with the gateway's address and key, then answers one line for each on its standard input: `say` gives a
vendor its turns ("echo": it repeats the word-N of the request), `look` tells what it has seen since, `closed` waits for the
gateway to leave it. Ends with its input."""

import contextlib
import json
import re
import sys

import vendors
from moongate import Gateway
from vendors import Fail, Say

MODELS = {"openai_chat": "gpt-5.2", "openai_responses": "gpt-5.2", "anthropic": "claude-opus-4-6", "gemini": "gemini-3-pro"}


def project_of(ups, attempts=1, more=""):
    """A provider and a workflow for each vendor, of its name; one attempt each hides nothing, another repairs a request."""
    providers = "".join(f'{name} = {{ adapter = "{name}", base_url = "{up.url}", api_key = "secret", breaker = false }}, ' for name, up in ups.items())
    workflows = "".join(f'{name} = {{ targets = {{ "{name}/{MODELS[name]}" }}, max_attempts = {attempts} }}, ' for name in ups)
    return f"return {{ providers = {{ {providers} }}, workflows = {{ {workflows} {more} }} }}"


def echo(body):
    """Repeats which word the request holds, so that nobody reads another's answer."""
    return Say("It is " + re.search(r"word-\d+", json.dumps(body))[0] + ".", pieces=5)


def turn_of(spec):
    if spec == "echo":
        return echo
    if "fail" in spec:
        return Fail(spec["fail"], **spec.get("headers", {}))
    return Say(**spec)


def obey(ups, order):
    up = ups[order["vendor"]]
    if "say" in order:
        up.say(*[turn_of(each) for each in order["say"]])
        up.refused.clear()
        up.count = 0
        return {}
    if "closed" in order:
        up.closed.get(timeout=20)
        return {}
    return {"body": up.body, "refused": up.refused, "count": up.count}


def main():
    with contextlib.ExitStack() as stack:
        ups = {name: stack.enter_context(vendors.start(name)) for name in MODELS}
        gateway = stack.enter_context(Gateway(project_of(ups)))
        print(json.dumps({"url": gateway.url.removesuffix("/v1"), "key": gateway.keys["main"], "data": f"{gateway.path}/data"}), flush=True)
        for line in sys.stdin:
            print(json.dumps(obey(ups, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
