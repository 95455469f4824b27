"""OpenAI's Chat Completions, strict. Models whose name begins with gpt-5 or o reason: they refuse sampling."""

import json
import re

from vendors.shape import *

REASONS = re.compile(r"gpt-5|o\d")
TIERS = ("auto", "default", "flex", "scale", "priority", "fast")

text = record(type=word("text"), text=string)
image = record(type=anything, image_url=record(
    url=either(matching("https://.+"), data_url("image/(png|jpeg|gif|webp)", IMAGES)), detail_=word("auto", "low", "high", "original")))
file = record(type=anything, file=either(record(file_id=filled), record(filename=filled, file_data=data_url("application/pdf", (b"%PDF",)))))
audio = record(type=anything, input_audio=record(data=base64_of(), format=word("wav", "mp3")))
call_id = up_to(40, filled)
name = matching("[a-zA-Z0-9_-]{1,64}")
call = tagged("type", function=record(id=call_id, type=anything, function=record(name=name, arguments=string)),
              custom=record(id=call_id, type=anything, custom=record(name=name, input=string)))


def content(**kinds):
    return either(items(tagged("type", **kinds), least=1), string)


def nullable(check):
    return either(null, check)


message = tagged(
    "role", system=record(role=anything, content=content(text=text), name_=name), developer=record(role=anything, content=content(text=text), name_=name),
    user=record(role=anything, content=content(text=text, image_url=image, file=file, input_audio=audio), name_=name),
    assistant=record(role=anything, content_=nullable(content(text=text, refusal=record(type=anything, refusal=string))), name_=name,
                     refusal_=nullable(string), annotations_=items(object_), audio_=nullable(record(id=filled)), tool_calls_=items(call, least=1)),
    tool=record(role=anything, content=content(text=text), tool_call_id=call_id))


def function(value, where):
    record(name=name, description_=string, parameters_=object_, strict_=nullable(boolean))(value, where)
    if value.get("strict"):
        strict_schema(value.get("parameters", {}), f"{where}.parameters")


tool = tagged("type", function=record(type=anything, function=function),
              custom=record(type=anything, custom=record(name=name, description_=string, format_=object_)))
named = record(type=word("function"), function=record(name=name))
choice = either(word("none", "auto", "required"), tagged(
    "type", function=named, custom=record(type=anything, custom=record(name=name)),
    allowed_tools=record(type=anything, allowed_tools=record(mode=word("auto", "required"), tools=items(named)))))


def schema_format(value, where):
    record(name=name, description_=string, schema_=object_, strict_=nullable(boolean))(value, where)
    if value.get("strict"):
        strict_schema(value.get("schema", {}), f"{where}.schema")


request = record(
    model=filled, messages=items(message, least=1), max_completion_tokens_=nullable(at_least(1)), max_tokens_=nullable(at_least(1)),
    temperature_=nullable(within(0, 2)), top_p_=nullable(within(0, 1)), frequency_penalty_=nullable(within(-2, 2)), presence_penalty_=nullable(within(-2, 2)),
    stop_=nullable(either(string, items(string, most=4))), seed_=nullable(whole), n_=nullable(within(1, 128)), logit_bias_=nullable(table(within(-100, 100))),
    logprobs_=nullable(boolean), top_logprobs_=nullable(within(0, 20)), stream_=nullable(boolean),
    stream_options_=nullable(record(include_usage_=boolean, include_obfuscation_=boolean)), tools_=items(tool, least=1, most=128), tool_choice_=choice,
    parallel_tool_calls_=boolean, reasoning_effort_=nullable(word("none", "minimal", "low", "medium", "high", "xhigh", "max")),
    response_format_=tagged("type", text=record(type=anything), json_object=record(type=anything), json_schema=record(type=anything, json_schema=schema_format)),
    metadata_=nullable(both(table(up_to(512)), up_to(16, object_))), modalities_=nullable(items(word("text", "audio"))), store_=nullable(boolean),
    service_tier_=nullable(word(*TIERS)), user_=string, safety_identifier_=nullable(up_to(128)), prompt_cache_key_=nullable(string),
    verbosity_=nullable(word("low", "medium", "high")), prediction_=object_)


def check_headers(headers, vendor):
    if headers.get("authorization") != "Bearer secret":
        raise Refused("Incorrect API key provided.", kind="auth")


