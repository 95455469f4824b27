"""Tokens of an OpenID Connect provider on the admin plane: signing in, roles, rotation of keys, and the commands elsewhere."""

import json
import os
import subprocess
import tempfile
import time

from identity import Provider, ScriptedProvider
from moongate import BIN, PATIENCE_S, certificate, clean_env, main
from oidc import API, Login, Oidc, admin, claims_of, sign_in


class People(Oidc):
    def test_somebody_signs_in_with_a_code_and_is_who_the_provider_says(self):
        with Provider() as idp:
            gw = self.with_keys(idp.issuer)
            token, said = sign_in(gw.path, "ann")
            self.assertIn("Signed in as oidc:ann@example.com: operator of search.", said)
            self.assertEqual(said.count(token), 0)
            self.assertEqual(claims_of(token)["aud"], "moongate")

            status, made = self.ask(gw, "POST", "/admin/v1/keys", {"project": "search"}, token)
            self.assertEqual(status, 201)
            self.assertEqual({row["project"] for row in self.ask(gw, "GET", "/admin/v1/keys", token=token)[1]["keys"]}, {"search"})
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/keys", {"project": "support"}, token)[0], 403)
            for method, path in (("GET", "/admin/v1/status"), ("GET", "/admin/v1/audit"), ("GET", "/admin/v1/members"), ("POST", "/admin/v1/reload")):
                self.assertEqual(self.ask(gw, method, path, token=token)[0], 403, path)
            status, row = self.ask(gw, "POST", "/admin/v1/disable", {"kind": "workflow", "name": "chat"}, token)
            self.assertEqual((status, row["project"], row["by"]), (200, "search", "oidc:ann@example.com"))

            entries = json.loads(gw.cli("audit", "--json"))["entries"]
            acts = [(entry["actor"], entry["act"], entry["project"], entry["subject"]) for entry in entries]
            self.assertIn(("oidc:ann@example.com", "key.create", "search", made["id"]), acts)
            self.assertIn(("oidc:ann@example.com", "switch.disable", "search", "chat"), acts)
            gw.wait_line(r" key\.create project=search .* by=oidc:ann@example\.com")
            self.assertNotIn(token, "\n".join(gw.lines))

    def test_a_browser_on_this_machine_brings_the_code_back(self):
        for alg in ("RS256", "ES256"):
            with self.subTest(alg), Provider(alg=alg) as idp:
                gw = self.with_keys(idp.issuer)
                token, said = sign_in(gw.path, "olga", "--browser")
                self.assertIn("oidc:olga@example.com: owner of all projects", said)
                self.assertIn("nonce", claims_of(token))
                self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=token)[0], 200)
                self.assertEqual(self.ask(gw, "GET", "/admin/v1/members", token=token)[0], 200)
                self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=token)[1]["oidc"]["keys"], 2)

    def test_whoever_has_a_role_in_two_projects_says_which(self):
        with Provider() as idp:
            gw = self.with_keys(idp.issuer)
            token, said = sign_in(gw.path, "vic", "--browser")
            self.assertIn("viewer of search, viewer of support", said)
            status, answer = self.ask(gw, "GET", "/admin/v1/keys", token=token)
            self.assertEqual(status, 400)
            self.assertIn("x-moongate-project", answer["error"]["message"])
            for project in ("search", "support"):
                status, answer = self.ask(gw, "GET", "/admin/v1/keys", token=token, project=project)
                self.assertEqual({row["project"] for row in answer["keys"]}, {project})
                self.assertEqual(self.ask(gw, "GET", f"/admin/v1/targets?project={project}", token=token)[1]["targets"][0]["project"], project)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/keys", token=token, project="other")[0], 403)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/targets?project=other", token=token)[0], 403)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/keys", {"project": "search"}, token)[0], 403)

    def test_the_header_confines_whoever_may_more(self):
        with Provider() as idp:
            gw = self.with_keys(idp.issuer)
            token, _ = sign_in(gw.path, "olga", "--browser")
            self.assertEqual({row["project"] for row in self.ask(gw, "GET", "/admin/v1/keys", token=token)[1]["keys"]}, {"search", "support"})
            self.assertEqual({row["project"] for row in self.ask(gw, "GET", "/admin/v1/keys", token=token, project="search")[1]["keys"]}, {"search"})
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=token, project="search")[0], 403)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/keys", token=token, project='se"arch')[0], 403)

    def test_without_a_role_nobody_comes_in_and_an_unverified_email_is_none(self):
        with Provider() as idp:
            gw = self.with_keys(idp.issuer)
            token, said = sign_in(gw.path, "eve", "--browser")
            self.assertFalse(claims_of(token)["email_verified"])
            self.assertIn("Signed in as oidc:eve, who may do nothing here", said)  # the email is not believed either
            status, answer = self.ask(gw, "GET", "/admin/v1/keys", token=token)
            self.assertEqual(status, 401)
            self.assertIn("roles", answer["error"]["message"])

    def test_a_machine_brings_an_access_token_of_its_own(self):
        for alg in ("RS256", "ES256"):
            with self.subTest(alg), Provider(access_alg=alg) as idp:
                gw = self.with_keys(idp.issuer)
                token = idp.machine_token(API)
                status, row = self.ask(gw, "POST", "/admin/v1/disable", {"kind": "workflow", "name": "chat"}, token)
                self.assertEqual((status, row["project"], row["by"]), (200, "support", "oidc:robot"))
                self.assertEqual(self.ask(gw, "GET", "/admin/v1/keys", token=idp.machine_token("https://another.test"))[0], 401)

    def test_a_person_may_ask_for_the_access_token_and_gets_it_where_nothing_else_is_taken(self):
        with Provider() as idp:
            gw = self.with_keys(idp.issuer, roles='{ { claim = "sub", value = "ann", role = "viewer" } }')
            gw.write("api.lua", "return {" + admin(idp.issuer).replace('{ "moongate", ', "{ ") + "}")
            for config, how in (("gateway.lua", ("--access-token",)), ("api.lua", ("--browser",))):
                token, _ = sign_in(os.path.join(gw.path, config), "ann", *how)
                self.assertEqual(claims_of(token)["aud"], API)
                self.assertEqual(self.ask(gw, "GET", "/admin/v1/keys", token=token)[0], 200)

    def test_the_provider_is_asked_over_tls_and_must_be_who_it_says(self):
        with tempfile.TemporaryDirectory() as folder:
            cert, key = certificate(folder)
            with Provider(cert=cert, key=key) as idp:
                gw = self.with_keys(idp.issuer, more=f'ca = "{cert}"')
                token, _ = sign_in(gw.path, "olga", "--browser", verify=cert)
                self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=token)[0], 200)
                with self.gateway(idp.issuer) as stranger:  # without the ca
                    line = stranger.wait_line(r" oidc\.keys_failed ")
                    self.assertRegex(line, "certificate|verif")
                    self.assertEqual(self.ask(stranger, "GET", "/admin/v1/status", token=token)[0], 503)
                failed = Login("--issuer", idp.issuer, "--client-id", "moongate").end()
                self.assertEqual(failed, (1, ""))

    def test_new_keys_of_the_provider_are_found_when_a_token_needs_them(self):
        with Provider() as idp:
            gw = self.with_keys(idp.issuer)
            old, _ = sign_in(gw.path, "olga", "--browser")
            idp.restart()
            new, _ = sign_in(gw.path, "olga", "--browser")
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=old)[0], 200)
            deadline = time.monotonic() + PATIENCE_S
            while (status := self.ask(gw, "GET", "/admin/v1/status", token=new)[0]) == 503 or status == 401:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)  # keys are asked for at most once in 10 s
            self.assertEqual(status, 200)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=old)[0], 401)  # its key is gone


