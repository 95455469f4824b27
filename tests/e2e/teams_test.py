"""Several teams on one gateway: keys with limits, models and successors, kill switches, and members with roles."""

import json
import os
import re
import signal
import threading
import time
import unittest

from moongate import PATIENCE_S, Gateway, Upstream, json_answer, main, project

TWO = """return {
  allow_direct = true,
  providers = {
    one = { kind = "simulated", models = { moon = { ttft_ms = 0, tokens_per_s = 100000 } } },
    two = { kind = "simulated", models = { moon = { ttft_ms = 0, tokens_per_s = 100000 } } },
  },
  workflows = { chat = { targets = { "one/moon", "two/moon" } }, other = "two/moon", secret_plan = "two/moon" },
}"""
ADMIN = 'log = { level = "info" }, admin = { address = "127.0.0.1:0", token = env "TEST_TOKEN" }'


class Teams(unittest.TestCase):
    def gateway(self, projects=TWO, gateway=ADMIN):
        return Gateway(projects, gateway=gateway, env={"TEST_TOKEN": "s3cret"})

    def key(self, gw, *args, project="main"):
        return json.loads(gw.cli("key", "create", "--project", project, *args, "--json"))

    def chat(self, gw, key, model="chat", **more):
        return gw.chat(model, headers={"authorization": f"Bearer {key}"}, **more)

    def models(self, gw, key):
        return [row["id"] for row in gw.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"}).json["data"]]

    def ask(self, gw, method, path, body=None, token="s3cret"):
        status, answer = gw.ask_admin(method, path, body, token)
        return status, json.loads(answer)


class Keys(Teams):
    def test_a_key_may_name_only_its_models_and_learns_of_no_other(self):
        with self.gateway() as gw:
            key = self.key(gw, "--workflows", "chat,one/moon")["key"]
            self.assertEqual(self.chat(gw, key).status, 200)
            self.assertEqual(self.chat(gw, key, "one/moon").status, 200)
            self.assertEqual(sorted(self.models(gw, key)), ["chat", "one/moon"])

            refused = [self.chat(gw, key, model) for model in ("secret_plan", "no_such_one", "two/moon", "two/other")]
            for answer, model in zip(refused, ("secret_plan", "no_such_one", "two/moon", "two/other")):
                self.assertEqual((answer.status, answer.json["error"]["code"]), (403, "model_not_allowed"))
                self.assertEqual(answer.json["error"]["type"], "permission_error")
                self.assertNotIn("secret_plan", answer.json["error"]["message"].replace(model, ""))
            words = {answer.json["error"]["message"].replace(model, "X") for answer, model in
                     zip(refused, ("secret_plan", "no_such_one", "two/moon", "two/other"))}
            self.assertEqual(len(words), 1)  # the same whether there is such a model or not
            for model in ("secret_plan", "no_such_one"):
                answer = gw.request("GET", f"/v1/models/{model}", headers={"authorization": f"Bearer {key}"})
                self.assertEqual(answer.status, 404)

    def test_the_official_sdk_raises_what_it_should(self):
        import openai

        with self.gateway() as gw:
            key = self.key(gw, "--workflows", "chat")["key"]
            client = openai.OpenAI(base_url=gw.url, api_key=key, max_retries=2)
            with self.assertRaises(openai.PermissionDeniedError) as caught:
                client.chat.completions.create(model="other", messages=[{"role": "user", "content": "hi"}])
            self.assertEqual(caught.exception.code, "model_not_allowed")
            gw.cli("workflow", "disable", "chat", "--message", "back at nine")
            began = time.monotonic()
            with self.assertRaises(openai.InternalServerError) as caught:
                client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}])
            self.assertIn("back at nine", str(caught.exception))
            self.assertEqual(caught.exception.code, "workflow_disabled")
            self.assertLess(time.monotonic() - began, 0.4)  # x-should-retry: its first pause would be half a second

    def test_an_update_is_obeyed_when_the_command_returns(self):
        with self.gateway() as gw:
            made = self.key(gw, "--name", "ci", "--metadata", '{"tier":"gold"}')
            self.assertEqual(self.chat(gw, made["key"], "other").status, 200)
            gw.cli("key", "update", made["id"], "--workflows", "chat")
            self.assertEqual(self.chat(gw, made["key"], "other").status, 403)
            gw.cli("key", "update", made["id"], "--workflows", "")
            self.assertEqual(self.chat(gw, made["key"], "other").status, 200)
            gw.cli("key", "update", made["id"], "--limit", "requests_per_minute=6", "--limit", "burst=1")
            self.chat(gw, made["key"])
            self.assertEqual(self.chat(gw, made["key"]).status, 429)
            gw.cli("key", "update", made["id"], "--no-limits", "--expires", "30d")
            self.assertEqual(self.chat(gw, made["key"]).status, 200)
            row = next(row for row in json.loads(gw.cli("key", "list", "--json"))["keys"] if row["id"] == made["id"])
            self.assertEqual((row["name"], row["metadata"], row["limits"], row["workflows"]), ("ci", {"tier": "gold"}, None, None))
            self.assertGreater(row["expires_us"], time.time() * 1e6)
            self.assertNotEqual(gw.cli("key", "update", made["id"], check=False).returncode, 0)

    def test_a_limit_of_a_key_binds_that_key_alone(self):
        with self.gateway() as gw:
            small = self.key(gw, "--limit", "requests_per_minute=6", "--limit", "burst=2")
            large = self.key(gw)
            self.assertEqual([self.chat(gw, small["key"]).status for _ in range(3)], [200, 200, 429])
            self.assertEqual([self.chat(gw, large["key"]).status for _ in range(3)], [200, 200, 200])

    def test_both_keys_are_valid_during_the_overlap_and_each_names_the_other(self):
        with self.gateway() as gw:
            old = self.key(gw, "--workflows", "chat", "--limit", "concurrency=5")
            new = json.loads(gw.cli("key", "rotate", old["id"], "--overlap", "2s", "--json"))
            self.assertEqual([self.chat(gw, key["key"]).status for key in (old, new)], [200, 200])
            self.assertEqual(self.chat(gw, new["key"], "other").status, 403)  # it inherits what the old one may
            rows = {row["id"]: row for row in json.loads(gw.cli("key", "list", "--json"))["keys"]}
            self.assertEqual(rows[old["id"]]["replaced_by"], new["id"])
            self.assertEqual(rows[new["id"]]["replaces"], old["id"])
            self.assertEqual(rows[new["id"]]["limits"], rows[old["id"]]["limits"])
            deadline = time.monotonic() + PATIENCE_S
            while self.chat(gw, old["key"]).status == 200 and time.monotonic() < deadline:
                time.sleep(0.1)  # the wall clock is what it waits for
            self.assertEqual(self.chat(gw, old["key"]).status, 401)
            self.assertEqual(self.chat(gw, new["key"]).status, 200)
            self.assertNotIn(old["key"], gw.cli("key", "list", "--json"))
            self.assertNotEqual(gw.cli("key", "rotate", old["id"], check=False).returncode, 0)

    def test_all_of_it_works_while_no_gateway_runs(self):
        with self.gateway() as gw:
            gw.stop()
            old = self.key(gw, "--workflows", "chat", "--limit", "requests_per_minute=600")
            gw.cli("key", "update", old["id"], "--name", "renamed")
            new = json.loads(gw.cli("key", "rotate", old["id"], "--overlap", "1h", "--json"))
            self.assertEqual((new["name"], new["replaces"], new["workflows"]), ("renamed", old["id"], ["chat"]))
            wrong = gw.cli("key", "create", "--limit", "requests=1", check=False)
            self.assertIn("requests_per_minute", wrong.stderr)
            gw.cli("workflow", "disable", "other", "--project", "main", "--message", "later")
            gw.cli("key", "disable", old["id"], "--message", "leaked")
            token = gw.cli("admin", "create", "alice", "--role", "viewer").strip()
            entries = json.loads(gw.cli("audit", "--json"))["entries"]
            acts = [(entry["act"], entry["project"] or "") for entry in entries if entry["detail"] == "while no gateway ran"]
            self.assertEqual(acts, [("key.create", "main"), ("key.change", "main"), ("key.rotate", "main"), ("switch.disable", "main"),
                                    ("switch.disable", "main"), ("member.create", "")])
            self.assertTrue(json.loads(gw.cli("audit", "verify", "--json"))["good"])
            gw.lines.clear()
            gw.start()
            self.assertEqual(self.chat(gw, old["key"]).json["error"]["message"], "This API key is disabled: leaked")
            self.assertEqual(self.chat(gw, new["key"]).status, 200)
            self.assertEqual(self.chat(gw, gw.keys["main"], "other").status, 503)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/keys", token=token)[0], 200)


