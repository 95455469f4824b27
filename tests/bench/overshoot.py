"""How far past a limit does traffic get that asks for ten times as much? The real gateway, a simulated provider.

    ./dev bench overshoot [--seconds N] [--times N] [--smoke]

    requests   clients ask for ten times the rate over all workers; what passed is held against GCRA(rate, burst): the
               burst, and the rate times the time between the first request and the last answer. Above 1 is an overshoot.
    tokens     the same with tokens per minute: what the provider reported against the minute's tokens and the rate.
               Settled use may exceed what was reserved by the error of the estimates in flight, which is printed beside it.
    concurrency  ten times as many connections as may be in flight ask all the time; the most streams that were open at once, from
               the first byte of an answer to its end as clients see it, against the limit.
    money      ten times the budget is asked for; what was spent against the budget.

--smoke checks the ratios and says nothing about speed.
"""
import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time

PROJECT = """
return {
  providers = { sim = { kind = "simulated", models = { ["*"] = { MODEL, output_tokens = 40 } } } },
  workflows = { chat = { targets = { { target = "sim/any", price_usd = { input = 1000, output = 1000 } } } } },
  limits = { %s },
}
"""
WORDS = "the moon over the sea is what we speak of when nobody listens ".split()


class Gateway:
    def __init__(self, binary, limits, model="ttft_ms = 1, tokens_per_s = 100000"):
        self.binary, self.folder = binary, tempfile.TemporaryDirectory(prefix="moongate-overshoot-")
        os.makedirs(f"{self.folder.name}/projects")
        with open(f"{self.folder.name}/projects/main.lua", "w") as out:
            out.write(PROJECT.replace("MODEL", model) % limits)
        with open(f"{self.folder.name}/gateway.lua", "w") as out:
            out.write('return { listen = "127.0.0.1:0", admin = "127.0.0.1:0", data_dir = "data", workers = 2, '
                      'journal = { bytes = 16777216 } }')

    def __enter__(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith("MOONGATE_")}
        self.process = subprocess.Popen([self.binary, "serve", "-c", self.folder.name], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, env=env, cwd=self.folder.name)
        seen = ""
        while " ready " not in seen:
            line = self.process.stderr.readline()
            if not line:
                sys.exit("overshoot: serve does not start:\n" + seen)
            seen += line
        self.port = int(re.search(r"listening address=\S+:(\d+)", seen)[1])
        key = subprocess.run([self.binary, "key", "create", "--project", "main", "--json", "--data", f"{self.folder.name}/data"],
                             capture_output=True, text=True, check=True).stdout
        self.key = json.loads(key)["key"]
        # What it says from here on is not read: a full pipe would stop it.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *ignored):
        self.process.terminate()
        self.process.wait(30)
        self.drain.wait(30)
        self.folder.cleanup()

    def cli(self, *args):
        return subprocess.run([self.binary, *args, "--data", f"{self.folder.name}/data"], capture_output=True, text=True, check=True).stdout


class Load:
    """Connections that ask one after the other at a given pace each; counts what passed and what it used."""

    def __init__(self, gateway, body):
        self.gateway, self.body = gateway, body
        self.asked = self.passed = self.tokens = 0
        self.other = {}

    async def one(self, reader, writer, body):
        data = json.dumps(body).encode()
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.gateway.key}\r\n"
                     f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        answer = await reader.readexactly(length)
        self.asked += 1
        if status == 200:
            self.passed += 1
            self.tokens += json.loads(answer)["usage"]["total_tokens"]
        elif status != 429:
            self.other[status] = self.other.get(status, 0) + 1

    async def client(self, number, pace_s, until):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        next_at = time.monotonic() + pace_s * number / 16
        while time.monotonic() < until:
            await asyncio.sleep(max(0, next_at - time.monotonic()))
            next_at += pace_s
            await self.one(reader, writer, self.body(self.asked))
        writer.close()

    async def run(self, per_second, seconds, clients=16):
        self.began = time.monotonic()
        await asyncio.gather(*(self.client(i, clients / per_second, self.began + seconds) for i in range(clients)))
        self.took = time.monotonic() - self.began


def short(number):
    return {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}


def varied(number):
    """Prompts of all lengths, so that the estimate is really one."""
    text = " ".join(WORDS[(number * 7 + i) % len(WORDS)] for i in range(20 + number * 37 % 400))
    return {"model": "chat", "messages": [{"role": "user", "content": text}], "max_tokens": 40}


