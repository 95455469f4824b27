"""Every line of the admin API, for every role, in one project and in all. The list is the binary's own: a line that is not in the
table here fails."""

import json
import os
import re
import subprocess
import tempfile
import unittest

from moongate import BIN, PATIENCE_S, Gateway, main

PROJECT = """return {
  allow_direct = true,
  providers = { PROVIDER = { adapter = "openai", base_url = "http://127.0.0.1:1/v1", api_key = "sk-any", breaker = false },
                fake = { kind = "simulated", models = { moon = { ttft_ms = 0, tokens_per_s = 100000 } } } },
  workflows = { WORKFLOW = "fake/moon", GONE = "PROVIDER/moon" },
  limits = { requests_per_minute = 60000, per_metadata = { FIELD = { requests_per_minute = 60000 } } },
}"""
ADMIN = 'log = { level = "info" }, admin = { address = "127.0.0.1:0", token = env "TEST_TOKEN" }'
ROLES = ("owner", "operator", "viewer", "secret-writer")

VIEW, OPERATE, SET, OWN = {"owner", "operator", "viewer"}, {"owner", "operator"}, {"owner", "secret-writer"}, {"owner"}
# method, path: who may, and whether members of one project may too; None: needs no token.
RULES = {
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): None,
    ("GET", "/admin/v1/status"): (VIEW, False),
    ("POST", "/admin/v1/reload"): (OWN, False),
    ("GET", "/admin/v1/keys"): (VIEW, True),
    ("POST", "/admin/v1/keys"): (OPERATE, True),
    ("PATCH", "/admin/v1/keys/{id}"): (OPERATE, True),
    ("DELETE", "/admin/v1/keys/{id}"): (OPERATE, True),
    ("POST", "/admin/v1/keys/{id}/rotate"): (OPERATE, True),
    ("GET", "/admin/v1/disabled"): (VIEW, True),
    ("POST", "/admin/v1/disable"): (OPERATE, True),
    ("POST", "/admin/v1/enable"): (OPERATE, True),
    ("GET", "/admin/v1/members"): (OWN, True),
    ("POST", "/admin/v1/members"): (OWN, True),
    ("DELETE", "/admin/v1/members/{id}"): (OWN, True),
    ("GET", "/admin/v1/secrets"): (VIEW, True),
    ("POST", "/admin/v1/secrets"): (SET, True),
    ("DELETE", "/admin/v1/secrets"): (OPERATE, True),
    ("POST", "/admin/v1/vault/rewrap"): (OWN, False),
    ("GET", "/admin/v1/audit"): (OWN, False),
    ("GET", "/admin/v1/audit/verify"): (OWN, False),
    ("GET", "/admin/v1/targets"): (VIEW, True),
    ("POST", "/admin/v1/targets/reset"): (OPERATE, True),
    ("GET", "/admin/v1/exports"): (VIEW, False),
    ("GET", "/admin/v1/limits"): (VIEW, True),
    ("GET", "/admin/v1/exports"): (VIEW, False),
    ("GET", "/admin/v1/responses"): (VIEW, True),
    ("POST", "/admin/v1/responses/erase"): (OPERATE, True),
    ("GET", "/admin/v1/limits"): (VIEW, True),
    ("GET", "/admin/v1/requests"): (VIEW, True),
    ("GET", "/admin/v1/requests/summary"): (VIEW, True),
    ("GET", "/admin/v1/requests/series"): (VIEW, True),
    ("GET", "/admin/v1/requests/groups"): (VIEW, True),
    ("GET", "/admin/v1/requests/{id}"): (VIEW, True),
    ("GET", "/admin/v1/usage"): (VIEW, True),
    ("GET", "/admin/v1/usage/events"): (VIEW, True),
    ("POST", "/admin/v1/usage/reprice"): (OWN, False),
}


def text_of(project):
    """A project whose every name says which it is."""
    marks = {"PROVIDER": "prov", "WORKFLOW": "flow", "GONE": "gone", "FIELD": "field"}
    text = PROJECT
    for word, mark in marks.items():
        text = text.replace(word, f"{mark}_{project}")
    return text


