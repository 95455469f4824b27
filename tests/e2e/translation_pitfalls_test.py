"""What users of other gateways suffer from where a request is translated, shown not to happen here, over every pair of dialects."""

import json
import unittest

import vendors
from moongate import *
from stage import MODELS, project_of
from vendors import Say

NAMES = [f"{letter}{number}" for number in (3, 1, 2) for letter in "zamqb"]  # in no order that sorting would keep
HI = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}}
ASKS = {
    "openai_chat": ("/v1/chat/completions", {"messages": [HI], "tools": [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in NAMES]}),
    "openai_responses": ("/v1/responses", {"input": [HI], "store": False, "tools": [{"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name in NAMES]}),
    "anthropic": ("/v1/messages", {"messages": [HI], "max_tokens": 99, "tools": [{"name": name, "input_schema": SCHEMA} for name in NAMES]}),
    "gemini": ("/v1beta/models/{}:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
                                                     "tools": [{"functionDeclarations": [{"name": name, "parametersJsonSchema": SCHEMA} for name in NAMES]}]}),
}


class Pitfalls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ups = {name: cls.enterClassContext(vendors.start(name)) for name in MODELS}
        cls.gw = cls.enterClassContext(Gateway(project_of(cls.ups)))

    def each(self, do):
        """do(client, vendor) for every pair of different dialects."""
        for client in ASKS:
            for name, up in self.ups.items():
                if name != client:
                    with self.subTest(client=client, vendor=name):
                        while not up.requests.empty():
                            up.requests.get()
                        do(client, up)

    def ask(self, client, model, stream=False):
        path, body = ASKS[client]
        if client == "gemini":
            path = path.format(model).replace("generateContent", "streamGenerateContent?alt=sse") if stream else path.format(model)
            return self.gw.request("POST", path, body)
        return self.gw.request("POST", path, {"model": model, **body, **({"stream": True} if stream else {})})

    def test_the_same_request_is_the_same_bytes_so_that_prompt_caches_stay_warm(self):
        def do(client, up):
            up.say(Say("ok"))
            for _ in range(4):  # over both workers
                self.assertEqual(self.ask(client, up.name).status, 200, up.refused)
            sent = {up.next_request().body for _ in range(4)}
            self.assertEqual(len(sent), 1)
            text = sent.pop().decode()
            places = [text.index(f'"{name}"') for name in NAMES]
            self.assertEqual(places, sorted(places))
            self.assertLess(text.index('"z":'), text.index('"a":'))  # a schema as the client spelt it
        self.each(do)

    def test_a_very_long_answer_is_translated_whole_and_streamed(self):
        """Megabytes at once; in a stream what one event holds, since the last of the Responses API repeats all."""
        words = "".join(f"{number:07d}" for number in range(300_000))

        def do(client, up):
            up.say(Say(words), Say(words[:900_000], pieces=200))
            whole, streamed = self.ask(client, up.name), self.ask(client, up.name, True)
            self.assertEqual((whole.status, streamed.status, streamed.clean), (200, 200, True))
            self.assertIn(words, whole.body.decode())
            self.assertGreater(len(streamed.body), 900_000)
            self.assertNotIn(b'"error":{', streamed.body)
        self.each(do)

    def test_an_answer_that_says_nothing_is_no_success(self):
        def do(client, up):
            up.say(Say(""))
            whole, streamed = self.ask(client, up.name), self.ask(client, up.name, True)
            self.assertGreaterEqual(whole.status, 500)
            self.assertGreaterEqual(streamed.status, 500)
            self.assertIn("empty", whole.body.decode())
        self.each(do)


if __name__ == "__main__":
    main()
