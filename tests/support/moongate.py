"""The real gateway and a scripted upstream, for end-to-end tests.

    with Upstream() as up, Gateway(project(up)) as gw:
        up.answer(json_answer("hi"))
        gw.client().chat.completions.create(...)

Nothing here sleeps to wait: it reads the gateway's own lines and the sockets it opened.
"""

import json
import os
import queue
import re
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

BIN = os.environ["MOONGATE_BIN"]
PATIENCE_S = 20  # only reached when something is broken


def clean_env(**more):
    """The environment without what would lead a gateway elsewhere."""
    mine = {name: value for name, value in os.environ.items()
            if not re.search(r"(?i)_proxy$|^OPENAI_|^MOONGATE_(LISTEN|ADMIN|DATA|WORKERS|LOG|URL|TOKEN|CA|PROJECT)|^(NOTIFY_SOCKET|LISTEN_)", name)}
    return {**mine, **more}


def certificate(folder, host="localhost"):
    """A certificate that vouches for itself, and its key: two paths."""
    os.makedirs(folder, exist_ok=True)
    subprocess.run([BIN, "cert", host, "--dir", folder], check=True, capture_output=True, timeout=PATIENCE_S)
    return os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")


class Gateway:
    """`moongate serve` in a folder of its own, with one key per project. `tls`: the SSLContext that clients use."""

    prefix, pass_fds = [], ()  # a command that starts it, and descriptors it inherits

    def __init__(self, projects, gateway="", env=None, files=None, tls=None):
        self.folder = tempfile.TemporaryDirectory(prefix="moongate-test-")
        self.path = self.folder.name
        self.projects = projects if isinstance(projects, dict) else {"main": projects}
        self.gateway_lua = gateway
        self.env = env or {}
        self.tls = tls
        self.lines = []
        self.process = None
        os.mkdir(os.path.join(self.path, "projects"))
        for name, text in (files or {}).items():
            self.write(name, text)
        for name, text in self.projects.items():
            self.write(f"projects/{name}.lua", text)
        if not gateway.lstrip().startswith("return"):
            settings = {"listen": '"127.0.0.1:0"', "admin": '"127.0.0.1:0"', "workers": "2", "data_dir": '"data"',
                        "journal": "{ bytes = 4194304 }"}  # a small one is allocated faster
            mine = "".join(f"{name} = {value}, " for name, value in settings.items() if not re.search(rf"\b{name} =", gateway))
            gateway = f"return {{ {mine}{gateway} }}"
        self.write("gateway.lua", gateway)

    def write(self, name, text):
        """Writes as editors do: a new file, then a rename."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".tmp", "w") as out:
            out.write(text)
        os.rename(path + ".tmp", path)

    def start(self):
        self.process = subprocess.Popen(
            [*self.prefix, BIN, "serve", "-c", self.path], pass_fds=self.pass_fds, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, env=clean_env(**self.env), cwd=self.path)
        self.seen = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        line = self.wait_line(r" listening address=\S+:\d+")
        self.port = int(re.search(r"address=\S+:(\d+)", line).group(1))
        self.wait_line(r" ready ")
        self.keys = {name: self.create_key(name) for name in self.projects}
        return self

    def _read(self):
        for line in self.process.stderr:
            with self.seen:
                self.lines.append(line.rstrip("\n"))
                self.seen.notify_all()
        with self.seen:
            self.lines.append("<end of log>")
            self.seen.notify_all()

    def wait_line(self, pattern, after=0):
        """The first line from index `after` on that matches."""
        deadline = time.monotonic() + PATIENCE_S
        with self.seen:
            while True:
                for line in self.lines[after:]:
                    if re.search(pattern, line):
                        return line
                if "<end of log>" in self.lines or time.monotonic() > deadline:
                    raise AssertionError(f"no line matches {pattern!r}:\n" + "\n".join(self.lines))
                self.seen.wait(1)

    def cli(self, *args, check=True):
        """One `moongate` command on this gateway's data folder; its standard output."""
        done = subprocess.run([BIN, *args, "--data", os.path.join(self.path, "data")], capture_output=True, text=True,
                              timeout=PATIENCE_S, env=clean_env())
        if check and done.returncode != 0:
            raise AssertionError(f"moongate {' '.join(args)} answered {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout if check else done

    def create_key(self, name):
        return json.loads(self.cli("key", "create", "--project", name, "--name", "test", "--json"))["key"]

    @property
    def url(self):
        return f"https://localhost:{self.port}/v1" if self.tls else f"http://127.0.0.1:{self.port}/v1"

    def admin_port(self):
        return int(re.search(r" admin address=\S+:(\d+)", self.wait_line(r" admin address=\S+:\d+"))[1])

    def ask_admin(self, method, path, body=None, token=None, headers=None):
        """One call of the admin API over TCP, as whoever has the token; its status and its text."""
        lines = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port()}{path}", data, lines, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def client(self, project="main", **options):
        import openai

        return openai.OpenAI(**{"base_url": self.url, "api_key": self.keys[project], "max_retries": 0, **options})

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(sock, server_hostname="localhost") if self.tls else sock

    def request(self, method, path, body=None, headers=None, key=True):
        """One request on a fresh connection; a Response."""
        lines = {"host": "127.0.0.1", **({"authorization": f"Bearer {self.keys['main']}"} if key else {}), **(headers or {})}
        if body is not None:
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            lines.setdefault("content-type", "application/json")
            lines.setdefault("content-length", str(len(body)))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
        with self.connect() as sock:
            sock.sendall(head.encode() + (body or b""))
            return read_response(sock.makefile("rb"), head_only=method == "HEAD")

    def chat(self, model="chat", stream=False, headers=None, **more):
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
        if stream:
            body["stream"] = True
        return self.request("POST", "/v1/chat/completions", body, headers)

    def trace(self, response_or_id):
        """The recorded timeline, as soon as it is in the store."""
        id = response_or_id if isinstance(response_or_id, str) else response_or_id.headers["x-request-id"]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = self.cli("trace", id, "--json", check=False)
            if done.returncode == 0:
                return json.loads(done.stdout)
            if time.monotonic() > deadline:
                raise AssertionError(f"no trace of {id}: {done.stdout}{done.stderr}")

    def stop(self, number=signal.SIGTERM):
        """Ends it and checks that it ended well."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        self.reader.join()
        self.process.stderr.close()
        return self.process.returncode

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            if self.process:
                self.process.kill()
            self.folder.cleanup()
            raise

    def __exit__(self, kind, value, traceback):
        try:
            code = self.stop()
            if kind is None and code != 0:
                raise AssertionError(f"the gateway ended with {code}:\n" + "\n".join(self.lines[-60:]))
            if kind is not None:
                print("\n".join(self.lines[-60:]))
        finally:
            self.folder.cleanup()


class Response:
    def __init__(self, status, headers, body, clean):
        self.status, self.headers, self.body, self.clean = status, headers, body, clean

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        return [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]

    @property
    def text(self):
        """What a reader of the stream has read."""
        out = ""
        for event in self.events:
            if event != "[DONE]":
                for choice in json.loads(event).get("choices", []):
                    out += choice.get("delta", {}).get("content") or ""
        return out


def read_response(file, head_only=False):
    """Reads one answer strictly; `clean` is False when the framing did not end as it should."""
    status = 100
    while status == 100:
        line = file.readline()
        if not line:
            raise ConnectionError("closed without an answer")
        status = int(line.split()[1])
        headers = {}
        while (line := file.readline().rstrip(b"\r\n")):
            name, value = line.split(b":", 1)
            headers[name.decode().lower()] = value.strip().decode()
    body, clean = b"", True
    if head_only or status in (204, 304):
        pass
    elif headers.get("transfer-encoding") == "chunked":
        clean = False
        try:
            while (line := file.readline()):
                size = int(line, 16)
                body += file.read(size)
                file.readline()
                if size == 0:
                    clean = True
                    break
        except (ConnectionError, ValueError):
            pass
    elif "content-length" in headers:
        length = int(headers["content-length"])
        body = file.read(length)
        clean = len(body) == length
    else:
        body = file.read()
    return Response(status, headers, body, clean)


class Upstream:
    """A provider that does what the test says: each request takes the next script, the last one stays.

    A script is a function of (connection, request); see json_answer, stream and the like below. `tls`: an SSLContext
    to serve with.
    """

    def __init__(self, *scripts, tls=None):
        self.tls = tls
        self.scripts = list(scripts) or [json_answer("hello")]
        self.requests = queue.Queue()
        self.lock = threading.Lock()
        self.count = 0
        self.closed = queue.Queue()  # one entry per connection that the gateway closed

    def answer(self, *scripts):
        with self.lock:
            self.scripts = list(scripts)

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()
        return self

    def __exit__(self, *ignored):
        # Woken and gone before the descriptor is free: else its next accept could take a connection of the next upstream.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join()
        self.listener.close()

    @property
    def url(self):
        return f"https://localhost:{self.port}/v1" if self.tls else f"http://127.0.0.1:{self.port}/v1"

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with sock, sock.makefile("rb") as file:
                while (request := read_request(file)):
                    request.sock = sock
                    if self.tls:
                        request.resumed, request.peer = sock.session_reused, sock.getpeercert()
                    with self.lock:
                        self.count += 1
                        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                    self.requests.put(request)
                    script(sock, request)
        except (ConnectionError, OSError, ValueError):
            pass
        finally:
            self.closed.put(True)

    def next_request(self):
        return self.requests.get(timeout=PATIENCE_S)


class Request:
    def __init__(self, method, path, headers, body, raw_headers):
        self.method, self.path, self.headers, self.body, self.raw_headers = method, path, headers, body, raw_headers

    @property
    def json(self):
        return json.loads(self.body)


def read_request(file):
    line = file.readline()
    if not line:
        return None
    method, path, _ = line.decode().split()
    headers, raw = {}, []
    while (line := file.readline().rstrip(b"\r\n")):
        name, value = line.split(b":", 1)
        raw.append((name.decode(), value.strip().decode()))
        headers[name.decode().lower()] = value.strip().decode()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while (size := int(file.readline(), 16)):
            body += file.read(size)
            file.readline()
        file.readline()
    else:
        body = file.read(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body, raw)


class Closed(ConnectionError):
    """A script is done with its connection."""


def respond(status, body, headers=None, reason="OK"):
    """A whole answer with exactly these bytes."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def script(sock, request):
        lines = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        head = f"HTTP/1.1 {status} {reason}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v is not None)
        sock.sendall(head.encode() + b"\r\n" + body)

    return script


