"""Every dialect in, every dialect out, through the real gateway: what a provider gets and what a client gets is held to the
vendors' formats by validators of their own (tests/lua/validators)."""
import json
import os
import subprocess
import threading
import unittest

from moongate import Gateway, Upstream, chunk, error_answer, main, respond, stream

SOURCE = os.environ.get("MOONGATE_SOURCE_DIR", ".")
NAMES = ["openai_chat", "openai_responses", "anthropic", "gemini"]
ADAPTERS = {"openai_chat": "openai_chat", "openai_responses": "openai_responses", "anthropic": "anthropic", "gemini": "gemini"}
MODELS = {"openai_chat": "gpt-4o", "openai_responses": "gpt-4o", "anthropic": "claude-opus-4-6", "gemini": "gemini-2.5-pro"}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"k": {"type": "integer"}}}


def validate(name, data, *options):
    """Fails with the validator's words."""
    text = data if isinstance(data, str) else json.dumps(data)
    done = subprocess.run(["luajit", "tests/lua/validate.lua", name, *options], input=text, text=True, capture_output=True, cwd=SOURCE)
    if done.returncode:
        raise AssertionError(f"{name}: {done.stderr}")


# ---- what clients ask: a system turn, an image, a call with its result, tools

def ask_openai_chat():
    return {"messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "See"},
                                     {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]},
        {"role": "assistant", "content": "Let me look.",
         "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"k":1}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "user", "content": "And?"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
                  {"type": "function", "function": {"name": "g", "parameters": SCHEMA}}],
        "max_tokens": 500}


def ask_openai_responses():
    return {"instructions": "Be brief.", "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "See"},
                                     {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"k":1}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "one"},
        {"role": "user", "content": "And?"}],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False},
                  {"type": "function", "name": "g", "parameters": SCHEMA, "strict": False}],
        "max_output_tokens": 500, "store": False}


