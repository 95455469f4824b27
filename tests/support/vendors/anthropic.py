"""Anthropic's Messages API, strict."""

import json

from vendors.shape import *

VERSIONS = ("2023-06-01", "2026-10-21")
PREFILLS = ("claude-opus-4-1", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5")  # later models refuse it

cache = record(type=word("ephemeral"), ttl_=word("5m", "1h"))


def spoken(value, where):
    string(value, where)
    need(value.strip() != "", f"{where.rsplit('.', 1)[0]}: text content blocks must be non-empty" if value == "" else f"{where.rsplit('.', 1)[0]}: text content blocks must contain non-whitespace text", where)


def nested_text(value, where):
    text_block(value, where)


text_block = record(type=word("text"), text=spoken, cache_control_=cache, citations_=items(object_))
image_source = tagged(
    "type", base64=record(type=anything, media_type=word("image/jpeg", "image/png", "image/gif", "image/webp"), data=base64_of(*IMAGES)),
    url=record(type=anything, url=matching("https?://.+")), file=record(type=anything, file_id=filled))
image = record(type=anything, source=image_source, cache_control_=cache)
document_source = tagged(
    "type", base64=record(type=anything, media_type=word("application/pdf"), data=base64_of(b"%PDF")),
    text=record(type=anything, media_type=word("text/plain"), data=filled), url=record(type=anything, url=matching("https?://.+")),
    file=record(type=anything, file_id=filled), content=record(type=anything, content=either(filled, items(nested_text))))
document = record(type=anything, source=document_source, title_=up_to(255), context_=string, citations_=record(enabled=boolean), cache_control_=cache)
tool_id = matching("[a-zA-Z0-9_-]+")
tool_name = matching("[a-zA-Z0-9_-]{1,128}")
result_content = either(lambda value, where: need(isinstance(value, str), "", where), items(tagged("type", text=text_block, image=image, document=document)))

USER = {"text": text_block, "image": image, "document": document,
        "tool_result": record(type=anything, tool_use_id=tool_id, content_=result_content, is_error_=boolean, cache_control_=cache)}
ASSISTANT = {"text": text_block, "thinking": record(type=anything, thinking=string, signature=filled),
             "redacted_thinking": record(type=anything, data=filled),
             "tool_use": record(type=anything, id=tool_id, name=tool_name, input=object_, cache_control_=cache)}


def content(kinds):
    blocks = items(tagged("type", **kinds), least=1)
    return lambda value, where: spoken(value, where) if isinstance(value, str) else blocks(value, where)


message = tagged("role", user=record(role=anything, content=content(USER)), assistant=record(role=anything, content=content(ASSISTANT)),
                 system=record(role=anything, content=content({"text": text_block})))


def root_object(value, where):
    object_(value, where)
    need(value.get("type") == "object", f"{where}.type: Input should be 'object'", f"{where}.type")


tool = record(type_=word("custom", None), name=tool_name, description_=string, input_schema=root_object, cache_control_=cache, strict_=boolean,
              defer_loading_=boolean, eager_input_streaming_=boolean, input_examples_=items(object_))


KEYWORDS = {"$defs", "$ref", "enum", "const", "anyOf", "allOf", "type", "properties", "required", "additionalProperties", "items",
            "minItems", "format", "description", "title", "default"}


def output_schema(value, where):
    object_(value, where)
    for name in value:
        need(name in KEYWORDS, f"{where}: For '{value.get('type')}' type, property '{name}' is not supported", where)
    if value.get("type") == "object":
        need(value.get("additionalProperties") is False, f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false", where)
    for name, each in value.get("properties", {}).items():
        output_schema(each, f"{where}.properties.{name}")
    if "items" in value:
        output_schema(value["items"], f"{where}.items")


display = word("summarized", "omitted")
thinking = tagged("type", enabled=record(type=anything, budget_tokens=at_least(1024), display_=display),
                  adaptive=record(type=anything, display_=display), between_tools=record(type=anything), disabled=record(type=anything))
request = record(
    model=filled, max_tokens=at_least(0), messages=items(message, least=1), system_=either(spoken, items(text_block, least=1)),
    tools_=items(tool), thinking_=thinking, stream_=boolean, temperature_=within(0, 1), top_p_=within(0, 1), top_k_=at_least(0),
    tool_choice_=tagged("type", auto=record(type=anything, disable_parallel_tool_use_=boolean), any=record(type=anything, disable_parallel_tool_use_=boolean),
                        tool=record(type=anything, name=tool_name, disable_parallel_tool_use_=boolean), none=record(type=anything)),
    output_config_=record(effort_=word("low", "medium", "high", "xhigh", "max"), format_=record(type=word("json_schema"), schema=output_schema)),
    stop_sequences_=items(both(string, lambda value, where: need(value.strip(), f"{where}: each stop sequence must contain non-whitespace", where))),
    metadata_=record(user_id_=up_to(256)), service_tier_=word("auto", "standard_only"), cache_control_=cache)


def check_headers(headers, vendor):
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    if key != "secret":
        raise Refused("invalid x-api-key", kind="auth")
    need("origin" not in headers, "CORS requests are not allowed")
    vendor.version = headers.get("anthropic-version")
    need(vendor.version in VERSIONS, "anthropic-version: header is required")


def check(body, url, vendor):
    if url.path != "/v1/messages":
        raise Refused("Not Found", kind="missing")
    request(body, "")
    check_sampling(body, vendor)
    check_thinking(body)
    names = [each["name"] for each in body.get("tools", [])]
    need(len(set(names)) == len(names), "tools: Tool names must be unique.")
    choice = body.get("tool_choice")
    need(not choice or names, "tool_choice may only be specified while providing tools.")
    need(not choice or choice["type"] != "tool" or choice["name"] in names, f"Tool '{(choice or {}).get('name')}' not found in provided tools")
    check_turns(body, vendor)
    return body.get("stream", False)


def check_sampling(body, vendor):
    if vendor.version == "2026-10-21":
        for name in ("temperature", "top_p", "top_k"):
            need(name not in body, f"{name}: Extra inputs are not permitted", name)
    need(not ("temperature" in body and "top_p" in body), "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")


def check_thinking(body):
    config = body.get("thinking", {"type": "disabled"})
    if config["type"] == "enabled":
        need(config["budget_tokens"] < body["max_tokens"], "`max_tokens` must be greater than `thinking.budget_tokens`.")
        need(body.get("tool_choice", {"type": "auto"})["type"] in ("auto", "none"), "Thinking may not be enabled when tool_choice forces tool use.")
    if config["type"] in ("enabled", "adaptive"):
        need(body.get("temperature", 1) == 1, "`temperature` may only be set to 1 when thinking is enabled.")
        need("top_k" not in body, "`top_k` must be unset when thinking is enabled.")


def blocks_of(turn):
    return [{"type": "text", "text": turn["content"]}] if isinstance(turn["content"], str) else turn["content"]


def merged(messages):
    """Neighbours of one role are one turn."""
    turns = []
    for one in messages:
        if turns and turns[-1][0] == one["role"]:
            turns[-1][1].extend(blocks_of(one))
        else:
            turns.append((one["role"], list(blocks_of(one))))
    return turns


def check_turns(body, vendor):
    turns, waiting = merged(body["messages"]), []
    need(turns[0][0] == "user", "messages: first message must use the \"user\" role")
    for index, (role, blocks) in enumerate(turns):
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        check_results(index, blocks, answered, waiting)
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        need(len(set(waiting)) == len(waiting), f"messages.{index}: `tool_use` ids must be unique")
        need(not (waiting or answered) or body.get("tools"), "Requests which include `tool_use` or `tool_result` blocks must define tools")
        if role == "assistant":
            check_assistant(index, blocks, vendor)
    need(not waiting, f"messages.{len(turns) - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(waiting)}")
    if turns[-1][0] == "assistant":
        need(body["model"].startswith(PREFILLS), "This model does not support assistant message prefill. The conversation must end with a user message.")
        need(turns[-1][1][-1].get("text", "x")[-1:].strip(), "messages: final assistant content cannot end with trailing whitespace")


def check_results(index, blocks, answered, waiting):
    for id in waiting:
        need(id in answered, f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: {id}. "
                             "Each `tool_use` block must have a corresponding `tool_result` block in the next message.")
    for id in answered:
        need(id in waiting, f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {id}.")
    need(len(set(answered)) == len(answered), f"messages.{index}: each tool_use must have a single result")
    first = [block["type"] for block in blocks][:len(answered)]
    need(set(first) <= {"tool_result"}, f"messages.{index}: `tool_result` blocks must come first in the message")


def check_assistant(index, blocks, vendor):
    kinds = [block["type"] for block in blocks]
    for place, block in enumerate(blocks):
        if block["type"] == "thinking":
            need((block["thinking"], block["signature"]) in vendor.signed, f"messages.{index}.content.{place}: Invalid `signature` in `thinking` block")
        if block["type"] == "redacted_thinking":
            need(block["data"] in vendor.signed, f"messages.{index}.content.{place}: Invalid `data` in `redacted_thinking` block")
    thoughts = [place for place, kind in enumerate(kinds) if kind.endswith("thinking")]
    need(thoughts == list(range(len(thoughts))) or "tool_use" not in kinds[:max(thoughts, default=0)],
         f"messages.{index}: `thinking` blocks must precede the `tool_use` blocks of their turn")


# ---- what it says

STATUS = {"auth": (401, "authentication_error"), "missing": (404, "not_found_error"), "rate": (429, "rate_limit_error"), "bad": (400, "invalid_request_error"),
          "context": (400, "invalid_request_error"), "overloaded": (529, "overloaded_error"), "server": (500, "api_error")}
REASONS = {"length": "max_tokens", "refusal": "refusal"}


def refusal(kind, message, param=None):
    status, type = STATUS[kind]
    if kind == "context":
        message = "prompt is too long: 208310 tokens > 200000 maximum"
    return status, {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def blocks_said(say, vendor):
    blocks = []
    if say.thought:
        signature = f"EqQBCkYIBxgC{len(vendor.signed):04d}=="
        vendor.sign((say.thought, signature))
        blocks.append({"type": "thinking", "thinking": say.thought, "signature": signature})
    if say.text:
        blocks.append({"type": "text", "text": say.text})
    return blocks + [{"type": "tool_use", "id": f"toolu_01A09q90qw90lq917835{vendor.count:02d}{number}", "name": name, "input": arguments}
                     for number, (name, arguments) in enumerate(say.calls)]


def head_of(vendor):
    usage = {"input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 100, "cache_creation": None,
             "output_tokens": 1, "service_tier": "standard"}
    return {"id": f"msg_01XFDUDYJgAACzvnptvV{vendor.count:04d}", "type": "message", "role": "assistant", "model": vendor.body["model"], "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": usage}


def tail_of(say):
    reason = REASONS.get(say.finish, "tool_use" if say.calls else "end_turn")
    details = {"stop_details": {"type": "refusal", "category": "cyber", "explanation": None}} if reason == "refusal" else {}
    return {"stop_reason": reason, "stop_sequence": None, **details}, {"output_tokens": 12, "output_tokens_details": {"thinking_tokens": 4}}


def whole(say, vendor):
    head, (end, usage) = head_of(vendor), tail_of(say)
    return {**head, "content": blocks_said(say, vendor), **end, "usage": {**head["usage"], **usage}}


def event(type, **data):
    return f"event: {type}\ndata: {json.dumps({'type': type, **data})}\n\n".encode()


def deltas_of(block, say):
    kind = block["type"]
    if kind == "thinking":
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in say.cut(block["thinking"]))
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif kind == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in say.cut(block["text"]))
    elif block["input"]:
        yield {"type": "input_json_delta", "partial_json": ""}
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in say.cut(json.dumps(block["input"])))


def events(say, vendor):
    empty = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}
    yield event("message_start", message=head_of(vendor))
    yield event("ping")
    for index, block in enumerate(blocks_said(say, vendor)):
        yield event("content_block_start", index=index, content_block={**block, **empty[block["type"]]})
        for delta in deltas_of(block, say):
            yield event("content_block_delta", index=index, delta=delta)
        if say.breaks and block["type"] == "text":
            if say.breaks == "error":
                yield event("error", error={"type": "overloaded_error", "message": "Overloaded"})
            return
        yield event("content_block_stop", index=index)
    end, usage = tail_of(say)
    yield event("message_delta", delta=end, usage=usage)
    yield event("message_stop")
