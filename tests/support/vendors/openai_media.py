"""What OpenAI takes at the endpoints beside its conversations, as its API description has it: `check(request)` raises on anything
else, `answer(request)` is a script that checks and answers as the vendor does.

Forms are read strictly, and not as the gateway reads them: by splitting at the boundary.
"""

import base64
import json
import math
import re
import struct
from urllib.parse import parse_qs, urlsplit

JSON_FIELDS = {
    "/images/generations": {"prompt", "background", "model", "moderation", "n", "output_compression", "output_format", "partial_images",
                            "quality", "response_format", "size", "stream", "style", "user"},
    "/audio/speech": {"input", "model", "voice", "instructions", "response_format", "speed", "stream_format"},
    "/moderations": {"input", "model"},
    "/embeddings": {"input", "model", "dimensions", "encoding_format", "user"},
}
FORM_FIELDS = {
    "/images/edits": {"image", "image[]", "prompt", "background", "input_fidelity", "mask", "model", "n", "output_compression", "output_format",
                      "partial_images", "quality", "response_format", "size", "stream", "user"},
    "/images/variations": {"image", "model", "n", "response_format", "size", "user"},
    "/audio/transcriptions": {"file", "model", "chunking_strategy", "include[]", "language", "prompt", "response_format", "stream", "temperature",
                              "timestamp_granularities[]"},
    "/audio/translations": {"file", "model", "prompt", "response_format", "temperature"},
    "/files": {"file", "purpose", "expires_after[anchor]", "expires_after[seconds]"},
}
FILES = {"file", "image", "image[]", "mask"}


class Refused(Exception):
    pass


def need(holds, why):
    if not holds:
        raise Refused(why)


class Part:
    def __init__(self, name, filename, type, value):
        self.name, self.filename, self.type, self.value = name, filename, type, value


def parts(request):
    """The parts of a form, in order."""
    match = re.fullmatch(r"multipart/form-data; *boundary=\"?([^\";]{1,70})\"?", request.headers.get("content-type", ""))
    need(match, f"no form: {request.headers.get('content-type')}")
    delimiter = b"--" + match[1].encode()
    pieces = (b"\r\n" + request.body).split(b"\r\n" + delimiter)
    need(pieces[0] == b"" and pieces[-1] in (b"--", b"--\r\n"), "the form is not closed")
    out = []
    for piece in pieces[1:-1]:
        need(piece.startswith(b"\r\n"), "something follows the boundary")
        head, found, value = piece[2:].partition(b"\r\n\r\n")
        need(found, "a part has no value")
        lines = dict(line.lower().split(": ", 1) if ": " in line else ("", line) for line in head.decode().split("\r\n"))
        disposition = head.decode().split("\r\n")[[line.lower().startswith("content-disposition") for line in head.decode().split("\r\n")].index(True)]
        name, filename = re.search(r'; name="([^"]*)"', disposition), re.search(r'; filename="([^"]*)"', disposition)
        out.append(Part(name[1], filename and filename[1], lines.get("content-type"), value))
    return out


def check_form(path, request):
    fields = {}
    for part in parts(request):
        need(part.name in FORM_FIELDS[path], f"unknown field {part.name}")
        need((part.filename is not None) == (part.name in FILES), f"{part.name} is a file, or it is none")
        need(part.name.endswith("[]") or part.name not in fields, f"{part.name} comes twice")
        fields.setdefault(part.name, []).append(part.value if part.name in FILES else part.value.decode())
    need(path == "/files" or fields.get("model"), "no model")
    need(any(name in fields for name in FILES), "no file")
    return fields


def check_json(path, request):
    need(request.headers.get("content-type") == "application/json", "no JSON")
    body = json.loads(request.body)
    need(set(body) <= JSON_FIELDS[path], f"unknown fields: {set(body) - JSON_FIELDS[path]}")
    need(path == "/moderations" or isinstance(body.get("model"), str), "no model")
    return body


def check(request):
    """What was asked: the path behind /v1 and the fields of the form (lists) or of the body."""
    url = urlsplit(request.path)
    path = url.path.removeprefix("/v1")
    if request.method in ("GET", "DELETE"):
        need(path.startswith("/files"), f"no {path}")
        need(request.body == b"" and "content-length" not in request.headers, "a body where there is none")
        return path, parse_qs(url.query)
    need(request.method == "POST", request.method)
    return path, check_form(path, request) if path in FORM_FIELDS else check_json(path, request)


PICTURE = base64.b64encode(bytes(range(256)) * 12).decode()
SOUND = bytes(range(256)) * 700
USAGE = {"input_tokens": 12, "output_tokens": 34, "total_tokens": 46, "input_tokens_details": {"text_tokens": 12, "image_tokens": 0}}


