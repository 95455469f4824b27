"""What the vendors' SDKs for Python do beyond one call, over strict vendors of other dialects: helpers that parse, stream and run
tools, retries and the headers they go by, timeouts, leaving in the middle, the asynchronous clients, many at once."""

import asyncio
import json
import time
import unittest

import anthropic
import httpx2 as httpx
import openai
import pydantic
from google import genai
from google.genai import types

import vendors
from moongate import *
from stage import MODELS, echo, project_of
from vendors import Fail, Say

WEATHER = '{"city": "Kiel", "degrees": 12}'
CALLS = [("get_weather", {"city": "Kiel"}), ("get_weather", {"city": "Bern"})]
SAID = ["Kiel: 12 degrees", "Bern: 12 degrees"]


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


class Question(pydantic.BaseModel):
    """Asks for the weather."""
    city: str


def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: its name
    """
    return f"{city}: 12 degrees"


async def get_weather_soon(city: str) -> str:
    """The weather of a city."""
    return get_weather(city)


class Helpers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ups = {name: cls.enterClassContext(vendors.start(name)) for name in MODELS}
        cls.gw = cls.enterClassContext(Gateway(project_of(cls.ups)))
        root, key = cls.gw.url.removesuffix("/v1"), cls.gw.keys["main"]
        cls.openai = openai.OpenAI(base_url=root + "/v1", api_key=key, max_retries=0)
        cls.anthropic = anthropic.Anthropic(base_url=root, api_key=key, max_retries=0)
        cls.gemini = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=root))

    def over(self, own):
        """Every vendor but the SDK's own."""
        return [(name, up) for name, up in self.ups.items() if name != own]

    def each(self, own, turns, do):
        """do(the vendor's workflow, the vendor) for each that is ready to say the turns."""
        for name, up in self.over(own):
            with self.subTest(vendor=name):
                up.refused.clear()
                up.say(*turns)
                do(name, up)
                self.assertEqual(up.refused, [])

    def check_results(self, up):
        """What the tool said has reached the vendor, in its order."""
        sent = json.dumps(up.body)
        places = [sent.index(words) for words in SAID]
        self.assertEqual(places, sorted(places))

    # ---- parse

    def test_openai_parses_after_a_class(self):
        def do(name, up):
            answer = self.openai.chat.completions.parse(model=name, messages=[{"role": "user", "content": "Weather as JSON?"}], response_format=Weather)
            self.assertEqual(answer.choices[0].message.parsed, Weather(city="Kiel", degrees=12))
        self.each("openai_chat", [Say(WEATHER)], do)

    def test_openai_parses_the_arguments_of_tools(self):
        tools = [openai.pydantic_function_tool(Question, name="get_weather")]
        def do(name, up):
            answer = self.openai.chat.completions.parse(model=name, messages=[{"role": "user", "content": "Weather?"}], tools=tools)
            self.assertEqual([call.function.parsed_arguments for call in answer.choices[0].message.tool_calls], [Question(city="Kiel"), Question(city="Bern")])
        self.each("openai_chat", [Say(calls=CALLS)], do)

    def test_openai_says_why_there_is_nothing_to_parse(self):
        def do(name, up):
            with self.assertRaises(openai.LengthFinishReasonError):
                self.openai.chat.completions.parse(model=name, messages=[{"role": "user", "content": "Weather as JSON?"}], response_format=Weather)
        self.each("openai_chat", [Say("Once upon", finish="length")], do)

    def test_responses_parse_after_a_class(self):
        def do(name, up):
            answer = self.openai.responses.parse(model=name, input="Weather as JSON?", text_format=Weather)
            self.assertEqual(answer.output_parsed, Weather(city="Kiel", degrees=12))
        self.each("openai_responses", [Say(WEATHER)], do)

    def test_anthropic_parses_after_a_class(self):
        def do(name, up):
            answer = self.anthropic.messages.parse(model=name, max_tokens=2000, messages=[{"role": "user", "content": "Weather as JSON?"}], output_format=Weather)
            self.assertEqual(answer.parsed_output, Weather(city="Kiel", degrees=12))
        self.each("anthropic", [Say(WEATHER)], do)

    def test_gemini_parses_after_a_class(self):
        config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Weather)
        def do(name, up):
            answer = self.gemini.models.generate_content(model=name, contents="Weather as JSON?", config=config)
            self.assertEqual(answer.parsed, Weather(city="Kiel", degrees=12))
        self.each("gemini", [Say(WEATHER)], do)

    # ---- streams

    def test_openai_streams_events_snapshots_and_the_whole(self):
        def do(name, up):
            tools = [openai.pydantic_function_tool(Question, name="get_weather")]
            with self.openai.chat.completions.stream(model=name, messages=[{"role": "user", "content": "Weather as JSON?"}], tools=tools,
                                                       response_format=Weather, stream_options={"include_usage": True}) as stream:
                kinds = [event.type for event in stream]
            whole = stream.get_final_completion()
            message = whole.choices[0].message
            self.assertEqual((message.parsed, [call.function.parsed_arguments for call in message.tool_calls]),
                             (Weather(city="Kiel", degrees=12), [Question(city="Kiel"), Question(city="Bern")]))
            self.assertEqual(kinds.count("tool_calls.function.arguments.done"), 2)
            self.assertIn("content.done", kinds)
            self.assertEqual((whole.usage.prompt_tokens, whole.usage.completion_tokens), (109, 12))
        self.each("openai_chat", [Say(WEATHER, calls=CALLS)], do)

    def test_responses_stream_events_snapshots_and_the_whole(self):
        tools = [openai.pydantic_function_tool(Question, name="get_weather")]
        tools = [{"type": "function", **tool["function"]} for tool in tools]
        def do(name, up):
            with self.openai.responses.stream(model=name, input="Weather as JSON?", tools=tools, text_format=Weather) as stream:
                kinds = [event.type for event in stream]
            whole = stream.get_final_response()
            self.assertEqual(whole.output_parsed, Weather(city="Kiel", degrees=12))
            self.assertEqual([json.loads(item.arguments) for item in whole.output if item.type == "function_call"], [arguments for _, arguments in CALLS])
            self.assertEqual(kinds.count("response.function_call_arguments.done"), 2)
            self.assertEqual((kinds[0], kinds[-1]), ("response.created", "response.completed"))
        self.each("openai_responses", [Say(WEATHER, calls=CALLS)], do)

    def test_anthropic_streams_texts_and_the_whole(self):
        def do(name, up):
            with self.anthropic.messages.stream(model=name, max_tokens=2000, messages=[{"role": "user", "content": "Weather?"}]) as stream:
                texts = list(stream.text_stream)
                self.assertEqual(stream.get_final_text(), "It is warm.")
            self.assertEqual("".join(texts), "It is warm.")
            self.assertGreater(len(texts), 3)
            self.assertEqual(stream.get_final_message().usage.output_tokens, 12)
        self.each("anthropic", [Say("It is warm.", pieces=4)], do)

    # ---- tools that run by themselves

    def test_anthropic_runs_tools_until_it_is_done(self):
        for streams in (False, True):
            def do(name, up):
                with self.subTest(streams=streams):
                    runner = self.anthropic.beta.messages.tool_runner(
                        model=name, max_tokens=2000, tools=[anthropic.beta_tool(get_weather)], stream=streams, messages=[{"role": "user", "content": "Weather?"}])
                    last = runner.until_done()
                    self.assertEqual(last.content[0].text, "Warm both.")
                    self.check_results(up)
            self.each("anthropic", [Say("Looking.", calls=CALLS), Say("Warm both.")], do)

    def test_gemini_calls_functions_by_itself(self):
        config = types.GenerateContentConfig(tools=[get_weather])
        def do(name, up):
            chat = self.gemini.chats.create(model=name, config=config)
            self.assertEqual(chat.send_message("Weather?").text, "Warm both.")
            self.check_results(up)
        self.each("gemini", [Say("Looking.", calls=CALLS), Say("Warm both.")], do)
        def do(name, up):
            chat = self.gemini.chats.create(model=name, config=config)
            self.assertTrue("".join(piece.text or "" for piece in chat.send_message_stream("Weather?")).endswith("Warm both."))
            self.check_results(up)
        self.each("gemini", [Say("Looking.", calls=CALLS), Say("Warm both.")], do)


