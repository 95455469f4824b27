"""The fault wall: scenarios as rows, played several at a time through one gateway, judged one by one.

A scenario is a workflow with two targets, each a provider of its own, so that no breaker, benched key or limit of one
scenario is felt by another. A target's provider is a side of one scripted upstream, told apart by its path:

    Scenario(name, first=[script…], second=[script…], …)  ─▶  Wall(scenarios)  ─▶  wall.play(scenario)  ─▶  Outcome

What a client sees is what the official SDK saw. What a provider saw is when it was called, with which key and body.
"""

import http.client
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import openai

from moongate import *

PARALLEL = 8  # scenarios at a time: most of them wait for a timer
PROVIDERS = 60  # of one project
MESSAGES = [{"role": "user", "content": "hello"}]
SANITIZED = "asan" in BIN or "tsan" in BIN


@dataclass
class Call:
    """One request that a provider saw."""
    side: str
    at: float  # monotonic seconds
    request: object
    left: float = 0  # when the gateway closed the connection; 0: it did not

    @property
    def key(self):
        return self.request.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Scenario:
    name: str
    sides: dict  # side → list of scripts (each call takes the next, the last one stays), or the base URL of somebody else
    stream: bool = False
    workflow: str = ""  # more Lua of the workflow
    targets: dict = field(default_factory=dict)  # side → more Lua of its target
    providers: dict = field(default_factory=dict)  # side → more Lua of its provider
    body: dict = field(default_factory=dict)  # more of the request
    headers: dict = field(default_factory=dict)
    row: object = None  # what the table said
    at: int = 0  # position on the wall


@dataclass
class Outcome:
    """What the SDK, the providers and the timeline say of one request."""
    text: str = ""
    refusal: str = ""
    tools: dict = field(default_factory=dict)  # index → [name, arguments]
    finish: str = None  # of the first choice; None: the client was never told that it is finished
    error: Exception = None
    headers: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    took_s: float = 0
    trace: dict = None

    @property
    def status(self):
        return getattr(self.error, "status_code", None) if self.error else 200

    @property
    def code(self):
        return getattr(self.error, "code", None)

    @property
    def order(self):
        """Which side was called when: "abb"."""
        return "".join(call.side for call in sorted(self.calls, key=lambda call: call.at))

    @property
    def redialed(self):
        """Calls that were no attempts: a pooled connection turned out to be dead."""
        return sum(attempt["redialed"] for attempt in self.attempts)

    def of(self, side):
        return [call for call in self.calls if call.side == side]

    def gaps(self, side):
        times = [call.at for call in self.of(side)]
        return [later - earlier for earlier, later in zip(times, times[1:])]

    @property
    def attempts(self):
        return self.trace["attempts"]


class Sides(Upstream):
    """An upstream with many faces: the first part of the path says which."""

    def __init__(self):
        super().__init__(self._answer)
        self.scripted, self.calls = {}, {}

    def face(self, name, scripts):
        self.scripted[name], self.calls[name] = list(scripts), []

    def _answer(self, sock, request):
        name = request.path.split("/")[1]
        with self.lock:
            call = Call(name.rsplit("-", 1)[-1], time.monotonic(), request)
            self.calls[name].append(call)
            scripts = self.scripted[name]
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        try:
            script(sock, request)
        except (OSError, ValueError):
            call.left = time.monotonic()
            raise

    def take(self, prefix):
        """The calls of a scenario's sides since the last time."""
        with self.lock:
            names = [name for name in self.calls if name.rsplit("-", 1)[0] == prefix]
            taken = [call for name in names for call in self.calls[name]]
            for name in names:
                self.calls[name] = []
            return taken


