"""How targets fail, are left alone and come back: the real gateway between scripted traffic and simulated providers.

    ./dev bench outage [--quick] [--only NAME]

Every scenario has its own gateway, a first target A and its stand-in B (`moongate sim`), and an open loop of clients, half
of them streaming. Nobody waits for real outages: all times, those of the configuration too, are scaled alike (the scale
is printed), so a breaker that pauses for 5 s pauses for 0.5 s here. The table says what clients got while it lasted, how
many calls each target saw per client request (its amplification), how long it took to leave A and to return, and how
crowded the stand-in was. What no clock can spoil is checked: success with a healthy stand-in, and amplification.
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

AMPLIFICATION = 1.2  # of a target's traffic, by retries and hedges
BURST = 10           # retries a project may have saved up, by the configuration below
CONTENT = "moonlight"
SAMPLE_S = 0.05

PROJECT = """
return {
  providers = {
    a = { base_url = "http://127.0.0.1:%(a)d/v1", api_key = "sk-a", breaker = %(breaker)s },
    b = { base_url = "http://127.0.0.1:%(b)d/v1", %(b_keys)s, breaker = %(breaker)s },
  },
  workflows = {
    chat = {
      targets = { "a/chat", { "b/chat", concurrency = %(cap)s } },
      deadline_ms = %(deadline_ms)d,
      timeouts_ms = { connect = %(connect_ms)d, first_token = %(first_token_ms)d, idle = %(idle_ms)d },
      retry_budget = { share = 0.2, burst = %(burst)d },
    },
  },
}
"""
BREAKER = """{ window_ms = %(window_ms)d, open_ms = %(open_ms)d, max_open_ms = %(max_open_ms)d, probe_ms = %(probe_ms)d,
      ramp_ms = %(ramp_ms)d, slow_factor = 3, slow_min_ms = %(slow_min_ms)d }"""
# The defaults, in milliseconds; scaled before use.
TIMES = {"window_ms": 30000, "open_ms": 5000, "max_open_ms": 60000, "probe_ms": 15000, "ramp_ms": 10000, "slow_min_ms": 1000,
         "deadline_ms": 60000, "connect_ms": 5000, "first_token_ms": 30000, "idle_ms": 30000}
PACE_MS = 800  # first token of a healthy provider


class Scenario:
    """`script`: what happens at which second (of real time, scaled); trouble begins with the first step, and ends with the last."""

    def __init__(self, name, script, seconds, *, healthy_fallback=True, rate=60, capped=None, projects=None, pace_ms=PACE_MS):
        self.name, self.script, self.seconds = name, script, seconds
        self.healthy_fallback, self.rate, self.pace_ms = healthy_fallback, rate, pace_ms
        self.capped = capped  # the part of the traffic that B can take at once; None: all
        self.projects = projects or {"main": 1.0}  # name: part of the rate

    @property
    def trouble(self):
        return self.script[0][0], self.script[-1][0]


FAIL = {"fault": "server_error"}
DOWN = {"fault": "overloaded"}
GONE = {"fault": "reset_early"}
WELL = {}


def scenarios():
    flaps = [(30 + 15 * i, {"a": GONE if i % 2 == 0 else WELL}) for i in range(8)]
    yield Scenario("12 % of 500s", [(30, {"a": {**FAIL, "error_share": 0.12}}), (150, {"a": WELL})], 180)
    yield Scenario("latency 0.8 s to 6 s", [(30, {"a": {"ttft_ms": 6000}}), (150, {"a": WELL})], 240)
    yield Scenario("tightening limits", [(30, {"a": {"requests": 150, "window_ms": 30000}}), (90, {"a": {"requests": 75, "window_ms": 30000}}),
                                         (150, {"a": {"requests": 15, "window_ms": 30000}}), (210, {"a": WELL})], 270)
    yield Scenario("total outage", [(30, {"a": GONE}), (130, {"a": WELL})], 240)
    yield Scenario("overload", [(30, {"a": DOWN}), (130, {"a": WELL})], 240)
    yield Scenario("flapping", flaps, 230)
    yield Scenario("both down", [(30, {"a": DOWN, "b": DOWN}), (130, {"a": WELL, "b": WELL})], 240, healthy_fallback=False)
    yield Scenario("B capped, shared", [(30, {"a": GONE}), (150, {"a": WELL})], 240, healthy_fallback=False, rate=90,
                   capped=0.45, projects={"big": 0.9, "small": 0.1}, pace_ms=2000)


# ---- what runs


class Process:
    def __init__(self, command, pattern, stream, **options):
        self.popen = subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, **options)
        lines = []
        for line in getattr(self.popen, stream):
            lines.append(line)
            found = re.search(pattern, line)
            if found:
                self.port = int(found.group(1))
                return
        sys.exit(f"outage: {command[1]} does not start:\n{''.join(lines)}")

    def stop(self):
        self.popen.terminate()
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


class Provider(Process):
    def __init__(self, binary, pace_ms):
        command = [binary, "sim", "--ttft-ms", str(pace_ms), "--output-tokens", "12"]
        super().__init__(command, r":(\d+)/v1", "stdout", stdout=subprocess.PIPE)
        self.client = Client(self.port, None)

    async def be(self, phase):
        status, body = await self.client.call("POST", "/_sim/phase", {"model": "*", **phase})
        if status >= 300:
            sys.exit(f"outage: the simulator does not take {phase}: {body}")

    async def figures(self):
        _status, body = await self.client.call("GET", "/_sim/stats")
        return json.loads(body)["models"].get("chat", {"calls": 0, "running": 0, "peak": 0})


class Gateway(Process):
    def __init__(self, binary, folder, scenario, providers, times):
        self.binary, self.data = binary, f"{folder}/data"
        os.mkdir(f"{folder}/projects")
        shared = len(scenario.projects) > 1
        grants = ", ".join(f"{name} = 1" for name in scenario.projects)
        accounts = f'accounts = {{ b = {{ api_key = "sk-b", projects = {{ {grants} }} }} }},' if shared else ""
        write(f"{folder}/gateway.lua", f'return {{ listen = "127.0.0.1:0", admin = false, workers = 1, data_dir = "data", {accounts} '
              'log = { level = "info" }, journal = { bytes = 16777216 } }')
        at_once = scenario.rate * times.scale(scenario.pace_ms) / 1000
        places = max(2, round(at_once * scenario.capped)) if scenario.capped else 0
        cap = f"{{ max = {places}, queue = 16, queue_ms = {times.scale(2000)} }}" if scenario.capped else "false"
        values = {**times.configured, "a": providers["a"].port, "b": providers["b"].port, "burst": BURST, "cap": cap,
                  "b_keys": 'account = "b"' if shared else 'api_key = "sk-b"'}
        values["breaker"] = BREAKER % values
        for name in scenario.projects:
            write(f"{folder}/projects/{name}.lua", PROJECT % values)
        self.keys = {name: self.new_key(name) for name in scenario.projects}
        command = [binary, "serve", "-c", folder]
        super().__init__(command, r" listening address=\S+:(\d+)", "stderr", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for line in self.popen.stderr:
            if " ready " in line:
                break
        self.popen.stderr.close()  # it may not fill; the gateway ignores SIGPIPE

    def new_key(self, project):
        command = [self.binary, "key", "create", "--json", "--data", self.data, "--project", project]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)["key"]


class Times:
    def __init__(self, scale):
        self.factor = scale
        # a window is no shorter by the schema; timers only matter where something hangs, and shall not meet a busy machine
        least = {"window_ms": 1000, "deadline_ms": 20000, "connect_ms": 5000, "first_token_ms": 10000, "idle_ms": 10000}
        self.configured = {name: max(self.scale(ms), least.get(name, 10)) for name, ms in TIMES.items()}

    def scale(self, ms):
        return max(1, round(ms / self.factor))

    def phase(self, phase):
        """The times and numbers of a phase as the simulator shall have them."""
        return {name: self.scale(value) if name.endswith("_ms") else value for name, value in phase.items()}


class Client:
    """Connections to one port; each carries one request at a time."""

    def __init__(self, port, key):
        self.port, self.idle = port, []
        self.auth = f"authorization: Bearer {key}\r\n" if key else ""

    async def call(self, method, path, body=None):
        """Status and body of one answer; an answer that breaks off is an OSError."""
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{self.auth}content-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(head.encode() + text)
            status, answer, again = await read_answer(reader)
        except BaseException:
            writer.close()
            raise
        if again:
            self.idle.append((reader, writer))
        else:
            writer.close()
        return status, answer


async def read_answer(reader):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status, body = int(head[9:12]), b""
        if "\r\ntransfer-encoding: chunked" in head:
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
        else:
            length = re.search(r"\r\ncontent-length: (\d+)", head)
            body = await reader.readexactly(int(length.group(1)) if length else 0)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise OSError("an answer that breaks off") from error
    return status, body, "\r\nconnection: close" not in head


# ---- one run


class Run:
    def __init__(self, scenario, times, gateway, providers):
        self.scenario, self.times, self.gateway, self.providers = scenario, times, gateway, providers
        self.calls = []    # (project, sent at, took, why not; None: a complete answer)
        self.samples = []  # (at, {provider: figures})
        self.pending = set()

    async def whole(self):
        self.start = time.monotonic()
        tasks = [asyncio.create_task(self.clients(name, part)) for name, part in self.scenario.projects.items()]
        sampling = asyncio.create_task(self.sample())
        for at, change in self.scenario.script:
            await self.until(at)
            for name, phase in change.items():
                await self.providers[name].be(self.times.phase(phase))
        await asyncio.gather(*tasks)
        if self.pending:
            await asyncio.wait(self.pending, timeout=30)
        sampling.cancel()
        self.last = {name: await provider.figures() for name, provider in self.providers.items()}
        self.unfinished = len(self.pending)

    async def until(self, real_s):
        await asyncio.sleep(self.start + real_s / self.times.factor - time.monotonic())

    def now(self):
        return (time.monotonic() - self.start) * self.times.factor

    async def clients(self, project, part):
        client = Client(self.gateway.port, self.gateway.keys[project])
        gap = 1 / (self.scenario.rate * part)
        due, number, end = self.start, 0, self.start + self.scenario.seconds / self.times.factor
        while (due := due + gap) < end:
            await asyncio.sleep(due - time.monotonic())
            number += 1
            task = asyncio.create_task(self.ask(client, project, number % 2 == 0))
            self.pending.add(task)
            task.add_done_callback(self.pending.discard)

    async def ask(self, client, project, stream):
        body = {"model": "chat", "stream": stream, "messages": [{"role": "user", "content": "Who opens the gate?"}]}
        sent, at = time.monotonic(), self.now()
        try:
            status, answer = await asyncio.wait_for(client.call("POST", "/v1/chat/completions", body), 60)
            why = None if status == 200 and complete(answer, stream) else f"{status} {answer[:160]!r}"
        except (OSError, asyncio.TimeoutError) as error:
            why = str(error) or "timed out"
        self.calls.append((project, at, time.monotonic() - sent, why))

    async def sample(self):
        while True:
            figures = {name: await provider.figures() for name, provider in self.providers.items()}
            self.samples.append((self.now(), figures))
            await asyncio.sleep(SAMPLE_S)


def complete(answer, stream):
    """A whole answer that says something and says that it is over."""
    try:
        if not stream:
            choice = json.loads(answer)["choices"][0]
            return bool(choice["message"]["content"]) and choice["finish_reason"] == "stop"
        events = [line[6:] for line in answer.decode().split("\n\n") if line.startswith("data: ")]
        chunks = [json.loads(event) for event in events[:-1]]
        said = [choice for chunk in chunks for choice in chunk.get("choices", [])]
        text = "".join(choice["delta"].get("content") or "" for choice in said)
        return events[-1] == "[DONE]" and bool(text) and any(choice.get("finish_reason") == "stop" for choice in said)
    except (ValueError, KeyError, IndexError):
        return False


# ---- what it says


def calls_between(samples, name, begin, end):
    """Calls a provider got in that time, and the most that ran at once."""
    within = [figures[name] for at, figures in samples if begin <= at <= end]
    return (within[-1]["calls"] - within[0]["calls"], max(each["running"] for each in within)) if within else (0, 0)


def first_when(samples, name, begin, window, good):
    """Seconds from begin until the provider's rate over the next `window` is as wanted; None: it never was."""
    for at, figures in samples:
        if at < begin:
            continue
        later = next((each for each in samples if each[0] >= at + window), None)
        if later is None:
            return None
        if good((later[1][name]["calls"] - figures[name]["calls"]) / (later[0] - at)):
            return at - begin
    return None


