"""LangChain and LlamaIndex, unmodified, over strict vendors of other dialects: chat, streams, tools over several turns, answers
after a schema, many at once."""

import asyncio
import json
import os
import re
import unittest

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI, OpenAIResponses
from pydantic import BaseModel

import vendors
from moongate import *
from stage import MODELS, echo, project_of
from vendors import Say

GPTS = {"openai_chat": "4o", "openai_responses": "4o-mini", "anthropic": "4.1", "gemini": "4.1-mini"}
CLAUDES = {"openai_chat": "sonnet-4-5", "openai_responses": "haiku-4-5", "anthropic": "opus-4-5", "gemini": "opus-4-1"}
CALLS = [("get_weather", {"city": "Kiel"}), ("get_weather", {"city": "Bern"})]


class Weather(BaseModel):
    """The weather of a city."""
    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 12 degrees"


class Frameworks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["LANGSMITH_TRACING"] = "false"
        cls.ups = {name: cls.enterClassContext(vendors.start(name)) for name in MODELS}
        names = [(f"gpt-{name}", up) for up, name in GPTS.items()] + [(f"claude-{name}", up) for up, name in CLAUDES.items()]
        named = "".join(f'["{name}"] = {{ targets = {{ "{up}/{MODELS[up]}" }}, max_attempts = 3 }}, ' for name, up in names)
        cls.gw = cls.enterClassContext(Gateway(project_of(cls.ups, 3, named)))
        cls.root, cls.key = cls.gw.url.removesuffix("/v1"), cls.gw.keys["main"]

    def each(self, turns, do):
        """do(own dialect, vendor's workflow, vendor) for every vendor but the client's own."""
        for own in self.makes:
            for name, up in self.ups.items():
                if name != own:
                    with self.subTest(client=own, vendor=name):
                        up.refused.clear()
                        up.say(*turns)
                        try:
                            do(self.makes[own](self, name), up)
                        except Exception as error:
                            raise AssertionError(f"{error!r}; the vendor refused {up.refused}") from error
                        # They send a temperature of their own accord. A model that takes none is asked again without it.
                        self.assertEqual([words for words in up.refused if not re.search("'(temperature|top_p)'", words)], [])

    def check_results(self, up):
        sent = json.dumps(up.body)
        self.assertLess(sent.index("Kiel: 12 degrees"), sent.index("Bern: 12 degrees"))


class LangChain(Frameworks):
    makes = {
        "openai_chat": lambda self, model: ChatOpenAI(base_url=self.root + "/v1", api_key=self.key, model=model, max_retries=0, stream_usage=True),
        "openai_responses": lambda self, model: ChatOpenAI(base_url=self.root + "/v1", api_key=self.key, model=model, use_responses_api=True, max_retries=0),
        "anthropic": lambda self, model: ChatAnthropic(base_url=self.root, api_key=self.key, model=model, max_tokens=2000, max_retries=0),
        "gemini": lambda self, model: ChatGoogleGenerativeAI(base_url=self.root, api_key=self.key, model=model, max_retries=0),
    }

    def test_a_chat(self):
        def do(chat, up):
            answer = chat.invoke([SystemMessage("Be brief."), HumanMessage("Hi")])
            self.assertEqual(answer.text, "Hello there.")
            usage = answer.usage_metadata
            self.assertEqual((usage["input_tokens"], usage["output_tokens"], usage["input_token_details"]["cache_read"]), (109, 12, 100))
            self.assertIn("Be brief.", json.dumps(up.body))
        self.each([Say("Hello there.")], do)

    def test_a_stream(self):
        def do(chat, up):
            pieces = list(chat.stream("Hi"))
            whole = pieces[0]
            for piece in pieces[1:]:
                whole += piece
            self.assertEqual(whole.text, "Hello there, all of you.")
            self.assertGreater(sum(1 for piece in pieces if piece.text), 3)
            self.assertEqual(whole.usage_metadata["output_tokens"], 12)
        self.each([Say("Hello there, all of you.", pieces=5)], do)

    def test_tools_over_several_turns(self):
        def do(chat, up):
            chat, history = chat.bind_tools([get_weather]), [HumanMessage("Weather?")]
            for _ in range(2):
                answer = chat.invoke(history)
                self.assertEqual([(call["name"], call["args"]) for call in answer.tool_calls], CALLS)
                history += [answer, *[get_weather.invoke(call) for call in answer.tool_calls]]
            self.assertEqual(chat.invoke(history).text, "Warm both.")
            self.check_results(up)
        self.each([Say("Looking.", calls=CALLS), Say(calls=CALLS), Say("Warm both.")], do)

    def test_tools_out_of_a_stream(self):
        def do(chat, up):
            chat, history, whole = chat.bind_tools([get_weather]), [HumanMessage("Weather?")], None
            for piece in chat.stream(history):
                whole = piece if whole is None else whole + piece
            self.assertEqual([(call["name"], call["args"]) for call in whole.tool_calls], CALLS)
            history += [whole, *[get_weather.invoke(call) for call in whole.tool_calls]]
            self.assertEqual("".join(piece.text for piece in chat.stream(history)), "Warm both.")
            self.check_results(up)
        self.each([Say("Looking.", calls=CALLS), Say("Warm both.")], do)

    def test_an_answer_after_a_class(self):
        def do(chat, up):
            asks = chat.with_structured_output(Weather, method="json_schema")
            self.assertEqual(asks.invoke("Weather as JSON?"), Weather(city="Kiel", degrees=12))
        self.each([Say('{"city": "Kiel", "degrees": 12}')], do)

    def test_many_at_once(self):
        async def ask(chat, number):
            return (await chat.ainvoke(f"Which? word-{number}")).text, f"It is word-{number}."

        async def ask_all():
            chats = [make(self, name) for own, make in self.makes.items() for name in self.ups if name != own] * 4
            return await asyncio.gather(*[ask(chat, number) for number, chat in enumerate(chats)])

        for up in self.ups.values():
            up.say(echo)
        for text, wanted in asyncio.run(ask_all()):
            self.assertEqual(text, wanted)


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 12 degrees"


