"""The vendors' SDKs behind one face: each speaks its own dialect with the gateway, unmodified, and what it is sent is kept.

History is a list of the dialect's own items; `user`, `results` and Answer.turn give more of them."""

import base64
import json
import re

import anthropic
import httpx2 as httpx
import openai
from google import genai
from google.genai import types

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def encoded(data):
    return base64.b64encode(data).decode()


class Answer:
    """`calls`: (id, name, arguments) each. `finish`: "stop", "length", "tool" or "refusal"; `usage`: all in, of it cached, all out."""

    def __init__(self, thought, text, calls, finish, usage, turn):
        self.thought, self.text, self.calls, self.finish, self.usage, self.turn = thought, text, calls, finish, usage, turn


class Kept(httpx.HTTPTransport):
    """Keeps the body and the headers of the last answer."""

    def handle_request(self, request):
        response = super().handle_request(request)
        self.body, self.headers = [], response.headers

        def kept(stream):
            for data in stream:
                self.body.append(data)
                yield data

        return httpx.Response(response.status_code, headers=response.headers, extensions=response.extensions,
                              stream=Streamed(kept(response.stream), response.stream))

    @property
    def text(self):
        return b"".join(self.body).decode()


class Streamed(httpx.SyncByteStream):
    def __init__(self, pieces, stream):
        self.pieces, self.stream = pieces, stream

    def __iter__(self):
        yield from self.pieces

    def close(self):
        self.stream.close()


class Sdk:
    def __init__(self, gateway, key=None):
        self.kept = Kept()
        self.key = key or gateway.keys["main"]
        self.root = re.sub("/v1$", "", gateway.url)
        self.http = httpx.Client(transport=self.kept)
        self.connect()

    def close(self):
        self.http.close()

    @property
    def events(self):
        """The data of the last stream's events."""
        return [json.loads(line[6:]) for line in self.kept.text.splitlines() if line.startswith("data: {")]


