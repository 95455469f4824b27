"""The official OpenAI SDK for Python, unmodified, against the real binary."""

import threading
import unittest

import openai

from moongate import *


class Chat(unittest.TestCase):
    def test_a_whole_answer_arrives(self):
        with Upstream(json_answer("Hello there")) as up, Gateway(project(up)) as gw:
            answer = gw.client().chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}])

            self.assertEqual(answer.choices[0].message.content, "Hello there")
            self.assertEqual(answer.usage.total_tokens, 12)
            sent = up.next_request()
            self.assertEqual(sent.path, "/v1/chat/completions")
            self.assertEqual(sent.headers["authorization"], "Bearer secret-0")
            self.assertEqual(sent.json["model"], "model-0")

    def test_a_stream_arrives_word_by_word(self):
        gate = threading.Event()
        events = good_events("Hel", "lo ", "you")
        with Upstream(stream(*events[:2], gate, *events[2:])) as up, Gateway(project(up)) as gw:
            words = []
            for event in gw.client().chat.completions.create(model="chat", stream=True, messages=[{"role": "user", "content": "hi"}]):
                self.assertTrue(event.choices, "the usage chunk was not asked for")
                if event.choices[0].delta.content:
                    words.append(event.choices[0].delta.content)
                    gate.set()  # the first word must be here before the second is sent

            self.assertEqual(words, ["Hel", "lo ", "you"])
            self.assertEqual(up.next_request().json["stream_options"], {"include_usage": True})

    def test_the_usage_chunk_arrives_when_it_was_asked_for(self):
        with Upstream(stream(*good_events("a"))) as up, Gateway(project(up)) as gw:
            events = list(gw.client().chat.completions.create(
                model="chat", stream=True, stream_options={"include_usage": True}, messages=[{"role": "user", "content": "hi"}]))

            self.assertEqual(events[-1].usage.total_tokens, 12)

    def test_the_next_provider_answers_when_the_first_fails(self):
        with Upstream(error_answer(503, "server_is_overloaded")) as bad, Upstream(stream(*good_events("fine"))) as good, \
                Gateway(project(bad, good)) as gw:
            with gw.client().chat.completions.with_streaming_response.create(
                    model="chat", stream=True, messages=[{"role": "user", "content": "hi"}]) as response:
                text = "".join(response.iter_text())

            self.assertIn("fine", text)
            self.assertEqual(response.headers["x-moongate-provider"], "p1")
            self.assertEqual(response.headers["x-moongate-attempts"], "2")

    def test_errors_raise_the_class_the_sdk_has_for_them(self):
        with Upstream(error_answer(400, "invalid_value", message="temperature is off")) as up, Gateway(project(up)) as gw:
            messages = [{"role": "user", "content": "hi"}]
            with self.assertRaisesRegex(openai.BadRequestError, "temperature is off"):
                gw.client().chat.completions.create(model="chat", messages=messages)
            with self.assertRaises(openai.NotFoundError):
                gw.client().chat.completions.create(model="nope", messages=messages)
            with self.assertRaises(openai.AuthenticationError):
                gw.client(api_key="mg-main-wrong").chat.completions.create(model="chat", messages=messages)
            up.answer(error_answer(429, "rate_limit_exceeded", headers={"retry-after": "1"}))
            with self.assertRaises(openai.RateLimitError):
                gw.client().chat.completions.create(model="chat", messages=messages)
            up.answer(error_answer(500))
            with self.assertRaises(openai.InternalServerError):
                gw.client().chat.completions.create(model="chat", messages=messages)

    def test_cancelling_closes_the_upstream_at_once(self):
        with Upstream(stream(*good_events("a")[:2], then="stall")) as up, Gateway(project(up)) as gw:
            answer = gw.client().chat.completions.create(model="chat", stream=True, messages=[{"role": "user", "content": "hi"}])
            next(iter(answer))
            answer.close()

            self.assertTrue(up.closed.get(timeout=PATIENCE_S))


class Others(unittest.TestCase):
    def test_models_are_the_projects_workflows(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            ids = [model.id for model in gw.client().models.list()]

            self.assertEqual(ids, ["chat", "p0/model-0"])
            self.assertEqual(gw.client().models.retrieve("chat").id, "chat")

    def test_embeddings_pass(self):
        answer = {"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
                  "usage": {"prompt_tokens": 2, "total_tokens": 2}}
        with Upstream(respond(200, answer)) as up, Gateway(project(up)) as gw:
            result = gw.client().embeddings.create(model="chat", input="hi", encoding_format="float")

            self.assertEqual(result.data[0].embedding, [0.5, -0.25])
            self.assertEqual(up.next_request().path, "/v1/embeddings")


SIMULATED = """return {
  providers = { sim = { kind = "simulated" } },
  workflows = { chat = { targets = { "sim/fault:overloaded", "sim/model" } }, stuck = { targets = { "sim/fault:hang" } } },
}"""
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


class Shapes(unittest.TestCase):
    """What the SDK builds on top of the wire format, over a failover each time."""

    @classmethod
    def setUpClass(cls):
        cls.gw = Gateway(SIMULATED).__enter__()
        cls.messages = [{"role": "user", "content": "What is the weather in Kiel?"}]

    @classmethod
    def tearDownClass(cls):
        cls.gw.__exit__(None, None, None)

    def test_tool_calls_arrive_whole_and_streamed(self):
        ask = {"model": "chat", "messages": self.messages, "tools": [TOOL], "tool_choice": "required"}
        whole = self.gw.client().chat.completions.create(**ask).choices[0].message.tool_calls[0]
        name, arguments = "", ""
        for event in self.gw.client().chat.completions.create(stream=True, **ask):
            for call in event.choices[0].delta.tool_calls or []:
                name += call.function.name or ""
                arguments += call.function.arguments or ""

        self.assertEqual((whole.function.name, name), ("get_weather", "get_weather"))
        self.assertIsInstance(json.loads(whole.function.arguments)["city"], str)
        self.assertIsInstance(json.loads(arguments)["city"], str)

    def test_structured_output_is_parsed(self):
        from pydantic import BaseModel

        class Person(BaseModel):
            name: str
            age: int

        answer = self.gw.client().chat.completions.parse(model="chat", messages=self.messages, response_format=Person)

        self.assertIsInstance(answer.choices[0].message.parsed, Person)

    def test_a_timeout_of_the_client_is_one(self):
        with self.assertRaises(openai.APITimeoutError):
            self.gw.client(timeout=0.3).chat.completions.create(model="stuck", messages=self.messages)


if __name__ == "__main__":
    main()