def routes():
    """As the binary documents its own list."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([BIN, "docs", folder], check=True, capture_output=True, timeout=PATIENCE_S)
        with open(os.path.join(folder, "admin-api.md")) as page:
            return re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \|", page.read(), re.M)


class Routes(unittest.TestCase):
    def setUp(self):
        self.gw = self.enterContext(Gateway({"mine": text_of("mine"), "theirs": text_of("theirs")}, gateway=ADMIN, env={"TEST_TOKEN": "s3cret"}))

    def ask(self, method, path, body=None, token=None):
        return self.gw.ask_admin(method, path, body, token)

    def member(self, role, project=None):
        args = ["--project", project] if project else []
        return self.gw.cli("admin", "create", f"{role}-{project or 'all'}", "--role", role, *args).strip()

    def test_the_table_here_has_exactly_the_lines_of_the_binary(self):
        self.assertEqual(sorted(routes()), sorted(RULES))

    def test_every_role_may_make_the_calls_it_may_and_no_other(self):
        tokens = {(role, project): self.member(role, project) for role in ROLES for project in (None, "mine")}
        refusal = "your role does not let you do this"
        for method, path in routes():
            rule = RULES[method, path]
            called = path.replace("{id}", "key_none")
            status, answer = self.ask(method, called)
            self.assertEqual(status == 401, rule is not None, (method, path, status))
            if rule is None:
                continue
            self.assertEqual(self.ask(method, called, token="mga-" + "x" * 43)[0], 401)
            for (role, project), token in tokens.items():
                may = role in rule[0] and (rule[1] or project is None)
                body = {} if method in ("POST", "PATCH") else None  # allowed, and then refused for what it lacks
                status, answer = self.ask(method, called, body, token)
                with self.subTest(f"{method} {path} as {role} of {project or 'all'}"):
                    self.assertEqual(refusal not in answer, may, answer)
                    self.assertEqual(status == 403 and refusal in answer, not may, answer)
                    self.assertNotEqual(status, 401)
                    self.assertLess(status, 500)

    def test_a_viewer_of_one_project_reads_its_own_and_nothing_of_others(self):
        gw = self.gw
        ids = {}
        for project in ("mine", "theirs"):
            key = json.loads(gw.cli("key", "create", "--project", project, "--name", f"name_{project}", "--metadata", json.dumps({f"field_{project}": f"value_{project}"}),
                                    "--limit", "requests_per_minute=600", "--json"))
            for model in (f"flow_{project}", f"gone_{project}"):
                body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "metadata": {f"tag_{project}": "x"}}
                answer = gw.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key['key']}"}, key=False)
                ids[project] = answer.headers["x-request-id"]
            gw.request("POST", "/v1/responses", {"model": f"flow_{project}", "input": "hi"}, {"authorization": f"Bearer {key['key']}"}, key=False)
            gw.trace(ids[project])
            self.ask("POST", f"/admin/v1/secrets?project={project}&name=skey_{project}", b"sk-any", "s3cret")
            gw.cli("workflow", "disable", f"gone_{project}", "--project", project, "--message", f"message_{project}")
        seen = {}
        viewer, everyone = self.member("viewer", "mine"), self.member("viewer")
        readable = [path for method, path in routes() if method == "GET" and RULES[method, path] and RULES[method, path][1] and "viewer" in RULES[method, path][0]]
        for path in readable:
            for query in ("", "?project=theirs", "?by=project,key,workflow,provider,model", "?where=project=theirs"):
                status, answer = self.ask("GET", path.replace("{id}", ids["theirs"]) + query, token=viewer)
                # What was asked may be repeated in a refusal; what is there may not be told.
                self.assertNotRegex(answer, r"(prov|skey|flow|gone|value|name|message|tag)_theirs", (path, query))
                self.assertTrue(status in (200, 400, 403, 404), (path, query, status))
                self.assertNotIn('"theirs"', answer if status == 200 else "", (path, query))
            if path.endswith(("/summary", "/series")):  # figures without a name
                continue
            query = "?by=project" if path in ("/admin/v1/usage", "/admin/v1/requests/groups") else ""
            seen[path] = self.ask("GET", path.replace("{id}", ids["mine"]) + query, token=viewer)
            self.assertIn("theirs", self.ask("GET", path.replace("{id}", ids["theirs"]) + query, token=everyone)[1], path)  # marks do show
        for path, (status, answer) in seen.items():
            self.assertEqual(status, 200, path)
            self.assertIn("mine", answer, path)
        count = lambda token, query: json.loads(self.ask("GET", "/admin/v1/requests/summary" + query, token=token)[1])["summary"]["count"]
        self.assertEqual([count(viewer, query) for query in ("", "?project=theirs", "?project=mine")], [3, 0, 3])
        self.assertEqual([count(everyone, query) for query in ("", "?project=theirs")], [6, 3])
        steps = json.loads(self.ask("GET", "/admin/v1/requests/series?steps=3&since=1h", token=viewer)[1])["steps"]
        self.assertEqual((len(steps), sum(step["count"] for step in steps)), (3, 3))
        usage = json.loads(self.ask("GET", "/admin/v1/usage?by=project", token=viewer)[1])
        self.assertEqual([row["project"] for row in usage["rows"]], ["mine"])
        self.assertEqual(usage["total"]["requests"], 3)
        self.assertEqual(json.loads(self.ask("GET", "/admin/v1/usage?project=theirs", token=viewer)[1])["rows"], [])
        events = json.loads(self.ask("GET", "/admin/v1/usage/events", token=viewer)[1])["events"]
        self.assertEqual({event["project"] for event in events}, {"mine"})

    def test_an_operator_of_one_project_changes_nothing_of_others(self):
        gw = self.gw
        operator, writer = self.member("operator", "mine"), self.member("secret-writer", "mine")
        theirs = [row["id"] for row in json.loads(gw.cli("key", "list", "--json"))["keys"] if row["project"] == "theirs"][0]
        before = self.state()
        calls = [
            ("POST", "/admin/v1/keys", {"project": "theirs"}), ("PATCH", f"/admin/v1/keys/{theirs}", {"name": "x"}),
            ("DELETE", f"/admin/v1/keys/{theirs}", None), ("POST", f"/admin/v1/keys/{theirs}/rotate", {}),
            *[("POST", f"/admin/v1/{verb}", {"kind": kind, "name": name, "project": project}) for verb in ("disable", "enable")
              for kind, name in (("project", "theirs"), ("workflow", "flow_theirs"), ("provider", "prov_theirs"), ("key", theirs))
              for project in ("theirs", "mine", "")],
            ("DELETE", "/admin/v1/secrets?project=theirs&name=skey_theirs", None),
            ("POST", "/admin/v1/targets/reset", {"target": "fake/moon", "project": "theirs"}), ("POST", "/admin/v1/targets/reset", {"target": "prov_theirs"}),
        ]
        for method, path, body in calls:
            for trick in ({}, {"x-moongate-project": "theirs"}, {"x-moongate-project": "mine"}):
                status, answer = self.ask_with(method, path, body, operator, trick)
                self.assertIn(status, (400, 403, 404), (method, path, body, trick, answer))
        for path in ("/admin/v1/secrets?project=theirs&name=skey_theirs", "/admin/v1/secrets?project=mine&project=theirs&name=skey_theirs",
                     "/admin/v1/secrets?project=%74heirs&name=skey_theirs"):
            self.assertEqual(self.ask("POST", path, b"sk-evil", writer)[0], 403, path)
        self.assertEqual(self.state(), before)

    def test_an_owner_of_one_project_manages_its_members_and_sees_no_others(self):
        owner = self.member("owner", "mine")
        for role, project in (("viewer", None), ("viewer", "theirs"), ("owner", "theirs")):
            self.member(role, project)
        names = lambda token: [row["name"] for row in json.loads(self.ask("GET", "/admin/v1/members", token=token)[1])["members"]]
        self.assertEqual(names(owner), ["owner-mine"])
        status, made = self.ask("POST", "/admin/v1/members", {"name": "new", "role": "owner"}, owner)
        self.assertEqual((status, json.loads(made)["project"]), (201, "mine"))  # not of all
        self.assertEqual(names(json.loads(made)["token"]), ["new", "owner-mine"])
        self.assertEqual(self.ask("POST", "/admin/v1/members", {"name": "spy", "role": "viewer", "project": "theirs"}, owner)[0], 403)
        for name in ("viewer-theirs", "viewer-all", "owner-theirs", "nobody"):
            status, answer = self.ask("DELETE", f"/admin/v1/members/{name}", token=owner)
            self.assertEqual((status, json.loads(answer)["error"]["message"]), (404, "there is no such member in your project"))
        self.assertEqual(self.ask("DELETE", "/admin/v1/members/new", token=owner)[0], 200)
        self.assertEqual(len(names("s3cret")), 4)

    def ask_with(self, method, path, body, token, headers):
        return self.gw.ask_admin(method, path, body, token, headers)

    def state(self):
        """What the other project has, as its owner sees it."""
        return [[row for row in json.loads(self.ask("GET", path, token="s3cret")[1])[name] if row["project"] == "theirs"]
                for path, name in (("/admin/v1/keys", "keys"), ("/admin/v1/disabled", "disabled"), ("/admin/v1/secrets", "secrets"))]


if __name__ == "__main__":
    main()