class Wall:
    """Gateway and upstream of many scenarios."""

    def __init__(self, scenarios, extra="", gateway=""):
        self.scenarios = scenarios
        self.sides = Sides()
        self.extra, self.gateway_lua = extra, gateway
        for at, scenario in enumerate(scenarios):
            scenario.at = at
        names = [scenario.name for scenario in scenarios]
        assert len(set(names)) == len(names), "each scenario has a name of its own"

    def __enter__(self):
        self.sides.__enter__()
        self.gateway = Gateway(self._projects(), self.gateway_lua)
        try:
            self.gateway.__enter__()
        except BaseException:
            self.sides.__exit__()
            raise
        self.clients = {project: self.gateway.client(project, timeout=PATIENCE_S) for project in self.gateway.projects}
        self.pool = ThreadPoolExecutor(PARALLEL)
        return self

    def __exit__(self, *what):
        self.pool.shutdown(cancel_futures=True)
        try:
            self.gateway.__exit__(*what)
        finally:
            self.sides.__exit__()

    def _projects(self):
        """As many projects as the bound on providers asks for; one scenario is in one project."""
        projects, self.project_of = {}, {}
        providers, workflows, count = [], [], 0
        for scenario in [*self.scenarios, None]:
            if scenario is None or count + len(scenario.sides) > PROVIDERS:
                name = f"p{len(projects)}"
                projects[name] = (f"return {{ providers = {{ {''.join(providers)} }}, workflows = {{ {''.join(workflows)} }}, "
                                  f"{self.extra} }}")
                providers, workflows, count = [], [], 0
            if scenario is None:
                return projects
            self.project_of[scenario.at] = f"p{len(projects)}"
            count += len(scenario.sides)
            targets = ""
            for side, scripts in scenario.sides.items():
                name = f"s{scenario.at}-{side}"
                if not isinstance(scripts, str):
                    self.sides.face(name, scripts)
                url = scripts if isinstance(scripts, str) else f"http://127.0.0.1:{self.sides.port}/{name}/v1"
                more = scenario.providers.get(side, f'api_key = "sk-{name}",')
                providers.append(f'["{name}"] = {{ base_url = "{url}", {more} }},\n')
                targets += f'{{ "{name}/m", {scenario.targets.get(side, "")} }}, '
            workflows.append(f'["w{scenario.at}"] = {{ targets = {{ {targets} }}, {scenario.workflow} }},\n')

    def client_of(self, scenario):
        return self.clients[self.project_of[scenario.at]]

    def ask(self, scenario, **more):
        """One request through the SDK; the trace is not looked up yet."""
        outcome = Outcome()
        options = {"model": f"w{scenario.at}", "messages": MESSAGES, "stream": scenario.stream,
                   "extra_headers": scenario.headers, **scenario.body, **more}
        began = time.monotonic()
        try:
            raw = self.client_of(scenario).chat.completions.with_raw_response.create(**options)
            outcome.headers = dict(raw.headers)
            (read_stream if options["stream"] else read_whole)(raw.parse(), outcome)
        except openai.OpenAIError as error:
            outcome.error = error
            if getattr(error, "response", None) is not None:
                outcome.headers = dict(error.response.headers)
        except Exception as error:  # what the SDK's transport says of an end that is none (httpx)
            if type(error).__module__.split(".")[0] not in ("httpx", "httpcore"):
                raise
            outcome.error = error
        outcome.took_s = time.monotonic() - began
        return outcome

    def play(self, scenario, **more):
        outcome = self.ask(scenario, **more)
        outcome.trace = self.trace(outcome.headers["x-request-id"])
        outcome.calls = self.sides.take(f"s{scenario.at}")
        return outcome

    def healthy(self, test, good, failing):
        """At the end of a file: it serves, nothing is left over, and more of the same takes no more memory."""
        for scenario in failing * 4:
            self.ask(scenario)
        middle_kb = self.rss_kb()
        for scenario in failing * 8:
            self.ask(scenario)
        test.assertEqual((self.admin("/healthz")[0], self.admin("/readyz")[0]), (200, 200))
        test.assertEqual(json.loads(self.admin("/admin/v1/status")[1])["in_flight"], 0)
        outcome = self.ask(good)
        test.assertEqual((outcome.error, outcome.text), (None, "fine"))
        if not SANITIZED:  # a sanitizer keeps what was freed
            test.assertLess(self.rss_kb(), middle_kb + 8192)

    def start(self, scenario):
        return self.pool.submit(self.play, scenario)

    def together(self, count, scenario, **more):
        """Several at the same time, as one outcome each; calls are those of all."""
        with ThreadPoolExecutor(count) as pool:
            outcomes = [future.result() for future in [pool.submit(self.ask, scenario, **more) for _ in range(count)]]
        return outcomes, self.sides.take(f"s{scenario.at}")

    def admin(self, path):
        """GET on the admin plane's socket: status and body."""
        connection = http.client.HTTPConnection("gateway", timeout=PATIENCE_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE_S)
        connection.sock.connect(f"{self.gateway.path}/data/control.sock")
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def trace(self, id):
        """The recorded timeline, as soon as it is in the store; the recorder writes four times a second."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status, body = self.admin(f"/admin/v1/requests/{id}")
            if status == 200:
                return json.loads(body)
            if time.monotonic() > deadline:
                raise AssertionError(f"no timeline of {id}: {status} {body}")
            time.sleep(0.05)

    def rss_kb(self):
        with open(f"/proc/{self.gateway.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


def read_whole(answer, outcome):
    if not answer.choices:
        outcome.error = ValueError(f"200, and no answer: {answer}")
        return
    message = answer.choices[0].message
    outcome.text, outcome.refusal, outcome.finish = message.content or "", message.refusal or "", answer.choices[0].finish_reason
    for index, call in enumerate(message.tool_calls or []):
        outcome.tools[index] = [call.function.name, call.function.arguments]


def read_stream(events, outcome):
    for event in events:
        for choice in event.choices:
            outcome.text += choice.delta.content or ""
            outcome.refusal += choice.delta.refusal or ""
            outcome.finish = choice.finish_reason or outcome.finish
            for call in choice.delta.tool_calls or []:
                tool = outcome.tools.setdefault(call.index, ["", ""])
                tool[0] += call.function.name or ""
                tool[1] += call.function.arguments or ""


class WallTest:
    """A file's scenarios, beside unittest.TestCase: all are played in the background, each test method judges one.

    A subclass gives `rows()`, a list of Scenario, and `judge(scenario, outcome)`; `build` makes the methods.
    """

    @classmethod
    def setUpClass(cls):
        cls.wall = Wall(cls.scenarios, getattr(cls, "extra", ""), getattr(cls, "gateway", ""))
        cls.wall.__enter__()
        cls.futures = {scenario.name: cls.wall.start(scenario) for scenario in cls.scenarios}
        cls.middle_kb = None
        half = list(cls.futures.values())[len(cls.futures) // 2:]
        half[0].add_done_callback(lambda future: setattr(cls, "middle_kb", cls.wall.rss_kb()))

    @classmethod
    def tearDownClass(cls):
        cls.wall.__exit__(None, None, None)

    def outcome(self, scenario):
        return self.futures[scenario.name].result(timeout=4 * PATIENCE_S)

    def test_zz_at_the_end_the_gateway_is_healthy_and_its_memory_flat(self):
        for future in self.futures.values():
            future.exception(timeout=4 * PATIENCE_S)
        self.assertEqual(self.wall.admin("/healthz")[0], 200)
        self.assertEqual(self.wall.admin("/readyz")[0], 200)
        self.assertEqual(json.loads(self.wall.admin("/admin/v1/status")[1])["in_flight"], 0)
        healthy = self.wall.play(self.last)
        self.assertEqual((healthy.text, healthy.finish), ("fine", "stop"))
        if not SANITIZED:  # a sanitizer keeps what was freed
            self.assertLess(self.wall.rss_kb(), self.middle_kb + 8192)


def build(cls):
    """A test method per scenario, named after it."""
    cls.last = Scenario("zz a good request", {"a": [json_answer("fine")]})
    cls.scenarios = [*cls.rows(), cls.last]
    for scenario in cls.scenarios[:-1]:
        def test(self, scenario=scenario):
            outcome = self.outcome(scenario)
            try:
                self.judge(scenario, outcome)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{told(outcome)}") from None
        test.__name__ = "test_" + re.sub(r"\W+", "_", scenario.name)
        assert not hasattr(cls, test.__name__), test.__name__
        setattr(cls, test.__name__, test)
    return cls


def told(outcome):
    """An outcome for people."""
    attempts = "; ".join(f"{a['reason']} {a['target']} {a['class']} → {a['action']}" for a in outcome.attempts)
    began = outcome.trace["start_us"] and min((call.at for call in outcome.calls), default=0)
    calls = " ".join(f"{call.side}+{call.at - began:.2f}s" for call in sorted(outcome.calls, key=lambda call: call.at))
    return (f"  client: status {outcome.status}, code {outcome.code}, text {outcome.text!r}, finish {outcome.finish}, "
            f"{type(outcome.error).__name__}: {outcome.error}\n  providers: {calls} in {outcome.took_s:.2f}s\n"
            f"  timeline: {outcome.trace['class']}: {attempts}\n  notes: {outcome.trace.get('notes')}")