def report(run, project=None):
    scenario, factor = run.scenario, run.times.factor
    begin, end = scenario.trouble
    calls = [each for each in run.calls if project in (None, each[0])]
    during = [each for each in calls if begin <= each[1] < end]
    good = sorted(took for _who, _at, took, why in during if why is None)
    rate = scenario.rate / factor  # per real second
    window = max(5, 0.3 * factor)
    everybody = sum(begin <= each[1] < end for each in run.calls)
    row = {"scenario": scenario.name + (f" ({project})" if project else ""), "requests": len(calls), "during": len(during),
           "success": sum(why is None for *_rest, why in calls) / max(1, len(calls)),
           "success_during": len(good) / max(1, len(during)), "unfinished": run.unfinished,
           "p50_s": quantile(good, 0.5) * factor, "p99_s": quantile(good, 0.99) * factor,
           "leave_s": first_when(run.samples, "a", begin, window, lambda r: r < 0.25 * rate),
           "return_s": first_when(run.samples, "a", end, window, lambda r: r > 0.8 * rate),
           "own_share": project == "small", "failures": sorted({why for *_rest, why in calls if why})[:3], "healthy_fallback": scenario.healthy_fallback}
    for name in ("a", "b"):
        count, crowd = calls_between(run.samples, name, begin, end)
        row[f"{name}_calls"], row[f"{name}_times"] = count, count / max(1, everybody)
        row[f"{name}_peak"] = max(crowd, run.last[name].get("peak", 0))
    return row


