"""The vault: secrets are encrypted in the store, in clear only while an attempt is sent, and rotated while traffic flows."""

import base64
import contextlib
import glob
import pwd
import shutil
import sqlite3
import threading

from moongate import *

PROJECT = """return {{
  providers = {{ p = {{ base_url = "{url}", api_key = secret "openai" }} }},
  workflows = {{ chat = {{ targets = {{ "p/m" }} }} }},
}}"""


def unique(kind):
    """A key that stands nowhere else on this machine, spelt so that this process does not hold it in one piece twice."""
    return "sk-" + kind + "-" + os.urandom(12).hex()


def secret(gw_or_path, *args, value=None, check=True, env=None):
    path = gw_or_path if isinstance(gw_or_path, str) else gw_or_path.path
    done = subprocess.run([BIN, "secret", *args, "-c", path], input=value, capture_output=True, text=True, timeout=PATIENCE_S,
                          env=clean_env(**(env or {})))
    if check and done.returncode != 0:
        raise AssertionError(f"moongate secret {args} answered {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def audit(gw, *args):
    return subprocess.run([BIN, "audit", *args, "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)


class Vaulted(Gateway):
    """A gateway whose project has its key in the vault before it starts."""

    def __init__(self, url, key, **more):
        super().__init__({"main": PROJECT.format(url=url)}, **more)
        secret(self, "set", "--project", "main", "openai", value=key, env=self.env)


def memory_holds(pid, needle):
    """Every readable mapping in which the bytes stand."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            if "r" not in mode or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, end = (int(at, 16) for at in span.split("-"))
            if end - start > 1 << 32:      # a sanitizer's shadow: terabytes that hold no bytes of ours
                continue
            try:
                memory.seek(start)
                left = end - start
                tail = b""
                while left > 0:
                    piece = memory.read(min(left, 16 << 20))
                    if not piece:
                        break
                    at = (tail + piece).find(needle)
                    if at >= 0:
                        around = (tail + piece)[max(0, at - 60):at + len(needle) + 60]
                        found.append((line.strip(), around))
                        break
                    tail, left = piece[-len(needle):], left - len(piece)
            except OSError:
                continue
    return found


def is_sanitized(pid):
    """A sanitizer's runtime keeps a copy of the environment that was there before main()."""
    with open(f"/proc/{pid}/maps") as maps:
        return any(int(end, 16) - int(start, 16) > 1 << 32 for start, end in (line.split()[0].split("-") for line in maps))


def files_that_hold(folder, needle):
    holding = []
    for path in glob.glob(folder + "/**", recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                if needle in file.read():
                    holding.append(os.path.relpath(path, folder))
    return holding


class Canary(unittest.TestCase):
    def nothing_holds(self, gw, key, *answers):
        needle = key.encode()
        self.assertTrue(memory_holds(gw.process.pid, b"workflows = { chat ="), "this looks nowhere: a project's text is in memory")
        self.assertEqual(memory_holds(gw.process.pid, needle), [])
        self.assertEqual(files_that_hold(gw.path, needle), [])
        self.assertNotIn(key, "\n".join(gw.lines))
        for answer in answers:
            self.assertNotIn(needle, answer.body)

    def every_way(self, up, gw, key):
        """Good, streamed, good with an echo (whole, and in pieces), refused with an echo, in a header too."""
        answers = []
        up.answer(json_answer("hello"))
        answers.append(gw.chat())
        self.assertEqual(up.next_request().headers["authorization"], f"Bearer {key}")
        up.answer(stream(*good_events("a", "b", "c")))
        answers.append(gw.chat(stream=True))
        up.answer(json_answer(f"your key is {key}"))
        answers.append(gw.chat())
        up.answer(stream(*good_events("x", f"your key is {key}", "y"), pieces=7))
        answers.append(gw.chat(stream=True))
        up.answer(error_answer(401, "invalid_api_key", message=f"Incorrect API key provided: {key}. See the docs.",
                               headers={"x-key": key}))
        answers.append(gw.chat())
        self.assertEqual([answer.status for answer in answers], [200, 200, 200, 200, 502])
        self.assertIn("your key is ****", answers[2].json["choices"][0]["message"]["content"])
        self.assertIn("your key is ****", answers[3].text)
        for answer in answers:
            gw.trace(answer)
        return answers

    def test_a_key_of_the_vault_is_nowhere_once_the_attempt_has_ended(self):
        key = unique("vault")
        with Upstream() as up, Vaulted(up.url, key) as gw:
            answers = self.every_way(up, gw, key)
            self.nothing_holds(gw, key, *answers)

    def test_a_key_that_a_provider_encodes_or_spells_out_is_covered_too(self):
        key = unique("vault")
        plain = base64.b64encode(key.encode()).decode()
        basic = base64.b64encode(f":{key}".encode()).decode()
        with Upstream() as up, Vaulted(up.url, key) as gw:
            up.answer(error_answer(400, "bad", message=f"Authorization: Basic {basic}"))
            refused = gw.chat()
            self.assertEqual(refused.status, 400)
            self.assertNotIn(basic[4:-4], refused.body.decode())
            self.assertIn("****", refused.body.decode())
            up.answer(json_answer(f"I was called with {plain}"))
            answer = gw.chat()
            self.assertEqual(answer.status, 200)
            self.assertNotIn(plain[:12], answer.body.decode())
            self.assertIn("****", answer.body.decode())
            for size in 1, 3, 5, 11:
                up.answer(stream(*good_events("it is ", *[key[i:i + size] for i in range(0, len(key), size)], ", really")))
                answer = gw.chat(stream=True)
                self.assertNotIn(key[size + 7:], answer.text)
                self.assertTrue(answer.text.startswith("it is ") and answer.text.endswith("****, really"), answer.text)
                self.assertEqual(len(answer.text), len(f"it is {key}, really"))
                gw.trace(answer)
            up.answer(stream(*good_events(*["word "] * 50)))
            self.assertEqual(gw.chat(stream=True).text, "word " * 50)
            self.nothing_holds(gw, key, refused, answer)

    def test_a_key_in_an_answer_too_long_to_be_held_is_covered_wherever_it_is_cut(self):
        key = unique("vault")
        body = json.dumps(completion("x" * 1_500_000 + f" {key} " + "y" * 1000)).encode()
        at = body.index(key.encode())

        def script(sock, request):
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
            for start, end in (0, at + 12), (at + 12, at + 20), (at + 20, len(body)):
                sock.sendall(body[start:end])
                time.sleep(0.05)           # so that it is read in pieces

        with Upstream(script) as up, Vaulted(up.url, key) as gw:
            answer = gw.chat()
            self.assertEqual((answer.status, len(answer.body)), (200, len(body)))
            self.assertNotIn(key[8:].encode(), answer.body)
            self.assertEqual(answer.body[at + 12:at + len(key)], b"*" * (len(key) - 12))

    def test_a_key_that_is_set_while_the_gateway_runs_stays_nowhere_either(self):
        key = unique("live")
        with Upstream() as up, Vaulted(up.url, unique("old")) as gw:
            secret(gw, "set", "--project", "main", "openai", value=key)
            answers = self.every_way(up, gw, key)
            self.nothing_holds(gw, key, *answers)

    def test_the_same_over_tls(self):
        key = unique("tls")
        with tempfile.TemporaryDirectory() as folder:
            cert, private = certificate(folder)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, private)
            with Upstream(tls=context) as up:
                text = PROJECT.format(url=up.url).replace("api_key =", f'tls = {{ ca = "{cert}" }}, api_key =')
                gw = Gateway({"main": text})
                secret(gw, "set", "--project", "main", "openai", value=key)
                with gw:
                    answers = self.every_way(up, gw, key)
                    self.nothing_holds(gw, key, *answers)

    def test_a_key_from_the_environment_leaves_it(self):
        key = unique("env")
        with Upstream() as up:
            text = PROJECT.format(url=up.url).replace('secret "openai"', 'env "TEAM_KEY"')
            with Gateway({"main": text}, env={"TEAM_KEY": key}) as gw:
                with open(f"/proc/{gw.process.pid}/environ", "rb") as environment:
                    variables = environment.read()
                self.assertIn(b"TEAM_KEY=", variables)
                self.assertNotIn(key.encode(), variables)
                gw.write("projects/main.lua", text + "\n")   # a reload finds it all the same
                gw.wait_line(r"generation.swapped project=main number=2")
                answers = self.every_way(up, gw, key)
                if not is_sanitized(gw.process.pid):
                    self.nothing_holds(gw, key, *answers)

    def test_a_secret_header_is_sent_and_kept_nowhere(self):
        key = unique("header")
        with Upstream() as up:
            text = PROJECT.format(url=up.url).replace('api_key = secret "openai"', 'headers = { ["x-team"] = secret "team" }')
            gw = Gateway({"main": text})
            secret(gw, "set", "--project", "main", "team", value=key)
            with gw:
                answer = gw.chat()
                self.assertEqual((answer.status, up.next_request().headers["x-team"]), (200, key))
                gw.trace(answer)
                self.nothing_holds(gw, key, answer)


class Dumped(Vaulted):
    prefix = ["prlimit", "--core=unlimited:unlimited"]

    def core(self):
        """What the process leaves when it is killed now."""
        self.process.send_signal(signal.SIGABRT)
        self.process.wait(PATIENCE_S)
        self.stop()
        name, = glob.glob(self.path + "/core*")
        with open(name, "rb") as file:
            return file.read()


def writes_cores_here():
    with open("/proc/sys/kernel/core_pattern") as pattern:
        return re.fullmatch(r"core(\.%p)?", pattern.read().strip())


@unittest.skipUnless(writes_cores_here() and shutil.which("prlimit"), "core dumps go elsewhere on this machine")
class CoreDump(unittest.TestCase):
    def dumped(self, gw, key):
        self.addCleanup(gw.folder.cleanup)
        self.addCleanup(gw.stop, signal.SIGKILL)
        if is_sanitized(gw.process.pid):
            self.skipTest("a sanitizer writes no core")
        core = gw.core()
        self.assertIn(b"workflows = { chat =", core, "this is no dump of ours: a project's text is in memory")
        self.assertNotIn(key.encode(), core)
        self.assertEqual(files_that_hold(gw.path, key.encode()), [])

    def test_a_core_dump_after_attempts_does_not_hold_the_key(self):
        key = unique("core")
        with Upstream() as up:
            gw = Dumped(up.url, key).start()
            for script in json_answer("hi"), error_answer(401, "invalid_api_key", message=f"no: {key}"), json_answer(f"it is {key}"):
                up.answer(script)
                gw.chat()
            self.assertEqual(up.next_request().headers["authorization"], f"Bearer {key}")
            self.dumped(gw, key)

    def test_a_core_dump_while_the_provider_thinks_does_not_hold_the_key(self):
        key = unique("core")
        with Upstream(hang) as up:
            gw = Dumped(up.url, key).start()
            asking = threading.Thread(target=lambda: self.assertRaises(Exception, gw.chat))
            asking.start()
            self.assertEqual(up.next_request().headers["authorization"], f"Bearer {key}")
            self.dumped(gw, key)
            asking.join()

    def test_a_core_dump_while_a_callers_key_is_in_use_does_not_hold_it(self):
        key = unique("core")
        with Upstream(hang) as up:
            gw = Dumped(up.url, unique("own"))
            gw.write("projects/main.lua", PROJECT.format(url=up.url).replace("api_key =", 'caller_keys = "accept", api_key ='))
            gw.start()
            asking = threading.Thread(target=lambda: self.assertRaises(Exception, gw.chat, headers={"x-moongate-key-p": key}))
            asking.start()
            self.assertEqual(up.next_request().headers["authorization"], f"Bearer {key}")
            self.dumped(gw, key)
            asking.join()


class Plugins(unittest.TestCase):
    MANIFEST = {"manifest": 1, "name": "dlp", "version": "1.0.0", "api": 1, "stage": "guard", "hooks": ["on_request"],
                "permissions": {"net": ["http://127.0.0.1"], "secrets": ["dlp_token"]},
                "config": {"type": "object", "additionalProperties": False, "properties": {
                    "url": {"type": "string"}, "token": {"type": "string", "format": "secret-ref"}}}}
    CODE = """local M = {}
function M:on_request(req)
  local answer, err = moongate.http.request { url = self.config.url, headers = { Authorization = moongate.secrets.bearer(self.config.token) } }
  moongate.log.info("asked", { token = tostring(self.config.token), answer = answer and answer.body or err.code })
end
return M"""

    def test_a_plugin_uses_a_secret_of_its_config_without_seeing_it(self):
        key = unique("plugin")
        echo = lambda sock, request: respond(200, request.headers["authorization"].encode(), {"content-type": "text/plain"})(sock, request)
        with Upstream() as up, Upstream(echo) as dlp:
            origin = f"http://127.0.0.1:{dlp.port}"
            manifest = json.loads(json.dumps(self.MANIFEST).replace("http://127.0.0.1", origin))
            text = project(up, extra=f"""plugins = {{ {{ use = "dlp", as = "dlp", grant = {{ "net:{origin}", "secret:dlp_token" }},
                config = {{ url = "{origin}/check", token = secret "dlp_token" }} }} }}""")
            gw = Gateway({"main": text}, files={"plugins/dlp/plugin.json": json.dumps(manifest),
                                                "plugins/dlp/init.lua": self.CODE})
            with gw:
                self.assertEqual(gw.chat().status, 200)
                gw.wait_line('asked .*"answer":"secret"')      # not there yet: the plugin is told, the request goes on
                secret(gw, "set", "--project", "main", "dlp_token", value=key)
                answer = gw.chat()
                self.assertEqual((answer.status, dlp.next_request().headers["authorization"]), (200, f"Bearer {key}"))
                gw.wait_line(r"asked .*secret\(dlp_token\)")
                gw.wait_line(r"asked .*Bearer \*\*\*\*")
                gw.trace(answer)
                self.assertEqual(memory_holds(gw.process.pid, key.encode()), [])
                self.assertEqual(files_that_hold(gw.path, key.encode()), [])
                self.assertNotIn(key, "\n".join(gw.lines))

    def test_a_plugin_that_asks_for_a_secret_it_is_not_granted_is_no_part_of_a_generation(self):
        with Upstream() as up:
            text = project(up, extra='plugins = { { use = "dlp", as = "dlp", grant = { "net:http://127.0.0.1" } } }')
            with Gateway(project(up), files={"plugins/dlp/plugin.json": json.dumps(self.MANIFEST),
                                             "plugins/dlp/init.lua": self.CODE}) as gw:
                gw.write("projects/main.lua", text)
                gw.wait_line(r'generation.refused .*add grant = \{ .*secret:dlp_token')


class Rows(unittest.TestCase):
    """What lies in the store, and what somebody who can write there gains."""

    def store(self, gw):
        return sqlite3.connect(os.path.join(gw.path, "data", "moongate.db"))

    def test_a_ciphertext_moved_to_another_project_or_name_does_not_open(self):
        with Upstream() as up:
            text = PROJECT.format(url=up.url)
            gw = Gateway({"main": text, "other": text})
            for project in "main", "other":
                secret(gw, "set", "--project", project, "openai", value=unique(project))
            with self.store(gw) as db:
                db.execute("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE project = 'main') WHERE project = 'other'")
            db.close()
            with gw:
                gw.wait_line(r"vault.broken_secret .*openai of project other does not open")
                self.assertEqual(gw.chat().status, 200)
                refused = gw.request("POST", "/v1/chat/completions", {"model": "chat", "messages": []},
                                     {"authorization": f"Bearer {gw.keys['other']}"}, key=False)
                self.assertNotEqual(refused.status, 200)
                self.assertEqual(up.count, 1)

    def test_a_data_key_that_was_damaged_or_moved_takes_nobody_elses_down(self):
        with Upstream() as up:
            text = PROJECT.format(url=up.url)
            gw = Gateway({"main": text, "other": text})
            for project in "main", "other":
                secret(gw, "set", "--project", project, "openai", value=unique(project))
            for sql, of in (("UPDATE vault_keys SET wrapped = zeroblob(60) WHERE project = 'other'", "other"),
                            ("UPDATE vault_keys SET project = 'third' WHERE project = 'other'", "third"),
                            ("UPDATE vault_keys SET wrapped = zeroblob(60) WHERE project = ''", "")):
                with self.store(gw) as db:
                    db.execute(sql)
                db.close()
                gw.lines = []
                with gw if not of else self.kept(gw):
                    gw.wait_line(rf"vault.broken_key .*project '{of}'")
                    self.assertEqual(gw.chat().status, 200)
                    if of:
                        ask = {"authorization": f"Bearer {gw.keys['other']}"}
                        body = {"model": "chat", "messages": []}
                        self.assertNotEqual(gw.request("POST", "/v1/chat/completions", body, ask, key=False).status, 200)
                        secret(gw, "set", "--project", "other", "openai", value=unique("mended"))
                        gw.wait_line("generation.swapped project=other")
                        self.assertEqual(gw.request("POST", "/v1/chat/completions", body, ask, key=False).status, 200)
                    else:
                        gw.wait_line("audit.broken")
                        self.assertEqual(audit(gw, "verify").returncode, 1)

    @contextlib.contextmanager
    def kept(self, gw):
        gw.start()
        yield gw
        self.assertEqual(gw.stop(), 0)

    def test_the_master_key_is_a_file_of_its_own_and_without_it_nothing_opens(self):
        with Upstream() as up:
            gw = Vaulted(up.url, unique("vault"))
            path = os.path.join(gw.path, "data", "master.key")
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            os.rename(path, path + ".away")
            self.assertIn("the master key cannot be read", secret(gw, "list", check=False).stderr)
            with open(path, "w") as file:
                file.write("00" * 32)
            self.assertIn("chmod 600", secret(gw, "list", check=False).stderr)
            os.chmod(path, 0o600)
            self.assertIn("was wrapped by the master key file:", secret(gw, "list", check=False).stderr)
            os.rename(path + ".away", path)
            with gw:
                self.assertEqual(gw.chat().status, 200)

    def test_the_master_key_may_come_from_the_environment_and_leaves_it(self):
        key, master = unique("vault"), os.urandom(32).hex()
        with Upstream() as up, Vaulted(up.url, key, gateway='vault = { master = "env" }',
                                       env={"MOONGATE_MASTER_KEY": master}) as gw:
            self.assertEqual((gw.chat().status, up.next_request().headers["authorization"]), (200, f"Bearer {key}"))
            with open(f"/proc/{gw.process.pid}/environ", "rb") as environment:
                self.assertNotIn(master.encode(), environment.read())
            if not is_sanitized(gw.process.pid):
                self.assertEqual(memory_holds(gw.process.pid, master.encode()), [])
            self.assertFalse(os.path.exists(os.path.join(gw.path, "data", "master.key")))


class Rotation(unittest.TestCase):
    def test_the_next_request_uses_the_new_version_and_no_generation_is_built(self):
        first, second = unique("first"), unique("second")
        with Upstream() as up, Vaulted(up.url, first) as gw:
            self.assertEqual((gw.chat().status, up.next_request().headers["authorization"]), (200, f"Bearer {first}"))
            self.assertIn("version 2", secret(gw, "rotate", "--project", "main", "openai", value=second + "\n").stdout)
            self.assertEqual((gw.chat().status, up.next_request().headers["authorization"]), (200, f"Bearer {second}"))
            self.assertFalse([line for line in gw.lines if "number=2" in line])
            self.assertEqual(memory_holds(gw.process.pid, second.encode()), [])

    def test_what_was_held_against_the_old_key_is_not_held_against_the_new_one(self):
        refuse = error_answer(401, "invalid_api_key")
        with Upstream(refuse) as up, Vaulted(up.url, unique("revoked")) as gw:
            self.assertEqual(gw.chat().status, 502)
            up.answer(json_answer("hi"))
            self.assertEqual(gw.chat().status, 502)        # left alone
            secret(gw, "rotate", "--project", "main", "openai", value=unique("fresh"))
            self.assertEqual(gw.chat().status, 200)

    def test_under_load_every_request_is_sent_with_one_of_the_two(self):
        keys = [unique(f"v{i}") for i in range(6)]
        with Upstream() as up, Vaulted(up.url, keys[0]) as gw:
            done = threading.Event()
            statuses = []

            def ask():
                while not done.is_set():
                    statuses.append(gw.chat().status)

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for key in keys[1:]:
                secret(gw, "rotate", "--project", "main", "openai", value=key)
            done.set()
            for thread in threads:
                thread.join()
            seen = [up.requests.get().headers["authorization"][7:] for _ in range(up.count)]
            self.assertEqual((set(statuses), set(seen) - set(keys)), ({200}, set()))
            gw.chat()
            self.assertEqual(up.next_request().headers["authorization"], f"Bearer {keys[-1]}")

    def test_a_project_that_lacked_its_secret_is_built_when_it_comes(self):
        with Upstream() as up:
            late = PROJECT.format(url=up.url).replace('"openai"', '"later"')
            gw = Gateway({"main": PROJECT.format(url=up.url), "late": late})
            secret(gw, "set", "--project", "main", "openai", value=unique("here"))
            with gw:
                gw.wait_line(r"late.*moongate secret set --project late later")
                secret(gw, "set", "--project", "late", "later", value=unique("late"))
                gw.wait_line(r"generation.swapped project=late number=1")

    def test_a_check_knows_what_the_vault_has(self):
        with Upstream() as up:
            gw = Gateway({"main": PROJECT.format(url=up.url)})
            self.addCleanup(gw.folder.cleanup)

            def check():
                return subprocess.run([BIN, "check", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)

            self.assertIn("moongate secret set --project main openai", check().stderr)
            secret(gw, "set", "--project", "main", "openai", value=unique("here"))
            self.assertEqual(check().returncode, 0)
            secret(gw, "remove", "--project", "main", "openai")
            self.assertEqual(check().returncode, 1)

    def test_the_vault_goes_before_the_folder(self):
        vault, file = unique("vault"), unique("file")
        with Upstream() as up:
            gw = Gateway({"main": PROJECT.format(url=up.url)}, files={"secrets/main/openai": file + "\n"})
            os.chmod(os.path.join(gw.path, "secrets/main/openai"), 0o600)
            with gw:
                sent = []
                for step in None, "set", "remove":
                    if step:
                        secret(gw, step, "--project", "main", "openai", value=vault if step == "set" else None)
                    gw.chat()
                    sent.append(up.next_request().headers["authorization"][7:])
                self.assertEqual(sent, [file, vault, file])

    def test_a_removed_secret_is_sent_no_more_and_comes_back_with_a_later_version(self):
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            secret(gw, "remove", "--project", "main", "openai")
            self.assertEqual((gw.chat().status, up.count), (502, 0))
            self.assertIn("no secret openai", secret(gw, "rotate", "--project", "main", "openai", value="x" * 20, check=False).stderr)
            self.assertIn("version 3", secret(gw, "set", "--project", "main", "openai", value=unique("back")).stdout)
            self.assertEqual(gw.chat().status, 200)

    def test_the_list_shows_versions_and_uses_and_never_values(self):
        key = unique("vault")
        with Upstream() as up, Vaulted(up.url, key) as gw:
            gw.chat()
            listed = json.loads(secret(gw, "list", "--json").stdout)["secrets"]
            self.assertEqual([(row["project"], row["name"], row["version"]) for row in listed], [("main", "openai", 1)])
            self.assertGreater(listed[0]["last_used_us"], listed[0]["created_us"])
            self.assertNotIn(key[10:], secret(gw, "list").stdout + secret(gw, "list", "--json").stdout)


class NewMaster(unittest.TestCase):
    def test_the_master_key_is_changed_while_requests_go_on(self):
        key = unique("vault")
        with Upstream() as up, Vaulted(up.url, key) as gw:
            old = os.path.join(gw.path, "data", "master.key")
            new = os.path.join(gw.path, "new.key")
            with open(os.path.join(gw.path, "gateway.lua")) as file:
                text = file.read()
            gw.write("gateway.lua", text.replace("return {", f'return {{ vault = {{ master = {{ kind = "file", path = "{new}" }} }},'))
            done = subprocess.run([BIN, "vault", "rewrap", "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertIn("2 data keys were wrapped again", done.stdout, done.stderr)
            self.assertEqual(gw.chat().status, 200)
            os.unlink(old)
            secret(gw, "rotate", "--project", "main", "openai", value=unique("after"))
            self.assertEqual(gw.chat().status, 200)
            gw.stop()
            gw.lines.clear()
            gw.start()
            self.assertEqual(gw.chat().status, 200)
            self.assertIn("nothing was changed", audit(gw, "verify").stdout)

    def test_a_change_that_was_stopped_half_way_goes_on(self):
        with Upstream() as up:
            gw = Vaulted(up.url, unique("vault"))
            old, new = os.path.join(gw.path, "data", "master.key"), os.path.join(gw.path, "new.key")
            with open(os.path.join(gw.path, "gateway.lua")) as file:
                text = file.read()
            both = f'return {{ vault = {{ master = {{ kind = "file", path = "{new}" }}, previous = {{ kind = "file", path = "{old}" }} }},'
            gw.write("gateway.lua", text.replace("return {", both))
            with gw:                                       # nothing is wrapped again yet
                self.assertEqual(gw.chat().status, 200)
                with sqlite3.connect(os.path.join(gw.path, "data", "moongate.db")) as db:
                    masters = {row[0] for row in db.execute("SELECT master FROM vault_keys")}
                self.assertEqual(len(masters), 1)
                for wrapped in "2 data keys", "0 data keys":
                    done = subprocess.run([BIN, "vault", "rewrap", "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)
                    self.assertIn(wrapped, done.stdout, done.stderr)
                self.assertEqual(gw.chat().status, 200)


class Audit(unittest.TestCase):
    def acts(self, gw):
        return [(row["actor"], row["act"], row["project"], row["subject"]) for row in
                json.loads(audit(gw, "--json").stdout)["entries"]]

    def world(self, up, **more):
        gw = Vaulted(up.url, unique("vault"), **more)
        self.addCleanup(gw.folder.cleanup)
        for i in range(4):
            secret(gw, "rotate", "--project", "main", "openai", value=unique(f"v{i}"))
        return gw

    def tampered(self, sql):
        with Upstream() as up:
            gw = self.world(up)
            self.assertEqual(audit(gw, "verify").returncode, 0)
            with sqlite3.connect(os.path.join(gw.path, "data", "moongate.db")) as db:
                db.executescript(sql)
            db.close()
            done = audit(gw, "verify")
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            secret(gw, "rotate", "--project", "main", "openai", value=unique("next"))
            later = audit(gw, "verify")
            self.assertEqual(later.returncode, 1, "the next act covered it: " + later.stdout)
            return done.stdout

    def test_acts_are_entered_by_whoever_did_them(self):
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            secret(gw, "remove", "--project", "main", "openai")
            me = "local:" + pwd.getpwuid(os.getuid()).pw_name
            self.assertEqual(self.acts(gw)[:2], [("moongate", "audit.begun", None, None), (me, "secret.set", "main", "openai")])
            self.assertIn((me, "secret.remove", "main", "openai"), self.acts(gw))

    def test_who_acts_over_the_socket_is_whom_the_kernel_says_and_a_claim_stands_beside_it(self):
        me = pwd.getpwuid(os.getuid()).pw_name
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            path = os.path.join(gw.path, "data", "control.sock")

            def ask(claim=None, user=None):
                claim = f"x-moongate-actor: {claim}\r\n" if claim else ""
                child = os.fork()                          # that may become somebody else, with what is loaded already
                if not child:
                    try:
                        if user:
                            os.setuid(pwd.getpwnam(user).pw_uid)
                        with socket.socket(socket.AF_UNIX) as sock:
                            sock.connect(path)
                            sock.sendall(f"POST /admin/v1/reload HTTP/1.1\r\nhost: x\r\n{claim}connection: close\r\n\r\n".encode())
                            os._exit(0 if sock.recv(4096).startswith(b"HTTP/1.1 20") else 1)
                    finally:
                        os._exit(2)
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
                return self.acts(gw)[-1][0]

            self.assertEqual(ask(), f"local:{me}")
            self.assertEqual(ask(me), f"local:{me}")
            self.assertEqual(ask("admin.token"), f"local:{me}(admin.token)")
            for lie in 'a" by=b', "x(y)", "two words", "a" * 60:
                self.assertEqual(ask(lie), f"local:{me}")
            if os.getuid() == 0 and os.stat("/").st_mode & 0o001:   # some chroots let nobody but root in
                for part, mode in (gw.path, 0o711), (os.path.dirname(path), 0o711), (path, 0o666):
                    os.chmod(part, mode)
                self.assertEqual(ask("root", user="nobody"), "local:nobody(root)")
                self.assertEqual(ask(), f"local:{me}")
            done = subprocess.run([BIN, "key", "create", "--project", "main", "-c", gw.path], env=clean_env(SUDO_USER="alice"),
                                  capture_output=True, timeout=PATIENCE_S)
            self.assertEqual((done.returncode, self.acts(gw)[-1][0]), (0, f"local:{me}(alice)"))

    def test_acts_without_a_gateway_say_the_same_of_who_did_them(self):
        me = pwd.getpwuid(os.getuid()).pw_name
        gw = Gateway({"main": PROJECT.format(url="http://127.0.0.1:1/v1")})
        self.addCleanup(gw.folder.cleanup)
        secret(gw, "set", "--project", "main", "openai", value=unique("v"), env={"SUDO_USER": "alice"})
        for args in (("key", "create", "--project", "main"), ("workflow", "disable", "chat", "--project", "main"),
                     ("admin", "create", "ann", "--role", "viewer")):
            subprocess.run([BIN, *args, "-c", gw.path], check=True, capture_output=True, timeout=PATIENCE_S, env=clean_env())
        self.assertEqual([act[:2] for act in self.acts(gw)],
                         [("moongate", "audit.begun"), (f"local:{me}(alice)", "secret.set"), (f"local:{me}", "key.create"),
                          (f"local:{me}", "switch.disable"), (f"local:{me}", "member.create")])

    def test_what_people_name_steers_no_terminal_and_forges_no_line(self):
        forged = 'a\n     9  2026-11-24 10:00:00  local:root   key.revoke\x1b[31m" by=ann'
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            for args in ("key", "create", "--project", "main", "--name", forged), ("provider", "disable", "p", "--message", forged):
                self.assertNotEqual(gw.cli(*args, check=False).returncode, 0, args)
            secret(gw, "set", "--project", "main", "openai", value=unique("x"))
            gw.cli("key", "create", "--project", "main", "--name", 'x" by=ann detail="')
            gw.wait_line(r"""key.create project=main subject=key_\w+ detail="x' by=ann detail='" by=local:""")
            with sqlite3.connect(os.path.join(gw.path, "data", "moongate.db")) as db:
                db.execute("UPDATE keys SET name = ?", (forged,))        # as an older version took them
                db.execute("UPDATE audit SET detail = ?", (forged + "\x7f\u009b1m",))
            db.close()
            for args in ("key", "list"), ("audit",):
                shown = subprocess.run([BIN, *args, "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S).stdout
                self.assertIn("a?     9  2026", shown)
                for bad in "\x1b", "\x7f", "\u009b":
                    self.assertNotIn(bad, shown)
                self.assertFalse([line for line in shown.splitlines() if line.startswith("     9  2026-11-24 10:00:00  local:root   key.revoke")])

    def test_a_secret_of_a_project_that_is_not_there_is_kept_and_said_to_be_of_no_use_yet(self):
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            self.assertIn("no project typo is configured yet", secret(gw, "set", "--project", "typo", "x", value=unique("t")).stderr)
            for project in "main", "gateway":
                self.assertEqual(secret(gw, "set", "--project", project, "x", value=unique("t")).stderr, "")

    def test_acts_of_the_admin_plane_are_entered_too(self):
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            id = json.loads(gw.cli("key", "create", "--project", "main", "--json"))["id"]
            gw.cli("key", "revoke", id)
            gw.cli("project", "disable", "main")
            gw.cli("project", "enable", "main")
            gw.cli("targets", "reset", "p/m")
            self.assertEqual([act[1:3] for act in self.acts(gw)[-5:]],
                             [("key.create", "main"), ("key.revoke", "main"), ("switch.disable", "main"), ("switch.enable", "main"),
                              ("target.reset", None)])
            self.assertIn("nothing was changed", audit(gw, "verify").stdout)

    def test_no_act_is_carried_out_that_cannot_be_entered(self):
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            id = json.loads(gw.cli("key", "create", "--project", "main", "--json"))["id"]
            gw.cli("workflow", "disable", "chat")
            gw.cli("admin", "create", "alice", "--role", "viewer")
            acts = [("key", "create", "--project", "main"), ("key", "update", id, "--name", "other"),
                    ("key", "rotate", id, "--overlap", "1h"), ("key", "revoke", id), ("provider", "disable", "p"), ("workflow", "enable", "chat"),
                    ("admin", "create", "bob", "--role", "viewer"), ("admin", "remove", "alice")]
            shown = [("key", "list", "--json"), ("disabled", "--json"), ("admin", "list", "--json")]
            before, entries = [json.loads(gw.cli(*show)) for show in shown], len(self.acts(gw))
            with sqlite3.connect(os.path.join(gw.path, "data", "moongate.db")) as db:
                db.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END")
            db.close()
            for act in acts:
                self.assertNotEqual(gw.cli(*act, check=False).returncode, 0, act)
            self.assertNotEqual(secret(gw, "set", "--project", "main", "openai", value=unique("no"), check=False).returncode, 0)
            with sqlite3.connect(os.path.join(gw.path, "data", "moongate.db")) as db:
                db.execute("DROP TRIGGER full")
            db.close()
            self.assertEqual([json.loads(gw.cli(*show)) for show in shown], before)
            for act in acts:
                gw.cli(*act)
            self.assertEqual(len(self.acts(gw)), entries + len(acts))
            self.assertIn("nothing was changed", audit(gw, "verify").stdout)

    def test_who_may_set_secrets_of_one_project_sees_and_sets_no_others(self):
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            secret(gw, "set", "--project", "other", "openai", value=unique("other"))
            token = json.loads(gw.cli("admin", "create", "writer", "--role", "secret-writer", "--project", "main", "--json"))["token"]
            port = int(re.search(r"admin address=\S+:(\d+)", "\n".join(gw.lines)).group(1))

            def ask(method, path, body=None):
                with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
                    sock.sendall(f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
                                 f"content-length: {len(body or '')}\r\n\r\n{body or ''}".encode())
                    return read_response(sock.makefile("rb"))

            set_main = ask("POST", "/admin/v1/secrets?project=main&name=openai", unique("new"))
            self.assertEqual((set_main.status, set_main.json["version"]), (200, 2))
            self.assertEqual(ask("POST", "/admin/v1/secrets?project=other&name=openai", unique("new")).status, 403)
            self.assertEqual(ask("DELETE", "/admin/v1/secrets?project=main&name=openai").status, 403)
            self.assertEqual(ask("GET", "/admin/v1/audit").status, 403)
            self.assertIn(("writer", "secret.set", "main", "openai"), self.acts(gw))

    def test_what_failed_is_no_act(self):
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            before = self.acts(gw)
            secret(gw, "rotate", "--project", "main", "nothing", value="x" * 20, check=False)
            secret(gw, "remove", "--project", "main", "nothing", check=False)
            self.assertEqual(self.acts(gw), before)

    def test_an_edited_entry_is_found(self):
        self.assertIn("entry 3 was changed", self.tampered("UPDATE audit SET actor = 'nobody' WHERE seq = 3"))

    def test_a_deleted_entry_is_found(self):
        self.assertIn("entry 3 is missing", self.tampered("DELETE FROM audit WHERE seq = 3"))

    def test_a_closed_gap_is_found(self):
        self.assertIn("entry 3 was changed", self.tampered("DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq > 3"))

    def test_a_log_cut_off_at_its_end_is_found(self):
        self.assertIn("was cut off", self.tampered("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"))
        self.assertIn("entry 2 is not the entry that the head names",
                      self.tampered("DELETE FROM audit WHERE seq > 2; UPDATE audit_head SET seq = 2"))

    def test_an_emptied_log_is_found(self):
        self.assertIn("entry 1", self.tampered("DELETE FROM audit; DELETE FROM audit_head"))

    def test_an_entry_put_in_is_found(self):
        self.assertIn("entry 7 was changed", self.tampered(
            "INSERT INTO audit SELECT seq + 1, at_us, actor, act, project, subject, detail, chain FROM audit ORDER BY seq DESC LIMIT 1"))

    def test_a_running_gateway_says_so_loudly_when_it_acts_next(self):
        with Upstream() as up, Vaulted(up.url, unique("vault")) as gw:
            with sqlite3.connect(os.path.join(gw.path, "data", "moongate.db")) as db:
                db.execute("DELETE FROM audit WHERE seq > 1")
                db.execute("UPDATE audit_head SET seq = 1")
            db.close()
            gw.create_key("main")
            gw.wait_line(r"error audit.broken missing=\d+")
            self.assertIn("audit.broken", [act[1] for act in self.acts(gw)])
            self.assertEqual(audit(gw, "verify").returncode, 1)
            gw.stop()
            gw.lines.clear()
            gw.start()
            self.assertIn("entry 2 is missing", audit(gw, "verify").stdout)

    def test_a_log_whose_key_is_gone_does_not_begin_anew_as_if_nothing_had_been(self):
        with Upstream() as up:
            gw = self.world(up)
            with sqlite3.connect(os.path.join(gw.path, "data", "moongate.db")) as db:
                db.executescript("DELETE FROM audit; DELETE FROM audit_head; DELETE FROM vault_keys WHERE project = ''")
            db.close()
            with gw:
                gw.wait_line(r"error audit.broken missing=1 .*the key of the log before was taken away")
                self.assertEqual(gw.chat().status, 200)
                self.assertIn("entry 1 is missing", audit(gw, "verify").stdout)

    def test_a_log_that_is_taken_away_whole_with_its_key_leaves_a_trace_though_nothing_else_is_in_the_vault(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            self.assertNotIn("did not begin", audit(gw, "verify").stdout)
            gw.stop()
            with sqlite3.connect(os.path.join(gw.path, "data", "moongate.db")) as db:
                db.executescript("DELETE FROM audit; DELETE FROM audit_head; DELETE FROM vault_keys")
            db.close()
            gw.lines.clear()
            gw.start()
            gw.wait_line("warn audit.begun_late")
            for _ in range(2):
                self.assertIn("it did not begin with the store: the store had 1 keys", audit(gw, "verify").stdout)
                gw.create_key("main")

    def test_a_store_put_back_from_an_older_copy_is_found_by_the_head_that_was_kept(self):
        with Upstream() as up:
            gw = self.world(up)
            db = os.path.join(gw.path, "data", "moongate.db")
            with open(db, "rb") as file:
                older = file.read()
            secret(gw, "rotate", "--project", "main", "openai", value=unique("later"))
            kept = audit(gw, "verify").stdout.split("--kept ")[1].strip()
            self.assertEqual(audit(gw, "verify", "--kept", kept).returncode, 0)
            for name in "-wal", "-shm":
                if os.path.exists(db + name):
                    os.unlink(db + name)
            with open(db, "wb") as file:
                file.write(older)
            self.assertEqual(audit(gw, "verify").returncode, 0)
            self.assertEqual(audit(gw, "verify", "--kept", kept).returncode, 1)

    def test_uses_are_entered_when_they_are_asked_for(self):
        with Upstream() as up, Vaulted(up.url, unique("vault"), gateway="vault = { audit_uses = 1 }") as gw:
            gw.chat()
            secret(gw, "list")
            self.assertIn(("moongate", "secret.use", "main", "openai"), self.acts(gw))
            self.assertIn("nothing was changed", audit(gw, "verify").stdout)


if __name__ == "__main__":
    unittest.main()
