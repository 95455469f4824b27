"""old_store.py - keeps what a released Moongate wrote, so that every later one is tested with it.

    MOONGATE_BIN=<the released binary> tests/tools/e2e.sh tests/support/old_store.py       writes tests/e2e/stores/vN.sql, vN.json

N is the schema's version. The SQL is the whole store: answers, failures, streams, an exchange that was under way when the
gateway was killed. The JSON is what that Moongate's `logs` and `trace` said about it, and the key it was sealed with.
"""

import json
import os
import sqlite3
import time

from moongate import *

FOLDER = os.path.join(os.environ["MOONGATE_SOURCE_DIR"], "tests", "e2e", "stores")


def fill(gw, good, bad):
    gw.chat(headers={"x-moongate-session": "s1"}, metadata={"customer": "acme"})
    gw.chat(stream=True)
    bad.answer(error_answer(503, code="overloaded", message="try later"))
    gw.chat()
    bad.answer(error_answer(400, code="context_length_exceeded", message="too long"))
    gw.chat()
    gw.request("POST", "/v1/chat/completions", b"{")
    bad.answer(stream(*good_events("half ", "of it")[:2], then="cut"))
    gw.chat(stream=True)
    bad.answer(stream(*good_events("a")[:2], then="stall"))


def leave_one_open(gw):
    body = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "x" * 400}]})
    sock = gw.connect()
    sock.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gw.keys['main']}\r\n"
                 f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    sock.recv(65536)
    return sock


def read(path, sql):
    store = sqlite3.connect(path)
    try:
        return store.execute(sql).fetchall()
    finally:
        store.close()


def master_key(gw):
    """What its secrets are sealed with: without it the store does not open."""
    with open(os.path.join(gw.path, "data", "master.key"), "rb") as file:
        return file.read().hex()


def make():
    with Upstream(json_answer("ok"), stream(*good_events("a", "b"))) as bad, Upstream(json_answer("second")) as good, \
            Gateway(project(bad, good, provider=""), "workers = 1,") as gw:
        path = os.path.join(gw.path, "data", "moongate.db")
        fill(gw, good, bad)
        waiting = leave_one_open(gw)
        while not read(path, "SELECT 1 FROM open_exchanges"):     # once the ring's room was freed
            gw.chat(model="none")
            time.sleep(0.05)
        said = [json.loads(line) for line in gw.cli("logs", "--json", "-n", "1000").splitlines()]
        traces = [gw.trace(row["id"]) for row in said]
        gw.process.kill()
        gw.process.wait()
        waiting.close()
        (version,), = read(path, "PRAGMA user_version")
        store = sqlite3.connect(path)
        lines = [*store.iterdump(), f"PRAGMA user_version = {version};"]
        store.close()
        with open(os.path.join(FOLDER, f"v{version}.sql"), "w") as out:
            out.write("\n".join(lines) + "\n")
        with open(os.path.join(FOLDER, f"v{version}.json"), "w") as out:
            json.dump({"logs": said, "traces": traces, "master_key": master_key(gw)}, out, indent=1)
        gw.lines, gw.process = [], None
        gw.stop = lambda: 0
        print(f"version {version}: {len(said)} exchanges and one under way")


if __name__ == "__main__":
    make()
