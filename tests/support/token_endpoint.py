"""A token endpoint that believes nothing: Google's (a JWT signed with a service account's key) and Microsoft Entra's (client credentials).

Signatures are checked with Python's cryptography and google-auth, which share no code with the gateway.
"""

import http.server
import json
import threading
import time
import urllib.parse

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth import jwt

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EMAIL = "moongate@project.iam.gserviceaccount.com"


class ServiceAccount:
    """A key as Google gives it out, line ends and all."""

    def __init__(self, token_uri, bits=2048):
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        self.pem = self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        self.public = self.private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = "3f1c9a"
        self.file = {"type": "service_account", "project_id": "project", "private_key_id": self.key_id, "private_key": self.pem,
                     "client_email": EMAIL, "client_id": "1", "token_uri": token_uri}

    def text(self, **other):
        return json.dumps({**self.file, **other}, indent=2)


class TokenEndpoint:
    """`with TokenEndpoint() as endpoint`: `endpoint.account` is whom it knows; `clock_s` is what its clock is ahead."""

    def __init__(self):
        self.asked, self.given = [], []      # forms that came, tokens that were given
        self.lasts_s, self.status, self.delay_s, self.clock_s = 3600, 200, 0, 0
        self.gate = threading.Event()
        self.gate.set()
        self.entra = {"tenant": "contoso.onmicrosoft.com", "client_id": "11111111-2222", "client_secret": "s3cr~t/of+entra=="}
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode(), strict_parsing=True))
                self.answer(*endpoint.decide(self.path, self.headers, form))

            def do_GET(self):
                self.answer(*endpoint.machine(self.headers))

            def answer(self, status, body):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *ignored):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.account = ServiceAccount(self.url + "/token")

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *ignored):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def give(self):
        token = f"ya29.token-number-{len(self.given)}"
        self.given.append(token)
        return 200, {"access_token": token, "expires_in": self.lasts_s, "token_type": "Bearer"}

    def decide(self, path, headers, form):
        self.asked.append(form)
        self.gate.wait(20)
        if self.status != 200:
            return self.status, {"error": "invalid_grant" if self.status < 500 else "internal_failure", "error_description": "as the test wants"}
        if headers["content-type"] != "application/x-www-form-urlencoded":
            return 400, {"error": "invalid_request", "error_description": "no form"}
        try:
            self.check_entra(path, form) if form["grant_type"] == "client_credentials" else self.check_google(form)
        except Exception as wrong:  # whatever it is: the endpoint refuses
            return 400, {"error": "invalid_grant", "error_description": f"{type(wrong).__name__}: {wrong}"[:200]}
        return self.give()

    def check_google(self, form):
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", form["grant_type"]
        head, claims, signed, signature = jwt._unverified_decode(form["assertion"])
        assert head == {"alg": "RS256", "typ": "JWT", "kid": self.account.key_id}, "head"
        serialization.load_pem_public_key(self.account.public).verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        assert claims["iss"] == EMAIL and claims["scope"] == SCOPE and claims["aud"] == self.url + "/token", "claims"
        now = time.time() + self.clock_s
        assert claims["iat"] <= now, "issued in the future"
        assert now < claims["exp"] <= now + 3600 + 1 and claims["exp"] - claims["iat"] <= 3600, "not a reasonable timeframe"

    def check_entra(self, path, form):
        assert path == f"/{self.entra['tenant']}/oauth2/v2.0/token", "path"
        assert form == {"grant_type": "client_credentials", "scope": "https://cognitiveservices.azure.com/.default",
                        "client_id": self.entra["client_id"], "client_secret": self.entra["client_secret"]}, "AADSTS7000215: Invalid client secret provided"

    def machine(self, headers):
        self.asked.append({})
        return self.give() if headers["metadata-flavor"] == "Google" else (403, {"error": "Missing Metadata-Flavor:Google header."})
