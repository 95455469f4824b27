"""What is known of models, and who goes by it."""

import json
import os
import subprocess
import tempfile
import unittest

from moongate import BIN, Gateway, PATIENCE_S, Upstream, error_answer, json_answer, main


def moongate(*args):
    return subprocess.run([BIN, *args], capture_output=True, text=True, timeout=PATIENCE_S)


def check(text):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "projects"))
        with open(os.path.join(folder, "projects/main.lua"), "w") as out:
            out.write(text)
        with open(os.path.join(folder, "gateway.lua"), "w") as out:
            out.write("return {}")
        return moongate("check", folder)


def project(target, adapter="openai", base="http://127.0.0.1:9/v1"):
    return (f'return {{ providers = {{ p = {{ adapter = "{adapter}", base_url = "{base}", api_key = "k" }} }}, '
            f'workflows = {{ chat = {{ targets = {{ {target} }} }} }} }}')


class Command(unittest.TestCase):
    def test_models_are_listed_with_what_they_read_write_and_cost(self):
        done = moongate("models", "list", "anthropic")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"anthropic +claude-opus-5-5 +1M +128k +4\.00 +20\.00")
        self.assertNotIn("gpt-", done.stdout)
        self.assertEqual(moongate("models", "list", "nobody").returncode, 1)

    def test_one_model_is_shown_by_any_of_its_names(self):
        done = moongate("models", "show", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        model = json.loads(done.stdout)
        self.assertEqual((model["model"], model["context_window"], model["max_output"]), ("claude-sonnet-4-5", 200000, 64000))
        self.assertEqual((model["prefill"], model["refuses"], model["price"]["input"]), (True, ["adaptive"], 3000000))
        self.assertIn("retired 2026-09-27", moongate("models", "show", "sonar-pro").stdout)

    def test_each_row_is_json_and_what_nobody_knows_is_null(self):
        rows = [json.loads(line) for line in moongate("models", "--json").stdout.splitlines()]
        self.assertGreater(len(rows), 150)
        self.assertEqual(len({tuple(row) for row in rows}), 1)
        self.assertIsNone(next(row for row in rows if row["model"] == "gpt-6-sol")["max_output"])

    def test_of_a_model_that_is_not_known_nothing_is_said(self):
        done = moongate("models", "show", "my-own")
        self.assertEqual(done.returncode, 1)
        self.assertIn('nothing is known of "my-own"', done.stderr)


class Check(unittest.TestCase):
    def test_a_workflow_with_a_model_that_is_gone_is_warned_of_and_valid(self):
        done = check(project('"p/sonar-pro"'))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: workflow chat: p/sonar-pro: its vendor has retired sonar-pro on 2026-09-27", done.stderr)
        self.assertNotIn("warning", check(project('"p/my-own"')).stderr)

    def test_a_deployment_is_known_as_what_it_is_or_not_at_all(self):
        self.assertIn("has retired sonar-pro", check(project('{ "p/ours", known_as = "sonar-pro" }')).stderr)
        done = check(project('{ "p/ours", known_as = "nothing-like-it" }'))
        self.assertEqual(done.returncode, 1)
        self.assertIn("known_as: the catalogue has no such model", done.stderr)


class Gateways(unittest.TestCase):
    def test_the_log_says_that_a_model_is_gone(self):
        with Upstream() as up, Gateway(project('"p/sonar-pro"', base=up.url), env={"MOONGATE_LOG": "info"}) as gw:
            gw.wait_line(r"model\.retires project=main workflow=chat target=p/sonar-pro its vendor has retired sonar-pro")

    def test_what_was_too_long_goes_to_the_model_that_reads_more(self):
        too_long = error_answer(400, code="context_length_exceeded")
        with Upstream(too_long) as one, Upstream(json_answer("two")) as two, Upstream(json_answer("three")) as three:
            text = ('return { providers = { a = { base_url = "%s", api_key = "k" }, b = { base_url = "%s", api_key = "k" }, '
                    'c = { base_url = "%s", api_key = "k" } }, workflows = { chat = { targets = { "a/gpt-4o", "b/gpt-4o", "c/gpt-6-sol" } } } }'
                    % (one.url, two.url, three.url))
            with Gateway(text) as gw:
                self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], "three")
                self.assertEqual((one.count, two.count, three.count), (1, 0, 1))


if __name__ == "__main__":
    main()
