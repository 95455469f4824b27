"""translation.py: what it costs to speak another dialect than the client's. One gateway, one provider that speaks OpenAI
Chat; the same requests as chat completions (passed through) and as Anthropic messages (translated), interleaved. CPU of
the gateway per request and per streamed chunk, minima of the rounds, and their ratio (goal: at most 1.5)."""
import argparse
import json
import sys
import tempfile

from bench import SIZES, Mock, Moongate, measure, raise_file_limit

PATHS = {"pass-through": "/v1/chat/completions", "from anthropic": "/v1/messages", "from responses": "/v1/responses",
         "from gemini": "/v1beta/models/bench:generateContent"}
STREAM = {"rate": 100, "connections": 16, "chunks": 100, "gap_us": 5000, "warmup": 0.6}


def cells():
    for size in ("0.5k", "8k"):
        yield f"saturated {size}", {"size": SIZES[size], "seconds": 0.8}, "cpu_us_per_request"
    yield "sse 0.5k", {"size": SIZES["0.5k"], "seconds": 2, **STREAM}, "cpu_us_per_chunk"


def figure(result, name):
    if result.get("failed") or not result["requests"] or result["errors"]:
        return None
    return result["cpu_us"] / result["requests"] if name == "cpu_us_per_request" else result[name]


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench translation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="interleaved rounds (default 3)")
    parser.add_argument("--from", dest="who", action="append", default=[], metavar="NAME", help="anthropic, responses, gemini")
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--moongate", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    raise_file_limit()
    folder = tempfile.mkdtemp(prefix="bench-")
    paths = {name: path for name, path in PATHS.items() if name == "pass-through" or not args.who or name.split()[-1] in args.who}
    mock = Mock(args.tools, folder)
    gateway = Moongate(args.moongate, mock, folder, ("plain",))
    try:
        for name, load, what in cells():
            seen = {who: [] for who in paths}
            for _ in range(args.rounds):
                for who, path in paths.items():
                    seen[who].append(figure(measure(args.tools, folder, gateway, {"tls": False, "load": {**load, "path": path}}), what))
            best = {who: min((value for value in values if value), default=None) for who, values in seen.items()}
            for who, value in best.items():
                ratio = value / best["pass-through"] if value and best["pass-through"] else None
                print(json.dumps({"cell": name, "who": who, what: value and round(value, 2), "ratio": ratio and round(ratio, 3)}), flush=True)
    finally:
        gateway.stop()
        mock.stop()


if __name__ == "__main__":
    sys.exit(main())
