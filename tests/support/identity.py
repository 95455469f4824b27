"""Identity providers for tests: npm's oidc-provider in a process of its own, one that a test scripts, and somebody with a browser.

    with Provider() as idp: idp.issuer …
        token = idp.machine_token("https://gateway.test")
        Browser().sign_in(url, "ann")
"""

import base64
import html.parser
import http.server
import json
import os
import subprocess
import threading
import urllib.parse

import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from moongate import PATIENCE_S

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ["MOONGATE_SOURCE_DIR"]


class Provider:
    """oidc-provider. restart() comes back on the same port with new keys."""

    def __init__(self, alg="RS256", access_alg="ES256", cert=None, key=None):
        self.options = {"port": 0, "alg": alg, "access_alg": access_alg, "api": "https://gateway.test",
                        **({"cert": cert, "key": key} if cert else {})}
        self.verify = cert or True

    def __enter__(self):
        self.start()
        return self

    def start(self):
        node = os.path.join(SOURCE, "build", "node")
        env = {**os.environ, "MOONGATE_NODE_MODULES": node, "NODE_NO_WARNINGS": "1"}
        self.process = subprocess.Popen(
            [os.path.join(node, "bin", "node"), "--import", os.path.join(SOURCE, "tests/tools/node_modules.mjs"),
             os.path.join(HERE, "identity_provider.mjs"), json.dumps(self.options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the identity provider did not start: ./dev deps installs it")
        self.issuer = json.loads(line)["issuer"]
        self.options["port"] = int(self.issuer.rsplit(":", 1)[1])

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def restart(self):
        self.stop()
        self.start()

    def __exit__(self, *ignored):
        self.stop()

    def machine_token(self, resource):
        answer = requests.post(self.issuer + "/token", auth=("robot", "robot-secret"), timeout=PATIENCE_S, verify=self.verify,
                               data={"grant_type": "client_credentials", "scope": "gateway:operate", "resource": resource})
        answer.raise_for_status()
        return answer.json()["access_token"]


class Form(html.parser.HTMLParser):
    """The first form of a page: where it goes and what it holds."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "form" and self.action is None:
            self.action = given.get("action", "")
        elif tag in ("input", "button") and given.get("name"):
            self.fields.setdefault(given["name"], given.get("value") or "")


class Browser:
    """Somebody who follows redirects and fills in forms until there are none."""

    def __init__(self, verify=True):
        self.session = requests.Session()
        self.verify = verify           # given with each request: the environment goes before a session's own
        self.seen = []

    def sign_in(self, url, login, user_code=None):
        answer = self.session.get(url, timeout=PATIENCE_S, verify=self.verify)
        for _ in range(8):
            self.seen.append(answer.url)
            form = Form(answer.text)
            if form.action is None:
                return answer
            fields = form.fields
            if "login" in fields:
                fields.update(login=login, password="any")
            if "user_code" in fields and user_code:
                fields["user_code"] = user_code
            fields.pop("abort", None)
            answer = self.session.post(urllib.parse.urljoin(answer.url, form.action), data=fields, timeout=PATIENCE_S,
                                       verify=self.verify)
        raise AssertionError(f"no end of forms: {self.seen}")


# ---- tokens and keys that no honest provider makes

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Key:
    """A key pair with its JWK; signs whatever it is given."""

    def __init__(self, alg="RS256", kid="k1", bits=2048):
        self.alg, self.kid = alg, kid
        if alg == "RS256":
            self.private = rsa.generate_private_key(65537, bits)
            numbers = self.private.public_key().public_numbers()
            self.jwk = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())
            numbers = self.private.public_key().public_numbers()
            self.jwk = {"kty": "EC", "crv": "P-256", "x": number(numbers.x, 32), "y": number(numbers.y, 32)}
        self.jwk |= {"kid": kid, "use": "sig", "alg": alg}

    @property
    def pem(self):
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data):
        if self.alg == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def token(self, claims, **head):
        head = {name: value for name, value in {"alg": self.alg, "kid": self.kid, "typ": "JWT", **head}.items() if value is not None}
        signed = b64(json.dumps(head).encode()) + "." + b64(json.dumps(claims).encode())
        return signed + "." + b64(self.sign(signed.encode()))


class ScriptedProvider:
    """Discovery, keys and tokens as a test wants them: `document` and `keys` are what is answered, or a callable that answers
    (status, bytes); `tokens(form)` is asked for what a POST gets; `down` drops every connection."""

    def __enter__(self):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *ignored):
                pass

            def do_GET(self):
                provider.calls.append(self.path)
                if provider.down:
                    self.connection.close()
                    return
                self.answer(provider.document if self.path.startswith("/.well-known") else provider.keys)

            def do_POST(self):
                provider.calls.append(self.path)
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                self.answer(provider.tokens({name: values[0] for name, values in form.items()}))

            def answer(self, what):
                status, body = what() if callable(what) else (200, json.dumps(what).encode())
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass

        self.calls, self.down = [], False
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.document = {"issuer": self.issuer, "jwks_uri": self.issuer + "/keys"}
        self.document |= {name + "_endpoint": f"{self.issuer}/{name}" for name in ("authorization", "token")}
        self.keys = {"keys": []}
        self.tokens = lambda form: {}
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *ignored):
        self.server.shutdown()
        self.server.server_close()
