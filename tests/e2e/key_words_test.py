"""What commands say about keys that are disabled, replaced, revoked or unknown, with a gateway and without one."""

import json
import unittest

from moongate import *

PROJECT = "return { providers = { sim = { kind = 'simulated' } }, workflows = { chat = 'sim/m' } }"


class Words(unittest.TestCase):
    def setUp(self):
        self.gw = self.enterContext(Gateway(PROJECT))
        self.key = self.make("key", "create", "--project", "main", "--name", "app")

    def make(self, *words):
        return json.loads(self.gw.cli(*words, "--json"))["id"]

    def fails(self, *words, code=1):
        done = self.gw.cli(*words, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stderr

    def each_way(self, do):
        """With the gateway, then in its folder."""
        do()
        self.gw.stop()
        self.key = self.make("key", "create", "--project", "main", "--name", "later")
        do()

    def audit(self, act):
        entries = [line.split() for line in self.gw.cli("audit").splitlines() if f" {act} " in line]
        return [words[5:7] for words in entries]

    def test_a_key_that_is_disabled_is_listed_so(self):
        self.gw.cli("key", "disable", self.key)
        self.assertRegex(self.gw.cli("key", "list"), rf"{self.key} .* disabled ")
        self.gw.stop()
        self.assertRegex(self.gw.cli("key", "list"), rf"{self.key} .* disabled ")

    def test_a_key_is_revoked_once(self):
        def do():
            self.gw.cli("key", "revoke", self.key)
            self.assertIn(f"the key '{self.key}' is revoked already", self.fails("key", "revoke", self.key))
            self.assertEqual([words[:1] for words in self.audit("key.revoke") if self.key in words[1]], [["main"]])
        self.each_way(do)

    def test_what_stands_in_the_way_of_rotating_is_said(self):
        def do():
            new = self.make("key", "rotate", self.key, "--overlap", "1h")
            self.assertIn(f"was replaced by {new} already: rotate that one", self.fails("key", "rotate", self.key))
            self.assertIn("there is no key 'key_nope'", self.fails("key", "rotate", "key_nope"))
        self.each_way(do)

    def test_nothing_of_an_unknown_project_or_key_is_a_failure(self):
        def do():
            for command in ("usage", "logs"):
                self.assertIn("no key belongs to a project 'nope'", self.fails(command, "--project", "nope"))
                self.assertIn("there is no key 'key_nope'", self.fails(command, "--key", "key_nope"))
                self.gw.cli(command, "--project", "main", "--key", self.key)  # it has done nothing yet
        self.each_way(do)

    def test_a_limit_is_a_name_that_is_known_and_a_number(self):
        for limit in ("x", "rpm=60", "burst=many", "requests_per_minute=6.5", "concurrency=", "budget=much/day"):
            with self.subTest(limit):
                self.assertIn("requests_per_minute=60", self.fails("key", "create", "--project", "main", "--limit", limit, code=2))
        self.make("key", "create", "--project", "main", "--limit", "requests_per_minute=60", "--limit", "budget=2.50/day")


if __name__ == "__main__":
    main()