def ask_anthropic():
    return {"system": "Be brief.", "max_tokens": 500, "messages": [
        {"role": "user", "content": [{"type": "text", "text": "See"}, {
            "type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Let me look."},
                                          {"type": "tool_use", "id": "call_1", "name": "f", "input": {"k": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
                                     {"type": "text", "text": "And?"}]}],
        "tools": [{"name": "f", "input_schema": SCHEMA}, {"name": "g", "input_schema": SCHEMA}]}


def ask_gemini():
    return {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [
        {"role": "user", "parts": [{"text": "See"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
        {"role": "model", "parts": [{"text": "Let me look."}, {"functionCall": {"id": "call_1", "name": "f", "args": {"k": 1}}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "call_1", "name": "f", "response": {"output": "one"}}}, {"text": "And?"}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}, {"name": "g", "parametersJsonSchema": SCHEMA}]}],
        "generationConfig": {"maxOutputTokens": 500}}


ASK = {"openai_chat": ask_openai_chat, "openai_responses": ask_openai_responses, "anthropic": ask_anthropic, "gemini": ask_gemini}


PATHS = {"openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses", "anthropic": "/v1/messages",
         "gemini": "/v1beta/models/chat:{}"}


def send(gateway, name, streams, **more):
    """A request in a client's dialect, for the workflow `chat`."""
    body = {**ASK[name](), **more}
    if name == "gemini":
        return gateway.request("POST", PATHS[name].format("streamGenerateContent?alt=sse" if streams else "generateContent"), body)
    body["model"] = "chat"
    if streams:
        body["stream"] = True
    if streams and name == "openai_chat":
        body["stream_options"] = {"include_usage": True}
    return gateway.request("POST", PATHS[name], body)


# ---- what providers answer: reasoning, "Hello", f({"k":1}) and g(); 109 tokens in, 100 of them cached, 12 out, 4 thought

def answer_openai_chat():
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1795392000, "model": "served", "choices": [
        {"index": 0, "finish_reason": "tool_calls", "logprobs": None, "message": {
            "role": "assistant", "content": "Hello", "refusal": None, "reasoning_content": "Hm.", "tool_calls": [
                {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"k":1}'}},
                {"id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]}}],
        "usage": {"prompt_tokens": 109, "completion_tokens": 12, "total_tokens": 121,
                  "prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens_details": {"reasoning_tokens": 4}}}


def stream_openai_chat():
    """Two calls whose arguments are interleaved."""
    def call(index, **of):
        return chunk({"tool_calls": [{"index": index, **of}]})
    return [chunk({"role": "assistant", "content": ""}), chunk({"reasoning_content": "Hm."}), chunk({"content": "Hel"}), chunk({"content": "lo"}),
            call(0, id="call_a", type="function", function={"name": "f", "arguments": ""}),
            call(1, id="call_b", type="function", function={"name": "g", "arguments": ""}),
            call(0, function={"arguments": '{"k":'}), call(1, function={"arguments": "{"}), call(0, function={"arguments": "1}"}),
            call(1, function={"arguments": "}"}), chunk({}, "tool_calls"),
            {**chunk(), "choices": [], "usage": answer_openai_chat()["usage"]}, "[DONE]"]


def answer_anthropic():
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "served", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "EqQBCgIYAhIM"}, {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "call_a", "name": "f", "input": {"k": 1}}, {"type": "tool_use", "id": "call_b", "name": "g", "input": {}}],
        "stop_reason": "tool_use", "stop_sequence": None,
        "usage": {"input_tokens": 9, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0, "output_tokens": 12,
                  "output_tokens_details": {"thinking_tokens": 4}}}


def named(type, **data):
    return f"event: {type}\ndata: {json.dumps({'type': type, **data})}\n\n".encode()


def stream_anthropic():
    """The call without arguments says nothing of them."""
    usage = answer_anthropic()["usage"]
    start = {**answer_anthropic(), "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    blocks = [({"type": "thinking", "thinking": "", "signature": ""}, [{"type": "thinking_delta", "thinking": "Hm."},
                                                                      {"type": "signature_delta", "signature": "EqQBCgIYAhIM"}]),
              ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo"}]),
              ({"type": "tool_use", "id": "call_a", "name": "f", "input": {}},
               [{"type": "input_json_delta", "partial_json": ""}, {"type": "input_json_delta", "partial_json": '{"k":'},
                {"type": "input_json_delta", "partial_json": "1}"}]),
              ({"type": "tool_use", "id": "call_b", "name": "g", "input": {}}, [])]
    events = [named("message_start", message=start), named("ping")]
    for index, (block, deltas) in enumerate(blocks):
        events.append(named("content_block_start", index=index, content_block=block))
        events += [named("content_block_delta", index=index, delta=delta) for delta in deltas]
        events.append(named("content_block_stop", index=index))
    return events + [named("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None},
                           usage={"output_tokens": 12, "output_tokens_details": {"thinking_tokens": 4}}), named("message_stop")]


def answer_openai_responses():
    return {"id": "resp_1", "object": "response", "created_at": 1795392000, "status": "completed", "model": "served", "error": None,
            "incomplete_details": None, "output": [
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "gAAAAAB"},
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                 "content": [{"type": "output_text", "text": "Hello", "annotations": []}]},
                {"type": "function_call", "id": "fc_1", "call_id": "call_a", "name": "f", "arguments": '{"k":1}', "status": "completed"},
                {"type": "function_call", "id": "fc_2", "call_id": "call_b", "name": "g", "arguments": "{}", "status": "completed"}],
            "usage": {"input_tokens": 109, "output_tokens": 12, "total_tokens": 121, "input_tokens_details": {"cached_tokens": 100},
                      "output_tokens_details": {"reasoning_tokens": 4}}}


