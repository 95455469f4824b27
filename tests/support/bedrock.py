"""A simulated Bedrock that is strict: signatures are made again by AWS's own SDK, requests held to the service's own model."""

import datetime
import json
import re
import struct
import urllib.parse
import zlib

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.loaders
import botocore.model
import botocore.validate

KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

service = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")


class Refused(Exception):
    def __init__(self, status, type, message):
        super().__init__(message)
        self.status, self.type, self.message = status, type, message


class AtThatTime(botocore.auth.SigV4Auth):
    """Signs as of the request's own date."""

    def add_auth(self, request):
        self._inject_signature_to_request(request, self.signature(self.string_to_sign(request, self.canonical_request(request)), request))


def signature_of(request, region, token=None):
    """What AWS would have signed: only the headers that the caller says it has signed."""
    authorization = request.headers["authorization"]
    signed = authorization.split("SignedHeaders=")[1].split(",")[0].split(";")
    for needed in ["host", "x-amz-date"] + (["x-amz-security-token"] if token else []):
        if needed not in signed:
            raise Refused(403, "InvalidSignatureException", f"{needed} is not signed")
    date = request.headers["x-amz-date"]
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.strptime(date + "+0000", "%Y%m%dT%H%M%SZ%z")
    if abs(age) > datetime.timedelta(minutes=5):
        raise Refused(403, "InvalidSignatureException", "Signature expired")
    ours = botocore.awsrequest.AWSRequest(request.method, f"http://{request.headers['host']}{request.path}", data=request.body,
                                          headers={name: request.headers[name] for name in signed if name != "host"})
    ours.context["timestamp"] = date
    auth = AtThatTime(botocore.credentials.Credentials(KEY_ID, SECRET, token), "bedrock", region)
    auth.add_auth(ours)
    return ours.headers["Authorization"]


def check_signature(request, region, token=None):
    if request.headers.get("x-amz-security-token") != token:
        raise Refused(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        raise Refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    if request.headers["authorization"] != signature_of(request, region, token):
        raise Refused(403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided.")


def with_bytes(value, shape):
    """JSON has base64 where the model has bytes; documents are anything."""
    if shape.type_name == "blob":
        return value.encode()
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False) and isinstance(value, dict):
        return {name: with_bytes(each, shape.members[name]) if name in shape.members else each for name, each in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [with_bytes(each, shape.member) for each in value]
    return value


def check_known(value, shape, where):
    """The SDK lets unknown members pass, the service does not."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        for name, each in value.items():
            if name not in shape.members:
                raise Refused(400, "ValidationException", f"{where}: extraneous key [{name}] is not permitted")
            check_known(each, shape.members[name], f"{where}.{name}")
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            raise Refused(400, "ValidationException", f"{where}: exactly one member must be there")
    elif shape.type_name == "list":
        for i, each in enumerate(value):
            check_known(each, shape.member, f"{where}[{i}]")
    elif shape.type_name == "string":
        check_text(value, shape.metadata, where)


def check_text(value, limits, where):
    """The SDK leaves these to the service."""
    wrong = "must be one of " + ", ".join(limits["enum"]) if value not in limits.get("enum", [value]) else \
        f"must have length less than or equal to {limits['max']}" if len(value) > limits.get("max", len(value)) else \
        f"must satisfy regular expression pattern: {limits['pattern']}" if "pattern" in limits and not re.fullmatch(limits["pattern"], value, re.S) else None
    if wrong:
        raise Refused(400, "ValidationException", f"1 validation error detected: Value '{value}' at '{where}' failed to satisfy constraint: Member {wrong}")


def check_conversation(body):
    """Rules of the models behind it."""
    asked, tools = [], body.get("toolConfig")
    for i, message in enumerate(body["messages"]):
        wanted = ("user", "assistant")[i % 2]
        kinds = [next(iter(block)) for block in message["content"]]
        if message["role"] != wanted or not kinds:
            raise Refused(400, "ValidationException", f"messages.{i}: roles must alternate, and say something")
        for block in message["content"]:
            if "text" in block and not block["text"].strip():
                raise Refused(400, "ValidationException", "The text field in the ContentBlock object is blank.")
        results = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        if sorted(results) != sorted(asked) or kinds[:len(results)] != ["toolResult"] * len(results):
            raise Refused(400, "ValidationException", f"messages.{i}: tool results do not answer the calls before them")
        asked = [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]
        if (asked or results) and not tools:
            raise Refused(400, "ValidationException", "The toolConfig field must be defined when using toolUse and toolResult content blocks.")


def check_request(request, operation):
    check_body(json.loads(request.body), request.path.split("/")[2], operation)


def check_body(body, model, operation):
    shape = service.operation_model(operation).input_shape
    check_known(body, shape, "request")
    whole = {**with_bytes(body, shape), "modelId": urllib.parse.unquote(model)}
    report = botocore.validate.ParamValidator().validate(whole, shape)
    if report.has_errors():
        raise Refused(400, "ValidationException", report.generate_report())
    check_conversation(body)


def header(name, value):
    return bytes([len(name)]) + name.encode() + b"\7" + struct.pack(">H", len(value)) + value.encode()


def frame(payload, **headers):
    section = b"".join(header(":" + name.replace("_", "-"), value) for name, value in headers.items())
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(section) + len(body), len(section))
    begun = prelude + struct.pack(">I", zlib.crc32(prelude)) + section + body
    return begun + struct.pack(">I", zlib.crc32(begun))


def event(type, payload):
    return frame({**payload, "p": "abcdefgh"[: len(type) % 8]}, event_type=type, content_type="application/json", message_type="event")


def exception(type, message):
    return frame({"message": message}, exception_type=type, content_type="application/json", message_type="exception")


USAGE = {"usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 35, "cacheReadInputTokens": 20}, "metrics": {"latencyMs": 1}}


def text_events(*words, reason="end_turn"):
    return [event("messageStart", {"role": "assistant"}),
            *[event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}}) for word in words],
            event("contentBlockStop", {"contentBlockIndex": 0}), event("messageStop", {"stopReason": reason}), event("metadata", USAGE)]


def answering(region, *content, reason="end_turn", events=(), pieces=None, token=None):
    """A script: checks what came, and answers whole or with `events`."""

    def script(sock, request):
        streamed = request.path.endswith("/converse-stream")
        try:
            check_signature(request, region, token)
            check_request(request, "ConverseStream" if streamed else "Converse")
        except Refused as refused:
            body = json.dumps({"message": refused.message}).encode()
            sock.sendall(f"HTTP/1.1 {refused.status} No\r\ncontent-type: application/json\r\nx-amzn-errortype: {refused.type}:\r\n"
                         f"content-length: {len(body)}\r\n\r\n".encode() + body)
            return
        if not streamed:
            body = json.dumps({"output": {"message": {"role": "assistant", "content": list(content)}}, "stopReason": reason, **USAGE}).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            return
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n")
        wire = b"".join(events)
        for at in range(0, len(wire), pieces or len(wire)):
            piece = wire[at:at + (pieces or len(wire))]
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")

    return script
