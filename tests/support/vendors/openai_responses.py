"""OpenAI's Responses, strict: items that belong together, state of its own by id or encrypted."""

import json

from vendors import openai_chat
from vendors.openai_chat import call_id, name, nullable
from vendors.shape import *

item_id = lambda prefix: both(up_to(64), matching(f"{prefix}_.+"))
call_id = up_to(64, filled)
input_text = record(type=anything, text=string)
input_image = record(type=anything, image_url_=either(matching("https://.+"), data_url("image/(png|jpeg|gif|webp)", IMAGES)), file_id_=filled,
                     detail_=word("low", "high", "auto", "original"))
input_file = record(type=anything, file_id_=filled, file_url_=matching("https?://.+"), filename_=filled, file_data_=data_url("application/pdf", (b"%PDF",)), detail_=string)
INPUT = {"input_text": input_text, "input_image": input_image, "input_file": input_file}
OUTPUT = {"output_text": record(type=anything, text=string, annotations_=items(object_), logprobs_=items(object_)), "refusal": record(type=anything, refusal=string)}


def parts(**kinds):
    return either(items(tagged("type", **kinds), least=1), string)


status = word("in_progress", "completed", "incomplete")
message = tagged(
    "role", user=record(type_=word("message"), role=anything, content=parts(**INPUT), id_=item_id("msg"), status_=status),
    system=record(type_=word("message"), role=anything, content=parts(input_text=input_text), id_=item_id("msg"), status_=status),
    developer=record(type_=word("message"), role=anything, content=parts(input_text=input_text), id_=item_id("msg"), status_=status),
    assistant=record(type_=word("message"), role=anything, content=parts(**OUTPUT), id_=item_id("msg"), status_=status, phase_=word("commentary", "final_answer")))
others = tagged(
    "type", reasoning=record(type=anything, id_=item_id("rs"), summary=items(record(type=word("summary_text"), text=string)),
                             content_=nullable(items(record(type=word("reasoning_text"), text=string))), encrypted_content_=nullable(filled), status_=nullable(status)),
    function_call=record(type=anything, id_=item_id("fc"), call_id=call_id, name=matching("[a-zA-Z0-9_-]{1,128}"), arguments=string, status_=status),
    function_call_output=record(type=anything, id_=item_id("fc"), call_id=call_id, output=parts(**INPUT), status_=status),
    custom_tool_call=record(type=anything, id_=item_id("ctc"), call_id=call_id, name=name, input=string, status_=status),
    custom_tool_call_output=record(type=anything, call_id=call_id, output=parts(**INPUT)))


def item(value, where):
    object_(value, where)
    (message if value.get("type", "message") == "message" else others)(value, where)


def function(value, where):
    record(type=anything, name=name, description_=nullable(string), parameters=nullable(object_), strict_=nullable(boolean))(value, where)
    if value.get("strict", True):
        strict_schema(value["parameters"] or {}, f"{where}.parameters")


def schema_format(value, where):
    record(type=anything, name=name, schema=object_, description_=string, strict_=nullable(boolean))(value, where)
    if value.get("strict"):
        strict_schema(value["schema"], f"{where}.schema")


named = record(type=word("function"), name=name)
request = record(
    model=filled, input=either(items(item, least=1), filled), instructions_=nullable(string), store_=nullable(boolean), stream_=nullable(boolean),
    stream_options_=nullable(record(include_obfuscation_=boolean)), include_=nullable(items(word("reasoning.encrypted_content", "message.output_text.logprobs"))),
    max_output_tokens_=nullable(at_least(16)), parallel_tool_calls_=nullable(boolean), temperature_=nullable(within(0, 2)), top_p_=nullable(within(0, 1)),
    top_logprobs_=nullable(within(0, 20)), tools_=items(tagged("type", function=function, custom=record(type=anything, name=name, description_=string, format_=object_))),
    tool_choice_=either(word("none", "auto", "required"), tagged("type", function=named, custom=record(type=anything, name=name), allowed_tools=record(
        type=anything, mode=word("auto", "required"), tools=items(named)))),
    text_=record(format_=tagged("type", text=record(type=anything), json_object=record(type=anything), json_schema=schema_format), verbosity_=nullable(word("low", "medium", "high"))),
    reasoning_=nullable(record(effort_=nullable(word("none", "minimal", "low", "medium", "high", "xhigh", "max")), summary_=nullable(word("auto", "concise", "detailed")))),
    metadata_=nullable(both(table(up_to(512)), up_to(16, object_))), service_tier_=nullable(word(*openai_chat.TIERS, "ultrafast")), user_=string,
    safety_identifier_=nullable(up_to(128)), prompt_cache_key_=nullable(string), truncation_=nullable(word("auto", "disabled")), previous_response_id_=nullable(filled))

check_headers = openai_chat.check_headers
refusal = openai_chat.refusal


def check(body, url, vendor):
    if url.path != "/v1/responses":
        raise Refused("Invalid URL", kind="missing")
    request(body, "")
    need(not body.get("previous_response_id") , "Previous response not found.", "previous_response_id")
    need(body.get("tools") or body.get("tool_choice") in (None, "auto", "none"), "Tool choice must be specified while providing 'tools' parameter.", "tool_choice")
    words = json.dumps([body["input"], body.get("instructions")]).lower()
    need(body.get("text", {}).get("format", {}).get("type") != "json_object" or "json" in words, "Response input messages must contain the word 'json' in some form", "input")
    if isinstance(body["input"], list):
        check_items(body["input"], vendor)
    return bool(body.get("stream"))


