"""Whether the official SDKs ask again: as often as it may help, and never where somebody must act first."""

import unittest

import anthropic
import openai
from google import genai
from google.genai import types

from moongate import *

HI = [{"role": "user", "content": "hi"}]


class Retry(unittest.TestCase):
    def clients(self, gw):
        root, key = gw.url.removesuffix("/v1"), gw.keys["main"]
        chat = openai.OpenAI(base_url=gw.url, api_key=key, max_retries=1)
        claude = anthropic.Anthropic(base_url=root, api_key=key, max_retries=1)
        return {"openai": lambda: chat.chat.completions.create(model="chat", messages=HI),
                "responses": lambda: chat.responses.create(model="chat", input="hi"),
                "anthropic": lambda: claude.messages.create(model="chat", messages=HI, max_tokens=5)}

    def asked(self, script, provider="breaker = false"):
        """How often each SDK asked the gateway, and what it was told."""
        for name in ("openai", "responses", "anthropic"):
            with Upstream(script) as up, Gateway(project(up, workflow="max_attempts = 1", provider=provider)) as gw:
                before = len(self.settled(gw))
                with self.assertRaises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
                    self.clients(gw)[name]()
                yield name, len(self.settled(gw)) - before, caught.exception.response

    def settled(self, gw):
        return gw.cli("logs", "--json").splitlines()

    def test_a_provider_that_stumbled_is_asked_again(self):
        for name, times, response in self.asked(error_answer(500, headers={"retry-after-ms": "20"})):
            self.assertEqual(times, 2, name)
            self.assertNotIn("x-should-retry", response.headers)

    def test_a_providers_word_that_it_is_of_no_use_is_passed_on(self):
        for status in (429, 500, 503):
            for name, times, response in self.asked(error_answer(status, headers={"x-should-retry": "false", "retry-after-ms": "20"})):
                self.assertEqual((times, response.headers["x-should-retry"]), (1, "false"), (name, status))

    def test_where_somebody_must_act_first_nobody_asks_again(self):
        for script in (error_answer(401, "invalid_api_key"), error_answer(429, "insufficient_quota", "insufficient_quota"), error_answer(403, "forbidden")):
            for name, times, response in self.asked(script):
                self.assertEqual((times, response.headers["x-should-retry"]), (1, "false"), name)

    def test_a_pause_is_told_in_milliseconds_and_in_seconds(self):
        for name, times, response in self.asked(error_answer(429, "rate_limit_exceeded", headers={"retry-after-ms": "120"})):
            self.assertEqual((times, response.headers["retry-after-ms"], response.headers["retry-after"]), (2, "120", "1"), name)


if __name__ == "__main__":
    main()