def check(body, url, vendor):
    if url.path != "/v1/chat/completions":
        raise Refused("Invalid URL", kind="missing")
    request(body, "")
    need("stream_options" not in body or body.get("stream"), "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    need("tools" in body or not ({"parallel_tool_calls", "tool_choice"} & set(body)), "'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    need(body.get("logprobs") or body.get("top_logprobs") is None, "'top_logprobs' needs 'logprobs'", "top_logprobs")
    need(body.get("response_format", {}).get("type") != "json_object" or "json" in json.dumps(body["messages"]).lower(),
         "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.", "messages")
    if REASONS.match(body["model"]):
        check_reasoning(body)
    check_turns(body["messages"])
    return bool(body.get("stream"))


def check_reasoning(body):
    if "max_tokens" in body:
        raise Refused("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter")
    if body.get("temperature", 1) != 1:
        raise Refused("Unsupported value: 'temperature' does not support this value with this model.", "temperature", "unsupported_value")
    for each in ("top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "stop"):
        if each in body:
            raise Refused(f"Unsupported parameter: '{each}' is not supported with this model.", each, "unsupported_parameter")


def check_turns(messages):
    waiting = []
    for index, one in enumerate(messages):
        where = f"messages.[{index}]"
        if one["role"] == "tool":
            need(one["tool_call_id"] in waiting, "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.", f"{where}.role")
            waiting.remove(one["tool_call_id"])
            continue
        need(not waiting, "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
                          f"The following tool_call_ids did not have response messages: {', '.join(waiting)}", f"{where}.role")
        waiting = [each["id"] for each in one.get("tool_calls", [])]
        need(len(set(waiting)) == len(waiting), "Duplicate ids of tool calls", f"{where}.tool_calls")
        if one["role"] == "assistant":
            need(one.get("content") is not None or waiting or one.get("refusal"), f"Invalid value for 'content': expected a string, got null.", f"{where}.content")
    need(not waiting, f"The following tool_call_ids did not have response messages: {', '.join(waiting)}", "messages")


# ---- what it says

ERRORS = {"auth": (401, "invalid_request_error", "invalid_api_key"), "missing": (404, "invalid_request_error", "model_not_found"),
          "rate": (429, "requests", "rate_limit_exceeded"), "bad": (400, "invalid_request_error", "invalid_value"),
          "context": (400, "invalid_request_error", "context_length_exceeded"), "overloaded": (503, "service_unavailable_error", "server_is_overloaded"),
          "server": (500, "server_error", None)}
USAGE = {"prompt_tokens": 109, "completion_tokens": 12, "total_tokens": 121, "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 0},
         "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}


def refusal(kind, message, param=None):
    status, type, code = ERRORS.get(kind) or (400, "invalid_request_error", kind)
    return status, {"error": {"message": message, "type": type, "param": param, "code": code}}


def calls_of(say, vendor):
    return [{"id": f"call_abcdefghijklmnop{vendor.count:03d}{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for number, (name, arguments) in enumerate(say.calls)]


def reason(say):
    return {"length": "length", "refusal": "stop"}.get(say.finish, "tool_calls" if say.calls else "stop")


def whole(say, vendor):
    """OpenAI shows no thoughts here. Refusing is a text of its own."""
    refuses = say.finish == "refusal"
    message = {"role": "assistant", "content": None if refuses else say.text or None, "refusal": say.text if refuses else None, "annotations": []}
    if say.calls:
        message["tool_calls"] = calls_of(say, vendor)
    return {"id": f"chatcmpl-B{vendor.count}", "object": "chat.completion", "created": 1795392000, "model": vendor.body["model"], "choices": [
        {"index": 0, "message": message, "logprobs": None, "finish_reason": reason(say)}], "usage": USAGE, "service_tier": "default", "system_fingerprint": "fp_1"}


def events(say, vendor):
    counts = (vendor.body.get("stream_options") or {}).get("include_usage")
    head = {"id": f"chatcmpl-B{vendor.count}", "object": "chat.completion.chunk", "created": 1795392000, "model": vendor.body["model"],
            "service_tier": "default", "system_fingerprint": "fp_1"}

    def chunk(delta, finish=None):
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **({"usage": None} if counts else {}), "obfuscation": "q9"}

    member = "refusal" if say.finish == "refusal" else "content"
    yield chunk({"role": "assistant", "content": "" if say.text else None, "refusal": None})
    for piece in say.cut(say.text):
        yield chunk({member: piece})
    if say.breaks == "error":
        yield {"error": {"message": "The server had an error while processing your request", "type": "server_error", "param": None, "code": None}}
    if say.breaks:
        return
    calls = calls_of(say, vendor)
    for index, each in enumerate(calls):
        yield chunk({"tool_calls": [{"index": index, **each, "function": {"name": each["function"]["name"], "arguments": ""}}]})
        for piece in say.cut(each["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, reason(say))
    if counts:
        yield {**head, "choices": [], "usage": USAGE, "obfuscation": "q"}
    yield "[DONE]"