def stream_openai_responses():
    whole = answer_openai_responses()
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    reasoning, message, call_a, call_b = whole["output"]
    events = [("response.created", {"response": begun}), ("response.in_progress", {"response": begun}),
              ("response.output_item.added", {"output_index": 0, "item": {**reasoning, "summary": []}}),
              ("response.reasoning_summary_part.added", {"output_index": 0, "item_id": "rs_1", "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
              ("response.reasoning_summary_text.delta", {"output_index": 0, "item_id": "rs_1", "summary_index": 0, "delta": "Hm."}),
              ("response.reasoning_summary_text.done", {"output_index": 0, "item_id": "rs_1", "summary_index": 0, "text": "Hm."}),
              ("response.output_item.done", {"output_index": 0, "item": reasoning}),
              ("response.output_item.added", {"output_index": 1, "item": {**message, "status": "in_progress", "content": []}}),
              ("response.content_part.added", {"output_index": 1, "item_id": "msg_1", "content_index": 0, "part": {"type": "output_text", "text": "", "annotations": []}}),
              ("response.output_text.delta", {"output_index": 1, "item_id": "msg_1", "content_index": 0, "delta": "Hel", "logprobs": []}),
              ("response.output_text.delta", {"output_index": 1, "item_id": "msg_1", "content_index": 0, "delta": "lo", "logprobs": []}),
              ("response.output_text.done", {"output_index": 1, "item_id": "msg_1", "content_index": 0, "text": "Hello", "logprobs": []}),
              ("response.content_part.done", {"output_index": 1, "item_id": "msg_1", "content_index": 0, "part": message["content"][0]}),
              ("response.output_item.done", {"output_index": 1, "item": message})]
    for index, call in ((2, call_a), (3, call_b)):
        events += [("response.output_item.added", {"output_index": index, "item": {**call, "status": "in_progress", "arguments": ""}}),
                   ("response.function_call_arguments.delta", {"output_index": index, "item_id": call["id"], "delta": call["arguments"]}),
                   ("response.function_call_arguments.done", {"output_index": index, "item_id": call["id"], "arguments": call["arguments"]}),
                   ("response.output_item.done", {"output_index": index, "item": call})]
    events.append(("response.completed", {"response": whole}))
    return [named(type, **data, sequence_number=number) for number, (type, data) in enumerate(events)]


GEMINI_USAGE = {"promptTokenCount": 109, "cachedContentTokenCount": 100, "candidatesTokenCount": 8, "thoughtsTokenCount": 4, "totalTokenCount": 121}


def gemini_chunk(*parts, finish=None):
    candidate = {"index": 0, "content": {"role": "model", "parts": list(parts)}, **({"finishReason": finish} if finish else {})}
    return {"candidates": [candidate], "modelVersion": "served", "responseId": "r1", "usageMetadata": GEMINI_USAGE}


GEMINI_CALLS = [{"functionCall": {"name": "f", "args": {"k": 1}}, "thoughtSignature": "c2ln"}, {"functionCall": {"name": "g", "args": {}}}]


def answer_gemini():
    return gemini_chunk({"text": "Hm.", "thought": True}, {"text": "Hello"}, *GEMINI_CALLS, finish="STOP")


def stream_gemini():
    return [gemini_chunk({"text": "Hm.", "thought": True}), gemini_chunk({"text": "Hel"}), gemini_chunk({"text": "lo"}),
            gemini_chunk(*GEMINI_CALLS), gemini_chunk({"text": ""}, finish="STOP")]


ANSWERS = {"openai_chat": answer_openai_chat, "openai_responses": answer_openai_responses, "anthropic": answer_anthropic, "gemini": answer_gemini}
STREAMS = {"openai_chat": stream_openai_chat, "openai_responses": stream_openai_responses, "anthropic": stream_anthropic, "gemini": stream_gemini}


# ---- what clients read

def events_of(response):
    return [json.loads(event) for event in response.events if event != "[DONE]"]


def read_openai_chat(response, streams):
    text, calls, thought = "", {}, ""
    if not streams:
        message = response.json["choices"][0]["message"]
        calls = dict(enumerate((call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]))
        text, thought, usage = message["content"], message["reasoning_content"], response.json["usage"]
    for event in events_of(response) if streams else []:
        for choice in event["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            thought += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls", []):
                name, arguments = calls.get(call["index"], ("", ""))
                function = call.get("function", {})
                calls[call["index"]] = (name + function.get("name", ""), arguments + function.get("arguments", ""))
        usage = event.get("usage")
    return thought, text, list(calls.values()), (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], usage["completion_tokens"])


def read_openai_responses(response, streams):
    body = events_of(response)[-1]["response"] if streams else response.json
    text = "".join(part["text"] for item in body["output"] if item["type"] == "message" for part in item["content"])
    thought = "".join(part["text"] for item in body["output"] if item["type"] == "reasoning" for part in item["summary"])
    calls = [(item["name"], item["arguments"]) for item in body["output"] if item["type"] == "function_call"]
    usage = body["usage"]
    return thought, text, calls, (usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"], usage["output_tokens"])


def read_anthropic(response, streams):
    blocks, usage = [], None
    for event in events_of(response) if streams else []:
        if event["type"] == "content_block_start":
            blocks.append({**event["content_block"], "input": ""})
        elif event["type"] == "content_block_delta":
            for member in ("text", "thinking", "partial_json"):
                if member in event["delta"]:
                    key = "input" if member == "partial_json" else member
                    blocks[-1][key] += event["delta"][member]
        usage = event.get("usage", usage)
    if not streams:
        blocks, usage = response.json["content"], response.json["usage"]
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    thought = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    calls = [(block["name"], block["input"] if streams else json.dumps(block["input"])) for block in blocks if block["type"] == "tool_use"]
    return thought, text, calls, (usage["input_tokens"] + usage["cache_read_input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"])


def read_gemini(response, streams):
    events = events_of(response) if streams else [response.json]
    parts = [part for event in events for candidate in event.get("candidates", []) for part in candidate.get("content", {}).get("parts", [])]
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    thought = "".join(part.get("text", "") for part in parts if part.get("thought"))
    calls = [(part["functionCall"]["name"], json.dumps(part["functionCall"]["args"])) for part in parts if "functionCall" in part]
    usage = [event["usageMetadata"] for event in events if "usageMetadata" in event][-1]
    return thought, text, calls, (usage["promptTokenCount"], usage["cachedContentTokenCount"],
                                  usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0))


READ = {"openai_chat": read_openai_chat, "openai_responses": read_openai_responses, "anthropic": read_anthropic, "gemini": read_gemini}


def project(upstream, name, target=""):
    return (f'return {{ providers = {{ p = {{ adapter = "{ADAPTERS[name]}", base_url = "{upstream.url}", api_key = "k", breaker = false }} }}, '
            f'workflows = {{ chat = {{ targets = {{ {{ "p/{MODELS[name]}", {target} }} }}, max_attempts = 1 }} }} }}')


class Matrix(unittest.TestCase):
    def check(self, provider):
        clients = [name for name in NAMES if name != provider]
        scripts = [respond(200, ANSWERS[provider]()) if not streams else stream(*STREAMS[provider]()) for _ in clients for streams in (False, True)]
        with Upstream(*scripts) as upstream, Gateway({"main": project(upstream, provider)}) as gateway:
            for client in clients:
                for streams in (False, True):
                    with self.subTest(client=client, provider=provider, streams=streams):
                        self.one(gateway, upstream, client, provider, streams)

    def one(self, gateway, upstream, client, provider, streams):
        response = send(gateway, client, streams)
        sent = upstream.next_request()
        self.assertEqual(response.status, 200, response.body)
        validate(f"{provider}_request", sent.json)
        if streams:
            validate(f"{client}_stream", response.body.decode())
        else:
            validate(f"{client}_answer", response.json)
        thought, text, calls, usage = READ[client](response, streams)
        self.assertEqual((thought, text), ("Hm.", "Hello"))
        self.assertEqual([(name, json.loads(arguments)) for name, arguments in calls], [("f", {"k": 1}), ("g", {})])
        self.assertEqual(usage, (109, 100, 12))

    def test_openai_chat_answers_everybody(self):
        self.check("openai_chat")

    def test_openai_responses_answers_everybody(self):
        self.check("openai_responses")

    def test_anthropic_answers_everybody(self):
        self.check("anthropic")

    def test_gemini_answers_everybody(self):
        self.check("gemini")


# ---- what clients send back: the answer as they got it, and a result for each call

def reply_openai_chat(answer):
    message = answer["choices"][0]["message"]
    return {"messages": [*ask_openai_chat()["messages"], message, *[
        {"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in message["tool_calls"]]]}


def reply_openai_responses(answer):
    return {"input": [*ask_openai_responses()["input"], *answer["output"], *[
        {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"} for item in answer["output"] if item["type"] == "function_call"]]}


def reply_anthropic(answer):
    return {"messages": [*ask_anthropic()["messages"], {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "ok"} for block in answer["content"] if block["type"] == "tool_use"]}]}


def reply_gemini(answer):
    content = answer["candidates"][0]["content"]
    calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    return {"contents": [*ask_gemini()["contents"], content, {"role": "user", "parts": [
        {"functionResponse": {**({"id": call["id"]} if "id" in call else {}), "name": call["name"], "response": {"output": "ok"}}} for call in calls]}]}


REPLY = {"openai_chat": reply_openai_chat, "openai_responses": reply_openai_responses, "anthropic": reply_anthropic, "gemini": reply_gemini}


def signed(provider, sent):
    """What a provider needs back unchanged, where it wants to find it."""
    if provider == "anthropic":
        return [(block["type"], block["thinking"], block["signature"]) for message in sent["messages"] if message["role"] == "assistant"
                for block in message["content"] if block["type"] == "thinking"]
    if provider == "openai_responses":
        return [item["encrypted_content"] for item in sent["input"] if item.get("type") == "reasoning"]
    return [(part["functionCall"]["name"], part["thoughtSignature"]) for content in sent["contents"] if content["role"] == "model"
            for part in content["parts"][1:] if "functionCall" in part and part.get("thoughtSignature") == "c2ln"]


SIGNED = {"anthropic": [("thinking", "Hm.", "EqQBCgIYAhIM")], "openai_responses": ["gAAAAAB"], "gemini": [("f", "c2ln")]}


class Round(unittest.TestCase):
    """Two requests: the second one has the answer of the first in it."""

    def test_what_a_provider_signed_comes_back_to_it_through_every_client(self):
        for provider in SIGNED:
            clients = [name for name in NAMES if name != provider]
            with Upstream(*[respond(200, ANSWERS[provider]())] * 2 * len(clients)) as upstream, \
                    Gateway({"main": project(upstream, provider)}) as gateway:
                for client in clients:
                    with self.subTest(provider=provider, client=client):
                        first = send(gateway, client, False)
                        upstream.next_request()
                        second = send(gateway, client, False, **REPLY[client](first.json))
                        sent = upstream.next_request().json
                        self.assertEqual(second.status, 200, second.body)
                        validate(f"{provider}_request", sent)
                        self.assertEqual(signed(provider, sent), SIGNED[provider])

    def test_tools_come_back_as_the_client_declared_them(self):
        name = "mcp__" + "server" * 12 + "__tool"
        called = answer_anthropic()
        called["content"] = [{"type": "tool_use", "id": "toolu_1", "name": "run", "input": {"input": "ls"}}]
        with Upstream(respond(200, called)) as upstream, Gateway({"main": project(upstream, "anthropic")}) as gateway:
            response = gateway.chat(tools=[{"type": "custom", "custom": {"name": "run"}}])
            self.assertEqual(response.json["choices"][0]["message"]["tool_calls"],
                             [{"id": "toolu_1", "type": "custom", "custom": {"name": "run", "input": "ls"}}])

        def answer(sock, request):
            sent = request.json["tools"][0]["function"]["name"]
            assert len(sent) <= 64, sent
            body = answer_openai_chat()
            body["choices"][0]["message"]["tool_calls"] = [{"id": "call_a", "type": "function", "function": {"name": sent, "arguments": "{}"}}]
            respond(200, body)(sock, request)

        with Upstream(answer) as upstream, Gateway({"main": project(upstream, "openai_chat")}) as gateway:
            response = send(gateway, "anthropic", False, tools=[{"name": name, "input_schema": SCHEMA}])
            self.assertEqual([block["name"] for block in response.json["content"] if block["type"] == "tool_use"], [name])


class Told(unittest.TestCase):
    """What does not go over, and errors."""

    def test_what_was_dropped_stands_in_a_header_and_what_cannot_be_said_is_refused(self):
        with Upstream(respond(200, answer_anthropic()), respond(200, answer_anthropic())) as upstream, \
                Gateway({"main": project(upstream, "anthropic")}) as gateway:
            response = gateway.chat(seed=3, logit_bias={"1": 2})
            self.assertEqual((response.status, response.headers["x-moongate-warning"]), (200, "dropped=seed,logit_bias"))

            refused = gateway.chat(n=2)
            self.assertEqual((refused.status, refused.json["error"]["param"]), (400, "n"))

            lenient = gateway.chat(n=2, headers={"x-moongate-lenient": "true"})
            self.assertEqual((lenient.status, lenient.headers["x-moongate-warning"]), (200, "dropped=n"))

            always = gateway.chat(moderation={"model": "m"}, headers={"x-moongate-lenient": "true"})
            self.assertEqual((always.status, always.json["error"]["param"]), (400, "moderation"))

    def test_what_the_configuration_knows_of_a_target_is_kept_to(self):
        with Upstream(respond(200, answer_anthropic())) as upstream, \
                Gateway({"main": project(upstream, "anthropic", "max_output = 64000, prefill = true")}) as gateway:
            messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well: "}]
            response = gateway.request("POST", "/v1/chat/completions", {"model": "chat", "messages": messages})
            self.assertEqual(response.status, 200, response.body)
            sent = upstream.next_request().json
            self.assertEqual(sent["max_tokens"], 64000)
            self.assertEqual(sent["messages"][-1], {"role": "assistant", "content": [{"type": "text", "text": "Well:"}]})

    def test_an_error_of_a_provider_is_one_of_the_clients_dialect(self):
        overloaded = respond(529, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, reason="Overloaded")
        with Upstream(overloaded) as upstream, Gateway({"main": project(upstream, "anthropic")}) as gateway:
            response = gateway.chat()
            self.assertEqual(response.status, 503)
            self.assertEqual(set(response.json["error"]), {"message", "type", "param", "code"})
        with Upstream(error_answer(400, "context_length_exceeded", message="too long")) as upstream, \
                Gateway({"main": project(upstream, "openai_chat")}) as gateway:
            response = send(gateway, "anthropic", False)
            self.assertEqual((response.status, response.json["type"]), (400, "error"))
            self.assertEqual(response.json["error"]["type"], "invalid_request_error")

    def test_a_stream_that_breaks_off_ends_with_an_error_of_the_clients_dialect(self):
        for provider, client in (("openai_chat", "anthropic"), ("openai_chat", "openai_responses"), ("anthropic", "openai_chat"), ("anthropic", "gemini")):
            seen = threading.Event()
            with self.subTest(provider=provider), Upstream(stream(*STREAMS[provider]()[:-3], seen, then="cut")) as upstream, \
                    Gateway({"main": project(upstream, provider)}) as gateway:
                text = read_until_cut(gateway, client, seen)
                events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
                self.assertIn('"error"', json.dumps(events[-1]))
                for end in ("message_stop", "[DONE]", "response.completed", "finishReason"):
                    self.assertNotIn(end, text)


def read_until_cut(gateway, name, seen):
    """A streamed answer; `seen` is set when its text has come."""
    more = {} if name == "gemini" else {"model": "chat", "stream": True}
    path = PATHS[name].format("streamGenerateContent?alt=sse")
    body = json.dumps({**ASK[name](), **more}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.keys['main']}\r\nconnection: close\r\n" \
           f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    text = b""
    with gateway.connect() as sock:
        sock.sendall(head.encode() + body)
        while data := sock.recv(65536):
            text += data
            if b"Hel" in text:
                seen.set()
    return text.decode()


if __name__ == "__main__":
    main()
