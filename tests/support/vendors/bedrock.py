"""Converse of Amazon Bedrock with a model of Anthropic's behind it, strict: the request is held to the service's own model
and to that model's rules, signatures are made again by AWS's SDK."""

import json

import bedrock
from vendors.shape import *

REGION = "eu-central-1"
KEY = f"{bedrock.KEY_ID}:{bedrock.SECRET}"
CONFIG = f'api_key = "{KEY}", vars = {{ region = "{REGION}" }}, '
VERSION = ""
STREAM_TYPE = "application/vnd.amazon.eventstream"


def check_request(request, vendor):
    """The signature covers the whole request."""
    try:
        bedrock.check_signature(request, REGION)
    except bedrock.Refused as refused:
        raise Refused(refused.message, kind="auth") from refused


def check(body, url, vendor):
    place = url.path.split("/")
    if len(place) != 4 or place[1] != "model" or place[3] not in ("converse", "converse-stream"):
        raise Refused("UnknownOperationException", kind="missing")
    streams = place[3].endswith("stream")
    try:
        bedrock.check_body(body, place[2], "ConverseStream" if streams else "Converse")
    except bedrock.Refused as refused:
        raise Refused(refused.message) from refused
    check_thinking(body)
    for index, message in enumerate(body["messages"]):
        for block in message["content"]:
            check_state(block.get("reasoningContent"), index, vendor)
    vendor.body = body
    return streams


def check_thinking(body):
    extra, config = body.get("additionalModelRequestFields", {}), body.get("inferenceConfig", {})
    record(thinking_=tagged("type", enabled=record(type=anything, budget_tokens=at_least(1024)), adaptive=record(type=anything, display_=word("summarized", "omitted")),
                            disabled=record(type=anything)), top_k_=at_least(0), anthropic_beta_=items(string))(extra, "additionalModelRequestFields")
    thinks = extra.get("thinking", {}).get("type") in ("enabled", "adaptive")
    need(not thinks or config.get("temperature", 1) == 1, "`temperature` may only be set to 1 when thinking is enabled.")
    record(effort_=word("low", "medium", "high", "xhigh", "max"), textFormat_=object_)(body.get("outputConfig", {}), "outputConfig")
    need(not thinks or not {"any", "tool"} & set(body.get("toolConfig", {}).get("toolChoice", {})), "Thinking may not be enabled when tool_choice forces tool use.")
    budget = extra.get("thinking", {}).get("budget_tokens", 0)
    need(budget < config.get("maxTokens", budget + 1), "`max_tokens` must be greater than `thinking.budget_tokens`.")
    need(not {"temperature", "topP"} <= set(config), "`temperature` and `top_p` cannot both be specified for this model.")


def check_state(reasoning, index, vendor):
    if not reasoning:
        return
    text = reasoning.get("reasoningText")
    known = (text["text"], text.get("signature")) in vendor.signed if text else reasoning.get("redactedContent") in vendor.signed
    need(known, f"messages.{index}: Invalid `signature` in `thinking` block")


# ---- what it says

ERRORS = {"auth": (403, "UnrecognizedClientException"), "missing": (404, "ResourceNotFoundException"), "rate": (429, "ThrottlingException"),
          "bad": (400, "ValidationException"), "context": (400, "ValidationException"), "overloaded": (503, "ServiceUnavailableException"),
          "server": (500, "InternalServerException")}
USAGE = {"inputTokens": 9, "outputTokens": 12, "totalTokens": 121, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 0}
REASONS = {"length": "max_tokens", "refusal": "content_filtered"}


def refusal(kind, message, param=None):
    status, type = ERRORS[kind]
    if kind == "context":
        message = "The model returned the following errors: prompt is too long: 208310 tokens > 200000 maximum"
    return status, {"message": message}, {"x-amzn-errortype": f"{type}:http://internal.amazon.com/coral/"}


def blocks_of(say, vendor):
    blocks = []
    if say.thought:
        signature = f"EqQBCkYIBxgC{len(vendor.signed):04d}=="
        vendor.sign((say.thought, signature))
        blocks.append({"reasoningContent": {"reasoningText": {"text": say.thought, "signature": signature}}})
    if say.text:
        blocks.append({"text": say.text})
    return blocks + [{"toolUse": {"toolUseId": f"tooluse_{vendor.count:04d}{number}", "name": name, "input": arguments}}
                     for number, (name, arguments) in enumerate(say.calls)]


def reason(say):
    return REASONS.get(say.finish, "tool_use" if say.calls else "end_turn")


def whole(say, vendor):
    return {"output": {"message": {"role": "assistant", "content": blocks_of(say, vendor)}}, "stopReason": reason(say), "usage": USAGE, "metrics": {"latencyMs": 1}}


def deltas_of(block, say):
    if "toolUse" in block:
        yield from ({"toolUse": {"input": piece}} for piece in say.cut(json.dumps(block["toolUse"]["input"])))
    elif "text" in block:
        yield from ({"text": piece} for piece in say.cut(block["text"]))
    else:
        thought = block["reasoningContent"]["reasoningText"]
        yield from ({"reasoningContent": {"text": piece}} for piece in say.cut(thought["text"]))
        yield {"reasoningContent": {"signature": thought["signature"]}}


def events(say, vendor):
    yield bedrock.event("messageStart", {"role": "assistant"})
    for index, block in enumerate(blocks_of(say, vendor)):
        if "toolUse" in block:
            call = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
            yield bedrock.event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": call}})
        for delta in deltas_of(block, say):
            yield bedrock.event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        if say.breaks and "text" in block:
            if say.breaks == "error":
                yield bedrock.exception("modelStreamErrorException", "The model broke")
            return
        yield bedrock.event("contentBlockStop", {"contentBlockIndex": index})
    yield bedrock.event("messageStop", {"stopReason": reason(say)})
    yield bedrock.event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})