def report(name, asked, got, allowed, more=""):
    ratio = got / allowed
    print(f"{name:<10} asked {asked:>9.0f}   passed {got:>9.0f}   allowed {allowed:>9.0f}   ratio {ratio:6.4f}{more}", flush=True)
    return ratio


def requests(args):
    rate, burst = 12000, 200           # per minute: 200 a second
    with Gateway(args.moongate, f"requests_per_minute = {rate}, burst = {burst}") as gateway:
        load = Load(gateway, short)
        asyncio.run(load.run(args.times * rate / 60, args.seconds))
        assert not load.other, load.other
        return report("requests", load.asked, load.passed, burst + rate / 60 * load.took)


class Streams:
    """Connections that stream as often as they may; counts how many are open at once. The gateway counts one as in flight from
    before its first byte until it has written its last, so that what is counted here is never more."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.asked = self.passed = self.open = self.most = 0
        self.other = {}

    async def one(self, reader, writer):
        data = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.gateway.key}\r\n"
                     f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        self.asked += 1
        if status != 200:
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
            if status != 429:
                self.other[status] = self.other.get(status, 0) + 1
            return False
        self.passed += 1
        self.open += 1
        self.most = max(self.most, self.open)
        while not (line := await reader.readline()).startswith(b"data: [DONE]"):
            assert line, "the stream broke off"
        self.open -= 1
        await reader.readuntil(b"0\r\n\r\n")
        return True

    async def client(self, until):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        while time.monotonic() < until:
            if not await self.one(reader, writer):
                await asyncio.sleep(0.01)
        writer.close()

    async def run(self, seconds, clients):
        until = time.monotonic() + seconds
        await asyncio.gather(*(self.client(until) for _ in range(clients)))


def concurrency(args):
    limit = 20
    with Gateway(args.moongate, f"concurrency = {limit}", model="ttft_ms = 30, tokens_per_s = 1000") as gateway:
        load = Streams(gateway)
        asyncio.run(load.run(args.seconds, int(limit * args.times)))
        assert not load.other, load.other
        assert load.most > limit / 2, f"only {load.most} were open at once: that proves nothing"
        return report("in flight", limit * args.times, load.most, limit, f"   {load.passed} of {load.asked} passed")


def error_of(gateway):
    estimate = json.loads(gateway.cli("targets", "--json"))["targets"][0]["estimate"]
    return max(estimate["input_error"], estimate["output_error"])


def tokens(args):
    rate = 120000                      # per minute; a call is some hundred
    with Gateway(args.moongate, f"tokens_per_minute = {rate}") as gateway:
        load = Load(gateway, varied)
        asyncio.run(load.run(args.times * rate / 60 / 200 * 3, args.seconds))
        assert not load.other, load.other
        error = error_of(gateway)
        ratio = report("tokens", load.asked * load.tokens / max(load.passed, 1), load.tokens, rate + rate / 60 * load.took,
                       f"   estimate off by {100 * error:.1f} %")
        return ratio, error


def money(args):
    usd = 20                           # a call is about $0.2 at a thousand dollars for a million tokens
    with Gateway(args.moongate, f'budget = {{ per = "month", usd = {usd} }}') as gateway:
        load = Load(gateway, varied)
        asyncio.run(load.run(600, args.seconds))
        assert not load.other, load.other
        error = error_of(gateway)
        ratio = report("money, c", load.asked * load.tokens / max(load.passed, 1) / 10, load.tokens / 10, usd * 100,
                       f"   estimate off by {100 * error:.1f} %")
        return ratio, error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", help=argparse.SUPPRESS)     # of the other benchmarks
    parser.add_argument("--moongate", default="build/release/moongate")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--times", type=float, default=10)
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.seconds = 3
    bad = []
    if requests(args) > 1:
        bad.append("requests went past GCRA")
    if concurrency(args) > 1:
        bad.append("more were in flight than may be")
    for name, measure in (("tokens", tokens), ("money", money)):
        ratio, error = measure(args)
        if ratio > 1 + error + 0.02:
            bad.append(f"{name} went past the limit by more than the estimate is off")
    if bad:
        sys.exit("overshoot: " + "; ".join(bad))


if __name__ == "__main__":
    main()
