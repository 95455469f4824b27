"""Cohere's Chat API, version 2, strict. Its models have no state that would have to come back."""

import json

from vendors.shape import *

VERSION = "/v2"


def filled_text(value, where):
    string(value, where)
    need(value.strip(), f"{where}: message must not be empty in a turn", where)


text = record(type=word("text"), text=filled_text)
image = record(type=word("image_url"), image_url=record(
    url=either(matching("https?://.+"), data_url("image/(png|jpeg|gif|webp)", IMAGES)), detail_=word("auto", "low", "high")))


def sourced(value, where):
    object_(value, where)
    need(value, f"{where}: document cannot be empty", where)


document = record(id_=string, data=sourced)
name = both(string, lambda value, where: need(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value),
            f"invalid request: tool names can only contain certain characters (A-Za-z0-9_) and can't begin with a digit (provided name: '{value}').", where))
call = record(id=filled, type=word("function"), function=record(name=name, arguments=json_object))


def content(**kinds):
    return lambda value, where: filled_text(value, where) if isinstance(value, str) else items(tagged("type", **kinds), least=1)(value, where)


message = tagged(
    "role", system=record(role=anything, content=content(text=text)), user=record(role=anything, content=content(text=text, image_url=image)),
    tool=record(role=anything, tool_call_id=filled, content=content(text=text, document=record(type=anything, document=document))),
    assistant=record(role=anything, tool_plan_=string, citations_=items(object_), tool_calls_=items(call, least=1),
                     content_=content(text=text, thinking=record(type=anything, thinking=filled_text))))
