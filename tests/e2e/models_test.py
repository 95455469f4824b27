"""What is known of models, and who goes by it."""

import json
import os
import subprocess
import tempfile
import time
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


GENAI = [{"id": "openai", "models": [{"id": "gpt-4o", "context_window": 999000, "prices": {}}, {"id": "gpt-9", "context_window": 5000000, "prices": {}},
                                     {"id": "nothing-is-said", "prices": {}}]},
         {"id": "x-ai", "models": [{"id": "grok-9", "context_window": 300000, "deprecated": True, "prices": {}}]},
         {"id": "openrouter", "models": [{"id": "openai/gpt-4o", "context_window": 1, "prices": {}}]}]


class Import(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="moongate-test-")
        self.addCleanup(self.folder.cleanup)

    def file(self, content, name="list.json"):
        path = os.path.join(self.folder.name, name)
        with open(path, "w") as out:
            out.write(content if isinstance(content, str) else json.dumps(content))
        return path

    def models(self, *args):
        return moongate("models", *args, "--data", os.path.join(self.folder.name, "data"))

    def test_a_public_list_stands_on_top_of_what_the_binary_knows(self):
        done = self.models("import", self.file(GENAI), "--collected", "2027-01-02")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 models are in", done.stdout)
        self.assertIn("2 models were left out", done.stdout)
        known = json.loads(self.models("show", "gpt-4o", "--json").stdout)
        self.assertEqual((known["context_window"], known["input"], known["tools"]), (999000, ["text", "image"], True))
        self.assertEqual(json.loads(self.models("show", "openai/gpt-9-2027-01-01", "--json").stdout)["context_window"], 5000000)
        self.assertTrue(json.loads(self.models("show", "grok-9", "--json").stdout)["deprecated"])
        self.assertIn("collected 2027-01-02 from genai-prices", self.models("show", "gpt-9").stdout)
        rows = [json.loads(line)["model"] for line in self.models("--json").stdout.splitlines()]
        self.assertEqual(len(rows), len(set(rows)))
        self.assertIn("claude-opus-5-5", rows)

    def test_what_is_no_list_changes_nothing(self):
        self.models("import", self.file(GENAI))
        for text, said in (("[", "it is no JSON"), ("{}", "this is no catalogue of models"), ([], "no model in it"),
                           ({"version": 1, "models": [{"model": "m", "wat": 1}]}, 'there is no field "wat"')):
            done = self.models("import", self.file(text, "bad.json"))
            self.assertEqual(done.returncode, 1, said)
            self.assertIn(said, done.stderr)
        self.assertEqual(self.models("show", "gpt-9").returncode, 0)
        self.assertEqual(self.models("import").returncode, 2)

    def test_a_running_gateway_takes_it_with_the_next_change(self):
        too_long = error_answer(400, code="context_length_exceeded")
        with Upstream(too_long) as one, Upstream(json_answer("two")) as two:
            text = ('return { providers = { a = { base_url = "%s", api_key = "k" }, b = { base_url = "%s", api_key = "k" } }, '
                    'workflows = { chat = { targets = { "a/gpt-4o", "b/gpt-9" } } }, %%s }' % (one.url, two.url))
            with Gateway(text % "") as gw:
                self.assertEqual(gw.chat().status, 400)
                gw.cli("models", "import", self.file(GENAI))
                time.sleep(1.5)  # it is looked at once a second
                mark = len(gw.lines)
                gw.write("projects/main.lua", text % "allow_direct = true")
                gw.wait_line("generation.swapped project=main", mark)
                self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], "two")


