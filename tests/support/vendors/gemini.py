"""Gemini's generateContent as the Developer API has it, strict. Models of gemini-3 want their thought signatures back."""

import json
import re

from vendors.shape import *

SKIP = "skip_thought_signature_validator"  # what the vendor takes where a signature was lost
TYPES = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
MIMES = r"image/(png|jpeg|webp|heic|heif)|application/pdf|text/\w+|audio/\w+|video/\w+"
DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult")
name = matching(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")



def data(value, where):
    """The vendor takes both alphabets of base64; its SDK for Python uses the one for URLs."""
    string(value, where)
    base64_of()(value.replace("-", "+").replace("_", "/"), where)


def blob(value, where):
    record(mimeType=matching(MIMES), data=data, displayName_=string)(value, where)
    if not value["mimeType"].startswith("text/"):
        base64_of(*IMAGES, b"%PDF")(value["data"].replace("-", "+").replace("_", "/"), f"{where}.data")


def members(value, where):
    record(text_=string, inlineData_=blob, fileData_=record(mimeType_=string, fileUri=filled, displayName_=string),
           functionCall_=record(name=name, args_=object_, id_=filled), functionResponse_=record(name=name, response=object_, id_=filled, parts_=items(object_)),
           executableCode_=object_, codeExecutionResult_=object_, thought_=boolean, thoughtSignature_=filled, videoMetadata_=object_, mediaResolution_=object_)(value, where)
    found = [each for each in DATA if each in value]
    need(len(found) <= 1, f"{where}: oneof field 'data' is already set. Cannot set '{found[-1] if found else ''}'", where)
    need(found, f"{where}: required oneof field 'data' must have one initialized field", where)
    need(value.get("text") != "" or "thoughtSignature" in value, f"{where}: must have a non-empty text", where)


content = record(role_=word("user", "model"), parts=items(members, least=1))


def schema(value, where):
    record(type_=word(*TYPES), enum_=items(string), format_=string, description_=string, nullable_=boolean, items_=schema, minItems_=anything, maxItems_=anything,
           properties_=table(schema), required_=items(string), propertyOrdering_=items(string), anyOf_=items(schema), minimum_=number, maximum_=number,
           minLength_=anything, maxLength_=anything, pattern_=string, default_=anything, example_=anything, title_=string)(value, where)


def json_schema(value, where):
    """`const` is unknown to it; the rest of JSON Schema mostly goes."""
    object_(value, where)
    need("const" not in value, f"{where}: const is not supported", where)
    for key, each in value.get("properties", {}).items():
        json_schema(each, f"{where}.{key}")


function = record(name=name, description_=string, parameters_=schema, parametersJsonSchema_=json_schema, response_=schema, responseJsonSchema_=json_schema, behavior_=string)
config = record(
    temperature_=within(0, 2), topP_=within(0, 1), topK_=at_least(1), candidateCount_=within(1, 8), maxOutputTokens_=at_least(1), stopSequences_=items(filled, most=5),
    seed_=whole, presencePenalty_=number, frequencyPenalty_=number, responseLogprobs_=boolean, logprobs_=within(1, 20),
    responseMimeType_=word("text/plain", "application/json", "text/x.enum"), responseSchema_=schema, responseJsonSchema_=json_schema,
    responseModalities_=items(word("TEXT", "IMAGE", "AUDIO", "VIDEO")), mediaResolution_=string, speechConfig_=object_,
    thinkingConfig_=record(includeThoughts_=boolean, thinkingBudget_=whole, thinkingLevel_=word("MINIMAL", "LOW", "MEDIUM", "HIGH")))
tool = record(functionDeclarations_=items(function, least=1), googleSearch_=object_, codeExecution_=object_, urlContext_=object_)
request = record(
    contents=items(content, least=1), systemInstruction_=record(role_=string, parts=items(members, least=1)), tools_=items(tool), generationConfig_=config,
    toolConfig_=record(functionCallingConfig=record(mode_=word("AUTO", "ANY", "NONE", "VALIDATED"), allowedFunctionNames_=items(name))),
    safetySettings_=items(record(category=matching("HARM_CATEGORY_[A-Z_]+"), threshold=string)), cachedContent_=filled,
    serviceTier_=word("flex", "standard", "priority"), store_=boolean)


OPAQUE = ("args", "response", "parametersJsonSchema", "responseJsonSchema")


def camel(value):
    """The vendor reads its members in either spelling; what is the client's own stays as it is."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, each in value.items():
        key = re.sub(r"_([a-z])", lambda letter: letter[1].upper(), key)
        need(key not in found, f"{key}: oneof field is already set")
        found[key] = each if key in OPAQUE else {inner: camel(of) for inner, of in each.items()} if key == "properties" else camel(each)
    return found


def check_headers(headers, vendor):
    if headers.get("x-goog-api-key") != "secret":
        raise Refused("API key not valid. Please pass a valid API key.", kind="auth")


def check(body, url, vendor):
    found = re.fullmatch(r"/v1/models/([^/:]+):(generateContent|streamGenerateContent)", url.path)
    if not found:
        raise Refused("models/x is not found for API version v1beta", kind="missing")
    vendor.model, streams = found[1], found[2] == "streamGenerateContent"
    need(not streams or url.query == "alt=sse", "the simulated vendor streams only with alt=sse")
    body = camel(body)
    request(body, "")
    settings = body.get("generationConfig", {})
    need(not {"thinkingBudget", "thinkingLevel"} <= set(settings.get("thinkingConfig", {})), "You can only set only one of thinking budget and thinking level.")
    need(not {"responseSchema", "responseJsonSchema"} & set(settings) or settings.get("responseMimeType") in ("application/json", "text/x.enum"),
         "generationConfig.responseMimeType must be application/json where there is a schema")
    need("logprobs" not in settings or settings.get("responseLogprobs"), "generationConfig.logprobs needs responseLogprobs")
    declared = [each["name"] for one in body.get("tools", []) for each in one.get("functionDeclarations", [])]
    need(len(set(declared)) == len(declared), "Duplicate function declaration found")
    check_choice(body, declared)
    check_turns(body["contents"], vendor)
    vendor.body = body
    return streams


def check_choice(body, declared):
    choice = body.get("toolConfig", {}).get("functionCallingConfig", {})
    need("allowedFunctionNames" not in choice or choice.get("mode") in ("ANY", "VALIDATED"), "allowed_function_names should only be set when the function calling mode is ANY or VALIDATED.")
    need(set(choice.get("allowedFunctionNames", [])) <= set(declared), "allowed_function_names must be declared")


def check_turns(contents, vendor):
    asked = max((index for index, each in enumerate(contents) if each.get("role", "user") == "user" and
                 any("functionResponse" not in part for part in each["parts"])), default=0)  # where the current turn begins
    waiting = []
    for index, each in enumerate(contents):
        role, parts = each.get("role", "user"), each["parts"]
        need(role or len(contents) == 1, f"contents[{index}]: Please use a valid role: user, model.")
        responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
        check_responses(index, responses, waiting)
        kinds = ["functionResponse" in part for part in parts]
        need(kinds == sorted(kinds, reverse=True), f"contents[{index}]: function responses must not be mixed between other parts")
        waiting = [part["functionCall"] for part in parts if "functionCall" in part]
        if role == "user":
            need(not waiting, f"contents[{index}]: function calls are the model's")
            need(not any(part.get("thought") for part in parts), f"contents[{index}]: thoughts are the model's")
        else:
            check_model(contents, index, index > asked, vendor)
    need(not waiting, "Please ensure that function call turn is followed by a function response turn.")


def check_responses(index, responses, waiting):
    need(len(responses) == len(waiting), "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
    for response, call in zip(responses, waiting):
        need(response["name"] == call["name"], f"contents[{index}]: function response {response['name']} answers the call of {call['name']}")
        need("id" not in call or "id" not in response or call["id"] == response["id"], f"contents[{index}]: ids of call and response differ")


def check_model(contents, index, current, vendor):
    parts = contents[index]["parts"]
    calls = [part for part in parts if "functionCall" in part]
    need(not calls or index > 0, "Please ensure that function call turn comes immediately after a user turn or after a function response turn.")
    for part in parts:
        need(part.get("thoughtSignature", SKIP) in {SKIP, *vendor.signed}, "Corrupted thought signature.")
    if calls and current and vendor.model.startswith("gemini-3"):
        need("thoughtSignature" in calls[0], f"Function call is missing a thought_signature in functionCall parts. contents[{index}] function call `{calls[0]['functionCall']['name']}`")


# ---- what it says

STATUS = {"auth": (400, "INVALID_ARGUMENT"), "missing": (404, "NOT_FOUND"), "rate": (429, "RESOURCE_EXHAUSTED"), "bad": (400, "INVALID_ARGUMENT"),
          "context": (400, "INVALID_ARGUMENT"), "overloaded": (503, "UNAVAILABLE"), "server": (500, "INTERNAL")}
USAGE = {"promptTokenCount": 109, "cachedContentTokenCount": 100, "candidatesTokenCount": 8, "thoughtsTokenCount": 4, "totalTokenCount": 121,
         "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 109}]}


def refusal(kind, message, param=None):
    status, word = STATUS[kind]
    if kind == "context":
        message = "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."
    details = {"details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]} if kind == "auth" else {}
    return status, {"error": {"code": status, "message": message, "status": word, **details}}


def parts_of(say, vendor):
    parts = [{"text": say.thought, "thought": True}] if say.thought and vendor.body.get("generationConfig", {}).get("thinkingConfig", {}).get("includeThoughts") else []
    parts += [{"text": say.text}] if say.text else []
    for number, (called, arguments) in enumerate(say.calls):
        signed = {} if number or not (say.thought or vendor.model.startswith("gemini-3")) else {"thoughtSignature": vendor.sign(base64.b64encode(f"signed {len(vendor.signed)}".encode()).decode())}
        ids = {"id": f"fc{vendor.count}x{number}"} if vendor.model.startswith("gemini-3") else {}
        parts.append({"functionCall": {**ids, "name": called, "args": arguments}, **signed})
    return parts


def answer(vendor, parts, finish=None):
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **({"finishReason": finish} if finish else {})}
    if finish and not parts:
        del candidate["content"]
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": vendor.model, "responseId": f"r{vendor.count}"}


def finish_of(say):
    return {"length": "MAX_TOKENS", "refusal": "SAFETY"}.get(say.finish, "STOP")


def whole(say, vendor):
    """What it refuses it does not speak of: the answer is blocked."""
    return answer(vendor, [] if say.finish == "refusal" else parts_of(say, vendor), finish_of(say))


def events(say, vendor):
    """Lines end as the vendor ends them."""
    return (f"data: {json.dumps(each)}\r\n\r\n".encode() for each in told(say, vendor))


def told(say, vendor):
    for part in [] if say.finish == "refusal" else parts_of(say, vendor):
        for piece in say.cut(part["text"]) if "text" in part else [None]:
            yield answer(vendor, [part if piece is None else {**part, "text": piece}])
        if say.breaks and "text" in part and not part.get("thought"):
            if say.breaks == "error":
                yield {"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}}
            return
    yield answer(vendor, [], finish_of(say))