class Switches(Teams):
    def test_each_kind_stops_what_it_names_and_nothing_else(self):
        with self.gateway({"main": TWO, "calm": TWO}) as gw:
            main_key, calm = gw.keys["main"], gw.keys["calm"]
            other = self.key(gw)
            cases = [("project", "main", [], 403, "project_disabled"), ("key", None, [], 403, "key_disabled"),
                     ("workflow", "chat", ["--project", "main"], 503, "workflow_disabled")]
            for kind, name, args, status, code in cases:
                name = name or json.loads(gw.cli("key", "list", "--json"))["keys"][0]["id"]
                gw.cli(kind, "disable", name, *args, "--message", "ask Ada")
                answer = self.chat(gw, main_key)
                self.assertEqual((answer.status, answer.json["error"]["code"]), (status, code))
                self.assertIn("ask Ada", answer.json["error"]["message"])
                self.assertEqual(answer.headers["x-should-retry"], "false")
                self.assertEqual(self.chat(gw, calm).status, 200)
                self.assertEqual(self.chat(gw, other["key"], "other").status, 403 if kind == "project" else 200)
                gw.cli(kind, "enable", name, *args)
                self.assertEqual(self.chat(gw, main_key).status, 200)

    def test_a_disabled_provider_is_skipped_and_the_trace_says_so(self):
        with self.gateway() as gw:
            gw.cli("provider", "disable", "one", "--message", "no money left")
            answer = gw.chat()
            self.assertEqual((answer.status, answer.headers["x-moongate-provider"]), (200, "two"))
            notes = json.dumps(gw.trace(answer)["notes"])
            self.assertIn("disabled by hand: no money left", notes)
            gw.cli("provider", "disable", "two")
            answer = gw.chat()
            self.assertEqual(answer.status, 503)
            self.assertIn("disabled by hand", answer.json["error"]["message"])
            gw.cli("provider", "enable", "one")
            self.assertEqual(gw.chat().headers["x-moongate-provider"], "one")

    def test_a_disabled_plugin_takes_its_fail_mode(self):
        for mode, status in (("open", 200), ("closed", 503)):
            guard = f'plugins = {{ {{ as = "guard", fail = {{ on_request = "{mode}" }}, on_request = function(self, req) return req:deny {{ status = 418, code = "teapot", message = "no" }} end }} }},'
            with self.gateway(TWO.rstrip().rstrip("}") + guard + "}") as gw:
                self.assertEqual(gw.chat().status, 418)
                gw.cli("plugin", "disable", "guard", "--message", "under repair")
                answer = gw.chat()
                self.assertEqual(answer.status, status)
                if mode == "closed":
                    self.assertIn("under repair", answer.json["error"]["message"])
                else:
                    self.assertIn("disabled by hand (under repair)", json.dumps(gw.trace(answer)["notes"]))
                    row = json.loads(gw.cli("disabled", "--json"))["disabled"][0]
                    self.assertEqual((row["kind"], row["project"], row["name"], row["message"]), ("plugin", "main", "guard", "under repair"))
                gw.cli("plugin", "enable", "guard")
                self.assertEqual(gw.chat().status, 418)

    def test_switches_survive_a_reload_a_restart_and_kill_9(self):
        with self.gateway() as gw:
            gw.cli("workflow", "disable", "chat")
            gw.write("projects/main.lua", TWO + " -- edited")
            gw.wait_line(r" generation\.swapped project=main number=2")
            self.assertEqual(gw.chat().status, 503)
            gw.stop(signal.SIGKILL)
            gw.lines.clear()
            gw.start()
            self.assertEqual(gw.chat().status, 503)
            rows = json.loads(gw.cli("disabled", "--json"))["disabled"]
            self.assertEqual([(row["kind"], row["project"], row["name"]) for row in rows], [("workflow", "main", "chat")])
            self.assertTrue(rows[0]["by"].startswith("local:"))
            gw.cli("workflow", "enable", "chat")
            self.assertEqual(gw.chat().status, 200)

    def test_what_nobody_has_cannot_be_disabled_and_what_several_have_must_be_said(self):
        with self.gateway({"main": TWO, "calm": TWO}) as gw:
            for kind in ("project", "key", "workflow", "provider", "plugin"):
                self.assertNotEqual(gw.cli(kind, "disable", "nobody", check=False).returncode, 0)
            several = gw.cli("provider", "disable", "one", check=False)
            self.assertIn("calm", several.stderr)
            self.assertIn("main", several.stderr)
            self.assertEqual(gw.cli("disabled").strip(), "nothing is disabled")
            self.assertNotEqual(gw.cli("provider", "enable", "one", check=False).returncode, 0)

    def test_no_request_begins_after_the_command_has_returned(self):
        with Upstream(json_answer("hi")) as up, self.gateway(project(up)) as gw:
            over, begun = threading.Event(), []

            def caller():
                while not over.is_set():
                    begun.append((time.monotonic(), gw.chat().status))

            threads = [threading.Thread(target=caller) for _ in range(6)]
            for thread in threads:
                thread.start()
            for _ in range(10):
                gw.cli("project", "disable", "main")
                returned = time.monotonic()
                answers = up.count
                time.sleep(0.05)  # time for those that had begun before to end, and for a wrong one to show
                late = [status for at, status in list(begun) if at > returned and status == 200]
                self.assertEqual(late, [])
                settled = up.count
                time.sleep(0.05)
                self.assertEqual(up.count, settled)
                self.assertLessEqual(settled - answers, 6)
                gw.cli("project", "enable", "main")
            over.set()
            for thread in threads:
                thread.join()