class Project(unittest.TestCase):
    """What a project says of models itself."""

    def test_it_says_what_nobody_knows_and_the_rest_stays(self):
        too_long = error_answer(400, code="context_length_exceeded")
        for models, status in (("", 400), ('models = { ["b/ours"] = { context_window = 2000000 } }', 200), ('models = { ours = { context_window = 2000000 } }', 200)):
            with self.subTest(models), Upstream(too_long) as one, Upstream(json_answer("two")) as two:
                text = ('return { providers = { a = { base_url = "%s", api_key = "k" }, b = { base_url = "%s", api_key = "k" } }, '
                        'workflows = { chat = { targets = { "a/gpt-4o", "b/ours" } } }, %s }' % (one.url, two.url, models))
                with Gateway(text) as gw:
                    self.assertEqual(gw.chat().status, status)

    def test_what_a_model_refuses_is_left_out_with_a_warning(self):
        asked = {"model": "chat", "max_tokens": 50, "temperature": 0.3, "top_k": 3, "messages": [{"role": "user", "content": "hi"}]}
        cases = [  # target, models, what goes out, what is dropped
            ("gpt-5", "", set(), {"temperature", "top_k"}),
            ("gpt-5-unheard-of", "", set(), {"temperature", "top_k"}),
            ("gpt-4o", "", {"temperature"}, {"top_k"}),
            ("gpt-4o", 'models = { ["p/gpt-4o"] = { refuses = "temperature" } }', set(), {"temperature", "top_k"}),
            ("gpt-5", 'models = { ["gpt-5"] = { refuses = {} } }', {"temperature"}, {"top_k"}),
        ]
        for model, models, kept, dropped in cases:
            with self.subTest(model=model, models=models), Upstream(json_answer("x")) as up:
                text = f'return {{ providers = {{ p = {{ adapter = "openai_chat", base_url = "{up.url}", api_key = "k" }} }}, workflows = {{ chat = "p/{model}" }}, {models} }}'
                with Gateway(text) as gw:
                    done = gw.request("POST", "/v1/messages", asked, {"anthropic-version": "2023-06-01"})
                    self.assertEqual(done.status, 200, done.body)
                    sent = up.next_request().json
                    self.assertEqual({name for name in ("temperature", "top_k") if name in sent}, kept, sent)
                    warned = set(done.headers.get("x-moongate-warning", "").removeprefix("dropped=").split(","))
                    self.assertEqual(warned & {"temperature", "top_k"}, dropped)
                    self.assertIn("max_completion_tokens", sent)

    def test_a_beginning_that_the_model_does_not_continue_is_refused(self):
        body = {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "I "}]}
        for models, status in (("", 400), ("models = { ours = { prefill = true } }", 200)):
            with self.subTest(models), Upstream(json_answer("x")) as up:
                text = f'return {{ providers = {{ p = {{ adapter = "openai_chat", base_url = "{up.url}", api_key = "k" }} }}, workflows = {{ chat = "p/ours" }}, {models} }}'
                with Gateway(text) as gw:
                    self.assertEqual(gw.request("POST", "/v1/messages", body, {"anthropic-version": "2023-06-01"}).status, status)

    def test_an_image_is_for_those_who_can_see(self):
        image = [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]
        with Upstream(json_answer("blind")) as blind, Upstream(json_answer("seen")) as seeing:
            text = ('return { providers = { a = { base_url = "%s", api_key = "k" }, b = { base_url = "%s", api_key = "k" } }, '
                    'workflows = { chat = { targets = { "a/ours", "b/gpt-4o" } }, blind = "a/ours" }, models = { ours = { input = { "text" } } } }' % (blind.url, seeing.url))
            with Gateway(text) as gw:
                done = gw.chat(messages=image)
                self.assertEqual(done.json["choices"][0]["message"]["content"], "seen")
                self.assertEqual(blind.count, 0)
                self.assertIn("ours does not read image", json.dumps(gw.trace(done)))
                self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], "blind")  # an "image" in words is none
                self.assertEqual(gw.chat(messages=[{"role": "user", "content": "an image_url"}]).json["choices"][0]["message"]["content"], "blind")
                refused = gw.chat(model="blind", messages=image)
                self.assertEqual((refused.status, refused.json["error"]["param"]), (400, "messages"), refused.body)
                self.assertIn("does not read", refused.json["error"]["message"])

    def test_mistakes_are_told_with_their_line(self):
        for models, said in (("{ ours = { contextwindow = 1 } }", 'contextwindow'), ('{ ours = { input = { "smell" } } }', "smell"),
                             ('{ ours = { retires = "soon" } }', "expected a date"), ('{ ours = { retires = "2027-02-31" } }', "retires must be a date")):
            with self.subTest(models):
                text = project('"p/ours"').removesuffix(" }") + f", models = {models} }}"
                done = check(text)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(said, done.stderr)


class Retiring(unittest.TestCase):
    def test_a_model_that_goes_within_thirty_days_is_told_of_everywhere(self):
        soon, later = (time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * 86400)) for days in (12, 90))
        models = f'models = {{ ours = {{ retires = "{soon}" }}, theirs = {{ retires = "{later}" }} }}'
        text = project('"p/ours", "p/theirs"').removesuffix(" }") + f", {models} }}"
        self.assertIn(f"p/ours: its vendor retires ours on {soon}, in 12 days", check(text).stderr)
        with Gateway(text) as gw:
            gw.wait_line(rf"model\.retires project=main workflow=chat target=p/ours its vendor retires ours on {soon}")
            metrics = gw.ask_admin("GET", "/metrics")[1]
            self.assertIn('moongate_target_retires_days{project="main",target="p/ours"} 12', metrics)
            self.assertIn('moongate_target_retires_days{project="main",target="p/theirs"} 90', metrics)
            listed = moongate("models", "--retiring", "-c", gw.path)
            self.assertEqual(listed.returncode, 1)
            self.assertIn("main  chat  p/ours: its vendor retires ours", listed.stdout)
            self.assertNotIn("theirs", listed.stdout)
            self.assertEqual(json.loads(moongate("models", "--retiring", "--json", "-c", gw.path).stdout)["target"], "p/ours")


if __name__ == "__main__":
    main()
