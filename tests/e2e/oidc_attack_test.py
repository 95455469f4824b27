"""What is refused of an OpenID Connect provider's tokens, keys and documents, and what `moongate login` does not fall for."""

import hashlib
import hmac
import json
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec as elliptic

from identity import Key, ScriptedProvider, b64
from moongate import BIN, PATIENCE_S, clean_env, main
from oidc import API, NOW, Login, Oidc, claims, claims_of


def unsigned(claims, **head):
    return b64(json.dumps({"alg": "none", **head}).encode()) + "." + b64(json.dumps(claims).encode()) + "."


def mac_with(secret, claims, kid):
    signed = b64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode()) + "." + b64(json.dumps(claims).encode())
    return signed + "." + b64(hmac.digest(secret, signed.encode(), "sha256"))


class Attacks(Oidc):
    @classmethod
    def setUpClass(cls):
        cls.rsa, cls.ec, cls.wrong = Key("RS256", "r1"), Key("ES256", "e1"), Key("RS256", "r1")

    def setUp(self):
        self.idp = self.enterContext(ScriptedProvider())
        self.idp.keys = {"keys": [self.rsa.jwk, self.ec.jwk]}

    def refused(self, gw, token, status=401):
        answer = self.ask(gw, "GET", "/admin/v1/members", token=token)
        self.assertEqual(answer[0], status, answer)
        return answer[1]["error"]["message"]

    def test_a_good_token_opens_and_each_bad_one_does_not(self):
        idp, rsa, ec, wrong = self.idp, self.rsa, self.ec, self.wrong
        gw = self.with_keys(idp.issuer)
        good = claims(idp)
        for name, token in {"RSA": rsa.token(good), "EC": ec.token(good), "no typ": rsa.token(good, typ=None),
                            "access token": ec.token(good, typ="at+jwt"), "aud list": rsa.token(claims(idp, aud=["moongate"])),
                            "api among others": rsa.token(claims(idp, aud=["x", API])),
                            "ours among others": rsa.token(claims(idp, aud=["x", "moongate"], azp="moongate")),
                            "no kid": rsa.token(good, kid=None), "clocks differ": rsa.token(claims(idp, exp=NOW - 20, nbf=NOW + 20)),
                            "fractions": rsa.token(claims(idp, exp=NOW + 60.5))}.items():
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/members", token=token)[0], 200, name)

        head, body, signature = rsa.token(good).split(".")
        ec_head, ec_body, ec_signature = ec.token(good).split(".")
        forged = b64(json.dumps(claims(idp, sub="root")).encode())
        table = {
            "alg none": unsigned(good), "alg None": unsigned(good, alg="None"), "none with a kid": unsigned(good, kid="r1"),
            "none over a good signature": unsigned(good) + signature, "no alg": unsigned(good, alg=None),
            "HS256 with the PEM of the public key": mac_with(rsa.pem, good, "r1"), "HS256 with its DER": mac_with(rsa.pem.strip(), good, "r1"),
            "HS256 with the modulus": mac_with(rsa.jwk["n"].encode(), good, "r1"), "HS256 with nothing": mac_with(b"", good, "r1"),
            "another key": wrong.token(good), "changed claims": f"{head}.{forged}.{signature}",
            "changed head": b64(json.dumps({"alg": "RS256", "kid": "r1"}).encode()) + f".{body}.{signature}",
            "RS256 said of an EC key": ec.token(good, alg="RS256"), "ES256 said of an RSA key": rsa.token(good, alg="ES256"),
            "RS512": rsa.token(good, alg="RS512"), "PS256": rsa.token(good, alg="PS256"), "lower case": rsa.token(good, alg="rs256"),
            "alg is a list": rsa.token(good, alg=["RS256"]),
            "no signature": f"{head}.{body}.", "short signature": f"{head}.{body}.{signature[:-8]}", "padded": f"{head}.{body}.{signature}==",
            "EC of zeros": f"{ec_head}.{ec_body}." + b64(b"\0" * 64), "EC as DER": ec_head + "." + ec_body + "." + b64(ec.private.sign(
                f"{ec_head}.{ec_body}".encode(), elliptic.ECDSA(hashes.SHA256()))),
            "its own key in the head": wrong.token(good, kid=None, jwk=wrong.jwk), "a key at an address": wrong.token(good, kid=None, jku="http://127.0.0.1:1/"),
            "a certificate in the head": wrong.token(good, x5c=["MII"]), "crit": rsa.token(good, crit=["exp"]), "b64": rsa.token(good, crit=["b64"], b64=False),
            "a logout token": rsa.token(good, typ="logout+jwt"), "DPoP": rsa.token(good, typ="dpop+jwt"), "typ is a number": rsa.token(good, typ=1),
            "events": rsa.token(claims(idp, events={"x": {}})), "bound to a key": rsa.token(claims(idp, cnf={"jkt": "x"})),
            "expired": rsa.token(claims(idp, exp=NOW - 3600)), "no exp": rsa.token(claims(idp, exp=None)), "exp is text": rsa.token(claims(idp, exp="9999999999")),
            "exp is true": rsa.token(claims(idp, exp=True)), "not yet": rsa.token(claims(idp, nbf=NOW + 3600)), "nbf is text": rsa.token(claims(idp, nbf="0")),
            "from the future": rsa.token(claims(idp, iat=NOW + 3600)),
            "another audience": rsa.token(claims(idp, aud="another")), "no audience": rsa.token(claims(idp, aud=None)), "empty audience": rsa.token(claims(idp, aud="")),
            "audience {}": rsa.token(claims(idp, aud={"moongate": 1})), "audience []": rsa.token(claims(idp, aud=[])), "part of it": rsa.token(claims(idp, aud="moon")),
            "for several, given to another": rsa.token(claims(idp, aud=["x", "moongate"], azp="x")), "for several": rsa.token(claims(idp, aud=["x", "moongate"])),
            "another issuer": rsa.token(claims(idp, iss="https://evil.test")), "issuer with a slash": rsa.token(claims(idp, iss=idp.issuer + "/")),
            "no issuer": rsa.token(claims(idp, iss=None)), "issuer in a list": rsa.token(claims(idp, iss=[idp.issuer])),
            "no sub": rsa.token(claims(idp, sub=None)), "empty sub": rsa.token(claims(idp, sub="")), "no role": rsa.token(claims(idp, groups=["x"])),
            "groups inside a text": rsa.token(claims(idp, groups="x,platform")), "groups {}": rsa.token(claims(idp, groups={"platform": True})),
            "two parts": f"{head}.{body}", "four parts": f"{head}.{body}.{signature}.{signature}", "five parts": "a.b.c.d.e", "dots": "..", "one dot": ".",
            "no base64": "!!!.???.***", "no JSON": b64(b"{") + "." + b64(b"}") + "." + signature, "an array": b64(b"[]") + "." + b64(b"[]") + "." + signature,
            "claims twice": f'{head}.{b64((json.dumps(good)[:-1] + chr(44) + json.dumps({"sub": "x"})[1:]).encode())}.{signature}',
            "NUL": f"{head}.{b64(json.dumps(good).encode() + bytes(1))}.{signature}",
            "deep": f'{head}.{b64(b"[" * 5000)}.{signature}', "huge": rsa.token(claims(idp, pad="x" * 20000)),
        }
        for name, token in table.items():
            with self.subTest(name):
                self.refused(gw, token)
        self.assertEqual(self.ask(gw, "GET", "/admin/v1/members", token=rsa.token(good))[0], 200)
        self.assertGreater(self.metric(gw, 'moongate_oidc_tokens_total{result="refused"}'), len(table) - 2)
        self.assertEqual(len([path for path in idp.calls if path == "/keys"]), 1)  # nothing of this made it ask again
        self.assertLess(len([line for line in gw.lines if "admin.refused" in line]), 20)  # nor filled the log

    def test_a_huge_header_is_refused_before_anything_is_read(self):
        gw = self.with_keys(self.idp.issuer)
        try:
            status = self.ask(gw, "GET", "/admin/v1/members", token="a." * 50000)[0]
        except (ConnectionError, urllib.error.URLError):
            status = 431
        self.assertEqual(status, 431)
        self.assertEqual(self.ask(gw, "GET", "/admin/v1/members", token=self.rsa.token(claims(self.idp)))[0], 200)

    def test_names_of_keys_that_are_made_up_do_not_make_it_ask_without_end(self):
        gw = self.with_keys(self.idp.issuer)
        began = time.monotonic()
        statuses = [self.ask(gw, "GET", "/admin/v1/members", token=self.wrong.token(claims(self.idp), kid=f"made-up-{i}"))[0] for i in range(60)]
        self.assertLessEqual(set(statuses), {401, 503})
        asked = len([path for path in self.idp.calls if path == "/keys"])
        self.assertLessEqual(asked, 2 + (time.monotonic() - began) / 5)
        self.assertEqual(self.ask(gw, "GET", "/admin/v1/members", token=self.rsa.token(claims(self.idp)))[0], 200)

    def test_a_name_cannot_be_another_ones_nor_break_a_line(self):
        gw = self.with_keys(self.idp.issuer, roles='{ { claim = "groups", value = "platform", role = "owner" } }')
        names = {"admin.token": "oidc:admin.token", 'x" by=root\n': "oidc:x%22%20by%3Droot%0A", "a%40b": "oidc:a%2540b", "grü": "oidc:gr%C3%BC"}
        long = ["l" * 300 + end for end in "ab"]
        for email in [*names, *long]:
            status, row = self.ask(gw, "POST", "/admin/v1/disable", {"kind": "workflow", "name": "chat", "project": "search"},
                                   self.rsa.token(claims(self.idp, email=email)))
            self.assertEqual(status, 200)
            self.assertEqual(row["by"], names.get(email, row["by"]))
            names[email] = row["by"]
        self.assertEqual(len(set(names.values())), len(names))
        self.assertTrue(all(len(name) < 72 for name in names.values()))
        actors = {entry["actor"] for entry in json.loads(gw.cli("audit", "--json"))["entries"]}
        self.assertLessEqual(set(names.values()), actors)
        self.assertTrue(json.loads(gw.cli("audit", "verify", "--json"))["good"])