class Counting(httpx.HTTPTransport):
    """Counts the requests that an SDK makes."""
    count = 0

    def handle_request(self, request):
        self.count += 1
        return super().handle_request(request)


class Patience(unittest.TestCase):
    """How long SDKs wait, how often they try, and what is left of a call that they gave up."""

    def start(self):
        self.ups = {name: self.enterContext(vendors.start(name)) for name in MODELS}
        self.gw = self.enterContext(Gateway(project_of(self.ups)))

    def clients(self, retries=0, timeout_s=20):
        """(own dialect, ask(model, streams), how it times out) of each SDK; its transport counts its requests."""
        root, key = self.gw.url.removesuffix("/v1"), self.gw.keys["main"]
        self.transport = Counting()
        http = self.enterContext(httpx.Client(transport=self.transport, timeout=timeout_s))
        options = {"api_key": key, "max_retries": retries, "timeout": timeout_s, "http_client": http}
        gpt, claude = openai.OpenAI(base_url=root + "/v1", **options), anthropic.Anthropic(base_url=root, **options)
        gemini = genai.Client(api_key=key, http_options=types.HttpOptions(
            base_url=root, httpx_client=http, timeout=int(timeout_s * 1000), retry_options=types.HttpRetryOptions(attempts=1 + retries, initial_delay=0.01, jitter=0)))
        user = [{"role": "user", "content": "hi"}]
        return [("openai_chat", lambda model, streams=False: gpt.chat.completions.create(model=model, messages=user, stream=streams), openai.APITimeoutError),
                ("openai_responses", lambda model, streams=False: gpt.responses.create(model=model, input="hi", store=False, stream=streams), openai.APITimeoutError),
                ("anthropic", lambda model, streams=False: claude.messages.create(model=model, max_tokens=99, messages=user, stream=streams), anthropic.APITimeoutError),
                ("gemini", lambda model, streams=False: (gemini.models.generate_content_stream if streams else gemini.models.generate_content)(
                    model=model, contents="hi"), httpx.TimeoutException)]

    def test_they_come_back_when_they_are_told_to(self):
        """The vendor's own hint reaches them in milliseconds, although its error was translated."""
        self.start()
        for own, ask, _ in self.clients(retries=1):
            for name, up in self.ups.items():
                if name != own:
                    with self.subTest(client=own, vendor=name):
                        up.say(Fail("rate", retry_after_ms="150", retry_after="1"), Say("Hello"))
                        up.count, began = 0, time.monotonic()
                        ask(name)
                        self.assertEqual(up.count, 2)
                        self.assertLess(time.monotonic() - began, 0.9)
                        if own != "gemini":  # it goes by nothing but its own options
                            self.assertGreater(time.monotonic() - began, 0.14)

    def test_they_do_not_come_back_for_what_stays_as_it_is(self):
        self.start()
        self.gw.cli("workflow", "disable", "gemini", "--project", "main")
        for own, ask, _ in self.clients(retries=3):
            if own != "gemini":  # it goes by the status alone
                with self.subTest(client=own):
                    self.transport.count = 0
                    with self.assertRaises((openai.InternalServerError, anthropic.InternalServerError)):
                        ask("gemini")
                    self.assertEqual(self.transport.count, 1)

    def test_one_that_gives_up_ends_the_call_to_the_vendor(self):
        self.start()
        for own, ask, late in self.clients(timeout_s=0.4):
            for name, up in self.ups.items():
                if name != own:
                    with self.subTest(client=own, vendor=name):
                        up.say(Say("never", breaks="stall"))
                        with self.assertRaises(late):
                            ask(name)
                        up.closed.get(timeout=PATIENCE_S)

    def test_one_that_leaves_in_the_middle_ends_the_call_to_the_vendor(self):
        self.start()
        for own, ask, _ in self.clients():
            for name, up in self.ups.items():
                if name != own:
                    with self.subTest(client=own, vendor=name):
                        up.say(Say("Once upon a time", breaks="stall"))
                        stream = ask(name, True)
                        next(iter(stream))
                        stream.close()
                        up.closed.get(timeout=PATIENCE_S)


