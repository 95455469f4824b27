"""kill.py - kills the gateway with SIGKILL at random moments under load, again and again, and compares what the store has in the end
with what a provider counted.

The provider lives through all of it and writes down every call whose head it read, by the exchange's id (the idempotency
header) and the number of the attempt (a header that on_attempt sets). Load is streams and whole answers, failures with
fallback, hedges, cut streams, closed connections and clients that leave. What is compared is at the end of this file.

    tests/tools/e2e.sh tests/support/kill.py --requests 100000       (./dev kill)
"""

import argparse
import asyncio
import collections
import json
import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

from moongate import BIN, PATIENCE_S, Gateway, clean_env, completion, chunk

CLIENTS = 24
TARGETS = 3
HEDGE_MS = 60

# ---- the provider: a process of its own

Call = collections.namedtuple("Call", "id number target tokens")  # tokens: what it billed as output, were it read to the end


class Provider(asyncio.Protocol):
    """One connection. What it does with a request is drawn by lot."""

    def __init__(self, calls, lot):
        self.calls, self.lot, self.held = calls, lot, b""
        self.counted = self.busy = False            # the request at the front of `held` is in the list; is being answered

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.held += data
        end = self.held.find(b"\r\n\r\n")
        if end < 0 or self.busy:
            return
        lines = self.held[:end].split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
        if not self.counted:
            self.counted = True
            self.tokens = self.lot.randrange(10, 1000)
            self.calls.append(Call(headers[b"idempotency-key"].decode(), int(headers[b"x-attempt"]),
                                   int(lines[0].split(b"/")[1][1:]), self.tokens))
        length = int(headers[b"content-length"])
        if len(self.held) < end + 4 + length:
            return
        body = self.held[end + 4:end + 4 + length]
        self.held = self.held[end + 4 + length:]
        self.busy = True
        asyncio.ensure_future(self.answer(b'"stream": true' in body or b'"stream":true' in body))

    async def answer(self, stream):
        draw = self.lot.random()
        if draw < 0.04:
            self.transport.close()                  # without a byte of an answer
        elif draw < 0.06:
            self.transport.abort()
        elif draw < 0.14:
            self.whole(self.lot.choice((500, 502, 503, 529)), {"error": {"message": "no", "type": "server_error", "code": None}})
        else:
            if draw < 0.19:
                await asyncio.sleep(self.lot.uniform(0.5, 3) * HEDGE_MS / 1000)
            elif draw < 0.5:
                await asyncio.sleep(self.lot.expovariate(200))
            if stream:
                await self.stream(cut=draw > 0.95)
            else:
                self.whole(200, {**completion("whole"), "usage": self.usage()})
        self.busy = self.counted = False
        if self.held and not self.transport.is_closing():
            self.data_received(b"")

    def usage(self):
        return {"prompt_tokens": 9, "completion_tokens": self.tokens, "total_tokens": 9 + self.tokens}

    def whole(self, status, body):
        body = json.dumps(body).encode()
        self.transport.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))

    async def stream(self, cut):
        """Several events in one write, or one by one with pauses."""
        words = [chunk({"role": "assistant", "content": ""}), *[chunk({"content": "moon "})] * self.lot.randrange(1, 6)]
        ends = [chunk({}, "stop"), {**chunk(), "choices": [], "usage": self.usage()}, "[DONE]"]
        pieces = [b"data: %s\n\n" % (e if isinstance(e, str) else json.dumps(e)).encode() for e in words + ([] if cut else ends)]
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        slow = self.lot.random() < 0.3
        for piece in pieces if slow else [b"".join(pieces)]:
            self.transport.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if slow:
                await asyncio.sleep(self.lot.expovariate(150))
        if cut:
            self.transport.close()
        else:
            self.transport.write(b"0\r\n\r\n")


