"""Adapters of one's own: `adapters_dir`, and the commands that show and try them."""

import json
import os
import subprocess
import tempfile
import unittest

from moongate import BIN, Gateway, PATIENCE_S, Upstream, json_answer, main

MOONBEAM = """return {
  name = "moonbeam", extends = "openai_chat", base_url = "https://api.moonbeam.example/v2",
  auth = { kind = "header", header = "x-moon-key", prefix = "Moon " },
  operations = { chat = "/talk" },
  edits = { { fields = { "max_completion_tokens" }, rename = "limit" }, { fields = { "user" } } },
  finish_filtered = { "eclipse" },
}
"""

PAGE = """# Moonbeam

```answer
{"choices":[{"message":{"content":"x"},"finish_reason":"eclipse"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}
```

```tap
text x
usage input 3 output 1
end filtered eclipse model - tier -
```
"""


def project(up):
    return (f'return {{ providers = {{ moon = {{ adapter = "moonbeam", base_url = "{up.url}", api_key = "sk-moon" }} }}, '
            'workflows = { chat = { "moon/luna" } } }')


class OwnAdapters(unittest.TestCase):
    def gateway(self, up, adapter=MOONBEAM):
        return Gateway(project(up), gateway='adapters_dir = "mine"', files={"mine/moonbeam.lua": adapter, "mine/moonbeam.md": PAGE})

    def test_a_vendor_nobody_heard_of_is_a_file(self):
        with Upstream(json_answer("from the moon")) as up, self.gateway(up) as gateway:
            answer = gateway.chat(max_completion_tokens=7, user="u1")
            self.assertEqual(answer.json["choices"][0]["message"]["content"], "from the moon")
            sent = up.next_request()
            self.assertTrue(sent.path.endswith("/talk"), sent.path)
            self.assertEqual(sent.headers["x-moon-key"], "Moon sk-moon")
            self.assertNotIn("authorization", sent.headers)
            self.assertEqual(sent.json["limit"], 7)
            self.assertNotIn("user", sent.json)
            self.assertEqual(sent.json["model"], "luna")

    def test_names_in_its_addresses_are_the_providers_to_say(self):
        with Upstream(json_answer("here")) as up:
            port = up.url.split(":")[2].split("/")[0]
            adapter = ('return { name = "moonbeam", extends = "openai_chat", base_url = "http://127.0.0.1:{port}/{crater}", '
                       'vars = { crater = "tycho", version = "1" }, operations = { chat = "/{model}/talk?v={version}" }, '
                       'params = { edition = "moon", temperature = 0.25 } }')
            text = (f'return {{ providers = {{ moon = {{ adapter = "moonbeam", vars = {{ port = "{port}", version = "2.b" }} }} }}, '
                    'workflows = { chat = { "moon/luna" } } }')
            with Gateway(text, gateway='adapters_dir = "mine"', files={"mine/moonbeam.lua": adapter}) as gateway:
                self.assertEqual(gateway.chat(top_p=0.5).json["choices"][0]["message"]["content"], "here")
                sent = up.next_request()
                self.assertEqual(sent.path, "/tycho/luna/talk?v=2.b")
                self.assertNotIn("model", sent.json)  # the path has it
                self.assertEqual((sent.json["edition"], sent.json["temperature"], sent.json["top_p"]), ("moon", 0.25, 0.5))

                gateway.write("projects/other.lua", text.replace("port =", "harbour ="))
                gateway.wait_line(r"providers.moon: its adapter's address needs vars = \{ port = … \}")

    def test_it_can_be_listed_shown_and_tried(self):
        with Upstream(json_answer("x")) as up, self.gateway(up) as gateway:
            def provider(*args):
                return subprocess.run([BIN, "provider", *args], cwd=gateway.path, capture_output=True, text=True, timeout=PATIENCE_S)

            listed = provider("list").stdout
            self.assertRegex(listed, r"(?m)^moonbeam +openai_chat +https://api.moonbeam.example/v2$")
            self.assertRegex(listed, r"(?m)^anthropic +anthropic +https://")
            shown = provider("show", "moonbeam").stdout
            for line in ("x-moon-key: Moon KEY", "/talk  (conversations)", "max_completion_tokens is called limit", "user is left out"):
                self.assertIn(line, shown)
            self.assertIn("anthropic/v1/messages", provider("show", "deepseek").stdout)

            tried = provider("test", "mine/moonbeam.lua")
            self.assertEqual((tried.returncode, tried.stdout), (0, "1 of 1 cases come out as the page says\n"), tried.stderr)

            gateway.write("mine/other.md", PAGE.replace("filtered", "good"))
            tried = provider("test", "mine/moonbeam.lua", "mine/other.md")
            self.assertEqual(tried.returncode, 1)
            self.assertIn("mine/other.md:3: this answer", tried.stdout)
            self.assertIn("end filtered eclipse", tried.stdout)

            gateway.write("mine/other.md", PAGE.replace("```tap", "```map"))
            tried = provider("test", "mine/moonbeam.lua", "mine/other.md")
            self.assertEqual(tried.returncode, 1)
            self.assertIn("mine/other.md:3: no block \"tap\" follows", tried.stderr)

    def test_mistakes_are_told_where_they_are(self):
        with Upstream(json_answer("x")) as up, self.gateway(up) as gateway:
            for wrong, said in ((MOONBEAM.replace("edits", "edit"), "edit"),
                                (MOONBEAM.replace('"openai_chat"', '"openai_chatter"'), "openai_chatter"),
                                (MOONBEAM.replace('kind = "header"', 'kind = "kiss"'), "kiss"),
                                (MOONBEAM.replace('"/talk"', '"talk"'), "slash"),
                                (MOONBEAM.replace("finish_filtered", 'chunk = { finish = { "choices[*].delta.content" } }, finish_filtered'),
                                 "choices[*].delta.content"),
                                ("return {", "expected")):
                gateway.write("mine/moonbeam.lua", wrong)
                for command in (["provider", "show", "moonbeam"], ["provider", "test", "mine/moonbeam.lua"]):
                    done = subprocess.run([BIN, *command], cwd=gateway.path, capture_output=True, text=True, timeout=PATIENCE_S)
                    self.assertEqual(done.returncode, 1, done.stdout)
                    self.assertIn(said, done.stderr)

    def test_what_cannot_be_meant_is_a_usage_error(self):
        for command in (["show"], ["test"], ["list", "x"], ["show", "a", "b"], ["test", "page.md"]):
            done = subprocess.run([BIN, "provider", *command], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertEqual(done.returncode, 2, done.stderr)

    def test_an_edited_adapter_is_taken_and_a_broken_one_is_not(self):
        with Upstream(json_answer("x")) as up, self.gateway(up) as gw:
            self.assertEqual(gw.chat().status, 200)
            self.assertEqual(up.next_request().path, "/v1/talk")
            mark = len(gw.lines)
            gw.write("mine/moonbeam.lua", MOONBEAM.replace('"/talk"', '"/speak"'))
            gw.wait_line("generation.swapped project=main", mark)
            self.assertEqual(gw.chat().status, 200)
            self.assertEqual(up.next_request().path, "/v1/speak")
            mark = len(gw.lines)
            gw.write("mine/moonbeam.lua", MOONBEAM.replace("finish_filtered", "finish_filterd"))
            gw.wait_line("generation.*project=main.*moonbeam", mark)
            self.assertEqual(gw.chat().status, 200)

    def test_check_tries_every_adapter_of_the_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("gateway.lua", 'return { adapters_dir = "mine" }'), ("mine/unused.lua", 'return {\n  name = "unused",\n  extends = "openai_chat",\n  edits = 7,\n}'),
                               ("mine/torn.lua", "return {\n  name ="), ("projects/main.lua", 'return { providers = { s = { kind = "simulated" } }, workflows = { chat = "s/m" } }')):
                os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
                with open(os.path.join(folder, name), "w") as out:
                    out.write(text)
            done = subprocess.run([BIN, "check", folder], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertRegex(done.stderr, r"mine/unused\.lua:\d+: .*edits")
            self.assertRegex(done.stderr, r"mine/torn\.lua:2: ")

    def test_a_beginning_is_written_and_passes_its_own_page(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "adapters/first.lua")
            for verb, code in (("new", 0), ("test", 0), ("new", 1)):
                done = subprocess.run([BIN, "provider", verb, path], capture_output=True, text=True, timeout=PATIENCE_S)
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            self.assertEqual(subprocess.run([BIN, "provider", "new", "Bad Name.lua"], capture_output=True, cwd=folder).returncode, 2)

    def test_a_page_without_a_case_is_an_error_and_one_may_begin_with_a_fence(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "moonbeam.lua")
            for page, code, said in (("# nothing\n", 1, "has no case"), ("", 1, "has no case"), (PAGE[PAGE.index("```"):], 0, "1 of 1 cases")):
                with open(path, "w") as out:
                    out.write(MOONBEAM)
                with open(path[:-4] + ".md", "w") as out:
                    out.write(page)
                done = subprocess.run([BIN, "provider", "test", path], capture_output=True, text=True, timeout=PATIENCE_S)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(said, done.stdout + done.stderr)

    def test_the_list_is_json_when_asked(self):
        done = subprocess.run([BIN, "provider", "list", "--json"], capture_output=True, text=True, timeout=PATIENCE_S)
        rows = {row["adapter"]: row for row in map(json.loads, done.stdout.splitlines())}
        self.assertEqual(rows["openai"]["speaks"][0], "openai_responses")
        self.assertEqual(rows["vertex_gemini"]["auth"], ["gcp", "header"])
        self.assertIsNone(rows["openai_chat"]["address"])


if __name__ == "__main__":
    main()