class Elsewhere(Oidc):
    """The commands against a gateway of another machine."""

    def run_at(self, gw, token, *args, **env):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([BIN, *args], cwd=folder, capture_output=True, text=True, timeout=2 * PATIENCE_S, stdin=subprocess.DEVNULL,
                                  env=clean_env(**{"MOONGATE_URL": f"http://127.0.0.1:{self.port(gw)}", "MOONGATE_TOKEN": token, **env}))
            self.assertEqual(os.listdir(folder), [])  # it did not take a store of its own for the gateway's
            return done

    def test_the_commands_do_what_their_caller_may(self):
        with Provider() as idp:
            gw = self.with_keys(idp.issuer)
            token, _ = sign_in(gw.path, "ann", "--browser")
            made = json.loads(self.run_at(gw, token, "key", "create", "--project", "search", "--json").stdout)
            self.assertEqual({row["project"] for row in json.loads(self.run_at(gw, token, "key", "list", "--json").stdout)["keys"]}, {"search"})
            answer = gw.request("POST", "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}]},
                                {"authorization": f"Bearer {made['key']}"}, key=False)
            self.assertEqual(answer.status, 200)
            self.assertIn(answer.headers["x-request-id"], self.run_at(gw, token, "logs", "--json").stdout)
            self.assertIn(made["id"], self.run_at(gw, token, "usage", "--by", "key", "--json").stdout)
            self.assertEqual(json.loads(self.run_at(gw, token, "trace", answer.headers["x-request-id"], "--json").stdout)["id"], answer.headers["x-request-id"])
            self.assertIn("is disabled", self.run_at(gw, token, "workflow", "disable", "chat").stdout)
            self.assertEqual(json.loads(self.run_at(gw, token, "disabled", "--json").stdout)["disabled"][0]["by"], "oidc:ann@example.com")
            self.assertEqual(json.loads(self.run_at(gw, token, "targets", "--json").stdout)["targets"][0]["project"], "search")
            for args in (("audit",), ("admin", "list"), ("admin", "create", "eve", "--role", "owner"), ("key", "create", "--project", "support")):
                done = self.run_at(gw, token, *args)
                self.assertEqual((done.returncode, done.stdout), (1, ""), args)
                self.assertIn("role", done.stderr, args)
            self.assertIn(("oidc:ann@example.com", "key.create"), {(row["actor"], row["act"]) for row in json.loads(gw.cli("audit", "--json"))["entries"]})

    def test_a_project_is_named_by_the_environment(self):
        with Provider() as idp:
            gw = self.with_keys(idp.issuer)
            token, _ = sign_in(gw.path, "vic", "--browser")
            self.assertIn("x-moongate-project", self.run_at(gw, token, "key", "list").stderr)
            for project in ("search", "support"):
                rows = json.loads(self.run_at(gw, token, "key", "list", "--json", MOONGATE_PROJECT=project).stdout)["keys"]
                self.assertEqual({row["project"] for row in rows}, {project})
            self.assertEqual(self.run_at(gw, token, "key", "list", MOONGATE_PROJECT="a\r\nx: y").returncode, 1)

    def test_who_is_not_let_in_or_does_not_get_through_is_told_and_nothing_is_done_here_instead(self):
        with ScriptedProvider() as idp, self.gateway(idp.issuer) as gw:
            self.assertIn("token", self.run_at(gw, "mga-wrong", "key", "list").stderr)
            self.assertIn("is no token", self.run_at(gw, "a\r\nx: y", "key", "list").stderr)
            self.assertIn("must be https", self.run_at(gw, "t", "key", "list", MOONGATE_URL="http://192.0.2.1:8081").stderr)
            for args in (("key", "create", "--project", "search"), ("key", "list"), ("logs",), ("usage",), ("audit",), ("secret", "list"), ("limits",),
                         ("targets",), ("trace", "req_x"), ("disabled",), ("usage", "reprice", "--dry-run")):
                done = self.run_at(gw, "t", *args, MOONGATE_URL="http://127.0.0.1:1")
                self.assertEqual((done.returncode, done.stdout), (1, ""), args)
                self.assertIn("the gateway 127.0.0.1", done.stderr, args)


if __name__ == "__main__":
    main()