tool = record(type=word("function"), function=record(name=name, description_=string, parameters=object_))
UNKNOWN = {"allOf", "oneOf", "not", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength"}


def enforced(value, where):
    object_(value, where)
    need(not UNKNOWN & set(value), f"{where}: {', '.join(UNKNOWN & set(value))} is not supported", where)
    if value.get("properties"):
        need(value.get("required"), f"{where}: required field name not found in properties", where)
    for key, each in value.get("properties", {}).items():
        enforced(each, f"{where}.{key}")
    if "items" in value:
        enforced(value["items"], f"{where}.items")


def root(value, where):
    object_(value, where)
    need(value.get("type") == "object", "schema must be an object", where)
    enforced(value, where)


request = record(
    model=filled, messages=items(message, least=1), stream_=boolean, tools_=items(tool, least=1), strict_tools_=boolean,
    tool_choice_=word("REQUIRED", "NONE"), documents_=items(either(filled, document), least=1), citation_options_=record(mode=string),
    response_format_=record(type=word("text", "json_object"), json_schema_=root), safety_mode_=word("CONTEXTUAL", "STRICT", "OFF"),
    thinking_=record(type=word("enabled", "disabled"), token_budget_=at_least(1)), max_tokens_=at_least(1), temperature_=within(0, 1), p_=within(0.01, 0.99),
    k_=within(0, 500), seed_=at_least(0), frequency_penalty_=within(0, 1), presence_penalty_=within(0, 1), logprobs_=boolean, priority_=whole,
    stop_sequences_=items(filled, most=5))


def check_headers(headers, vendor):
    if headers.get("authorization") != "Bearer secret":
        raise Refused("invalid api token", kind="auth")


def check(body, url, vendor):
    if url.path != "/v2/chat":
        raise Refused("404 page not found", kind="missing")
    request(body, "")
    need("response_format" not in body or not {"tools", "documents"} & set(body), "invalid request: response_format is not supported with RAG.")
    need("tool_choice" not in body or "tools" in body, "invalid request: tool_choice needs tools")
    if body.get("strict_tools"):
        for each in body.get("tools", []):
            enforced(each["function"]["parameters"], "tools")
    budget = body.get("thinking", {}).get("token_budget", 0)
    need(budget < body.get("max_tokens", budget + 1), "invalid request: thinking.token_budget must be less than max_tokens")
    check_turns(body["messages"])
    return body.get("stream", False)


ANSWERS = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: "


def check_turns(messages):
    waiting, seen = [], set()
    for index, one in enumerate(messages):
        need(one["role"] != "system" or index == 0, "system turn must be the first in the list")
        if one["role"] == "tool":
            need(one["tool_call_id"] in waiting, "tool call id not found in previous tool calls")
            waiting.remove(one["tool_call_id"])
            continue
        need(not waiting, "invalid request: " + ANSWERS + ", ".join(waiting))
        need(index == 0 or one["role"] != messages[index - 1]["role"], f"invalid request: two messages of the {one['role']} follow one another")
        waiting = [each["id"] for each in one.get("tool_calls", [])]
        need(len(set(waiting)) == len(waiting) and not seen & set(waiting), "cannot have duplicate tool ids")
        seen |= set(waiting)
        need(one["role"] != "assistant" or "content" in one or waiting, "invalid request: all elements in history must have a message.")
    need(not waiting, "invalid request: " + ANSWERS + ", ".join(waiting))
    need(messages[-1]["role"] in ("user", "tool"), "invalid request: the last message must be the user's or a tool's")


# ---- what it says

STATUS = {"auth": 401, "missing": 404, "rate": 429, "bad": 400, "context": 400, "overloaded": 503, "server": 500}
USAGE = {"billed_units": {"input_tokens": 9, "output_tokens": 8}, "tokens": {"input_tokens": 109, "output_tokens": 12}, "cached_tokens": 100}
WHERE = "https://example.com/bern"


def refusal(kind, message, param=None):
    if kind == "context":
        message = "too many tokens: total number of tokens in the prompt cannot exceed 256000 - received 300000."
    return STATUS[kind], {"id": "5f9c", "message": message}


def blocks_of(say):
    """Thoughts and text; beside calls, thoughts are blocks, too."""
    return [{"type": "thinking", "thinking": say.thought}] * bool(say.thought) + [{"type": "text", "text": say.text}] * bool(say.text)


def calls_of(say, vendor):
    return [{"id": f"{name}_{vendor.count:08d}{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for number, (name, arguments) in enumerate(say.calls)]


def reason(say):
    """It has no word for refusing: it says so in its text."""
    return "MAX_TOKENS" if say.finish == "length" else "TOOL_CALL" if say.calls else "COMPLETE"


def citation_of(say, block):
    source = {"type": "tool", "id": "search:0", "tool_output": {"url": say.cites, "title": "Bern"}}
    return {"start": 0, "end": 3, "text": say.text[:3], "sources": [source], "type": "TEXT_CONTENT", "content_index": block}


def whole(say, vendor):
    blocks, calls = blocks_of(say), calls_of(say, vendor)
    message = {"role": "assistant", **({"content": blocks} if blocks else {}), **({"tool_calls": calls} if calls else {})}
    if say.cites:
        message["citations"] = [citation_of(say, len(blocks) - 1)]
    return {"id": f"c14c80c3-{vendor.count}", "message": message, "finish_reason": reason(say), "usage": USAGE}


def event(type, **data):
    return f"event: {type}\ndata: {json.dumps({'type': type, **data})}\n\n".encode()


def events(say, vendor):
    yield event("message-start", id=f"c14c80c3-{vendor.count}", delta={"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}})
    for index, block in enumerate(blocks_of(say)):
        kind = block["type"]
        yield event("content-start", index=index, delta={"message": {"content": {"type": kind, kind: ""}}})
        for piece in say.cut(block[kind]):
            yield event("content-delta", index=index, delta={"message": {"content": {kind: piece}}})
        if say.breaks and kind == "text":
            if say.breaks == "error":
                yield event("message-end", delta={"finish_reason": "ERROR", "error": "The model broke", "usage": USAGE})
            return
        if say.cites and kind == "text":
            yield event("citation-start", index=0, delta={"message": {"citations": citation_of(say, index)}})
            yield event("citation-end", index=0)
        yield event("content-end", index=index)
    for index, each in enumerate(calls_of(say, vendor)):
        yield event("tool-call-start", index=index, delta={"message": {"tool_calls": {**each, "function": {**each["function"], "arguments": ""}}}})
        for piece in say.cut(each["function"]["arguments"]):
            yield event("tool-call-delta", index=index, delta={"message": {"tool_calls": {"function": {"arguments": piece}}}})
        yield event("tool-call-end", index=index)
    yield event("message-end", id=f"c14c80c3-{vendor.count}", delta={"finish_reason": reason(say), "usage": USAGE})
