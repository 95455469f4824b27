"""Requests that are not everyday ones, as clients of each dialect send them, by what is odd about them. Other vendors can
be asked the same: what reaches them they must take."""

from vendors.sdks import PDF, PNG, encoded

SCHEMA = {"type": "object", "properties": {"k": {"type": "integer", "minimum": 0, "maximum": 9}, "o": {"type": "string", "pattern": "^a"}}, "required": ["k"]}
LONG = "toolu_" + "x" * 58


def user(content="hi"):
    return {"role": "user", "content": content}


# ---- Chat Completions

def function(name="f", **more):
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **more}}


def called(id, name="f", a='{"k":1}'):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": a}}


def result(id, content="r"):
    return {"role": "tool", "tool_call_id": id, "content": content}


CHAT = {
    "results out of order, in parts, empty": dict(messages=[user(), {"role": "assistant", "content": "", "tool_calls": [called("a"), called("b",
        "g", "")]}, result("b", [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]), result("a", "")], tools=[function(), function("g")]),
    "long ids": dict(messages=[user(), {"role": "assistant", "tool_calls": [called(LONG), called(LONG[:-1]+"y")]}, result(LONG),
        result(LONG[:-1]+"y")], tools=[function()]),
    "ids with other letters": dict(messages=[user(), {"role": "assistant", "content": None, "tool_calls": [called("a.b:c|d"),
        called("a.b:c|e")]}, result("a.b:c|d"), result("a.b:c|e")], tools=[function()]),
    "the assistant begins": dict(messages=[{"role": "system", "content": "s"}, {"role": "assistant", "content": "Welcome."}, user("hi")]),
    "named turns": dict(messages=[{"role": "system", "content": "s", "name": "sys"}, {"role": "user", "content": "u", "name": "bob"},
        {"role": "assistant", "content": "a", "name": "al"}, user("x"), user("y")]),
    "empty and blank texts": dict(messages=[{"role": "system", "content": ""}, user(""), {"role": "assistant", "content": ""}, user("x"),
        {"role": "assistant", "content": "  "}, user([{"type": "text", "text": ""}, {"type": "text", "text": "q"}])]),
    "any tool": dict(messages=[user()], tools=[function()], tool_choice="required"),
    "one tool, one at a time": dict(messages=[user()], tools=[function(), function("g")], tool_choice={"type": "function",
        "function": {"name": "g"}}, parallel_tool_calls=False),
    "allowed tools": dict(messages=[user()], tools=[function(), function("g")], tool_choice={"type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]}}),
    "no tool": dict(messages=[user()], tools=[function()], tool_choice="none"),
    "sampling": dict(messages=[user()], temperature=1.7, top_p=0.5, stop=["\n", "END"], seed=4, presence_penalty=1, frequency_penalty=-1,
        max_tokens=50),
    "effort beside sampling": dict(messages=[user()], temperature=0.2, reasoning_effort="high", max_completion_tokens=900),
    "effort beside a forced call": dict(messages=[user()], reasoning_effort="high", tools=[function()], tool_choice="required"),
    "no effort": dict(messages=[user()], reasoning_effort="none"),
    "all effort": dict(messages=[user()], reasoning_effort="max"),
    "effort in a small limit": dict(messages=[user()], reasoning_effort="low", max_completion_tokens=5),
    "JSON": dict(messages=[user("json please")], response_format={"type": "json_object"}),
    "a loose schema": dict(messages=[user()], response_format={"type": "json_schema", "json_schema": {"name": "x y", "schema": {"type": "object",
        "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"type": "array", "items": {"type": "string", "maxLength": 3},
        "maxItems": 4}, "c": {"oneOf": [{"type": "string"}, {"type": "null"}]}}}}}),
    "a strict tool": dict(messages=[user()], tools=[function(strict=True, parameters={"type": "object", "properties": {"a": {"type": "integer"}},
        "required": ["a"], "additionalProperties": False})]),
    "a tool without parameters": dict(messages=[user()], tools=[{"type": "function", "function": {"name": "noargs"}}]),
    "a tool's odd name": dict(messages=[user()], tools=[function("1abc")]),
    "a free-form tool": dict(messages=[user(), {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "custom",
        "custom": {"name": "sh", "input": "ls"}}]}, result("c1", "ok")], tools=[{"type": "custom", "custom": {"name": "sh", "description": "d"}}]),
    "functions of old": dict(messages=[user(), {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "r"}], functions=[{"name": "f", "parameters": SCHEMA}], function_call="auto"),
    "an image's address": dict(messages=[user([{"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "low"}}])]),
    "an image of the type jpg": dict(messages=[user([{"type": "image_url",
        "image_url": {"url": "data:image/jpg;base64," + encoded(b"\xff\xd8\xff\xe0aaa")}}])]),
    "hints": dict(messages=[user()], user="u@x", metadata={"a": "b"}, service_tier="priority", verbosity="low", store=False,
        prompt_cache_key="k", safety_identifier="z"),
    "nulls": dict(messages=[user()], temperature=None, top_p=None, stop=None, seed=None, n=None, tools=[function()],
        response_format={"type": "text"}, stream_options=None, max_tokens=None, logit_bias=None),
    "calls without tools": dict(messages=[user(), {"role": "assistant", "content": None, "tool_calls": [called("a")]}, result("a")]),
    "broken arguments": dict(messages=[user(), {"role": "assistant", "content": None, "tool_calls": [called("a", a='{"k": '), called("b",
        a='[1]')]}, result("a"), result("b")], tools=[function()]),
    "a refusal before": dict(messages=[user(), {"role": "assistant", "content": None, "refusal": "No."}, user("why")]),
    "the developer in the middle": dict(messages=[{"role": "developer", "content": "d"}, user(), {"role": "assistant", "content": "a"},
        {"role": "developer", "content": "mid"}, user("x")]),
    "the system after a result": dict(messages=[user(), {"role": "assistant", "content": None, "tool_calls": [called("a")]}, result("a"),
        {"role": "system", "content": "mid"}], tools=[function()]),
    "an id twice": dict(messages=[user(), {"role": "assistant", "content": None, "tool_calls": [called("a")]}, result("a"), {"role": "assistant",
        "content": None, "tool_calls": [called("a")]}, result("a")], tools=[function()]),
}


# ---- Messages

def limited(**more):
    return {"max_tokens": 900, **more}


def use(id, name="f", input={"k": 1}):
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def given(id, **more):
    return {"type": "tool_result", "tool_use_id": id, **more}


ANTHROPIC_TOOLS = [{"name": "f", "input_schema": SCHEMA}, {"name": "g", "input_schema": {"type": "object"}}]
ANTHROPIC = {
    "result image": limited(messages=[user(), {"role": "assistant", "content": [use("toolu_a")]}, user([given("toolu_a",
        content=[{"type": "text", "text": "see"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png",
        "data": encoded(PNG)}}]), {"type": "text", "text": "what?"}])], tools=ANTHROPIC_TOOLS),
    "result error": limited(messages=[user(), {"role": "assistant", "content": [use("toolu_a")]}, user([given("toolu_a", content="boom",
        is_error=True)])], tools=ANTHROPIC_TOOLS),
    "result nothing": limited(messages=[user(), {"role": "assistant", "content": [use("toolu_a"), use("toolu_b", "g", {})]},
        user([given("toolu_b"), given("toolu_a", content=[])])], tools=ANTHROPIC_TOOLS),
    "result doc": limited(messages=[user(), {"role": "assistant", "content": [use("toolu_a")]}, user([given("toolu_a",
        content=[{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": encoded(PDF)}}])])],
        tools=ANTHROPIC_TOOLS),
    "long ids": limited(messages=[user(), {"role": "assistant", "content": [use(LONG), use(LONG+"9")]}, user([given(LONG, content="a"),
        given(LONG+"9", content="b")])], tools=ANTHROPIC_TOOLS),
    "cache": limited(system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "t"}],
        messages=[user([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}])], tools=[{**ANTHROPIC_TOOLS[0],
        "cache_control": {"type": "ephemeral"}}], cache_control={"type": "ephemeral"}),
    "text doc": limited(messages=[user([{"type": "document", "title": "t", "context": "c", "source": {"type": "text", "media_type": "text/plain",
        "data": "words"}}, {"type": "text", "text": "q"}])]),
    "content doc": limited(messages=[user([{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "w"}]}},
        {"type": "text", "text": "q"}])]),
    "any": limited(messages=[user()], tools=ANTHROPIC_TOOLS, tool_choice={"type": "any", "disable_parallel_tool_use": True}),
    "tool": limited(messages=[user()], tools=ANTHROPIC_TOOLS, tool_choice={"type": "tool", "name": "g"}),
    "thinking budget": limited(messages=[user()], thinking={"type": "enabled", "budget_tokens": 1024}) | {"max_tokens": 5000},
    "adaptive": limited(messages=[user()], thinking={"type": "adaptive", "display": "summarized"}, output_config={"effort": "max"}),
    "disabled": limited(messages=[user()], thinking={"type": "disabled"}),
    "sampling": limited(messages=[user()], temperature=0.3, top_k=4, stop_sequences=["a", "b", "c", "d", "e"][:4], metadata={"user_id": "u"},
        service_tier="auto"),
    "system turn": limited(messages=[user(), {"role": "assistant", "content": "a"}, {"role": "system", "content": "mid"}, user("b")]),
    "thinking foreign": limited(messages=[user(), {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "zz"}, use("toolu_a")]}, user([given("toolu_a", content="x")])], tools=ANTHROPIC_TOOLS),
    "interleaved": limited(messages=[user(), {"role": "assistant", "content": [{"type": "text", "text": "1"}, use("toolu_a"), {"type": "text",
        "text": "2"}, use("toolu_b")]}, user([given("toolu_a", content="x"), given("toolu_b", content="y"), {"type": "text", "text": "3"}])],
        tools=ANTHROPIC_TOOLS),
    "format": limited(messages=[user()], output_config={"format": {"type": "json_schema", "schema": {"type": "object",
        "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}}}),
    "two users": limited(messages=[user("a"), user("b"), {"role": "assistant", "content": "c"}, {"role": "assistant", "content": "d"}, user("e")]),
    "huge max": limited(messages=[user()])|{"max_tokens": 64000},
}


# ---- generateContent

def turn(parts, role="user"):
    return {"role": role, "parts": parts}


def call(name="f", args={"k": 1}, **more):
    return {"functionCall": {"name": name, "args": args, **more}}


def response(name="f", r={"output": "x"}, **more):
    return {"functionResponse": {"name": name, "response": r, **more}}


GEMINI_TOOLS = [{"functionDeclarations": [
    {"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {
        "k": {"type": "INTEGER", "nullable": True}, "e": {"type": "STRING", "enum": ["a"], "format": "enum"},
        "l": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1"}}, "required": ["k"], "propertyOrdering": ["k", "e", "l"]}},
    {"name": "g.h:i"}, {"name": "noparams", "description": "n"}]}]
GEMINI = {
    "the model begins": dict(contents=[turn([{"text": "Welcome."}], "model"), turn([{"text": "x"}])]),
    "no ids": dict(contents=[turn([{"text": "x"}]), turn([call(), call()], "model"), turn([response(r={"a": 1}), response(r={"a": 2})])],
        tools=GEMINI_TOOLS),
    "no role": dict(contents=[{"parts": [{"text": "x"}]}]),
    "dots": dict(contents=[turn([{"text": "x"}]), turn([call("g.h:i", {})], "model"), turn([response("g.h:i")])], tools=GEMINI_TOOLS),
    "no args": dict(contents=[turn([{"text": "x"}]), turn([{"functionCall": {"name": "noparams"}}], "model"), turn([response("noparams",
        {"error": "e"})])], tools=GEMINI_TOOLS),
    "signed": dict(contents=[turn([{"text": "x"}]), turn([{"text": "th", "thought": True}, {**call(), "thoughtSignature": "QUJD"}], "model"),
        turn([response()])], tools=GEMINI_TOOLS),
    "any": dict(contents=[turn([{"text": "x"}])], tools=GEMINI_TOOLS, toolConfig={"functionCallingConfig": {"mode": "ANY",
        "allowedFunctionNames": ["f"]}}),
    "validated": dict(contents=[turn([{"text": "x"}])], tools=GEMINI_TOOLS, toolConfig={"functionCallingConfig": {"mode": "VALIDATED"}}),
    "none": dict(contents=[turn([{"text": "x"}])], tools=GEMINI_TOOLS, toolConfig={"functionCallingConfig": {"mode": "NONE"}}),
    "config": dict(contents=[turn([{"text": "x"}])], generationConfig={"temperature": 1.9, "topP": 0.3, "topK": 5, "candidateCount": 1,
        "maxOutputTokens": 7, "stopSequences": ["a"], "seed": 1, "presencePenalty": 0.1}),
    "schema": dict(contents=[turn([{"text": "x"}])], generationConfig={"responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}, "n": {"type": "NUMBER", "minimum": 1}},
        "required": ["a"]}}),
    "mime": dict(contents=[turn([{"text": "json x"}])], generationConfig={"responseMimeType": "application/json"}),
    "thinking": dict(contents=[turn([{"text": "x"}])], generationConfig={"thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True}}),
    "budget": dict(contents=[turn([{"text": "x"}])], generationConfig={"thinkingConfig": {"thinkingBudget": -1}}),
    "budget0": dict(contents=[turn([{"text": "x"}])], generationConfig={"thinkingConfig": {"thinkingBudget": 0}}),
    "system str": dict(contents=[turn([{"text": "x"}])], systemInstruction={"parts": [{"text": "a"}, {"text": "b"}]}),
    "empty and blank texts": dict(contents=[turn([{"text": "x"}]), turn([{"text": ""}], "model"), turn([{"text": "y"}])]),
    "fileData": dict(contents=[turn([{"text": "x"}, {"fileData": {"mimeType": "image/png", "fileUri": "https://x.example/a.png"}}])]),
    "response parts": dict(contents=[turn([{"text": "x"}]), turn([call()], "model"), turn([response(), {"inlineData": {"mimeType": "image/png",
        "data": encoded(PNG)}}])], tools=GEMINI_TOOLS),
}


# ---- Responses

RESPONSES_TOOLS = [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}]
RESPONSES = {
    "string": dict(input="hi"),
    "instr": dict(input="hi", instructions="be"),
    "calls": dict(input=[user(), {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}, {"type": "function_call",
        "call_id": "b", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "b", "output": "x"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "y"}, {"type": "input_image",
        "image_url": "data:image/png;base64," + encoded(PNG)}]}], tools=RESPONSES_TOOLS),
    "split calls": dict(input=[user(), {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "x"}, {"type": "function_call", "call_id": "b", "name": "f",
        "arguments": "{}"}, {"type": "function_call_output", "call_id": "b", "output": "x"}], tools=RESPONSES_TOOLS),
    "long": dict(input=[user(), {"type": "function_call", "id": "fc_1", "call_id": LONG, "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": LONG, "output": ""}], tools=RESPONSES_TOOLS),
    "default strict": dict(input="x", tools=[{"type": "function", "name": "f", "parameters": {"type": "object",
        "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}}]),
    "null params": dict(input="x", tools=[{"type": "function", "name": "f", "parameters": None, "strict": False}]),
    "a free-form tool": dict(input=[user(), {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"}], tools=[{"type": "custom", "name": "sh"}]),
    "reasoning none": dict(input="x", reasoning={"effort": "none"}),
    "reasoning foreign": dict(input=[user(), {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "a",
        "output": "x"}], tools=RESPONSES_TOOLS),
    "text": dict(input="json", text={"format": {"type": "json_object"}, "verbosity": "low"}),
    "schema": dict(input="x", text={"format": {"type": "json_schema", "name": "a", "schema": {"type": "object",
        "properties": {"a": {"type": "string"}}}, "strict": False}}),
    "choice": dict(input="x", tools=RESPONSES_TOOLS, tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False, temperature=0.4,
        max_output_tokens=17),
    "hints": dict(input="x", metadata={"a": "b"}, user="u", service_tier="flex", store=True, truncation="disabled", prompt_cache_key="k"),
    "dev": dict(input=[{"role": "developer", "content": "d"}, {"role": "system", "content": [{"type": "input_text", "text": "s"}]}, user(),
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [{"type": "output_text", "text": "a",
        "annotations": []}, {"type": "refusal", "refusal": "no"}]}, {"role": "developer", "content": "mid"}, user("z")]),
}

ODD = {"openai_chat": CHAT, "anthropic": ANTHROPIC, "gemini": GEMINI, "openai_responses": RESPONSES}