def completion(text, finish="stop", **message):
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1795392000, "model": "served",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": None, **message},
                     "finish_reason": finish, "logprobs": None}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }


def json_answer(text, **more):
    return respond(200, completion(text, **more))


def error_answer(status, code=None, type="invalid_request_error", message="no", headers=None):
    return respond(status, {"error": {"message": message, "type": type, "param": None, "code": code}}, headers, "Error")


def chunk(delta=None, finish=None, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795392000, "model": "served",
            "choices": [{"index": 0, "delta": delta if delta is not None else {}, "finish_reason": finish}], **more}


USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def good_events(*words):
    """The events of a complete answer with usage, as OpenAI sends it."""
    return [chunk({"role": "assistant", "content": ""}, usage=None),
            *[chunk({"content": word}, usage=None) for word in words],
            chunk({}, "stop", usage=None),
            {**chunk(), "choices": [], "usage": USAGE}, "[DONE]"]


def stream(*events, then="end", pieces=None, before=None, type="text/event-stream"):
    """A chunked event stream. An event may be a dict, text for `data:`, bytes as they are, or a threading.Event to
    wait for. `then`: "end" ends the body cleanly, "cut" closes, "reset" resets, "stall" waits for the peer to leave."""

    def script(sock, request):
        if before:
            before(sock, request)
        sock.sendall(f"HTTP/1.1 200 OK\r\ncontent-type: {type}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for event in events:
            if isinstance(event, threading.Event):
                event.wait(PATIENCE_S)
                continue
            data = event if isinstance(event, bytes) else b"data: %s\n\n" % (
                event if isinstance(event, str) else json.dumps(event)).encode()
            for piece in cut(data, pieces):
                sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        finish(sock, then)

    return script


def cut(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)] if size else [data]


def finish(sock, then):
    if then == "end":
        sock.sendall(b"0\r\n\r\n")
    elif then == "stall":
        sock.recv(1)
        raise Closed
    elif then == "reset":
        reset(sock)
    else:
        raise Closed


def reset(sock, request=None):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    raise Closed


def close(sock, request=None):
    raise Closed


def hang(sock, request=None):
    """No answer until the gateway gives up."""
    sock.recv(1)
    raise Closed


def project(*upstreams, workflow="", extra="", provider="breaker = false"):
    """A project whose workflow `chat` tries the upstreams (or base URLs) in order. Breakers are off unless `provider`
    says otherwise: most tests fail the same target again and again."""
    urls = [up if isinstance(up, str) else up.url for up in upstreams]
    providers = "".join(f'p{i} = {{ adapter = "openai", base_url = "{url}", api_key = "secret-{i}", {provider} }},' for i, url in enumerate(urls))
    targets = "".join(f'"p{i}/model-{i}",' for i in range(len(urls)))
    return (f"return {{ providers = {{ {providers} }}, workflows = {{ chat = {{ targets = {{ {targets} }}, {workflow} }} }}, "
            f"allow_direct = true, {extra} }}")


def main():
    unittest.main(verbosity=2)