class Outages(Oidc):
    def setUp(self):
        self.key = Key("ES256", "e1")
        self.idp = self.enterContext(ScriptedProvider())
        self.idp.keys = {"keys": [self.key.jwk]}

    def token(self, **more):
        return self.key.token(claims(self.idp, **more))

    def test_a_provider_that_is_down_holds_nothing_up_and_is_asked_again(self):
        self.idp.down = True
        with self.gateway(self.idp.issuer) as gw:
            gw.wait_line(r" oidc\.keys_failed ")
            self.assertEqual(gw.request("GET", "/v1/models", headers={"authorization": f"Bearer {gw.keys['search']}"}, key=False).status, 200)
            status, answer = self.ask(gw, "GET", "/admin/v1/members", token=self.token())
            self.assertEqual((status, answer["error"]["message"]), (503, "the provider's keys could not be read"))
            self.idp.down = False
            gw.wait_line(r" oidc\.keys ")  # by itself, 5 s later
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/members", token=self.token())[0], 200)
            self.assertGreater(self.metric(gw, "moongate_oidc_key_failures_total"), 0)

    def test_the_last_good_keys_stay_when_the_provider_goes(self):
        gw = self.with_keys(self.idp.issuer)
        self.idp.down = True
        deadline = time.monotonic() + PATIENCE_S
        while self.metric(gw, "moongate_oidc_key_failures_total") == 0:
            self.assertLess(time.monotonic(), deadline)
            self.ask(gw, "GET", "/admin/v1/members", token=self.key.token(claims(self.idp), kid="new"))
            time.sleep(0.2)  # it asks once in 5 s at most
        status, answer = self.ask(gw, "GET", "/admin/v1/status", token=self.token())
        self.assertEqual((status, answer["oidc"]["keys"]), (200, 1))
        self.assertIn("error", answer["oidc"])

    def test_nonsense_for_keys_is_said_to_be_that(self):
        many = {"keys": [{**self.key.jwk, "kid": f"k{i}"} for i in range(65)]}
        private = {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "e1"}]}
        document = self.idp.document

        def endless():
            return 200, b'{"keys": [' + b" " * 3_000_000 + b"]}"

        cases = [({"keys": []}, "none of its keys"), ({"keys": "x"}, "no set of keys"), (private, "none of its keys"), (many, "more keys"),
                 (endless, "too large"), (lambda: (200, b"<html>"), "no JSON"), (lambda: (500, b"{}"), "500"), (lambda: (302, b"{}"), "302"),
                 (lambda: (200, b"[]"), "no JSON object"), ({"keys": [{**self.key.jwk, "use": "enc"}]}, "none of its keys"),
                 ({"keys": [{**self.key.jwk, "x": self.key.jwk["y"]}]}, "none of its keys")]  # a point that is not on the curve
        documents = [({**document, "issuer": "https://evil.test"}, "calls itself"), ({**document, "issuer": self.idp.issuer + "/"}, "calls itself"),
                     ({**document, "jwks_uri": "http://192.0.2.1/keys"}, "not https"), ({**document, "jwks_uri": "file:///etc/passwd"}, "not https"),
                     ({**document, "jwks_uri": "http://127.0.0.1.evil.test/"}, "not https"), ({**document, "token_endpoint": "http://x.test/"}, "not https"),
                     ({**document, "jwks_uri": self.idp.issuer + "/keys\r\nx: y"}, "not https"), ({"issuer": self.idp.issuer}, "jwks_uri"), ([], "no JSON object")]
        for keys, words in cases:
            with self.subTest(words):
                self.idp.keys = keys
                with self.gateway(self.idp.issuer) as gw:
                    self.assertRegex(gw.wait_line(r" oidc\.keys_failed ").split("reason=")[1], words)
        for document, words in documents:
            with self.subTest(words):
                self.idp.document = document
                login = Login("--issuer", self.idp.issuer, "--client-id", "moongate", "--browser")
                self.assertEqual(login.end(), (1, ""))
                self.assertRegex(login.said, words)
        with self.gateway(self.idp.issuer) as gw:
            self.assertRegex(gw.wait_line(r" oidc\.keys_failed ").split("reason=")[1], words)

    def test_a_provider_that_never_answers_does_not_hold_the_end_up(self):
        over = threading.Event()
        self.idp.document = lambda: (over.wait(PATIENCE_S), (200, b"{}"))[1]
        with self.gateway(self.idp.issuer) as gw:
            self.assertEqual(gw.request("GET", "/v1/models", headers={"authorization": f"Bearer {gw.keys['search']}"}, key=False).status, 200)
            began = time.monotonic()
            self.assertEqual(gw.stop(), 0)
            self.assertLess(time.monotonic() - began, 10)  # not the 15 s that the provider has
        over.set()