class Many(unittest.IsolatedAsyncioTestCase):
    """The asynchronous clients, all at once, whole and streamed; some leave in the middle."""

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)
        self.ups = {name: self.enterContext(vendors.start(name)) for name in MODELS}
        self.gw = self.enterContext(Gateway(project_of(self.ups)))
        root, key = self.gw.url.removesuffix("/v1"), self.gw.keys["main"]
        gpt = await self.enterAsyncContext(openai.AsyncOpenAI(base_url=root + "/v1", api_key=key, max_retries=0))
        claude = await self.enterAsyncContext(anthropic.AsyncAnthropic(base_url=root, api_key=key, max_retries=0))
        gemini = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=root))
        self.addAsyncCleanup(gemini.aio.aclose)

        async def chat(model, text, streams):
            answer = await gpt.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], stream=streams)
            if not streams:
                return answer.choices[0].message.content
            return "".join([event.choices[0].delta.content or "" async for event in answer if event.choices])

        async def responses(model, text, streams):
            answer = await gpt.responses.create(model=model, input=text, store=False, stream=streams)
            if not streams:
                return answer.output_text
            return "".join([event.delta async for event in answer if event.type == "response.output_text.delta"])

        async def messages(model, text, streams):
            request = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": text}]}
            if not streams:
                return (await claude.messages.create(**request)).content[0].text
            async with claude.messages.stream(**request) as stream:
                return await stream.get_final_text()

        async def generate(model, text, streams):
            if not streams:
                return (await gemini.aio.models.generate_content(model=model, contents=text)).text
            return "".join([piece.text or "" async for piece in await gemini.aio.models.generate_content_stream(model=model, contents=text)])

        self.asks = {"openai_chat": chat, "openai_responses": responses, "anthropic": messages, "gemini": generate}

    async def check(self, ask, model, number, streams):
        self.assertEqual(await ask(model, f"Which? word-{number}", streams), f"It is word-{number}.")

    async def test_each_reads_its_own_answer(self):
        for up in self.ups.values():
            up.say(echo)
        calls = [(ask, name, streams) for own, ask in self.asks.items() for name in self.ups if name != own for streams in (False, True)] * 8
        await asyncio.gather(*[self.check(ask, name, number, streams) for number, (ask, name, streams) in enumerate(calls)])

    async def test_those_who_are_cancelled_take_nobody_with_them(self):
        for up in self.ups.values():
            up.say(lambda body: Say("never", breaks="stall") if "leave" in json.dumps(body) else echo(body))
        leaving = [asyncio.create_task(ask(name, "leave me", streams))
                   for own, ask in self.asks.items() for name in self.ups if name != own for streams in (False, True)]
        while sum(up.count for up in self.ups.values()) < len(leaving):
            await asyncio.sleep(0.01)
        staying = [asyncio.create_task(self.check(ask, name, number, True))
                   for number, (own, ask) in enumerate(self.asks.items()) for name in self.ups if name != own]
        for task in leaving:
            task.cancel()
        await asyncio.gather(*staying)
        left = await asyncio.gather(*leaving, return_exceptions=True)
        self.assertEqual({type(each) for each in left}, {asyncio.CancelledError})
        for up in self.ups.values():
            for _ in range(6):
                await asyncio.to_thread(up.closed.get, timeout=PATIENCE_S)


if __name__ == "__main__":
    main()
