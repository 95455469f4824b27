"""translation.py: what it costs to speak another dialect than the client's. One gateway, and a provider that speaks the four
dialects; every client's request to every provider, interleaved. What is compared is the gateway's CPU per request and per
streamed chunk: minima of the rounds, as a ratio of the same client's request passed through to a provider of its own
dialect (goal: at most 1.5). The last row of each measurement is a pass-through whose head is signed (SigV4)."""
import argparse
import json
import os
import sys
import tempfile

import bench

STREAM = {"rate": 100, "connections": 16, "warmup": 0.6}
CHUNKS, GAP_US = 100, 5000
TEXT = ('She asked: "Où est la lune?" and the gate, which had stood there longer than the road, answered in its own slow way.\n')
ANSWER = ("The gate stood where the path met the river, and nobody remembered who had built it.\nBy day it was a plain thing of grey "
          "stone; by night the moon came up between its pillars and those who walked through found the other side a little "
          'changed.\n\nThey said: "What you carry in, you carry out, but not in the same order." So the merchants counted twice, the '
          "children ran through for luck, and the old ferryman, who had seen every tide, only smiled and untied his boat.")
WORD = " moonlight"
DIALECTS = {"openai_chat": "openai", "openai_responses": "openai_responses", "anthropic": "anthropic", "gemini": "gemini"}
PATHS = {"openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses", "anthropic": "/v1/messages",
         "gemini": "/v1beta/models/{model}:{verb}"}


def sse(*events, named=False):
    line = lambda each: (f"event: {each['type']}\n" if named else "") + f"data: {json.dumps(each, separators=(',', ':'))}\n\n"
    return "".join(each if isinstance(each, str) else line(each) for each in events)


