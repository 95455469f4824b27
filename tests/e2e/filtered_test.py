"""Streams that a plugin changes stay streams of their dialect: checked event by event, and read by the vendors' SDKs."""

import unittest

import vendors
from moongate import *
from vendors import Say, sdks
from vendors_test import CALLS, MODELS, TOOLS, provider, validate

CHANGES = {
    "grows": 'on_chunk = function(c) return (c.text:gsub("o", "oooo")) end, stream = { mode = "filter", hold = 6 }',
    "shrinks": 'on_chunk = function(c) return (c.text:gsub("[aeiou]", "")) end, stream = { mode = "filter", hold = 6 }',
    "replaced": 'on_response = function(res) return res:replace { text = "Something \\"else\\"." } end, stream = { mode = "buffer" }',
}
WORDS = "Hello over there, in a good mood"


class Filtered(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ups = {name: cls.enterClassContext(vendors.start(name)) for name in MODELS}
        providers = "".join(provider(name, up) for name, up in cls.ups.items())
        workflows = "".join(f'{what}_{name} = {{ targets = {{ "{name}/{MODELS[name]}" }}, {hooks} }}, ' for what, hooks in CHANGES.items() for name in cls.ups)
        cls.gw = cls.enterClassContext(Gateway(f"return {{ providers = {{ {providers} }}, workflows = {{ {workflows} }} }}"))
        cls.clients = [Sdk(cls.gw) for Sdk in sdks.ALL]
        for each in cls.clients:
            cls.addClassCleanup(each.close)

    def ask(self, what, want, say, **options):
        for client in self.clients:
            for name, up in self.ups.items():
                with self.subTest(client=client.name, vendor=name):
                    up.say(say)
                    answer = client.ask(f"{what}_{name}", client.user("hi"), True, **options)
                    self.assertEqual((answer.text, [call[1:] for call in answer.calls]), (want, say.calls))
                    if client.name != name:
                        validate(f"{client.name}_stream", client.kept.text)
                    elif client.name == "openai_responses":
                        self.assertEqual([event["sequence_number"] for event in client.events], list(range(len(client.events))))
                    self.assertNotIn(WORDS, client.kept.text)

    def test_a_text_that_grows(self):
        self.ask("grows", WORDS.replace("o", "oooo"), Say(WORDS, pieces=7))

    def test_a_text_that_shrinks_before_calls(self):
        self.ask("shrinks", "".join(c for c in WORDS if c not in "aeiou"), Say(WORDS, pieces=7, calls=CALLS), tools=TOOLS)

    def test_a_text_that_is_replaced_at_the_end(self):
        self.ask("replaced", 'Something "else".', Say(WORDS, pieces=7))

    def test_a_text_that_is_replaced_before_calls(self):
        self.ask("replaced", 'Something "else".', Say(WORDS, pieces=7, calls=CALLS), tools=TOOLS)


class Stopped(unittest.TestCase):
    def test_what_passed_before_the_word_that_stops_the_stream_goes_out(self):
        """All of it comes in one read."""
        words = b"".join(b"data: %s\n\n" % json.dumps(chunk({"content": word})).encode() for word in ("good " * 20, "morning " * 20, "enough" * 20))
        hook = 'on_chunk = function(c) if c.text:find("enough", 1, true) then return c:stop { code = "rule", message = "no" } end end, stream = { hold = 4 }'
        with Upstream(stream(words, then="stall")) as up, Gateway(project(up, workflow=hook)) as gw:
            answer = gw.chat(stream=True)

        said = [json.loads(text) for text in answer.events]
        self.assertEqual("".join(one["choices"][0]["delta"]["content"] for one in said[:-1]), "good " * 20 + "morning " * 19 + "morn")
        self.assertEqual(said[-1]["error"]["code"], "rule")


if __name__ == "__main__":
    main()
