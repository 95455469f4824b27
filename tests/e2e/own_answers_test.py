"""What the gateway answers itself (a plugin's text, a workflow's offline text) is an answer of the client's own dialect, whole
and streamed: the official SDKs read it as any other."""

import unittest

import anthropic
import openai
from google import genai
from google.genai import types

from moongate import *

DOWN = error_answer(503, "server_is_overloaded")
ANSWERED = 'on_request = function(req) return req:respond { text = "Words of \\"ours\\".\\n" } end, max_attempts = 1'
OFFLINE = 'offline = { text = "Words of \\"ours\\".\\n" }, deadline_ms = 3000, max_attempts = 1'
TEXT = 'Words of "ours".\n'


class OwnAnswers(unittest.TestCase):
    def check(self, gw):
        self.messages(gw)
        self.responses(gw)
        self.gemini(gw)

    def messages(self, gw):
        client = anthropic.Anthropic(base_url=gw.url.removesuffix("/v1"), api_key=gw.keys["main"], max_retries=0)
        ask = {"model": "chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
        answer = client.messages.create(**ask)
        self.assertEqual((answer.content[0].text, answer.stop_reason), (TEXT, "end_turn"))
        with client.messages.stream(**ask) as stream:
            self.assertEqual("".join(stream.text_stream), TEXT)
            self.assertEqual(stream.get_final_message().stop_reason, "end_turn")

    def responses(self, gw):
        client = openai.OpenAI(base_url=gw.url, api_key=gw.keys["main"], max_retries=0)
        answer = client.responses.create(model="chat", input="hi", instructions="be brief")
        self.assertEqual((answer.output_text, answer.status, answer.instructions), (TEXT, "completed", "be brief"))
        with client.responses.stream(model="chat", input="hi") as stream:
            seen = list(stream)
            self.assertEqual(stream.get_final_response().output_text, TEXT)
        self.assertEqual([event.sequence_number for event in seen if hasattr(event, "sequence_number")], list(range(len(seen))))

    def gemini(self, gw):
        client = genai.Client(api_key=gw.keys["main"], http_options=types.HttpOptions(base_url=gw.url.removesuffix("/v1")))
        answer = client.models.generate_content(model="chat", contents="hi")
        self.assertEqual((answer.text, answer.candidates[0].finish_reason), (TEXT, types.FinishReason.STOP))
        pieces = list(client.models.generate_content_stream(model="chat", contents="hi"))
        self.assertEqual("".join(piece.text or "" for piece in pieces), TEXT)

    def test_a_plugins_text(self):
        with Upstream() as up, Gateway(project(up, workflow=ANSWERED)) as gw:
            self.check(gw)
            self.assertTrue(up.requests.empty())

    def test_a_workflows_offline_text(self):
        with Upstream(DOWN) as up, Gateway(project(up, workflow=OFFLINE)) as gw:
            self.check(gw)

    def test_the_list_of_models(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            url = gw.url.removesuffix("/v1")
            claude = anthropic.Anthropic(base_url=url, api_key=gw.keys["main"], max_retries=0)
            self.assertIn("chat", [model.id for model in claude.models.list()])
            self.assertEqual(claude.models.retrieve("chat").display_name, "chat")
            with self.assertRaises(anthropic.NotFoundError):
                claude.models.retrieve("nope")
            gemini = genai.Client(api_key=gw.keys["main"], http_options=types.HttpOptions(base_url=url, api_version="v1beta"))
            self.assertIn("models/chat", [model.name for model in gemini.models.list()])
            self.assertEqual(gemini.models.get(model="chat").display_name, "chat")
            self.assertIn("chat", [model.id for model in gw.client().models.list()])


if __name__ == "__main__":
    main()