def openai_chat():
    base = {"id": "chatcmpl-bench0123456789abcdefgh", "created": 1795392000, "model": "bench", "service_tier": "default",
            "system_fingerprint": "fp_bench"}
    usage = {"prompt_tokens": 120, "completion_tokens": 100, "total_tokens": 220,
             "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
    chunk = lambda delta, finish=None: {**base, "object": "chat.completion.chunk", "usage": None, "obfuscation": "q9zt4Kx", "choices": [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
    message = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
    return {
        "json": json.dumps({**base, "object": "chat.completion", "usage": usage, "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]}),
        "first": sse(chunk({"role": "assistant", "content": "", "refusal": None})),
        "word": sse(chunk({"content": WORD})),
        "last": sse(chunk({}, "stop"), {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}, "data: [DONE]\n\n"),
    }


def openai_responses():
    text = lambda said: {"type": "output_text", "annotations": [], "logprobs": [], "text": said}
    item = lambda status, content: {"id": "msg_bench01", "type": "message", "status": status, "role": "assistant", "content": content}
    usage = {"input_tokens": 120, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 100,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 220}
    response = lambda status, output, counted: {
        "id": "resp_bench01", "object": "response", "created_at": 1795392000, "status": status, "error": None, "incomplete_details": None,
        "instructions": None, "max_output_tokens": None, "model": "bench", "output": output, "parallel_tool_calls": True,
        "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "store": False, "temperature": 0.7,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
        "usage": counted, "user": None, "metadata": {}}
    at = {"item_id": "msg_bench01", "output_index": 0, "content_index": 0}
    done = item("completed", [text(WORD * CHUNKS)])
    return {
        "json": json.dumps(response("completed", [item("completed", [text(ANSWER)])], usage)),
        "first": sse({"type": "response.created", "sequence_number": 0, "response": response("in_progress", [], None)},
                     {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item("in_progress", [])},
                     {"type": "response.content_part.added", "sequence_number": 2, **at, "part": text("")}, named=True),
        "word": sse({"type": "response.output_text.delta", "sequence_number": 3, **at, "delta": WORD, "logprobs": [],
                     "obfuscation": "q9zt4Kx"}, named=True),
        "last": sse({"type": "response.output_text.done", "sequence_number": 4, **at, "text": WORD * CHUNKS, "logprobs": []},
                    {"type": "response.content_part.done", "sequence_number": 5, **at, "part": text(WORD * CHUNKS)},
                    {"type": "response.output_item.done", "sequence_number": 6, "output_index": 0, "item": done},
                    {"type": "response.completed", "sequence_number": 7, "response": response("completed", [done], usage)}, named=True),
    }


def anthropic():
    usage = {"input_tokens": 120, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 100}
    message = lambda content, reason, counted: {"id": "msg_bench01", "type": "message", "role": "assistant", "model": "bench",
                                                "content": content, "stop_reason": reason, "stop_sequence": None, "usage": counted}
    return {
        "json": json.dumps(message([{"type": "text", "text": ANSWER}], "end_turn", usage)),
        "first": sse({"type": "message_start", "message": message([], None, {**usage, "output_tokens": 1})},
                     {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, named=True),
        "word": sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}, named=True),
        "last": sse({"type": "content_block_stop", "index": 0},
                    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
                    {"type": "message_stop"}, named=True),
    }


def gemini():
    usage = {"promptTokenCount": 120, "candidatesTokenCount": 100, "totalTokenCount": 220}
    said = lambda text, finish=None: {"candidates": [
        {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **({"finishReason": finish} if finish else {})}],
        "usageMetadata": usage, "modelVersion": "bench", "responseId": "bench01"}
    return {"json": json.dumps(said(ANSWER, "STOP")), "first": "", "word": sse(said(WORD)), "last": sse(said("", "STOP"))}


SPEECHES = {"openai_chat": openai_chat, "openai_responses": openai_responses, "anthropic": anthropic, "gemini": gemini}


def turns(size):
    """System's words, then turns of about a kilobyte that take turns."""
    texts = [TEXT * max(1, min(9, (size - at) // len(TEXT))) for at in range(0, max(size - 300, 1), 1000)]
    if len(texts) % 2:
        texts.append("Go on.")
    return texts[0], [("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(texts[1:])]


def body(dialect, model, size, stream):
    """A request of about `size` bytes as the vendor's SDK would send it."""
    system, said = turns(size)
    plain = [{"role": role, "content": text} for role, text in said]
    streams = {"stream": True} if stream else {}
    if dialect == "openai_chat":
        options = {"stream_options": {"include_usage": True}} if stream else {}
        return {"model": model, **streams, **options, "messages": [{"role": "system", "content": system}, *plain],
                "temperature": 0.7, "max_completion_tokens": 256}
    if dialect == "openai_responses":
        return {"model": model, **streams, "instructions": system, "input": plain, "store": False, "temperature": 0.7,
                "max_output_tokens": 256}
    if dialect == "anthropic":
        return {"model": model, **streams, "max_tokens": 256, "system": system, "messages": plain, "temperature": 0.7}
    return {"systemInstruction": {"parts": [{"text": system}]}, "generationConfig": {"maxOutputTokens": 256, "temperature": 0.7},
            "contents": [{"role": "model" if role == "assistant" else "user", "parts": [{"text": text}]} for role, text in said]}


def project(port):
    """A provider for each dialect, one more of each that streams, and two that are signed to."""
    providers, flows = {}, {}
    for dialect, adapter in DIALECTS.items():
        for kind, path in (("", dialect), ("-stream", f"{dialect}-{CHUNKS}-{GAP_US}")):
            name = f"{dialect}{kind}".replace("_", "-")
            providers[name] = f'{{ adapter = "{adapter}", base_url = "http://127.0.0.1:{port}/{path}", api_key = "sk-bench" }}'
            flows[f"to-{name}"] = name
            if dialect == "openai_chat":
                key = 'auth = "sigv4", api_key = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"'
                providers[f"signed{kind}"] = f'{{ adapter = "bedrock_openai", base_url = "http://127.0.0.1:{port}/{path}", {key} }}'
                flows[f"to-signed{kind}"] = f"signed{kind}"
    lines = [f'    ["{name}"] = {text},' for name, text in providers.items()]
    lines += ["  },", "  workflows = {"] + [f'    ["{flow}"] = {{ "{name}/bench" }},' for flow, name in flows.items()]
    return "return {\n  providers = {\n" + "\n".join(lines) + "\n  },\n}\n"


class Mock(bench.Process):
    def __init__(self, tools, folder):
        for dialect, build in SPEECHES.items():
            for part, text in build().items():
                bench.write(f"{folder}/{dialect}.{part}", text)
        super().__init__(bench.LOAD_CORE, [f"{tools}/bench_mock", "--speeches", folder], stdout=bench.subprocess.PIPE, text=True)
        self.port = json.loads(self.popen.stdout.readline())["port"]


class Gateway(bench.Moongate):
    def __init__(self, binary, mock, folder):
        self.folder = tempfile.mkdtemp(prefix="moongate-", dir=folder)
        self.data = f"{self.folder}/data"
        self.ports = bench.free_ports(1)
        os.mkdir(f"{self.folder}/projects")
        bench.write(f"{self.folder}/gateway.lua", f'return {{ listen = "127.0.0.1:{self.ports[0]}", admin = false, workers = 1, log = {{ level = "warn" }} }}\n')
        bench.write(f"{self.folder}/projects/plain.lua", project(mock.port))
        self.log = f"{self.folder}/log"
        self.key = self.new_key(binary, "plain")
        with open(self.log, "w", encoding="utf-8") as log:
            bench.Process.__init__(self, bench.GATEWAY_CORE, [binary, "serve", "-c", f"{self.folder}/gateway.lua"], stdout=log, stderr=log)
        self.pids = [self.popen.pid]
        bench.wait_for_port(self.ports[0], self.popen, self.log)

    def port(self, _tls, _stream):
        return self.ports[0]


def cells(seconds):
    for size in ("0.5k", "8k"):
        yield f"saturated {size}", bench.SIZES[size], False, {"seconds": seconds}
    yield "sse 0.5k", bench.SIZES["0.5k"], True, {"seconds": 2 * seconds, **STREAM}


def cost(args, folder, gateway, client, target, size, stream, load):
    """CPU of one request, or of one chunk of a stream; None when it failed."""
    model = f"to-{target}{'-stream' if stream else ''}".replace("_", "-")
    file = f"{folder}/body"
    bench.write(file, json.dumps(body(client, model, size, stream), separators=(",", ":"), ensure_ascii=False))
    path = PATHS[client].format(model=model, verb="streamGenerateContent?alt=sse" if stream else "generateContent")
    # a stream is counted by its events, of which each dialect has some more than chunks
    told = {**load, "path": path, "body": file, **({"chunks": CHUNKS, "events": CHUNKS} if stream else {})}
    result = bench.measure(args.tools, folder, gateway, {"tls": False, "load": told})
    if result.get("failed") or not result["requests"] or result["errors"]:
        return None
    return result["cpu_us"] / result["requests"] / (CHUNKS if stream else 1)


def pairs(args):
    for client in DIALECTS:
        if not args.who or any(word in client for word in args.who):
            yield client, client
            yield from ((client, target) for target in DIALECTS if target != client)
            if client == "openai_chat":
                yield client, "signed"


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench translation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="interleaved rounds (default 3)")
    parser.add_argument("--seconds", type=float, default=0.6, help="of each measurement (default 0.6)")
    parser.add_argument("--from", dest="who", action="append", default=[], metavar="NAME", help="only clients whose dialect contains it")
    parser.add_argument("--cell", action="append", default=[], metavar="NAME", help="only measurements whose name contains it")
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--moongate", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    bench.raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="moongate-bench-") as folder:
        mock = Mock(args.tools, folder)
        gateway = Gateway(args.moongate, mock, folder)
        try:
            for name, size, stream, load in cells(args.seconds):
                if args.cell and not any(word in name for word in args.cell):
                    continue
                seen = {pair: [] for pair in pairs(args)}
                for _ in range(args.rounds):
                    for client, target in seen:
                        seen[client, target].append(cost(args, folder, gateway, client, target, size, stream, load))
                best = {pair: min((value for value in values if value), default=None) for pair, values in seen.items()}
                for (client, target), value in best.items():
                    plain = best[client, client]
                    ratio = f"{value / plain:6.3f}" if value and plain else "failed"
                    print(f"{name:15} {client:17} {target:17} {value or 0:8.2f} µs/{'chunk' if stream else 'request'}  {ratio}", flush=True)
        finally:
            gateway.stop()
            mock.stop()


if __name__ == "__main__":
    sys.exit(main())