def run_provider(pipe, seed):
    """Says its port, counts until it hears a word, answers with what it saw."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.WARNING)                # of writes to a gateway that was killed
    calls, lot = [], random.Random(seed)

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Provider(calls, lot), "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        heard = loop.create_future()
        loop.add_reader(pipe.fileno(), lambda: heard.done() or heard.set_result(None))
        await heard

    asyncio.run(serve())
    pipe.send([tuple(call) for call in calls])


# ---- the gateway

def project(port):
    providers = "".join(f'p{i} = {{ adapter = "openai", base_url = "http://127.0.0.1:{port}/p{i}/v1", api_key = "k", breaker = false, '
                        'idempotency_header = "idempotency-key" }, ' for i in range(TARGETS))
    targets = "".join(f'"p{i}/model-{i}", ' for i in range(TARGETS))
    return (f"return {{ providers = {{ {providers} }}, workflows = {{ chat = {{ targets = {{ {targets} }}, hedge = {HEDGE_MS} }} }}, "
            'on_attempt = function(req, att) return { headers = { ["x-attempt"] = tostring(att.n) } } end }')


class Killed(Gateway):
    """Keeps its port and its key over restarts; its lines go to a file."""

    def __init__(self, port):
        import socket
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        super().__init__(project(port), f'listen = "127.0.0.1:{self.port}", journal = {{ bytes = 16777216 }},')
        self.log = os.path.join(self.path, "log")
        self.keys = {}
        self.kills = self.kills_in_start = 0

    def spawn(self):
        with open(self.log, "ab") as log:
            self.began = log.tell()
            self.process = subprocess.Popen([BIN, "serve", "-c", self.path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                            env=clean_env(), cwd=self.path)

    async def ready(self):
        deadline = time.monotonic() + PATIENCE_S
        while b" ready " not in (said := self.said()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the gateway does not come up again:\n{said.decode()[-4000:]}")
            await asyncio.sleep(0.005)
        if not self.keys:
            self.keys["main"] = self.create_key("main")

    def said(self):
        with open(self.log, "rb") as log:
            log.seek(self.began)
            return log.read()

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.kills += 1


# ---- the clients

class Load:
    def __init__(self, gateway, lot):
        self.gateway, self.lot = gateway, lot
        self.sent = self.left = 0
        self.whole = {}            # ids of answers that were read to their end, and the output tokens they were billed
        self.stopping = False

    async def client(self):
        reader = writer = None
        while not self.stopping:
            try:
                if not writer:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
                writer = await self.ask(reader, writer)
            except (OSError, EOFError, asyncio.LimitOverrunError, ValueError, IndexError):
                if writer:
                    writer.transport.abort()
                writer = None
                await asyncio.sleep(0.005)
        if writer:
            writer.transport.abort()

    async def ask(self, reader, writer):
        stream = self.lot.random() < 0.6
        body = json.dumps({"model": "chat", "stream": stream, "messages": [{"role": "user", "content": "x" * self.lot.randrange(400)}]}).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
                     b"content-length: %d\r\n\r\n%s" % (self.gateway.keys["main"].encode(), len(body), body))
        self.sent += 1
        if self.lot.random() < 0.05:
            await asyncio.sleep(self.lot.uniform(0, 0.03))
            writer.transport.abort()
            self.left += 1
            return None
        head = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        if headers.get(b"transfer-encoding") == b"chunked":
            answer = await reader.readuntil(b"\r\n0\r\n\r\n")
            clean = b"data: [DONE]" in answer
        else:
            answer = await reader.readexactly(int(headers[b"content-length"]))
            clean = head.split()[1] == b"200"
        if clean:
            # a whole answer shows its bill; a stream shows it to those who asked for usage only
            told = json.loads(answer)["usage"]["completion_tokens"] if not stream else None
            self.whole[headers[b"x-request-id"].decode()] = told
        return None if headers.get(b"connection") == b"close" else writer


async def run_load(gateway, requests, kills, lot):
    """Until so many were sent and so many kills were done."""
    load = Load(gateway, lot)
    gateway.spawn()
    await gateway.ready()
    clients = [asyncio.ensure_future(load.client()) for _ in range(CLIENTS)]
    each = requests / kills
    for nth in range(kills):
        goal = each * (nth + lot.uniform(0.6, 1.4))
        while load.sent < goal:
            await asyncio.sleep(lot.uniform(0, 0.004))
        gateway.kill()
        while lot.random() < 0.25:                  # and again while it recovers
            gateway.spawn()
            await asyncio.sleep(lot.uniform(0, 0.15))
            if b" ready " not in gateway.said():
                gateway.kills_in_start += 1
            gateway.kill()
        gateway.spawn()
        await gateway.ready()
    while load.sent < requests:
        await asyncio.sleep(0.01)
    load.stopping = True
    await asyncio.wait(clients, timeout=PATIENCE_S)
    await asyncio.sleep(0.01)                       # what was aborted is closed in the next turn
    return load


# ---- what the store has

Event = collections.namedtuple("Event", "id number interrupted sent_us class_ redialed output_tokens reported")


class Payload:
    """meter/record.h, as much of it as is asked here."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def number(self):
        value = shift = 0
        while (byte := self.byte()) >= 0x80:
            value |= (byte & 0x7f) << shift
            shift += 7
        return value | byte << shift

    def numbers(self):
        return [self.number() for _ in range(self.byte())]

    def text(self):
        length = self.number()
        self.at += length
        return self.data[self.at - length:self.at].decode()