class OpenAIChat(Sdk):
    name, failure, status = "openai_chat", openai.APIStatusError, "status_code"
    classes = {400: openai.BadRequestError, 401: openai.AuthenticationError, 404: openai.NotFoundError, 429: openai.RateLimitError,
               500: openai.InternalServerError, 503: openai.InternalServerError}
    broken = openai.APIError

    def connect(self):
        self.sdk = openai.OpenAI(base_url=self.root + "/v1", api_key=self.key, max_retries=0, http_client=self.http)

    def user(self, text, image=None, document=None, notes=None):
        parts = [{"type": "text", "text": text}]
        if image:
            parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(image)}"}})
        if document:
            parts.append({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{encoded(document)}"}})
        if notes:
            parts.append({"type": "file", "file": {"filename": "notes.txt", "file_data": f"data:text/plain;base64,{encoded(notes.encode())}"}})
        return [{"role": "user", "content": parts if len(parts) > 1 else text}]

    def system(self, text):
        return [{"role": "system", "content": text}]

    def aside(self, text):
        return [{"role": "developer", "content": text}]

    def results(self, calls, outputs):
        return [{"role": "tool", "tool_call_id": id, "content": output} for (id, _, _), output in zip(calls, outputs)]

    def ask(self, model, history, streams=False, tools=(), schema=None, effort=None, max_tokens=None, **more):
        if tools:
            more["tools"] = [{"type": "function", "function": {"name": name, "description": "A tool.", "parameters": of}} for name, of in tools]
        if schema:
            more["response_format"] = {"type": "json_schema", "json_schema": {"name": "out", "schema": schema, "strict": True}}
        if effort:
            more["reasoning_effort"] = effort
            if model != self.name:
                more["extra_body"] = {"include_reasoning": True}
        if max_tokens:
            more["max_completion_tokens"] = max_tokens
        if streams:
            more["stream_options"] = {"include_usage": True}
        answer = self.sdk.chat.completions.create(model=model, messages=history, stream=streams, **more)
        message, finish, usage = self.collect(answer) if streams else (
            answer.choices[0].message.model_dump(exclude_none=True), answer.choices[0].finish_reason, answer.usage)
        calls = [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls", [])]
        finish = "refusal" if message.get("refusal") or finish == "content_filter" else {"tool_calls": "tool"}.get(finish, finish)
        text = message.get("content") or message.get("refusal") or ""
        return Answer(message.get("reasoning_content", ""), text, calls, finish,
                      (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens), [message])

    def collect(self, answer):
        """Put together as programs do that keep what they do not know."""
        message, finish, usage = {"role": "assistant"}, None, None
        for event in answer:
            usage = event.usage or usage
            for choice in event.choices:
                finish = choice.finish_reason or finish
                for name, value in choice.delta.model_dump(exclude_none=True).items():
                    self.add(message, name, value)
        return {name: value for name, value in message.items() if value != ""}, finish, usage

    def add(self, message, name, value):
        if name == "tool_calls":
            for call in value:
                calls = message.setdefault("tool_calls", [])
                index = call.pop("index")
                if index == len(calls):
                    calls.append(call)
                else:
                    calls[index]["function"]["arguments"] += call["function"]["arguments"]
        elif name == "role":
            message[name] = value
        else:
            message[name] = message[name] + value if name in message else value


class OpenAIResponses(Sdk):
    name, failure, status = "openai_responses", openai.APIStatusError, "status_code"
    classes, broken = OpenAIChat.classes, openai.APIError
    connect = OpenAIChat.connect

    def user(self, text, image=None, document=None, notes=None):
        parts = [{"type": "input_text", "text": text}]
        if image:
            parts.append({"type": "input_image", "image_url": f"data:image/png;base64,{encoded(image)}", "detail": "auto"})
        if document:
            parts.append({"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{encoded(document)}"})
        if notes:
            parts.append({"type": "input_file", "filename": "notes.txt", "file_data": f"data:text/plain;base64,{encoded(notes.encode())}"})
        return [{"role": "user", "content": parts if len(parts) > 1 else text}]

    system = OpenAIChat.system
    aside = OpenAIChat.aside

    def results(self, calls, outputs):
        return [{"type": "function_call_output", "call_id": id, "output": output} for (id, _, _), output in zip(calls, outputs)]

    def ask(self, model, history, streams=False, tools=(), schema=None, effort=None, max_tokens=None, **more):
        if tools:
            more["tools"] = [{"type": "function", "name": name, "description": "A tool.", "parameters": of, "strict": False} for name, of in tools]
        if schema:
            more["text"] = {"format": {"type": "json_schema", "name": "out", "schema": schema, "strict": True}}
        if effort:
            more.update(reasoning={"effort": effort, "summary": "auto"}, include=["reasoning.encrypted_content"])
        if max_tokens:
            more["max_output_tokens"] = max_tokens
        answer = self.sdk.responses.create(model=model, input=history, stream=streams, store=False, **more)
        if streams:
            answer = self.collect(answer)
        thought = "".join(part.text for item in answer.output if item.type == "reasoning" for part in item.summary)
        parts = [part for item in answer.output if item.type == "message" for part in item.content]
        calls = [(item.call_id, item.name, json.loads(item.arguments)) for item in answer.output if item.type == "function_call"]
        refused = any(part.type == "refusal" for part in parts) or (answer.incomplete_details and answer.incomplete_details.reason == "content_filter")
        finish = "refusal" if refused else "length" if answer.status == "incomplete" else "tool" if calls else "stop"
        usage = answer.usage
        return Answer(thought, "".join(part.refusal if part.type == "refusal" else part.text for part in parts), calls, finish,
                      (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens),
                      [item.model_dump(exclude_none=True) for item in answer.output])

    def collect(self, answer):
        event = None
        for event in answer:
            pass
        return event.response


class Anthropic(Sdk):
    name, failure, status = "anthropic", anthropic.APIStatusError, "status_code"
    classes = {400: anthropic.BadRequestError, 401: anthropic.AuthenticationError, 404: anthropic.NotFoundError, 429: anthropic.RateLimitError,
               500: anthropic.InternalServerError, 503: anthropic.InternalServerError}
    broken = anthropic.APIError

    def connect(self):
        self.sdk = anthropic.Anthropic(base_url=self.root, api_key=self.key, max_retries=0, http_client=self.http)

    def user(self, text, image=None, document=None, notes=None):
        parts = [{"type": "text", "text": text}]
        if image:
            parts.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded(image)}})
        if document:
            parts.append({"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": encoded(document)}})
        if notes:
            parts.append({"type": "document", "title": "notes.txt", "source": {"type": "text", "media_type": "text/plain", "data": notes}})
        return [{"role": "user", "content": parts if len(parts) > 1 else text}]

    def system(self, text):
        return [("system", text)]

    def aside(self, text):
        return [{"role": "system", "content": text}]

    def results(self, calls, outputs):
        return [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": output} for (id, _, _), output in zip(calls, outputs)]}]

    def ask(self, model, history, streams=False, tools=(), schema=None, effort=None, max_tokens=None, **more):
        systems = [each[1] for each in history if isinstance(each, tuple)]
        if systems:
            more["system"] = [{"type": "text", "text": text} for text in systems]
        if tools:
            more["tools"] = [{"name": name, "description": "A tool.", "input_schema": of} for name, of in tools]
        if schema:
            more["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        if effort:
            more["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        request = {"model": model, "max_tokens": max_tokens or 4096, "messages": [each for each in history if not isinstance(each, tuple)], **more}
        if streams:
            with self.sdk.messages.stream(**request) as stream:
                message = stream.get_final_message()
        else:
            message = self.sdk.messages.create(**request)
        texts = {kind: "".join(getattr(block, kind) for block in message.content if block.type == kind) for kind in ("thinking", "text")}
        calls = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
        finish = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool"}.get(message.stop_reason, message.stop_reason)
        usage = message.usage
        cached = usage.cache_read_input_tokens or 0
        turn = {"role": "assistant", "content": [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in message.content]}
        return Answer(texts["thinking"], texts["text"], calls, finish, (usage.input_tokens + cached, cached, usage.output_tokens), [turn])


class Gemini(Sdk):
    name, failure, status = "gemini", genai.errors.APIError, "code"
    classes = {status: genai.errors.ServerError if status >= 500 else genai.errors.ClientError for status in (400, 401, 404, 429, 500, 503)}
    broken = genai.errors.APIError
    finishes = {"MAX_TOKENS": "length", "SAFETY": "refusal", "PROHIBITED_CONTENT": "refusal"}

    def connect(self):
        self.sdk = genai.Client(api_key=self.key, http_options=types.HttpOptions(base_url=self.root, api_version="v1beta", httpx_client=self.http))

    def user(self, text, image=None, document=None, notes=None):
        parts = [types.Part(text=text)]
        given = ((image, "image/png"), (document, "application/pdf"), (notes and notes.encode(), "text/plain"))
        parts += [types.Part.from_bytes(data=data, mime_type=mime) for data, mime in given if data]
        return [types.Content(role="user", parts=parts)]

    def system(self, text):
        return [("system", text)]

    def aside(self, text):
        """It has no such turn."""
        return self.user(text)

    def results(self, calls, outputs):
        return [types.Content(role="user", parts=[types.Part(function_response=types.FunctionResponse(id=id, name=name, response={"output": output}))
                                                  for (id, name, _), output in zip(calls, outputs)])]

    def ask(self, model, history, streams=False, tools=(), schema=None, effort=None, max_tokens=None, **more):
        systems = [each[1] for each in history if isinstance(each, tuple)]
        config = types.GenerateContentConfig(
            system_instruction=systems or None, max_output_tokens=max_tokens,
            tools=[types.Tool(function_declarations=[types.FunctionDeclaration(name=name, description="A tool.", parameters_json_schema=of) for name, of in tools])] if tools else None,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            response_mime_type="application/json" if schema else None, response_json_schema=schema,
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2048) if effort else None, **more)
        contents = [each for each in history if not isinstance(each, tuple)]
        if streams:
            answers = list(self.sdk.models.generate_content_stream(model=model, contents=contents, config=config))
        else:
            answers = [self.sdk.models.generate_content(model=model, contents=contents, config=config)]
        return self.read(answers)

    def read(self, answers):
        candidates = [one for answer in answers for one in answer.candidates or []]
        parts = [part for one in candidates if one.content for part in one.content.parts or []]
        parts = self.joined(parts)
        calls = [(part.function_call.id, part.function_call.name, part.function_call.args) for part in parts if part.function_call]
        reasons = [one.finish_reason.value for one in candidates if one.finish_reason]
        blocked = any(answer.prompt_feedback and answer.prompt_feedback.block_reason for answer in answers)
        finish = "refusal" if blocked else self.finishes.get(reasons[-1], "tool" if calls else "stop")
        usage = next(answer.usage_metadata for answer in reversed(answers) if answer.usage_metadata)
        return Answer("".join(part.text for part in parts if part.text and part.thought), "".join(part.text for part in parts if part.text and not part.thought),
                      calls, finish, (usage.prompt_token_count, usage.cached_content_token_count or 0, usage.candidates_token_count + (usage.thoughts_token_count or 0)),
                      [types.Content(role="model", parts=parts)])

    def joined(self, parts):
        """A text in pieces is one text; what is signed stays apart."""
        found = []
        for part in parts:
            last = found[-1] if found else None
            if last and last.text is not None and part.text is not None and not (part.thought_signature or last.thought_signature) and last.thought == part.thought:
                found[-1] = types.Part(text=last.text + part.text, thought=last.thought)
            elif part.text != "" or part.thought_signature:
                found.append(part)
        return found


ALL = (OpenAIChat, OpenAIResponses, Anthropic, Gemini)