def events(*items):
    return "".join(f"event: {item['type']}\ndata: {json.dumps(item)}\n\n" for item in items).encode()


def floats(input, dimensions, format):
    count = len(input) if isinstance(input, list) and not isinstance(input[0], int) else 1
    rows = [[math.sin(i * 7 + d) for d in range(dimensions or 8)] for i in range(count)]
    return [base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode() if format == "base64" else row for row in rows]


def file_object(id="file-abc"):
    return {"id": id, "object": "file", "bytes": 3, "created_at": 1795392000, "filename": "a.jsonl", "purpose": "batch", "status": "processed"}


def reply(path, asked, request):
    """Content type and body."""
    first = lambda name: asked.get(name, [None])[0]
    if path in ("/images/generations", "/images/edits", "/images/variations"):
        stream = asked.get("stream") is True or first("stream") == "true" if path != "/images/generations" else asked.get("stream")
        kind = "image_edit" if path == "/images/edits" else "image_generation"
        if stream:
            common = {"created_at": 1795392000, "size": "1024x1024", "quality": "high", "background": "opaque", "output_format": "png"}
            return "text/event-stream", events(
                {"type": f"{kind}.partial_image", "b64_json": PICTURE, "partial_image_index": 0, **common},
                {"type": f"{kind}.completed", "b64_json": PICTURE, "usage": USAGE, **common})
        count = int(asked.get("n", 1) if path == "/images/generations" else first("n") or 1)
        return "application/json", json.dumps({"created": 1795392000, "data": [{"b64_json": PICTURE}] * count, "usage": USAGE}).encode()
    if path == "/audio/speech":
        if asked.get("stream_format") == "sse":
            return "text/event-stream", events({"type": "speech.audio.delta", "audio": base64.b64encode(SOUND[:300]).decode()},
                                               {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 90, "total_tokens": 93}})
        return "audio/mpeg", SOUND
    if path in ("/audio/transcriptions", "/audio/translations"):
        format = first("response_format") or "json"
        if first("stream") == "true":
            return "text/event-stream", events(
                {"type": "transcript.text.delta", "delta": "Hel"}, {"type": "transcript.text.delta", "delta": "lo."},
                {"type": "transcript.text.done", "text": "Hello.", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17,
                                                                           "input_token_details": {"audio_tokens": 14, "text_tokens": 0}}})
        if format in ("text", "srt", "vtt"):
            return "text/plain; charset=utf-8", {"text": "Hello.\n", "srt": "1\n00:00:00,000 --> 00:00:01,000\nHello.\n\n", "vtt": "WEBVTT\n\n"}[format].encode()
        more = {"language": "english", "duration": 2.5, "segments": [], "task": "transcribe"} if format == "verbose_json" else {}
        return "application/json", json.dumps({"text": "Hello.", **more, "usage": {"type": "duration", "seconds": 3}}).encode()
    if path == "/moderations":
        kinds = ("harassment", "hate", "violence")
        row = {"flagged": False, "categories": dict.fromkeys(kinds, False), "category_scores": dict.fromkeys(kinds, 0.01), "category_applied_input_types": {}}
        return "application/json", json.dumps({"id": "modr-1", "model": "omni-moderation-2026", "results": [row]}).encode()
    if path == "/embeddings":
        rows = floats(asked["input"], asked.get("dimensions"), asked.get("encoding_format"))
        return "application/json", json.dumps({"object": "list", "model": asked["model"], "usage": {"prompt_tokens": 5, "total_tokens": 5},
                                               "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]}).encode()
    if path == "/files" and request.method == "GET":
        return "application/json", json.dumps({"object": "list", "data": [file_object()], "first_id": "file-abc", "last_id": "file-abc", "has_more": False}).encode()
    if path.endswith("/content"):
        return "application/octet-stream", b'{"custom_id": "a"}\n\x00\xff'
    if request.method == "DELETE":
        return "application/json", json.dumps({"id": path.rpartition("/")[2], "object": "file", "deleted": True}).encode()
    return "application/json", json.dumps(file_object(path.rpartition("/")[2] if request.method == "GET" else "file-abc")).encode()


def answer(sock, request):
    try:
        path, asked = check(request)
        need(request.headers.get("authorization", "").startswith("Bearer sk-"), "no key")
        type, body = reply(path, asked, request)
        status = "200 OK"
    except (Refused, KeyError, ValueError) as error:
        status, type = "400 Bad Request", "application/json"
        body = json.dumps({"error": {"message": f"vendor: {error}", "type": "invalid_request_error", "param": None, "code": None}}).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: {type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    sock.sendall(head)
    for at in range(0, len(body), 50000):
        piece = body[at:at + 50000]
        sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    sock.sendall(b"0\r\n\r\n")
