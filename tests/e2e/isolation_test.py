"""One project tries everything it can to reach another. docs/internals/isolation.md says why nothing of it works.

`alpha` attacks, `beta` holds what is worth stealing: its provider and key, its workflow, its key-value space, its secret,
its last good answers, its sessions, its requests' records. Both are served by the same two workers, and both speak to one
upstream, so that connections are shared.
"""

import os
import subprocess
import unittest

from moongate import BIN, PATIENCE_S, Gateway, Upstream, error_answer, json_answer, main

PROJECT = """return {{
  allow_direct = true,
  providers = {{
    {name}_cloud = {{ adapter = "openai", base_url = "{url}", api_key = secret "key", breaker = false }},
  }},
  workflows = {{
    chat = {{ targets = {{ "{name}_cloud/model" }}, offline = {{ last_good_ms = 60000 }}, max_attempts = 1, deadline_ms = 5000 }},
    only_{name} = "{name}_cloud/model",
  }},
  plugins = {{ {{ as = "memory", grant = {{ "kv", "content:request" }}, on_request = function(self, req)
    self.seen = (self.seen or 0) + 1
    local said = req.messages[1]:text()
    if said == "remember" then
      moongate.kv.set("mine", "{name}'s own")
      moongate.kv.set("shared:ours", "{name}'s shared")
      return req:respond {{ text = "kept " .. self.seen }}
    elseif said == "recall" then
      return req:respond {{ text = tostring(moongate.kv.get("mine")) .. "/" .. tostring(moongate.kv.get("shared:ours")) .. "/" .. self.seen }}
    end
  end }} }},
}}"""


def say(text, model="chat"):
    return {"model": model, "messages": [{"role": "user", "content": text}]}


