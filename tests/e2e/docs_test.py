"""Every example in README.md and docs/ is run, every link leads somewhere, and every function that the tour of the source
names exists.

A page is followed from top to bottom in a folder of its own, as its reader would:

    ```lua       a file; its path is a comment in the first line, or `file=PATH` in the fence. With all files so far it must
                 pass `moongate check`, or fail it when the fence says `wrong`. `return …` without a path must compile.
    ```sh        runs line by line; `moongate serve` starts a gateway, whose ports and key take the place of the page's.
    ```console   the same behind `$ `, with what is printed: numbers and ids may differ, `…` is anything.
    ```python, ```js   run with the vendors' SDKs against that gateway.
    ```ini       a systemd unit: this test starts the gateway as the unit says.
    ```text      is not run: drawings, output.
    ```X untested: WHY

A page that starts no gateway but asks one finds examples/hello served in its folder.
"""

import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from moongate import BIN, PATIENCE_S, clean_env, main

SOURCE = os.environ.get("MOONGATE_SOURCE_DIR", ".")
BUILD = os.path.join(SOURCE, "build")
PAGES = ["README.md", *sorted(os.path.relpath(path, SOURCE) for path in glob.glob(f"{SOURCE}/docs/**/*.md", recursive=True))]
ELSEWHERE = {"docs/guide/lua-api-by-example.md": "tests/unit/script/guide_test.c"}  # whose Lua another test runs

# Words in the code font of docs/architecture.md that are no functions: keys, fields, hooks, timers.
NO_FUNCTIONS = set("""true model stream messages usage connect first_token idle total on_request on_chunk on_attempt on_log
    classify transformed vault jobs""".split())


def read(*path):
    with open(os.path.join(SOURCE, *path)) as file:
        return file.read()


def blocks(page):
    """(line, language, the rest of the fence, text) of each fenced block."""
    text = read(page)
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        words = match[1].split(None, 1) + ["", ""]
        yield text.count("\n", 0, match.start()) + 1, words[0], words[1].strip(), match[2]


def logical_lines(text):
    """Shell lines, with those together that belong together."""
    line = ""
    for piece in text.splitlines(keepends=True):
        line += piece
        whole = subprocess.run(["bash", "-n", "-c", line], capture_output=True).returncode == 0
        if whole and not line.endswith("\\\n"):
            yield line.strip()
            line = ""
    if line.strip():
        raise AssertionError(f"not a command of the shell: {line}")


def shape(line):
    """A pattern for lines like this one: other numbers, ids, times and gaps."""
    parts = []
    for word in re.split(r"(\s+|…)", line.strip()):
        if word == "…":
            parts.append(".*")
        elif word.isspace():
            parts.append(r"\s+")
        else:
            word = re.sub(r"(req|key)_[0-9A-Za-z]+", r"\1_@", re.sub(r"\d+(\.\d+)?", "#", re.sub(r"req_\w+|key_\w+", lambda m: m[0][:4] + "@", word)))
            parts.append(re.escape(word).replace(r"\#", r"[\d.]+").replace("@", r"\w+").replace("ms", "(ms|s|µs)"))
    return r"\s*" + "".join(parts) + r"\s*$"


