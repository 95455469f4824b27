"""What was accounted for stays so: kill -9 under load, a restart, and what `logs` and `trace` say about it."""

import signal
import subprocess
import threading
import time
import unittest

from moongate import *


def rows(gw, *filters):
    return [json.loads(line) for line in gw.cli("logs", "--json", "-n", "1000", *filters).splitlines()]


def kill(gw):
    gw.process.kill()
    gw.process.wait(PATIENCE_S)
    gw.reader.join()
    gw.process.stderr.close()


def restart(gw):
    gw.lines = []
    gw.start()


class Client(threading.Thread):
    """Asks until the gateway is gone; remembers the ids of the answers it read to their end."""

    def __init__(self, gw):
        super().__init__(daemon=True)
        self.gw, self.whole = gw, []

    def run(self):
        try:
            while True:
                answer = self.gw.chat(stream=True)
                if answer.status == 200 and answer.clean and answer.events[-1:] == ["[DONE]"]:
                    self.whole.append(answer.headers["x-request-id"])
        except (OSError, ConnectionError, ValueError, IndexError):
            pass


class KillMinusNine(unittest.TestCase):
    def test_every_answer_a_client_read_is_recorded_once(self):
        with Upstream(stream(*good_events("a", "b", "c"))) as up, Gateway(project(up)) as gw:
            for round in range(2):
                clients = [Client(gw) for _ in range(4)]
                for client in clients:
                    client.start()
                deadline = time.monotonic() + PATIENCE_S
                while sum(len(client.whole) for client in clients) < 60 and time.monotonic() < deadline:
                    up.next_request()
                kill(gw)
                for client in clients:
                    client.join(PATIENCE_S)
                whole = [id for client in clients for id in client.whole]
                self.assertGreaterEqual(len(whole), 60)

                if round == 0:
                    recorded = rows(gw)  # nothing runs: the command recovers the journal itself
                    restart(gw)
                else:
                    restart(gw)          # the gateway recovers it
                    recorded = rows(gw)
                ids = [row["id"] for row in recorded]
                self.assertEqual(len(ids), len(set(ids)), "an exchange was recorded twice")
                self.assertEqual(set(whole) - set(ids), set(), "an answer was given and not recorded")
                tokens = {row["id"]: row["output_tokens"] for row in recorded}
                self.assertTrue(all(tokens[id] == 3 for id in whole), "an answer was given and not billed")

    def test_an_attempt_under_way_becomes_one_interrupted_row_with_an_estimate(self):
        with Upstream(stream(*good_events("a")[:2], then="stall")) as up, Gateway(project(up)) as gw:
            with gw.connect() as sock:
                body = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "x" * 4000}]})
                sock.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gw.keys['main']}\r\n"
                             f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                self.assertIn(b"200 OK", sock.recv(65536))
                kill(gw)
            restart(gw)

            row, = rows(gw)
            self.assertEqual((row["interrupted"], row["estimated"], row["clean"], row["attempts"]), (True, True, False, 1))
            self.assertGreater(row["input_tokens"], 500)
            trace = gw.trace(row["id"])
            self.assertEqual(trace["error_code"], "interrupted")
            self.assertEqual(trace["attempts"][0]["target"], "p0/model-0")
            self.assertIn("interrupted: the gateway died", gw.cli("trace", row["id"]))
            self.assertEqual([row["id"]], [each["id"] for each in rows(gw, "--status", "error")])

    def test_a_graceful_stop_leaves_nothing_interrupted(self):
        with Upstream(json_answer("a")) as up, Gateway(project(up)) as gw:
            ids = [gw.chat().headers["x-request-id"] for _ in range(20)]
            self.assertEqual(gw.stop(), 0)

            recorded = rows(gw)
            self.assertCountEqual([row["id"] for row in recorded], ids)
            self.assertFalse(any(row["interrupted"] for row in recorded))
            restart(gw)
            self.assertEqual(len(rows(gw)), 20)


