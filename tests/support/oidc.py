"""A gateway that takes tokens of an identity provider, and somebody who signs in there with `moongate login`."""

import base64
import json
import queue
import re
import subprocess
import threading
import time
import unittest
import urllib.request

from identity import Browser
from moongate import BIN, PATIENCE_S, Gateway, clean_env

PROJECT = """return {
  providers = { one = { kind = "simulated", models = { moon = { ttft_ms = 0, tokens_per_s = 100000 } } } },
  workflows = { chat = "one/moon" },
}"""
API = "https://gateway.test"
ROLES = """{
  { claim = "groups", value = "platform", role = "owner" },
  { claim = "groups", value = "search-leads", role = "operator", project = "search" },
  { claim = "groups", value = "*-readers", role = "viewer", project = "search" },
  { claim = "groups", value = "support-*", role = "viewer", project = "support" },
  { claim = "scope", value = "gateway:operate", role = "operator", project = "support" },
  { claim = "email", value = "eve@example.com", role = "owner" },
}"""


def admin(issuer, roles=ROLES, more=""):
    return (f'log = {{ level = "info" }}, admin = {{ address = "127.0.0.1:0", oidc = {{ issuer = "{issuer}", client_id = "moongate", '
            f'audience = {{ "moongate", "{API}" }}, scopes = "openid email groups", name = "email", roles = {roles}, {more} }} }}')


class Oidc(unittest.TestCase):
    def gateway(self, issuer, **more):
        return Gateway({"search": PROJECT, "support": PROJECT}, gateway=admin(issuer, **more))

    def with_keys(self, issuer, **more):
        """A gateway that has read the provider's keys."""
        gw = self.gateway(issuer, **more)
        self.enterContext(gw)
        gw.wait_line(r" oidc\.keys ")
        return gw

    def port(self, gw):
        return gw.admin_port()

    def ask(self, gw, method, path, body=None, token=None, project=None):
        status, answer = gw.ask_admin(method, path, body, token, {"x-moongate-project": project} if project else None)
        return status, json.loads(answer)

    def metric(self, gw, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port(gw)}/metrics", timeout=PATIENCE_S) as answer:
            return int(re.search(rf"^{re.escape(name)} (\d+)$", answer.read().decode(), re.M)[1])


class Login:
    """`moongate login` while somebody signs in; its output is read as it comes."""

    def __init__(self, *args):
        self.process = subprocess.Popen([BIN, "login", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env=clean_env())
        self.lines, self.said = queue.Queue(), ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.said += line
            self.lines.put(line)
        self.lines.put("")

    def wait_for(self, pattern):
        while (line := self.lines.get(timeout=PATIENCE_S)):
            if (found := re.search(pattern, line)):
                return found[0]
        raise AssertionError(f"no {pattern}: {self.said}")

    def end(self):
        """The exit code and the token."""
        out = self.process.stdout.read()
        code = self.process.wait(PATIENCE_S)
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, out.strip()


def sign_in(gw_path, name, *args, verify=True):
    """A person's token, as `moongate login` prints it."""
    login = Login("-c", gw_path, *args)
    url = login.wait_for(r"https?://\S+")
    page = Browser(verify).sign_in(url, name)
    code, token = login.end()
    assert code == 0, login.said + page.text
    return token, login.said


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


NOW = int(time.time())


def claims(idp, **more):
    good = {"iss": idp.issuer, "aud": "moongate", "sub": "mallory", "iat": NOW, "exp": NOW + 3600, "groups": ["platform"]}
    return {name: value for name, value in {**good, **more}.items() if value is not None}
