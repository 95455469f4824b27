"""Streams that break off and go on at another vendor, whatever SDK reads them: what it puts together is one answer, and the
seam is checked event by event."""

import itertools
import re
import unittest

import vendors
from moongate import *
from vendors import Say, sdks
from vendors_test import CALLS, MODELS, TOOLS, provider, validate

CLIENTS = [Sdk for Sdk in sdks.ALL if Sdk.name != "openai_chat"]     # rescue_test.py has that one
WORDS = "Hello there, wörld 🎈 and all"


def project_of(ups):
    providers = "".join(provider(name, up) for name, up in ups.items())
    pairs = "".join(f'{a}_{b} = {{ targets = {{ "{a}/{MODELS[a]}", {{ target = "{b}/{MODELS[b]}", prefill = true }} }}, max_attempts = 4, rescue = "resume" }}, '
                    for a, b in itertools.product(MODELS, MODELS))
    plain = pairs.replace("prefill = true", "prefill = false").replace(" = { targets", "_plain = { targets")
    return f"return {{ providers = {{ {providers} }}, workflows = {{ {pairs} {plain} }} }}"


class Resumed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ups = {name: cls.enterClassContext(vendors.start(name)) for name in MODELS}
        cls.gw = cls.enterClassContext(Gateway(project_of(cls.ups)))
        cls.clients = [Sdk(cls.gw) for Sdk in CLIENTS]
        for each in cls.clients:
            cls.addClassCleanup(each.close)

    def each(self, do):
        for client in self.clients:
            for first, second in itertools.product(self.ups, self.ups):
                with self.subTest(client=client.name, first=first, second=second):
                    do(client, self.ups[first], self.ups[second])

    def ask(self, client, first, second, *turns, plain="", **options):
        first.refused.clear()
        second.refused.clear()
        if first is second:
            first.say(*turns)
        else:
            first.say(turns[0])
            second.say(*turns[1:])
        try:
            answer = client.ask(f"{first.name}_{second.name}{plain}", client.user("hi"), True, **options)
        except client.failure as error:
            raise AssertionError(f"{error}: {client.kept.text} {first.refused} {second.refused}") from error
        self.assertEqual(": moongate: resumed by" in client.kept.text, client.name != "gemini")  # its SDK reads no comments
        if client.name != first.name:                                # the vendor's own may say more than the validator knows
            validate(f"{client.name}_stream", re.sub("(?m)^: .*\n\n", "", client.kept.text))
        getattr(self, f"check_{client.name}")(client.events)
        return answer

    def check_openai_responses(self, events):
        self.assertEqual([event["sequence_number"] for event in events], list(range(len(events))))
        done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        ids = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
        final = events[-1]["response"]
        self.assertEqual(([item["id"] for item in done], [item["id"] for item in final["output"]], final["id"]), (ids, ids, events[0]["response"]["id"]))

    def check_anthropic(self, events):
        places = [(event["type"], event["index"]) for event in events if event["type"] in ("content_block_start", "content_block_stop")]
        self.assertEqual(places, [(f"content_block_{what}", index) for index in range(len(places) // 2) for what in ("start", "stop")])
        self.assertEqual([event["type"] for event in events].count("message_start"), 1)

    def check_gemini(self, events):
        self.assertEqual(len({event["responseId"] for event in events}), 1)

    def test_the_second_says_the_same_and_more(self):
        def do(client, first, second):
            answer = self.ask(client, first, second, Say(WORDS, pieces=4, breaks="cut"), Say(WORDS, pieces=3))
            self.assertEqual((answer.text, answer.finish, answer.calls), (WORDS, "stop", []))
        self.each(do)

    def test_calls_of_tools_come_behind_the_seam(self):
        def do(client, first, second):
            answer = self.ask(client, first, second, Say(WORDS, pieces=4, breaks="error"), Say(WORDS, calls=CALLS), tools=TOOLS)
            self.assertEqual((answer.text, answer.finish), (WORDS, "tool"))
            self.assertEqual([call[1:] for call in answer.calls], CALLS)
        self.each(do)

    def test_the_seam_is_in_the_middle_of_the_text(self):
        def do(client, first, second):
            answer = self.ask(client, first, second, Say("Hello there, wö", breaks="cut"), Say(WORDS, pieces=5))
            self.assertEqual((answer.text, answer.finish, answer.calls), (WORDS, "stop", []))
        self.each(do)

    def test_a_thought_before_the_text_is_not_said_twice(self):
        def do(client, first, second):
            if first.name == "openai_chat" or second.name == "openai_chat":
                return                                               # OpenAI shows none there
            answer = self.ask(client, first, second, Say("Hello there", thought="Hm, so.", breaks="cut"), Say(WORDS, thought="Hm, so."), effort="medium")
            self.assertEqual((answer.thought, answer.text, answer.finish), ("Hm, so.", WORDS, "stop"))
        self.each(do)

    def test_other_words_go_on_from_a_prefill_where_the_model_takes_one(self):
        def do(client, first, second):
            turns = [Say("Hello there,", breaks="cut"), Say("Good morning", pieces=2), Say(" how are you?")]
            if second.name in ("anthropic", "openai_responses", "cohere"):   # they refuse such a turn
                return
            answer = self.ask(client, first, second, *turns)
            self.assertEqual((answer.text, answer.finish), ("Hello there, how are you?", "stop"))
            self.assertIn("Hello there,", json.dumps(second.body))
        self.each(do)

    def test_nothing_is_put_together_of_two_texts(self):
        for client in self.clients:
            for first, second in itertools.product(self.ups, self.ups):
                with self.subTest(client=client.name, first=first, second=second):
                    first, second = self.ups[first], self.ups[second]
                    turns = [Say("Hello there,", breaks="cut"), Say("Good morning, all")]
                    with self.assertRaises((client.broken, AssertionError)):
                        self.ask(client, first, second, *turns, plain="_plain")
                    self.assertNotIn("morning", client.kept.text)
                    self.assertIn('"error"', client.kept.text)


if __name__ == "__main__":
    main()