class LlamaIndex(Frameworks):
    """It knows its models by name: a workflow is named like one."""

    makes = {
        "openai_chat": lambda self, model: OpenAI(api_base=self.root + "/v1", api_key=self.key, model=f"gpt-{GPTS[model]}", max_retries=0),
        "openai_responses": lambda self, model: OpenAIResponses(api_base=self.root + "/v1", api_key=self.key, model=f"gpt-{GPTS[model]}", max_retries=0),
        "anthropic": lambda self, model: Anthropic(base_url=self.root, api_key=self.key, model=f"claude-{CLAUDES[model]}", max_retries=0),
    }

    def test_a_chat(self):
        def do(llm, up):
            answer = llm.chat([ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Hi")])
            self.assertEqual(answer.message.content, "Hello there.")
            self.assertIn("Be brief.", json.dumps(up.body))
        self.each([Say("Hello there.")], do)

    def test_a_stream(self):
        def do(llm, up):
            pieces = list(llm.stream_chat([ChatMessage(role="user", content="Hi")]))
            self.assertEqual("".join(piece.delta or "" for piece in pieces), "Hello there, all of you.")
            self.assertEqual(pieces[-1].message.content, "Hello there, all of you.")
            self.assertGreater(sum(1 for piece in pieces if piece.delta), 3)
        self.each([Say("Hello there, all of you.", pieces=5)], do)

    def test_tools_over_several_turns(self):
        def do(llm, up):
            tools, history = [FunctionTool.from_defaults(weather, name="get_weather")], [ChatMessage(role="user", content="Weather?")]
            for _ in range(2):
                answer = llm.chat_with_tools(tools, chat_history=history, allow_parallel_tool_calls=True)
                calls = llm.get_tool_calls_from_response(answer)
                self.assertEqual([(call.tool_name, call.tool_kwargs) for call in calls], CALLS)
                history += [answer.message, *[ChatMessage(role="tool", content=weather(**call.tool_kwargs), additional_kwargs={"tool_call_id": call.tool_id})
                                              for call in calls]]
            self.assertEqual(llm.chat_with_tools(tools, chat_history=history).message.content, "Warm both.")
            self.check_results(up)
        self.each([Say("Looking.", calls=CALLS), Say(calls=CALLS), Say("Warm both.")], do)

    def test_an_answer_after_a_class(self):
        def do(llm, up):
            asks = llm.as_structured_llm(Weather)
            self.assertEqual(asks.complete("Weather as JSON?").raw, Weather(city="Kiel", degrees=12))
        self.each([lambda body: Say(calls=[("Weather", {"city": "Kiel", "degrees": 12})]) if "tools" in body else Say('{"city": "Kiel", "degrees": 12}')], do)

    def test_many_at_once(self):
        async def ask(llm, number):
            return (await llm.achat([ChatMessage(role="user", content=f"Which? word-{number}")])).message.content, f"It is word-{number}."

        async def ask_all():
            llms = [make(self, name) for own, make in self.makes.items() for name in self.ups if name != own] * 4
            return await asyncio.gather(*[ask(llm, number) for number, llm in enumerate(llms)])

        for up in self.ups.values():
            up.say(echo)
        for text, wanted in asyncio.run(ask_all()):
            self.assertEqual(text, wanted)


del Frameworks  # it is no test of its own

if __name__ == "__main__":
    main()