def frames(detail):
    at = 0
    while at < len(detail):
        length = detail[at + 1] | detail[at + 2] << 8
        yield detail[at], Payload(detail[at + 3:at + 3 + length])
        at += 3 + length


MARKS = ("dns", "connect", "tls", "sent", "first_byte", "first_token", "last_byte")


def settled(payload, interrupted):
    payload.byte()
    id, number, class_, _, _ = payload.text(), payload.number(), payload.byte(), payload.byte(), payload.number()
    flags, _, marks = payload.byte(), payload.number(), payload.numbers()
    payload.number(), payload.number()
    tokens = payload.numbers()
    payload.text()
    made_up = bool(interrupted) and payload.text() == "the gateway was interrupted"
    return Event(id, number, made_up, marks[MARKS.index("sent")], class_, bool(flags & 2), tokens[1], bool(flags & 4))


def read_store(path):
    """Every event, and what is wrong with rows by themselves."""
    events, wrong, ids = {}, [], set()
    store = sqlite3.connect(path)
    for id, attempts, flags, detail in store.execute("SELECT id, attempts, flags, detail FROM exchanges"):
        if id in ids:
            wrong.append(f"{id}: two rows")
        ids.add(id)
        started, ended, ends = [], [], 0
        for kind, payload in frames(detail):
            if kind == 1:
                payload.byte(), payload.text()
                started.append(payload.number())
            elif kind == 2:
                event = settled(payload, flags & 4)
                ended.append(event.number)
                events[id, event.number] = event
            elif kind == 3:
                ends += 1
        want = list(range(1, attempts + 1))
        if sorted(started) != want or sorted(ended) != want or ends != 1:
            wrong.append(f"{id}: {attempts} attempts, started {started}, settled {ended}, {ends} ends")
    open_, = store.execute("SELECT count(*) FROM open_exchanges").fetchone()
    if open_:
        wrong.append(f"{open_} exchanges are still open in the store")
    store.close()
    return events, ids, wrong


def read_published(gateway, events):
    """What is wrong with the usage events that `moongate usage` shows of the same store."""
    done = subprocess.run([BIN, "usage", "events", "--data", os.path.join(gateway.path, "data")], stdout=subprocess.PIPE, check=True)
    published = [json.loads(line) for line in done.stdout.splitlines()]
    keys = collections.Counter((event["exchange"], event["attempt"]) for event in published)
    wrong = [f"{count} usage events: {key}" for key, count in keys.items() if count > 1]
    wrong += [f"without a usage event: {key}" for key in events if key not in keys]
    wrong += [f"a usage event of no attempt: {key}" for key in keys if key not in events]
    for event in published:
        stored = events.get((event["exchange"], event["attempt"]))
        if stored and (event["interrupted"], event["redialed"], event["output_tokens"]) != (stored.interrupted, stored.redialed, stored.output_tokens):
            wrong.append(f"the usage event {event['id']} says something else than its records: {stored}")
        if event["interrupted"] and (event["tokens"] != "estimated" or event["input_tokens"] == 0):
            wrong.append(f"the interrupted usage event {event['id']} has no estimate")
    total = json.loads(gateway.cli("usage", "--json"))["total"]
    if total["attempts"] != len(events):
        wrong.append(f"moongate usage adds up {total['attempts']} attempts of {len(events)}")
    return wrong


