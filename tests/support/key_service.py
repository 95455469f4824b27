"""Key services as their documentation describes them, written without looking at the client: transit (HashiCorp Vault,
OpenBao) and Google Cloud KMS. Ciphertexts are sealed by this process alone, and bound to what the client said they are for.

    with Transit() as service: … service.url, service.token, service.calls
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import threading


class Sealer:
    """Encrypt-then-MAC out of HMAC: enough to tell altered or foreign ciphertext, and nobody's data depends on it."""

    def __init__(self):
        self.key = os.urandom(32)

    def stream(self, nonce, size):
        out = b""
        while len(out) < size:
            out += hmac.digest(self.key, nonce + len(out).to_bytes(8, "big"), hashlib.sha256)
        return out[:size]

    def seal(self, plain, bound):
        nonce = os.urandom(16)
        text = bytes(a ^ b for a, b in zip(plain, self.stream(nonce, len(plain))))
        return nonce + text + hmac.digest(self.key, b"tag" + nonce + bound + text, hashlib.sha256)

    def open(self, sealed, bound):
        nonce, text, tag = sealed[:16], sealed[16:-32], sealed[-32:]
        if not hmac.compare_digest(tag, hmac.digest(self.key, b"tag" + nonce + bound + text, hashlib.sha256)):
            return None
        return bytes(a ^ b for a, b in zip(text, self.stream(nonce, len(text))))


class Service:
    def __init__(self):
        self.token = "tok-" + os.urandom(16).hex()
        self.sealer = Sealer()
        self.calls = []
        self.down = False

    def __enter__(self):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *ignored):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.calls.append((self.path, body))
                self.answer(*((503, {"errors": ["sealed"]}) if service.down else service.handle(self.path, self.headers, body)))

            def do_GET(self):
                service.calls.append((self.path, None))
                self.answer(*service.metadata(self.path, self.headers))

            def answer(self, status, value):
                text = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *ignored):
        self.server.shutdown()
        self.server.server_close()

    def metadata(self, path, headers):
        return 404, {}


class Transit(Service):
    """POST /v1/transit/{encrypt,decrypt}/NAME with X-Vault-Token; plaintext and associated_data in base64."""

    def handle(self, path, headers, body):
        if headers["x-vault-token"] != self.token:
            return 403, {"errors": ["permission denied"]}
        bound = base64.b64decode(body.get("associated_data", ""), validate=True)
        if path == "/v1/transit/encrypt/moongate":
            sealed = self.sealer.seal(base64.b64decode(body["plaintext"], validate=True), bound)
            return 200, {"data": {"ciphertext": "vault:v1:" + base64.b64encode(sealed).decode(), "key_version": 1}}
        if path == "/v1/transit/decrypt/moongate" and body["ciphertext"].startswith("vault:v1:"):
            plain = self.sealer.open(base64.b64decode(body["ciphertext"][9:]), bound)
            if plain is None:
                return 400, {"errors": ["cipher: message authentication failed"]}
            return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}
        return 404, {"errors": []}


class GoogleKms(Service):
    """POST /v1/NAME:{encrypt,decrypt} with a bearer token, and the metadata server that gives one out."""

    key = "projects/p/locations/global/keyRings/r/cryptoKeys/moongate"

    def handle(self, path, headers, body):
        if headers["authorization"] != f"Bearer {self.token}":
            return 401, {"error": {"code": 401, "message": "Request had invalid authentication credentials.", "status": "UNAUTHENTICATED"}}
        bound = base64.b64decode(body.get("additionalAuthenticatedData", ""), validate=True)
        if path == f"/v1/{self.key}:encrypt":
            sealed = self.sealer.seal(base64.b64decode(body["plaintext"], validate=True), bound)
            return 200, {"name": self.key + "/cryptoKeyVersions/1", "ciphertext": base64.b64encode(sealed).decode()}
        if path == f"/v1/{self.key}:decrypt":
            plain = self.sealer.open(base64.b64decode(body["ciphertext"]), bound)
            if plain is None:
                return 400, {"error": {"code": 400, "message": "Decryption failed: verify that 'name' refers to the correct CryptoKey."}}
            return 200, {"plaintext": base64.b64encode(plain).decode()}
        return 404, {"error": {"code": 404, "message": "not found"}}

    def metadata(self, path, headers):
        if path != "/computeMetadata/v1/instance/service-accounts/default/token" or headers["metadata-flavor"] != "Google":
            return 403, {}
        return 200, {"access_token": self.token, "expires_in": 3599, "token_type": "Bearer"}