def check_items(input, vendor):
    calls = [each["call_id"] for each in input if each.get("type") == "function_call"]
    seen, answered = set(), set()
    for index, each in enumerate(input):
        kind = each.get("type")
        if kind == "function_call":
            seen.add(each["call_id"])
        elif kind == "function_call_output":
            need(each["call_id"] in seen, f"No tool call found for function call output with call_id {each['call_id']}.", "input")
            answered.add(each["call_id"])
        elif kind == "reasoning":
            check_reasoning(input, index, vendor)
    for id in calls:
        need(id in answered, f"No tool output found for function call {id}.", "input")


def check_reasoning(input, index, vendor):
    each, after = input[index], input[index + 1:index + 2]
    need(each.get("encrypted_content"), f"Item with id '{each.get('id')}' not found. Items are not persisted when `store` is set to false.", "input")
    need(each["encrypted_content"] in vendor.signed, f"The encrypted content for item {each.get('id')} could not be verified.", "input")
    follows = after and (after[0].get("type") in ("function_call", "reasoning", "custom_tool_call") or after[0].get("role") == "assistant")
    need(follows, f"Item '{each.get('id')}' of type 'reasoning' was provided without its required following item.", "input")


# ---- what it says

USAGE = {"input_tokens": 109, "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 0}, "output_tokens": 12,
         "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 121}


def items_of(say, vendor):
    number, found = f"{vendor.count:040d}", []
    if say.thought:
        shown = (vendor.body.get("reasoning") or {}).get("summary")
        sealed = {"encrypted_content": vendor.sign(f"gAAAAAB{len(vendor.signed):04d}==")} if "reasoning.encrypted_content" in (vendor.body.get("include") or []) else {}
        found.append({"id": f"rs_{number}", "type": "reasoning", "summary": [{"type": "summary_text", "text": say.thought}] if shown else [], **sealed})
    if say.text:
        part = {"type": "refusal", "refusal": say.text} if say.finish == "refusal" else {"type": "output_text", "annotations": [], "logprobs": [], "text": say.text}
        found.append({"id": f"msg_{number}", "type": "message", "status": "incomplete" if say.finish == "length" else "completed", "role": "assistant", "content": [part]})
    return found + [{"id": f"fc_{number}{index}", "type": "function_call", "status": "completed", "arguments": json.dumps(arguments), "call_id": f"call_{vendor.count:022d}{index}",
                     "name": name} for index, (name, arguments) in enumerate(say.calls)]


def whole(say, vendor, output=None):
    short = say.finish == "length"
    return {"id": f"resp_{vendor.count:040d}", "object": "response", "created_at": 1795392000, "status": "incomplete" if short else "completed", "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if short else None, "instructions": None, "max_output_tokens": None, "model": vendor.body["model"],
            "output": items_of(say, vendor) if output is None else output, "parallel_tool_calls": True, "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None}, "store": False, "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto",
            "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": USAGE, "user": None, "metadata": {}}


def events(say, vendor):
    for number, (type, data) in enumerate(told(say, vendor)):
        yield f"event: {type}\ndata: {json.dumps({'type': type, 'sequence_number': number, **data})}\n\n".encode()


def told(say, vendor):
    output = items_of(say, vendor)
    begun = {**whole(say, vendor, []), "status": "in_progress", "incomplete_details": None, "usage": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, each in enumerate(output):
        cut = False
        for event in item_told(say, each, index):
            yield event
            cut = cut or (say.breaks and event[0].endswith("text.delta") and each["type"] == "message")
        if cut:
            if say.breaks == "error":
                yield "error", {"code": "server_error", "message": "The server had an error", "param": None}
            return
    final = whole(say, vendor, output)
    yield f"response.{final['status']}", {"response": final}


def item_told(say, each, index):
    at = {"item_id": each["id"], "output_index": index}
    empty = {"reasoning": {"summary": []}, "message": {"content": [], "status": "in_progress"}, "function_call": {"arguments": "", "status": "in_progress"}}
    yield "response.output_item.added", {"output_index": index, "item": {**each, **empty[each["type"]]}}
    if each["type"] == "reasoning":
        for part in each["summary"]:
            yield "response.reasoning_summary_part.added", {**at, "summary_index": 0, "part": {**part, "text": ""}}
            for piece in say.cut(part["text"]):
                yield "response.reasoning_summary_text.delta", {**at, "summary_index": 0, "delta": piece, "obfuscation": "k"}
            yield "response.reasoning_summary_text.done", {**at, "summary_index": 0, "text": part["text"]}
            yield "response.reasoning_summary_part.done", {**at, "summary_index": 0, "part": part}
    elif each["type"] == "message":
        yield from part_told(say, each["content"][0], {**at, "content_index": 0})
        if say.breaks:
            return
    else:
        for piece in say.cut(each["arguments"]):
            yield "response.function_call_arguments.delta", {**at, "delta": piece}
        yield "response.function_call_arguments.done", {**at, "arguments": each["arguments"]}
    yield "response.output_item.done", {"output_index": index, "item": each}


def part_told(say, part, at):
    word = "refusal" if part["type"] == "refusal" else "text"
    event = "refusal" if word == "refusal" else "output_text"
    extra = {} if word == "refusal" else {"logprobs": []}
    yield "response.content_part.added", {**at, "part": {**part, word: ""}}
    for piece in say.cut(part[word]):
        yield f"response.{event}.delta", {**at, "delta": piece, **extra}
    if not say.breaks:
        yield f"response.{event}.done", {**at, word: part[word], **extra}
        yield "response.content_part.done", {**at, "part": part}