class Logs(unittest.TestCase):
    def test_filters_select_and_pages_are_complete(self):
        with Upstream(error_answer(503), json_answer("a")) as bad, Upstream(json_answer("b")) as good, \
                Gateway(project(bad, good), "workers = 1,") as gw:  # rows of one worker keep their order
            ids = [gw.chat(headers={"x-moongate-session": f"s{i % 2}"}).headers["x-request-id"] for i in range(4)]
            ids.append(gw.request("POST", "/v1/chat/completions", b"{").headers["x-request-id"])

            self.assertEqual([row["id"] for row in rows(gw)], ids)
            self.assertEqual([row["id"] for row in rows(gw, "--session", "s1")], [ids[1], ids[3]])
            self.assertEqual([row["id"] for row in rows(gw, "--retried")], [ids[0]])
            self.assertEqual([row["id"] for row in rows(gw, "--status", "4xx")], [ids[4]])
            self.assertEqual([row["id"] for row in rows(gw, "--provider", "p0", "--workflow", "chat", "--status", "200")], ids[:4])
            self.assertEqual(rows(gw, "--until", "1h"), [])
            self.assertEqual(gw.cli("logs", "--since", "soon", check=False).returncode, 2)

    def test_following_shows_requests_as_they_end(self):
        with Upstream(json_answer("a")) as up, Gateway(project(up)) as gw:
            first = gw.chat().headers["x-request-id"]
            with subprocess.Popen([BIN, "logs", "-f", "--json", "--data", os.path.join(gw.path, "data")], stdout=subprocess.PIPE,
                                  text=True) as follower:
                try:
                    self.assertEqual(json.loads(follower.stdout.readline())["id"], first)
                    for _ in range(3):
                        self.assertEqual(gw.chat().headers["x-request-id"], json.loads(follower.stdout.readline())["id"])
                finally:
                    follower.send_signal(signal.SIGTERM)

    def test_metrics_count_what_was_logged(self):
        with Upstream(error_answer(503), json_answer("a")) as bad, Upstream(json_answer("b")) as good, Gateway(project(bad, good)) as gw:
            for _ in range(3):
                gw.chat()
            port = int(re.search(r"address=\S+:(\d+)", gw.wait_line(r" admin address=")).group(1))
            deadline, text = time.monotonic() + PATIENCE_S, ""
            while 'requests_total{project="main",workflow="chat",status="2xx"} 3\n' not in text:  # counted after its last byte went out
                self.assertLess(time.monotonic(), deadline, text)
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    sock.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    text = read_response(sock.makefile("rb")).body.decode()

            self.assertIn('moongate_attempts_total{project="main",provider="p1",class="none"} ', text)
            self.assertIn('moongate_retried_requests_total{project="main",workflow="chat"} 1\n', text)


def documented(heading):
    """The names in backquotes in the first column of the last table under a heading of the guide."""
    with open(os.path.join(os.environ["MOONGATE_SOURCE_DIR"], "docs/guide/logs-traces-metrics.md")) as guide:
        section = guide.read().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = section.split("\n|---|")[-1]
    return {name for line in table.splitlines() if line.startswith("| ") for name in re.findall(r"`(\w+)`", line.split("|")[1])}


class Guide(unittest.TestCase):
    def test_the_guide_names_every_field_and_every_metric(self):
        with Upstream(json_answer("a")) as up, Gateway(project(up)) as gw:
            gw.chat()
            row, = rows(gw)
            port = int(re.search(r"address=\S+:(\d+)", gw.wait_line(r" admin address=")).group(1))
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                text = read_response(sock.makefile("rb")).body.decode()

            self.assertEqual(documented("moongate logs"), set(row))
            self.assertEqual(documented("Metrics"), set(re.findall(r"^# TYPE moongate_(\w+)", text, re.M)))


if __name__ == "__main__":
    main()