# ---- the comparison

def compare(calls, load, gateway, path):
    """The figures; `wrong` names what must not be."""
    events, ids, wrong = read_store(path)
    wrong += read_published(gateway, events)
    exchanges = collections.defaultdict(list)
    for event in events.values():
        exchanges[event.id].append(event)
    seen = collections.Counter((call.id, call.number) for call in calls)
    billed = {(call.id, call.number): call.tokens for call in calls}
    lost = [key for key in seen if key not in events]
    doubled = [key for key, count in seen.items() if key in events and count > 1 + events[key].redialed]
    unseen = [event for key, event in events.items() if key not in seen]
    # Recorded before the first byte left, and none arrived: it says itself that it was not sent, or the kill came between.
    unsent = [event for event in unseen if not event.sent_us and not event.interrupted]
    cut = [event for event in unseen if event.interrupted]
    gone = [event for event in unseen if event.sent_us and not event.interrupted]
    misbilled = [key for key, event in events.items() if event.reported and key in billed and seen[key] == 1
                 and event.output_tokens != billed[key]]
    unanswered = [id for id in load.whole if id not in ids]
    unbilled = [id for id, told in load.whole.items() if told is not None and not any(
        event.output_tokens == told and event.reported for event in exchanges.get(id, []))]

    wrong += [f"seen by the provider, not in the store: {key}" for key in lost]
    wrong += [f"one event, seen {seen[key]} times: {key}" for key in doubled]
    wrong += [f"recorded as sent, never seen: {event}" for event in gone]
    wrong += [f"{key}: {events[key].output_tokens} tokens recorded, {billed[key]} billed" for key in misbilled]
    wrong += [f"answered to the end, not in the store: {id}" for id in unanswered]
    wrong += [f"answered to the end, without the usage that stood in it: {id}" for id in unbilled]
    if len(cut) > (gateway.kills + 1) * CLIENTS * 2:
        wrong.append(f"{len(cut)} interrupted events that never left are too many for {gateway.kills} kills")
    interrupted = sum(event.interrupted for event in events.values())
    return wrong, {
        "requests": load.sent, "kills": gateway.kills, "kills_in_start": gateway.kills_in_start, "clients_left": load.left,
        "answers_read_whole": len(load.whole), "exchanges": len(ids), "upstream_calls_seen": len(calls), "events": len(events),
        "settled": len(events) - interrupted, "interrupted": interrupted,
        "redialed_and_seen_twice": sum(count > 1 for count in seen.values()),
        "never_left_settled": len(unsent), "never_left_interrupted": len(cut),
        "lost": len(lost), "doubled": len(doubled), "wrong": len(wrong),
    }


def run(requests, kills, seed):
    began = time.monotonic()
    lot = random.Random(seed)
    ours, theirs = multiprocessing.Pipe()
    provider = multiprocessing.Process(target=run_provider, args=(theirs, lot.random()), daemon=True)
    provider.start()
    gateway = Killed(ours.recv())
    try:
        load = asyncio.run(run_load(gateway, requests, kills, lot))
        gateway.process.terminate()
        if gateway.process.wait(PATIENCE_S) != 0:
            raise AssertionError("it did not end well:\n" + gateway.said().decode()[-4000:])
        ours.send("enough")
        calls = [Call(*call) for call in ours.recv()]
        provider.join(PATIENCE_S)
        wrong, figures = compare(calls, load, gateway, os.path.join(gateway.path, "data", "moongate.db"))
        keep = os.environ.get("MOONGATE_KEEP")
        if wrong and keep:
            subprocess.run(["cp", "-r", gateway.path, keep], check=True)
    finally:
        if gateway.process and gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.wait()
        if provider.is_alive():
            provider.terminate()
        gateway.folder.cleanup()
    return wrong, {"seed": seed, "duration_s": round(time.monotonic() - began, 1), **figures}


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--requests", type=int, default=100000)
    options.add_argument("--kills", type=int, default=0, help="default: one for 500 requests")
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = options.parse_args()
    wrong, figures = run(given.requests, given.kills or max(8, given.requests // 500), given.seed)
    print(json.dumps(figures, indent=2))
    print("\n".join(wrong[:40]))
    sys.exit(bool(wrong))