def quantile(ordered, q):
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0


def wrong(row):
    """What may not be, whatever the clock did."""
    if row["unfinished"]:
        yield f"{row['unfinished']} requests without an end"
    if row["healthy_fallback"] and row["success"] < 1:
        yield f"success {row['success']:.2%} with a healthy stand-in: {'; '.join(row['failures'])}"
    if row["own_share"] and row["success_during"] < 0.95:
        yield f"success {row['success_during']:.1%} of a project that asked for less than its share"
    for name in ("a", "b"):
        most = AMPLIFICATION + 2 * BURST / max(1, row["during"])
        if row[f"{name}_times"] > most:
            yield f"{name} was called {row[f'{name}_times']:.2f} times as often as the clients (≤ {most:.2f})"


def show(rows, factor):
    print(f"\n{'while it lasted':26} {'requests':>8} {'success':>8} {'p50 s':>7} {'p99 s':>7} {'A ×':>6} {'B ×':>6} "
          f"{'A peak':>6} {'B peak':>6} {'leave s':>8} {'return s':>8}")
    for row in rows:
        when = lambda s: "–" if s is None else f"{s:.1f}"
        print(f"{row['scenario']:26} {row['during']:8} {row['success_during']:8.1%} {row['p50_s']:7.2f} {row['p99_s']:7.2f} {row['a_times']:6.2f} "
              f"{row['b_times']:6.2f} {row['a_peak']:6} {row['b_peak']:6} {when(row['leave_s']):>8} {when(row['return_s']):>8}")
        for each in wrong(row):
            print(f"    WRONG: {each}")
    print(f"\nall times scaled back to real seconds (they ran {factor:g} times as fast); ×: calls per client request; leave: until A gets less than a "
          "quarter of the traffic;\nreturn: from its recovery until it gets more than four fifths; peak: most calls at once")