class Isolation(unittest.TestCase):
    def gateway(self, up):
        projects = {name: PROJECT.format(name=name, url=up.url) for name in ("alpha", "beta")}
        gw = Gateway(projects)
        for name in projects:
            folder = os.path.join(gw.path, "secrets", name)
            os.makedirs(folder)
            with open(os.open(os.path.join(folder, "key"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(f"sk-of-{name}")
        return gw

    def ask(self, gw, name, body, headers=None, path="/v1/chat/completions"):
        return gw.request("POST", path, body, {"authorization": f"Bearer {gw.keys[name]}", **(headers or {})}, key=False)

    def get(self, gw, path, name="alpha"):
        return gw.request("GET", path, headers={"authorization": f"Bearer {gw.keys[name]}"}, key=False)

    def test_models_of_another_project_are_as_unknown_as_those_of_none(self):
        with Upstream() as up, self.gateway(up) as gw:
            for model in ("only_beta", "beta_cloud/model", "beta/chat", "beta:chat", "beta/beta_cloud/model", "../beta/chat",
                          "alpha/../beta_cloud/model", "beta%2fchat", "only_beta\u0000", "chat\u0000beta"):
                theirs = self.ask(gw, "alpha", say("x", model))
                self.assertEqual((theirs.status, theirs.json["error"]["code"]), (404, "model_not_found"), model)
            nobodys = self.ask(gw, "alpha", say("x", "only_gamma"))
            theirs = self.ask(gw, "alpha", say("x", "only_beta"))
            self.assertEqual(theirs.json["error"]["message"], nobodys.json["error"]["message"].replace("only_gamma", "only_beta"))
            listed = self.get(gw, "/v1/models").body.decode()
            self.assertNotIn("beta", listed)
            for id in ("only_beta", "beta_cloud%2Fmodel"):
                self.assertEqual(self.get(gw, f"/v1/models/{id}").status, 404)
            self.assertEqual(up.count, 0)

    def test_no_header_path_or_field_names_another_project(self):
        with Upstream(json_answer("hi")) as up, self.gateway(up) as gw:
            names = ("x-moongate-project", "moongate-project", "openai-project", "openai-organization", "x-project", "project",
                     "x-moongate-generation", "x-moongate-provider", "x-forwarded-for", "forwarded", "x-tenant", "host")
            for name in names:
                answer = self.ask(gw, "alpha", say("hi"), {name: "beta"})
                self.assertEqual((answer.status, answer.headers["x-moongate-provider"]), (200, "alpha_cloud"), name)
                self.assertEqual(gw.trace(answer)["project"], "alpha")
                self.assertEqual(up.next_request().headers["authorization"], "Bearer sk-of-alpha")
            for more in ({"project": "beta"}, {"metadata": {"project": "beta"}}, {"user": "beta"}, {"provider": "beta_cloud"}):
                answer = self.ask(gw, "alpha", {**say("hi"), **more})
                self.assertEqual(gw.trace(answer)["project"], "alpha")
                self.assertEqual(up.next_request().headers["authorization"], "Bearer sk-of-alpha")
            for path in ("/beta/v1/chat/completions", "/v1/beta/chat/completions", "/v1/projects/beta/chat/completions"):
                self.assertEqual(self.ask(gw, "alpha", say("hi"), path=path).status, 404)

    def test_a_key_works_in_its_own_project_whatever_its_text_says(self):
        with Upstream() as up, self.gateway(up) as gw:
            key = gw.keys["alpha"]
            forged = [key.replace("mg-alpha-", "mg-beta-"), f"mg-beta-{key[9:]}", f"{key} {gw.keys['beta'][:8]}", key + "\u00e9", "mg-beta-"]
            for text in forged:
                answer = gw.request("POST", "/v1/chat/completions", say("hi"), {"authorization": f"Bearer {text}"}, key=False)
                self.assertEqual(answer.status, 401)
            both = gw.request("POST", "/v1/chat/completions", say("hi", "only_beta"),
                              {"authorization": f"Bearer {key}", "api-key": gw.keys["beta"], "x-api-key": gw.keys["beta"]},
                              key=False)
            self.assertEqual(both.status, 404)  # the first place counts, and only it
            self.assertEqual(up.count, 0)

    def test_key_value_spaces_and_plugin_state_are_each_project_s_own(self):
        with Upstream() as up, self.gateway(up) as gw:
            def text(name, said):
                return self.ask(gw, name, say(said)).json["choices"][0]["message"]["content"]

            text("beta", "remember")
            for i in range(20):  # whichever worker; what this state has seen are alpha's own requests
                text("beta", "recall")
                mine, ours, seen = text("alpha", "recall").split("/")
                self.assertEqual((mine, ours), ("nil", "nil"))
                self.assertLessEqual(int(seen), i + 1)
            text("alpha", "remember")
            self.assertTrue(text("beta", "recall").startswith("beta's own/beta's shared/"))
            self.assertTrue(text("alpha", "recall").startswith("alpha's own/alpha's shared/"))

    def test_a_last_good_answer_is_never_given_to_another_project(self):
        with Upstream(json_answer("for beta only")) as up, self.gateway(up) as gw:
            self.assertEqual(self.ask(gw, "beta", say("the same question")).status, 200)
            up.answer(error_answer(500))
            self.assertGreaterEqual(self.ask(gw, "alpha", say("the same question")).status, 500)
            kept = self.ask(gw, "beta", say("the same question"))
            self.assertEqual((kept.status, kept.headers["x-moongate-offline"]), (200, "last_good"))

    def test_shared_connections_carry_each_project_s_own_credential(self):
        with Upstream(json_answer("hi")) as up, self.gateway(up) as gw:
            for i in range(40):
                name = ("alpha", "beta")[i % 2]
                self.assertEqual(self.ask(gw, name, say(f"from {name}"), {"x-moongate-session": "one session"}).status, 200)
                request = up.next_request()
                self.assertEqual(request.headers["authorization"], f"Bearer sk-of-{name}")
                self.assertIn(f"from {name}".encode(), request.body)

    def test_a_project_cannot_resolve_a_secret_of_another(self):
        with Upstream() as up, self.gateway(up) as gw:
            subprocess.run([BIN, "secret", "set", "vaulted", "--project", "beta", "--data", gw.path + "/data"], input=b"sk-in-the-vault",
                           check=True, capture_output=True, timeout=PATIENCE_S)
            for wanted in ("vaulted", "beta/key", "../beta/key", "/beta/key", "..", "beta:key"):
                gw.lines.clear()
                gw.write("projects/alpha.lua", PROJECT.format(name="alpha", url=up.url).replace('secret "key"', f'secret "{wanted}"'))
                gw.wait_line(r" generation\.refused project=alpha")
                answer = self.ask(gw, "alpha", say("hi"))  # the generation before it serves on
                self.assertEqual(answer.status, 200)
                self.assertEqual(up.next_request().headers["authorization"], "Bearer sk-of-alpha")

    def test_records_are_out_of_reach_of_the_data_plane(self):
        with Upstream(json_answer("hi")) as up, self.gateway(up) as gw:
            theirs = self.ask(gw, "beta", say("hi")).headers["x-request-id"]
            for path in (f"/v1/requests/{theirs}", f"/admin/v1/requests/{theirs}", "/admin/v1/keys", "/admin/v1/status", "/metrics",
                         f"/v1/chat/completions/{theirs}", f"/v1/models/{theirs}", "/admin/v1/disabled", "/admin/v1/usage"):
                answer = self.get(gw, path)
                self.assertIn(answer.status, (404, 405), path)

    def test_lua_of_a_project_finds_no_way_out_of_it(self):
        with Upstream(json_answer("hi")) as up, self.gateway(up) as gw:
            code = """on_request = function(req)
              local out = {}
              for name, value in pairs(moongate) do
                out[#out + 1] = name
                if type(value) == "table" then for inner in pairs(value) do out[#out + 1] = name .. "." .. inner end end
              end
              for _, name in ipairs { "io", "os.execute", "debug", "package", "ffi", "require_ffi", "loadfile", "dofile", "getfenv", "setfenv", "rawset_global" } do
                local at = _G
                for part in name:gmatch "[^.]+" do at = type(at) == "table" and rawget(at, part) or nil end
                if at then out[#out + 1] = "OPEN:" .. name end
              end
              return req:respond { text = table.concat(out, " ") .. " project=" .. tostring(moongate.project) }
            end,"""
            text = PROJECT.format(name="alpha", url=up.url)
            seen = len(gw.lines)
            gw.write("projects/alpha.lua", text.rstrip().rstrip("}") + code + "}")
            gw.wait_line(r" generation\.swapped project=alpha number=2", after=seen)
            answer = self.ask(gw, "alpha", say("hi")).json["choices"][0]["message"]["content"]
            self.assertNotIn("OPEN:", answer)
            self.assertNotIn("beta", answer)
            self.assertTrue(answer.endswith("project=alpha"), answer)

    def test_a_switch_and_a_limit_of_one_project_leave_the_other_alone(self):
        with Upstream(json_answer("hi")) as up, self.gateway(up) as gw:
            gw.cli("project", "disable", "alpha")
            self.assertEqual([self.ask(gw, name, say("hi")).status for name in ("alpha", "beta")], [403, 200])
            gw.cli("project", "enable", "alpha")
            gw.cli("workflow", "disable", "chat", "--project", "beta")
            self.assertEqual([self.ask(gw, name, say("hi")).status for name in ("alpha", "beta")], [200, 503])


if __name__ == "__main__":
    main()