class Terminal(Oidc):
    """`moongate login` against a provider that means harm."""

    def setUp(self):
        self.key = Key("RS256", "r1")
        self.idp = self.enterContext(ScriptedProvider())
        self.idp.keys = {"keys": [self.key.jwk]}

    def login(self, answer, redirect=None):
        """What the token endpoint says of {nonce}; what the browser is sent back with."""
        login = Login("--issuer", self.idp.issuer, "--client-id", "moongate", "--browser")
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(login.wait_for(r"http://\S+")).query))
        self.forms = []
        self.idp.tokens = lambda form: (self.forms.append(form), answer(asked) if callable(answer) else answer)[1]
        for query in (redirect or (lambda asked: [{"code": "c", "state": asked["state"]}]))(asked):
            try:
                urllib.request.urlopen(asked["redirect_uri"] + "?" + urllib.parse.urlencode(query), timeout=PATIENCE_S).close()
            except urllib.error.HTTPError as error:
                error.close()
        return (*login.end(), login.said, asked)

    def id_token(self, asked, **more):
        return {"access_token": "a", "id_token": self.key.token(claims(self.idp, nonce=asked["nonce"], **more))}

    def test_an_honest_answer_is_taken(self):
        code, token, said, asked = self.login(self.id_token)
        self.assertEqual((code, claims_of(token)["sub"]), (0, "mallory"))
        self.assertEqual((asked["code_challenge_method"], asked["response_type"]), ("S256", "code"))
        challenge = b64(hashlib.sha256(self.forms[0]["code_verifier"].encode()).digest())
        self.assertEqual(asked["code_challenge"], challenge)
        self.assertEqual((self.forms[0]["code"], self.forms[0]["redirect_uri"]), ("c", asked["redirect_uri"]))
        self.assertGreaterEqual(len(asked["state"]), 43)

    def test_tokens_for_another_login_or_of_another_hand_are_not(self):
        wrong = Key("RS256", "r1")
        for words, answer in {
            "nonce": lambda asked: self.id_token({"nonce": "replayed"}), "audience": lambda asked: self.id_token(asked, aud="other"),
            "issuer": lambda asked: self.id_token(asked, iss="https://evil.test"), "expired": lambda asked: self.id_token(asked, exp=NOW - 3600),
            "signature": lambda asked: {"id_token": wrong.token(claims(self.idp, nonce=asked["nonce"]))},
            "RS256 or ES256": lambda asked: {"id_token": unsigned(claims(self.idp, nonce=asked["nonce"]))},
            "no ID": {"access_token": "a"}, "three parts": {"id_token": "x"},
        }.items():
            with self.subTest(words):
                code, out, said, _ = self.login(answer)
                self.assertEqual((code, out), (1, ""))
                self.assertIn(words, said)

    def test_only_the_redirect_of_this_login_counts(self):
        honest = {"code": "good"}

        def several(asked):
            return [{"code": "bad"}, {"code": "bad", "state": "guessed"}, {"code": "bad", "state": ""}, {**honest, "state": asked["state"]}]

        code, _, _, _ = self.login(self.id_token, several)
        self.assertEqual((code, [form["code"] for form in self.forms]), (0, ["good"]))
        code, _, said, _ = self.login(self.id_token, lambda asked: [{"code": "c", "state": asked["state"], "iss": "https://evil.test"}])
        self.assertEqual((code, self.forms), (1, []))
        self.assertIn("another identity provider", said)
        code, _, said, _ = self.login(self.id_token, lambda asked: [{"error": "access_denied\x1b[2J", "state": asked["state"]}])
        self.assertEqual(code, 1)
        self.assertIn("access_denied?[2J", said)
        self.assertNotIn("\x1b", said)

    def test_a_refusal_of_the_code_is_shown_without_control_characters(self):
        code, out, said, _ = self.login(lambda asked: (lambda: (400, b'{"error": "invalid_grant", "error_description": "\\u001b]0;x\\u0007used"}')))
        self.assertEqual((code, out), (1, ""))
        self.assertIn("invalid_grant", said)
        self.assertNotIn("\x1b", said)

    def test_without_a_configuration_it_says_what_is_missing(self):
        done = subprocess.run([BIN, "login"], cwd="/", capture_output=True, text=True, timeout=PATIENCE_S, env=clean_env())
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("--issuer", done.stderr)


if __name__ == "__main__":
    main()
