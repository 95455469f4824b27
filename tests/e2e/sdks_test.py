"""The vendors' official SDKs for Python, unmodified, over providers that speak another dialect: an answer with reasoning, a
text and a tool call, whole and streamed, and the next turn with the result, in which the provider finds its own state."""

import json
import re
import unittest

import anthropic
import openai
import pydantic
from google import genai
from google.genai import errors, types

from moongate import *

TEXT, THOUGHT, ARGUMENTS = "Hello", "Hm.", {"k": 1}
SCHEMA = {"type": "object", "properties": {"k": {"type": "integer"}}}


def events(*data):
    """A stream whose events are named by their type, where they have one."""
    return stream(*[f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() if "type" in one else one for one in data])


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


class Provider:
    """What a vendor's provider says, whole and streamed, and how it fails."""

    def __init__(self, adapter, model, whole, pieces, error):
        self.adapter, self.model, self.whole, self.pieces, self.error = adapter, model, whole, pieces, error


CHAT_MESSAGE = {"role": "assistant", "content": TEXT, "reasoning_content": THOUGHT, "tool_calls": [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"k":1}'}}]}
CHAT = Provider(
    "openai_chat", "gpt-4o",
    {"id": "chatcmpl-1", "object": "chat.completion", "created": 1795392000, "model": "m",
     "choices": [{"index": 0, "message": CHAT_MESSAGE, "finish_reason": "tool_calls"}], "usage": USAGE},
    [chunk({"role": "assistant", "content": ""}), chunk({"reasoning_content": THOUGHT}), chunk({"content": "Hel"}),
     chunk({"content": "lo"}),
     chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
     chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"k":'}}]}),
     chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
     chunk({}, "tool_calls"), {**chunk(), "choices": [], "usage": USAGE}, "[DONE]"],
    {"error": {"message": "slower", "type": "requests", "param": None, "code": "rate_limit_exceeded"}})

THINKING = {"type": "thinking", "thinking": THOUGHT, "signature": "EqQB"}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": None, "stop_sequence": None}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": ARGUMENTS}
ANTHROPIC = Provider(
    "anthropic", "claude-opus-4-6",
    {**MESSAGE, "content": [THINKING, {"type": "text", "text": TEXT}, CALL], "stop_reason": "tool_use",
     "usage": {"input_tokens": 9, "output_tokens": 3}},
    [{"type": "message_start", "message": {**MESSAGE, "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}},
     {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
     {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": THOUGHT}},
     {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}},
     {"type": "content_block_stop", "index": 0},
     {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
     {"type": "ping"},
     {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}},
     {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}},
     {"type": "content_block_stop", "index": 1},
     {"type": "content_block_start", "index": 2, "content_block": {**CALL, "input": {}}},
     {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"k":'}},
     {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
     {"type": "content_block_stop", "index": 2},
     {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 3}},
     {"type": "message_stop"}],
    {"type": "error", "error": {"type": "rate_limit_error", "message": "slower"}})

PARTS = [{"text": THOUGHT, "thought": True}, {"text": TEXT},
         {"functionCall": {"name": "f", "args": ARGUMENTS}, "thoughtSignature": "QUJD"}]
COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 1, "totalTokenCount": 12}


def piece(*parts, **more):
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": list(parts)}, **more}], "modelVersion": "m",
            "responseId": "r1", "usageMetadata": COUNTS}


GEMINI = Provider(
    "gemini", "gemini-3.1-pro", piece(*PARTS, finishReason="STOP"),
    [piece(PARTS[0]), piece({"text": "Hel"}), piece({"text": "lo"}), piece(PARTS[2]), piece({"text": ""}, finishReason="STOP")],
    {"error": {"code": 429, "message": "slower", "status": "RESOURCE_EXHAUSTED"}})

REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": THOUGHT}], "encrypted_content": "gAAAA"}
OUTPUT = [REASONING, {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                      "content": [{"type": "output_text", "text": TEXT, "annotations": []}]},
          {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"k":1}', "status": "completed"}]
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1795392000, "model": "m", "error": None, "incomplete_details": None}
DONE = {**RESPONSE, "status": "completed", "output": OUTPUT,
        "usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}}
RESPONSES = Provider(
    "openai_responses", "gpt-5.2", DONE,
    [{"sequence_number": number, **one} for number, one in enumerate([
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**REASONING, "summary": [], "encrypted_content": "gA"}},
        {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0, "summary_index": 0, "delta": THOUGHT},
        {"type": "response.output_item.done", "output_index": 0, "item": REASONING},
        {"type": "response.output_item.added", "output_index": 1, "item": {**OUTPUT[1], "content": []}},
        {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": "Hel"},
        {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": "lo"},
        {"type": "response.output_item.done", "output_index": 1, "item": OUTPUT[1]},
        {"type": "response.output_item.added", "output_index": 2, "item": {**OUTPUT[2], "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 2, "delta": '{"k":1}'},
        {"type": "response.output_item.done", "output_index": 2, "item": OUTPUT[2]},
        {"type": "response.completed", "response": DONE}])],
    {"error": {"message": "slower", "type": "requests", "param": None, "code": "rate_limit_exceeded"}})


PROVIDERS = (CHAT, ANTHROPIC, GEMINI, RESPONSES)


def project_of(ups):
    """A workflow for each provider, of its adapter's name."""
    providers = "".join(f'{one.adapter} = {{ adapter = "{one.adapter}", base_url = "{up.url}", api_key = "secret", breaker = false }}, '
                        for one, up in ups.items())
    workflows = "".join(f'{one.adapter} = {{ targets = {{ "{one.adapter}/{one.model}" }} }}, ' for one in ups)
    return f"return {{ providers = {{ {providers} }}, workflows = {{ {workflows} }} }}"


class Client(unittest.TestCase):
    """One SDK. `ask` gives reasoning, text, the call's id and arguments, and what its next request begins with; `answer`
    sends that with the call's result."""

    @classmethod
    def setUpClass(cls):
        cls.ups = {provider: cls.enterClassContext(Upstream()) for provider in PROVIDERS}
        cls.gw = cls.enterClassContext(Gateway(project_of(cls.ups)))

    def check(self, provider, streamed):
        up, self.model = self.ups[provider], provider.adapter
        up.answer(events(*provider.pieces) if streamed else respond(200, provider.whole), respond(200, provider.whole))
        thought, text, call_id, arguments, history = self.ask(streamed)

        self.assertEqual((thought, text, arguments), (THOUGHT, TEXT, ARGUMENTS))
        first = up.next_request().json
        self.answer(history, call_id)
        self.check_return(provider, first, up.next_request().json, call_id)

    def check_return(self, provider, first, second, call_id):
        """The provider's own state is where it was, and the call has its result."""
        if provider is ANTHROPIC:
            self.assertEqual(second["messages"][1]["content"], [THINKING, {"type": "text", "text": TEXT}, CALL])
            self.assertEqual(second["messages"][2]["content"][0]["tool_use_id"], "toolu_1")
        elif provider is GEMINI:
            call = second["contents"][1]["parts"][-1]
            self.assertEqual((call["functionCall"]["args"], call["thoughtSignature"]), (ARGUMENTS, "QUJD"))
            self.assertEqual(second["contents"][2]["parts"][0]["functionResponse"]["name"], "f")
        elif provider is RESPONSES:
            items = second["input"]
            reasoning = next(item for item in items if item["type"] == "reasoning")
            self.assertEqual((reasoning["encrypted_content"], reasoning["summary"]), ("gAAAA", REASONING["summary"]))
            self.assertEqual(items[-1], {"type": "function_call_output", "call_id": "call_1", "output": items[-1]["output"]})
            self.assertIs(second["store"], False)
        else:
            self.assertEqual([m["role"] for m in second["messages"]], ["user", "assistant", "tool"])
            self.assertEqual(second["messages"][1]["content"], TEXT)
            self.assertEqual(second["messages"][2]["tool_call_id"], "call_1")

    def each(self, streamed):
        for provider in PROVIDERS:
            if provider is not self.own:
                with self.subTest(provider=provider.adapter):
                    self.check(provider, streamed)

    def each_raises(self, error, status="status_code"):
        ups = {provider: self.enterContext(Upstream(respond(429, provider.error, {"retry-after": "3600"}))) for provider in PROVIDERS}
        self.gw = self.enterContext(Gateway(project_of(ups)))
        for provider in PROVIDERS:
            with self.subTest(provider=provider.adapter), self.assertRaisesRegex(error, "slower") as raised:
                self.model = provider.adapter
                self.ask(False)
            self.assertEqual(getattr(raised.exception, status), 429)


class OpenAIResponses(Client):
    own = RESPONSES
    tool = {"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}

    def request(self, input, **more):
        return self.gw.client().responses.create(model=self.model, input=input, tools=[self.tool], store=False,
                                            reasoning={"summary": "auto"}, include=["reasoning.encrypted_content"], **more)

    def ask(self, streamed):
        input = [{"role": "user", "content": "hi"}]
        if streamed:
            pieces = {"response.output_text.delta": "", "response.reasoning_summary_text.delta": "",
                      "response.function_call_arguments.delta": ""}
            for number, event in enumerate(self.request(input, stream=True)):
                self.assertEqual(event.sequence_number, number)
                if event.type in pieces:
                    pieces[event.type] += event.delta
            self.assertEqual(event.type, "response.completed")
            response = event.response
            self.assertEqual(list(pieces.values()), [TEXT, THOUGHT, response.output[-1].arguments])
        else:
            response = self.request(input)
        self.assertEqual((response.status, response.usage.input_tokens, response.usage.output_tokens), ("completed", 9, 3))
        self.assertEqual(response.tools[0].name, "f")
        call = response.output[-1]
        history = input + [item.model_dump(exclude_none=True) for item in response.output]
        return response.output[0].summary[0].text, response.output_text, call.call_id, json.loads(call.arguments), history

    def answer(self, history, call_id):
        self.request(history + [{"type": "function_call_output", "call_id": call_id, "output": "ok"}])

    def test_whole_answers_and_the_next_turn(self):
        self.each(streamed=False)

    def test_streams_and_the_next_turn(self):
        self.each(streamed=True)

    def test_errors_raise_the_class_the_sdk_has_for_them(self):
        self.each_raises(openai.RateLimitError)

    def test_what_cannot_be_said_is_refused_by_its_name(self):
        self.model = "anthropic"
        with self.assertRaises(openai.BadRequestError) as raised:
            self.request("hi", background=True)
        self.assertEqual(raised.exception.param, "background")


    def test_the_sdks_helpers_parse_an_answer_after_a_schema(self):
        answer = '{"city": "Kiel", "degrees": 12}'
        text = [{"type": "text", "text": answer}]
        self.ups[ANTHROPIC].answer(respond(200, {**MESSAGE, "content": text, "stop_reason": "end_turn",
                                                 "usage": {"input_tokens": 9, "output_tokens": 3}}))
        self.ups[GEMINI].answer(events(piece({"text": answer[:9]}), piece({"text": answer[9:]}, finishReason="STOP")))
        whole = self.gw.client().responses.parse(model="anthropic", input="Weather?", text_format=Weather)
        with self.gw.client().responses.stream(model="gemini", input="Weather?", text_format=Weather) as stream:
            streamed = stream.get_final_response()

        self.assertEqual((whole.output_parsed, streamed.output_parsed), (Weather(city="Kiel", degrees=12),) * 2)
        schema = self.ups[ANTHROPIC].next_request().json["output_config"]["format"]["schema"]
        self.assertEqual(list(schema["properties"]), ["city", "degrees"])
        config = self.ups[GEMINI].next_request().json["generationConfig"]
        self.assertEqual(config["responseMimeType"], "application/json")
        self.assertEqual(list(config["responseJsonSchema"]["properties"]), ["city", "degrees"])


class Anthropic(Client):
    own = ANTHROPIC
    tool = {"name": "f", "input_schema": SCHEMA}

    def client(self):
        return anthropic.Anthropic(api_key=self.gw.keys["main"], base_url=re.sub("/v1$", "", self.gw.url), max_retries=0)

    def request(self, messages):
        return {"model": self.model, "max_tokens": 2000, "messages": messages, "tools": [self.tool]}

    def ask(self, streamed):
        messages = [{"role": "user", "content": "hi"}]
        if streamed:
            with self.client().messages.stream(**self.request(messages)) as stream:
                message = stream.get_final_message()
        else:
            message = self.client().messages.create(**self.request(messages))
        self.assertEqual((message.stop_reason, message.usage.input_tokens, message.usage.output_tokens), ("tool_use", 9, 3))
        call = message.content[-1]
        texts = "".join(block.text for block in message.content if block.type == "text")
        history = messages + [{"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]}]
        return message.content[0].thinking, texts, call.id, call.input, history

    def answer(self, history, call_id):
        result = {"type": "tool_result", "tool_use_id": call_id, "content": "ok"}
        self.client().messages.create(**self.request(history + [{"role": "user", "content": [result]}]))

    def test_whole_answers_and_the_next_turn(self):
        self.each(streamed=False)

    def test_streams_and_the_next_turn(self):
        self.each(streamed=True)

    def test_errors_raise_the_class_the_sdk_has_for_them(self):
        self.each_raises(anthropic.RateLimitError)


class Gemini(Client):
    own = GEMINI

    def setUp(self):
        function = types.FunctionDeclaration(name="f", parameters=types.Schema(
            type="OBJECT", properties={"k": types.Schema(type="INTEGER")}))
        self.config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=[function])],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))

    def chat(self, history=None):
        self.client = genai.Client(api_key=self.gw.keys["main"], http_options=types.HttpOptions(
            base_url=re.sub("/v1$", "", self.gw.url), api_version="v1beta"))
        return self.client.chats.create(model=self.model, config=self.config, history=history)

    def ask(self, streamed):
        chat = self.chat()
        answers = list(chat.send_message_stream("hi")) if streamed else [chat.send_message("hi")]
        parts = [part for answer in answers for one in answer.candidates or [] for part in one.content.parts]
        counts = answers[-1].usage_metadata
        self.assertEqual((counts.prompt_token_count, counts.total_token_count), (9, 12))
        self.assertIn(types.FinishReason.STOP, [one.finish_reason for answer in answers for one in answer.candidates or []])
        call = next(part.function_call for part in parts if part.function_call)
        thought = "".join(part.text for part in parts if part.thought)
        text = "".join(part.text for part in parts if part.text and not part.thought)
        return thought, text, call.id, call.args, chat.get_history()

    def answer(self, history, call_id):
        self.chat(history).send_message(types.Part(function_response=types.FunctionResponse(
            id=call_id, name="f", response={"output": "ok"})))

    def test_whole_answers_and_the_next_turn(self):
        self.each(streamed=False)

    def test_streams_and_the_next_turn(self):
        self.each(streamed=True)

    def test_errors_raise_the_class_the_sdk_has_for_them(self):
        self.each_raises(errors.ClientError, "code")


class OpenAIChat(Client):
    own = CHAT
    tool = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}

    def request(self, messages, **more):
        return self.gw.client().chat.completions.create(model=self.model, messages=messages, tools=[self.tool], **more)

    def collect(self, messages):
        """A message put together from a stream, as programs do that keep what they do not know."""
        message = {"role": "assistant", "content": "", "reasoning_content": "", "reasoning_details": []}
        for event in self.request(messages, stream=True):
            delta = event.choices[0].delta.model_dump(exclude_none=True)
            message["content"] += delta.get("content", "")
            message["reasoning_content"] += delta.get("reasoning_content", "")
            message["reasoning_details"] += delta.get("reasoning_details", [])
            for call in delta.get("tool_calls", []):
                calls = message.setdefault("tool_calls", [])
                if call["index"] == len(calls):
                    calls.append(call)
                else:
                    calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
        return message

    def ask(self, streamed):
        messages = [{"role": "user", "content": "hi"}]
        if streamed:
            message = self.collect(messages)
        else:
            answer = self.request(messages)
            self.assertEqual((answer.choices[0].finish_reason, answer.usage.total_tokens), ("tool_calls", 12))
            message = answer.choices[0].message.model_dump(exclude_none=True)
        call = message["tool_calls"][0]
        return message["reasoning_content"], message["content"], call["id"], json.loads(call["function"]["arguments"]), messages + [message]

    def answer(self, history, call_id):
        self.request(history + [{"role": "tool", "tool_call_id": call_id, "content": "ok"}])

    def test_whole_answers_and_the_next_turn(self):
        self.each(streamed=False)

    def test_streams_and_the_next_turn(self):
        self.each(streamed=True)

    def test_errors_raise_the_class_the_sdk_has_for_them(self):
        self.each_raises(openai.RateLimitError)


del Client  # it is no test of its own

if __name__ == "__main__":
    main()