class Members(Teams):
    def test_each_role_does_what_it_may_in_its_project(self):
        with self.gateway({"main": TWO, "calm": TWO}) as gw:
            def token(name, role, *args):
                return gw.cli("admin", "create", name, "--role", role, *args).strip()

            operator, viewer = token("ann", "operator", "--project", "main"), token("vic", "viewer")
            writer, owner = token("sam", "secret-writer", "--project", "main"), token("olga", "owner")
            rows = json.loads(gw.cli("key", "list", "--json"))["keys"]
            ids = {row["project"]: row["id"] for row in rows}

            self.assertEqual({row["project"] for row in self.ask(gw, "GET", "/admin/v1/keys", token=operator)[1]["keys"]}, {"main"})
            self.assertEqual(self.ask(gw, "DELETE", f"/admin/v1/keys/{ids['calm']}", token=operator)[0], 404)
            self.assertEqual(self.ask(gw, "POST", f"/admin/v1/keys/{ids['calm']}/rotate", {}, token=operator)[0], 404)
            self.assertEqual(self.ask(gw, "PATCH", f"/admin/v1/keys/{ids['calm']}", {"name": "x"}, token=operator)[0], 404)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/keys", {"project": "calm"}, token=operator)[0], 403)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/disable", {"kind": "project", "name": "calm"}, token=operator)[0], 403)
            status, row = self.ask(gw, "POST", "/admin/v1/disable", {"kind": "provider", "name": "one", "message": "m"}, token=operator)
            self.assertEqual((status, row["project"], row["by"]), (200, "main", "ann"))
            gw.wait_line(r' switch\.disable project=main subject=one detail="provider" by=ann')
            status, made = self.ask(gw, "POST", "/admin/v1/keys", {"project": "main", "workflows": ["chat"]}, token=operator)
            self.assertEqual(status, 201)
            gw.wait_line(rf" key\.create project=main subject={made['id']} .* by=ann")
            theirs = gw.request("POST", "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}]},
                                {"authorization": f"Bearer {gw.keys['calm']}"})
            gw.trace(theirs)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/requests?project=calm", token=operator)[1]["requests"], [])
            self.assertEqual(self.ask(gw, "GET", f"/admin/v1/requests/{theirs.headers['x-request-id']}", token=operator)[0], 404)
            self.assertEqual(self.ask(gw, "GET", f"/admin/v1/requests/{theirs.headers['x-request-id']}", token=viewer)[0], 200)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/targets?project=calm", token=operator)[0], 404)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/targets/reset", {"target": "one", "project": "calm"}, token=operator)[0], 403)

            self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=viewer)[0], 200)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/keys", {"project": "main"}, token=viewer)[0], 403)
            for path in ("/admin/v1/keys", "/admin/v1/requests", "/admin/v1/disabled", "/admin/v1/status", "/admin/v1/members"):
                self.assertEqual(self.ask(gw, "GET", path, token=writer)[0], 403)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/members", {"name": "eve", "role": "owner"}, token=operator)[0], 403)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/secrets?project=main&name=x", {"any": "text"}, token=writer)[0], 200)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/secrets?project=calm&name=x", {"any": "text"}, token=writer)[0], 403)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/secrets?project=main&name=x", {"any": "text"}, token=operator)[0], 403)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/secrets", token=writer)[0], 403)
            entries = self.ask(gw, "GET", "/admin/v1/audit", token=owner)[1]["entries"]
            acts = {(entry["actor"], entry["act"], entry["project"], entry["subject"]) for entry in entries}
            self.assertIn(("ann", "switch.disable", "main", "one"), acts)
            self.assertIn(("ann", "key.create", "main", made["id"]), acts)
            self.assertIn(("sam", "secret.set", "main", "x"), acts)
            self.assertTrue(self.ask(gw, "GET", "/admin/v1/audit/verify", token=owner)[1]["good"])

            status, answer = self.ask(gw, "GET", "/admin/v1/members", token=owner)
            self.assertEqual([row["name"] for row in answer["members"]], ["ann", "olga", "sam", "vic"])
            self.assertNotIn(operator, json.dumps(answer))
            self.assertEqual(self.ask(gw, "DELETE", "/admin/v1/members/ann", token=owner)[0], 200)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/keys", token=operator)[0], 401)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/members")[0], 200)  # the configured token is an owner

    def test_a_token_ends_when_it_was_said_to_and_a_removed_one_at_once(self):
        with self.gateway() as gw:
            brief, long = (gw.cli("admin", "create", name, "--role", "viewer", "--expires", time_).strip() for name, time_ in (("vic", "2s"), ("ann", "1h")))
            self.assertEqual([self.ask(gw, "GET", "/admin/v1/keys", token=token)[0] for token in (brief, long)], [200, 200])
            deadline = time.monotonic() + PATIENCE_S
            while self.ask(gw, "GET", "/admin/v1/keys", token=brief)[0] == 200 and time.monotonic() < deadline:
                time.sleep(0.1)  # the wall clock is what it waits for
            self.assertEqual([self.ask(gw, "GET", "/admin/v1/keys", token=token)[0] for token in (brief, long)], [401, 200])
            gw.cli("admin", "remove", "ann")
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/keys", token=long)[0], 401)

    def test_a_client_key_is_no_token_and_a_token_no_client_key(self):
        with self.gateway() as gw:
            token = gw.cli("admin", "create", "olga", "--role", "owner").strip()
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=gw.keys["main"])[0], 401)
            self.assertEqual(self.chat(gw, token).status, 401)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/members", {"name": "x", "role": "king"})[0], 400)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/members", {"name": "olga", "role": "viewer"})[0], 409)
            for name in os.listdir(gw.path + "/data"):
                path = os.path.join(gw.path, "data", name)
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        self.assertNotIn(token[4:].encode(), file.read())


if __name__ == "__main__":
    main()