# ---- the command


def play(args, scenario, factor, rate):
    times = Times(factor)
    scenario.rate *= rate
    started = []
    with tempfile.TemporaryDirectory(prefix="moongate-outage-") as folder:
        try:
            providers = {}
            for name in ("a", "b"):
                providers[name] = Provider(args.moongate, times.scale(scenario.pace_ms))
                started.append(providers[name])
            gateway = Gateway(args.moongate, folder, scenario, providers, times)
            started.append(gateway)
            run = Run(scenario, times, gateway, providers)
            asyncio.run(run.whole())
        finally:
            for each in reversed(started):
                each.stop()
    who = list(scenario.projects) if len(scenario.projects) > 1 else [None]
    return [report(run, project) for project in who]


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench outage", description="Outages of simulated providers, and what clients see of them.")
    parser.add_argument("--quick", action="store_true", help="all in under a minute: times are scaled three times as much")
    parser.add_argument("--smoke", action="store_true", help="two scenarios, a few seconds, for the test suite")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only scenarios whose name contains it")
    parser.add_argument("--scale", type=float, metavar="N", help="run N times as fast as real life (default 10, quick 40)")
    parser.add_argument("--json", metavar="FILE", help="where the numbers go")
    parser.add_argument("--tools", help=argparse.SUPPRESS)
    parser.add_argument("--moongate", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.scale = args.scale or (60 if args.smoke else 40 if args.quick else 10)
    if args.smoke:
        args.only = args.only or ["12 %", "total outage"]
    return args


def main():
    args = arguments()
    began, rows = time.monotonic(), []
    for scenario in scenarios():
        if args.only and not any(part in scenario.name for part in args.only):
            continue
        rows += play(args, scenario, args.scale, 0.5 if args.smoke else 1.5 if args.quick else 1)
        print(f"  {scenario.name}", file=sys.stderr)
    show(rows, args.scale)
    if args.json:
        os.makedirs(os.path.dirname(os.path.abspath(args.json)), exist_ok=True)
        write(args.json, json.dumps(rows, indent=1))
    print(f"took {time.monotonic() - began:.0f} s")
    sys.exit(any(list(wrong(row)) for row in rows))


if __name__ == "__main__":
    main()