class Page:
    """What a reader has while following a page: a folder, an environment, and perhaps a gateway."""

    def __init__(self, sim_url, starts_one):
        self.starts_one = starts_one
        self.holder = tempfile.TemporaryDirectory(prefix="moongate-test-")
        self.path = self.cwd = self.holder.name
        self.process = None
        self.port = self.admin_port = 0
        self.place, self.key, self.key_id, self.id = [], "", "", ""
        os.mkdir(f"{self.path}/bin")
        os.symlink(os.path.abspath(BIN), f"{self.path}/bin/moongate")
        for name, folder in (("hello", "hello"), ("demo", "moongate-demo")):
            shutil.copytree(f"{SOURCE}/examples/{name}", f"{self.path}/{folder}", ignore=shutil.ignore_patterns("data"))
        self.env = clean_env(HOME=self.path, PATH=f"{self.path}/bin:{BUILD}/venv/bin:{os.environ['PATH']}", NO_COLOR="1",
                             OPENAI_BASE_URL=sim_url, no_proxy="*")
        self.env.pop("XDG_STATE_HOME", None)

    def close(self):
        self.stop()
        self.holder.cleanup()

    # ---- files

    def lua(self, rest, text):
        named = re.search(r"file=(\S+)", rest) or re.match(r"-- (\S+\.lua)\n", text)
        if not named:
            done = subprocess.run(["luajit", "-b", "-", os.devnull], input=text, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return
        path = os.path.join(self.cwd, named[1])
        folder = re.sub(r"/(projects/.*|[^/]*)$", "", path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        if glob.glob(f"{folder}/projects/*.lua"):  # else what makes it whole stands further down
            done = self.run_shell(f"moongate check {folder}", check=False)
            assert (done.returncode != 0) == ("wrong" in rest), done.stdout + done.stderr

    # ---- commands

    def fill(self, text):
        """The page's words with what stands behind them here."""
        for pattern, value in ((r"sk-…", "sk-test"), (r"mg-\w+-…", self.key), (r"req_\w*…", self.id), (r"key_\w*…", self.key_id),
                               (r"\bDIR\b", "hello"), (r"\bNAME\b", "hello"), (r"(?<![\w-])ID\b", self.id),
                               (r"((?:localhost|127\.0\.0\.1)):(?:8080|8443)\b", rf"\g<1>:{self.port}"),
                               (r"((?:localhost|127\.0\.0\.1)):8081\b", rf"\g<1>:{self.admin_port}")):
            text = re.sub(pattern, value, text)
        return text

    def shell(self, rest, text):
        for line in logical_lines(text):
            self.command(self.fill(line))

    def console(self, rest, text):
        """`$ command`, then what it prints."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, wanted = part.partition("\n")
            while command.endswith("\\"):
                more, _, wanted = wanted.partition("\n")
                command += "\n" + more
            printed = self.command(self.fill(command)).splitlines()
            for line in filter(str.strip, wanted.splitlines()):
                while printed and not re.match(shape(line), printed[0]):
                    printed.pop(0)
                assert printed, f"{command} does not print a line like {line!r}"

    def command(self, line):
        words = line.split("#")[0].split()
        exported = re.match(r"export (\w+)=(\S+)", line)
        if exported:
            self.env[exported[1]] = os.path.expandvars(exported[2].replace("$PATH", self.env["PATH"]).replace("$PWD", self.cwd))
        elif words[:1] == ["cd"]:
            self.cwd = os.path.join(self.cwd, words[1])
        elif words[:1] == ["./dev"]:
            assert re.search(rf"^  {words[1]}\b", subprocess.run([f"{SOURCE}/dev", "help"], capture_output=True, text=True).stdout,
                             re.MULTILINE), f"there is no {line}"
        elif words[:2] == ["moongate", "serve"]:
            self.serve(words[2:])
        elif words[:2] == ["moongate", "logs"] and "-f" in words:
            self.follow(words)
        elif words:
            done = self.run_shell(line)
            return done.stdout + done.stderr
        return ""

    def expect_gateway(self, text):
        if not self.starts_one and not self.process and re.search(r"^(\$ )?(curl|moongate (logs|trace))", text, re.MULTILINE):
            self.cwd = f"{self.path}/hello"
            self.serve([])

    def run_shell(self, line, check=True):
        done = subprocess.run(["bash", "-c", line], cwd=self.cwd, env=self.env, capture_output=True, text=True, timeout=PATIENCE_S,
                              stdin=subprocess.DEVNULL)
        fine = done.returncode == 0 or (done.returncode == 1 and "moongate check" in line)
        assert fine or not check, f"{line}\nanswered {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def follow(self, words):
        """`logs -f` shows a request that comes while it runs."""
        with subprocess.Popen(words, cwd=self.cwd, env=self.env, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            self.ask("no-such-model")
            last = self.id
            for line in process.stdout:
                if last in line:
                    break
            process.terminate()
        assert last in line, f"{' '.join(words)} did not show {last}"

    # ---- the gateway

    def serve(self, words, **options):
        self.stop()
        self.place = words[words.index("-c"):][:2] if "-c" in words else []
        self.process = subprocess.Popen(["moongate", "serve", *words, "--port", "0", "--admin-port", "0"], cwd=self.cwd,
                                        env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.meet(*self.announced(self.process.stdout))

    def announced(self, lines):
        port, admin = 0, 0
        for line in lines:
            port = port or int((re.search(r"serving .*:(\d+)", line) or [0, 0])[1])
            admin = admin or int((re.search(r"admin .*:(\d+)", line) or [0, 0])[1])
            project = re.search(r"project +(\w+), generation", line)
            if project:
                return port, admin, project[1]
        raise AssertionError("it does not serve:\n" + self.process.stderr.read())

    def meet(self, port, admin_port, project):
        """A key, and a request that logs and traces can show."""
        self.port, self.admin_port = port, admin_port
        made = json.loads(self.run_shell(" ".join(["moongate key create --json --name docs --project", project, *self.place])).stdout)
        self.key, self.key_id = made["key"], made["id"]
        self.ask("chat")

    def ask(self, model):
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        done = self.run_shell(f"curl -sk -D- -m {PATIENCE_S} {self.scheme()}://127.0.0.1:{self.port}/v1/chat/completions "
                              f"-H 'Authorization: Bearer {self.key}' -d '{json.dumps(body)}'")
        self.id = re.search(r"x-request-id: (\S+)", done.stdout)[1]

    def scheme(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return "http" if sock.recv(5) == b"HTTP/" else "https"

    def stop(self):
        if not self.process:
            return
        self.process.terminate()
        out, err = self.process.communicate(timeout=PATIENCE_S)
        code, self.process = self.process.returncode, None
        assert code == 0, f"the gateway ended with {code}:\n{err}"

    # ---- clients

    def python(self, rest, text):
        frameworks = re.search(r"^from (langchain|llama_index)", text, re.MULTILINE)  # which want older SDKs
        self.script([f"{BUILD}/venv/frameworks/bin/python" if frameworks else sys.executable], "client.py", text, self.env)

    def js(self, rest, text):
        env = {**self.env, "MOONGATE_SOURCE_DIR": self.path, "MOONGATE_NODE_MODULES": f"{BUILD}/node"}
        self.script([f"{BUILD}/node/bin/node", "--import", f"{os.path.abspath(SOURCE)}/tests/tools/node_modules.mjs"],
                    "tests/client.mjs", text, env)

    def script(self, interpreter, name, text, env):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(self.fill(text))
        done = subprocess.run([*interpreter, path], cwd=self.path, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0 and (done.stdout or "print" not in text), done.stdout + done.stderr

    # ---- systemd

    def ini(self, rest, text):
        """A socket unit opens the socket that the service unit, which follows it, is started with."""
        unit = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
        if "ListenStream" in unit:
            self.listener = socket.create_server(("127.0.0.1", 0))
            return
        assert unit["Type"] == "notify" and unit["KillMode"] == "mixed", unit
        words = unit["ExecStart"].split()
        assert os.path.basename(words[0]) == "moongate"
        self.stop()
        self.place = ["-c", self.cwd]
        folder = os.path.join(self.cwd, "state")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(f"{self.path}/notify")
        notify.settimeout(PATIENCE_S)
        fd = self.listener.fileno()
        command = " ".join(["moongate", *words[1:words.index("-c")], "-c", self.cwd, "--admin-port", "0"])
        env = {**self.env, "LISTEN_FDS": "1", "NOTIFY_SOCKET": f"{self.path}/notify", "MOONGATE_DATA": folder}
        self.process = subprocess.Popen(["bash", "-c", f"exec 3<&{fd}; export LISTEN_PID=$$; exec {command}"], cwd=self.cwd, env=env,
                                        pass_fds=[fd], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert b"READY=1" in notify.recv(4096)
        _, admin, project = self.announced(self.process.stdout)
        self.env["MOONGATE_DATA"] = folder
        self.meet(self.listener.getsockname()[1], admin, project)
        self.listener.close()
        notify.close()


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sim = subprocess.Popen([BIN, "sim", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.sim_url = re.search(r"http://\S+/v1", cls.sim.stdout.readline())[0]

    @classmethod
    def tearDownClass(cls):
        cls.sim.terminate()
        cls.sim.communicate(timeout=PATIENCE_S)

    def test_every_example_does_what_the_page_says(self):
        for name in PAGES:
            page = Page(self.sim_url, re.search(r"^(\$ )?moongate serve|^```ini", read(name), re.MULTILINE))
            kinds = {"lua": page.lua, "sh": page.shell, "console": page.console, "python": page.python, "js": page.js, "ini": page.ini}
            try:
                for line, language, rest, text in blocks(name):
                    with self.subTest(f"{name}:{line}"):
                        self.assertTrue(language, "this block does not say what it is")
                        if language == "text" or rest.startswith("untested: ") or (language == "lua" and name in ELSEWHERE):
                            continue
                        self.assertIn(language, kinds, "nobody runs this: say `untested: WHY`, or text")
                        page.expect_gateway(text)
                        kinds[language](rest, text)
            finally:
                page.close()

    def test_what_is_run_elsewhere_is_run_there(self):
        for page, test in ELSEWHERE.items():
            self.assertIn(page, read(test))

    def test_every_link_leads_somewhere(self):
        for name in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", read(name), flags=re.DOTALL)):
                with self.subTest(f"{name}: {target}"):
                    if re.match(r"https?://", target):
                        continue
                    path, _, anchor = target.partition("#")
                    path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, path)), "there is no such file")
                    if anchor:
                        heads = [re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-")
                                 for head in re.findall(r"^#+ (.*)$", read(path), re.MULTILINE)]
                        self.assertIn(anchor, heads)

    def test_every_function_of_the_tour_exists_where_it_says(self):
        page = read("docs/architecture.md")
        sources = {path: read(path) for path in glob.glob("core/**/*.[ch]", root_dir=SOURCE, recursive=True)}
        drawing, prose = page.split("```")[1], page.split("```")[2]
        spans = re.findall(r"`([^`]+)`", prose)
        paths = {path for span in [*spans, drawing] for path in re.findall(r"[\w/]+\.(?:c|h|lua)\b", span)}
        for path in paths:
            self.assertTrue(glob.glob(f"{SOURCE}/core/**/{path}", recursive=True) or os.path.exists(f"{SOURCE}/{path}"),
                            f"there is no {path}")
        named = {word for span in spans for word in re.findall(r"^(?:\w+\.c: )?([a-z_0-9]+)(?:\(\))?$", span)}
        named |= set(re.findall(r"[a-z]+(?:_[a-z]+)+", re.sub(r"\S+\.c", "", drawing)))
        here = "".join(text for path, text in sources.items() if any(path.endswith("/" + mine) for mine in paths))
        for name in sorted(named - NO_FUNCTIONS):
            with self.subTest(name):
                text = "".join(sources.values()) if name.startswith("mg_") else here
                self.assertTrue(re.search(rf"(?m)^\w[^\n=]*\b{name}\(", text), "no function of the files this page names is called so")

    def test_every_metric_of_the_guides_is_there(self):
        page = Page(self.sim_url, True)
        self.addCleanup(page.close)
        page.serve(["-c", "hello"])
        there = page.run_shell(f"curl -s http://127.0.0.1:{page.admin_port}/metrics").stdout
        named = {name for guide in PAGES for name in re.findall(r"moongate_[a-z_]+[a-z]", read(guide))}
        self.assertGreater(len(named), 10)
        self.assertEqual([name for name in sorted(named) if f"# TYPE {name} " not in there], [])

    def test_the_readme_names_folders_that_are_there(self):
        for span in re.findall(r"`([\w./]+)`", read("README.md").split("## Reading the source")[1]):
            if "/" in span and not span.startswith("./dev"):
                self.assertTrue(os.path.exists(os.path.join(SOURCE, span)), span)


if __name__ == "__main__":
    main()
