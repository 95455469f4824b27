"""Measures what a request through Moongate costs, beside nginx proxy_pass and no proxy at all, in interleaved rounds.

The gateway under test has one core to itself, the mock provider and the load generator share the other. What is
compared are ratios of minima over the rounds: other processes on this machine only ever add. How requests per second
grow with more workers cannot be measured on two cores and is not claimed.
"""
import argparse
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from goals import goals

GATEWAY_CORE, LOAD_CORE = 0, 1
HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = {"0.5k": 512, "8k": 8192, "64k": 65536}
CHUNKS = 100  # of a measured stream


def cells(quick):
    """Every measurement: its name, what the load generator is told, whom it makes sense for."""
    seconds = 0.8 if quick else 1.2
    lua = ("direct", "nginx", "moongate", "moongate+lua")
    plain = ("direct", "nginx", "moongate")
    sizes = [size for size in SIZES if not quick or size != "64k"]
    for size in sizes:
        yield cell(f"saturated {size}", plain if size == "64k" else lua, size, seconds)
    for size in sizes:
        yield cell(f"500/s {size}", plain if size == "64k" else lua, size, 2, rate=500, connections=16)
    yield cell("sse", lua, "0.5k", 2, rate=100, connections=16, chunks=CHUNKS, gap_us=10000, warmup=1.2)
    yield cell("ttft", lua, "0.5k", 2, rate=200, connections=16, chunks=4, gap_us=5000)
    for size in sizes if not quick else ["8k"]:
        yield cell(f"saturated {size} tls", plain, size, seconds, tls=True)
    if not quick:
        yield cell("500/s 8k tls", plain, "8k", 2, tls=True, rate=500, connections=16)
        yield cell("sse tls", plain, "0.5k", 2, tls=True, rate=100, connections=16, chunks=CHUNKS, gap_us=10000, warmup=1.2)


def cell(name, subjects, size, seconds, tls=False, **load):
    return {"name": name, "subjects": subjects, "tls": tls, "load": {"size": SIZES[size], "seconds": seconds, **load}}


class Process:
    def __init__(self, core, command, **options):
        pin = lambda: os.sched_setaffinity(0, {core})
        self.popen = subprocess.Popen(command, preexec_fn=pin, **options)

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Mock(Process):
    def __init__(self, tools, folder):
        super().__init__(LOAD_CORE, [f"{tools}/bench_mock", "--certs", folder], stdout=subprocess.PIPE, text=True)
        ports = json.loads(self.popen.stdout.readline())
        self.port, self.tls_port = ports["port"], ports["tls_port"]


class Direct:
    pids, key = (), "none"

    def __init__(self, mock):
        self.mock = mock

    def port(self, tls, _stream):
        return self.mock.tls_port if tls else self.mock.port

    def stop(self):
        pass


class Nginx(Process):
    key = "none"

    def __init__(self, mock, folder):
        ports = free_ports(4)
        self.ports = {(False, False): ports[0], (False, True): ports[1], (True, False): ports[2], (True, True): ports[3]}
        names = {"DIR": folder, "MOCK": mock.port, "MOCK_TLS": mock.tls_port, "FILES": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
        names.update(zip(("WHOLE", "STREAM", "WHOLE_TLS", "STREAM_TLS"), ports))
        with open(f"{HERE}/nginx.conf", encoding="utf-8") as file:
            text = re.sub(r"@(\w+)@", lambda m: str(names[m[1]]), file.read())
        write(f"{folder}/nginx.conf", text)
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        super().__init__(GATEWAY_CORE, [nginx, "-p", folder, "-c", f"{folder}/nginx.conf"], stderr=subprocess.DEVNULL)
        wait_for_port(ports[0], self.popen, f"{folder}/nginx.log")
        with open(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children", encoding="ascii") as file:
            self.pids = [int(pid) for pid in file.read().split()]
        self.all_pids = [self.popen.pid, *self.pids]

    def port(self, tls, stream):
        return self.ports[tls, stream]


class Moongate(Process):
    """One worker with authentication, metering and timeline on, as they always are."""

    def __init__(self, binary, mock, folder, projects=("plain", "lua")):
        self.folder = tempfile.mkdtemp(prefix="moongate-", dir=folder)
        self.data = f"{self.folder}/data"
        self.ports = free_ports(2)
        os.mkdir(f"{self.folder}/projects")
        names = {"PLAIN": self.ports[0], "TLS": self.ports[1], "CERTS": folder, "MOCK": mock.port, "MOCK_TLS": mock.tls_port}
        fill = lambda name: re.sub(r"@(\w+)@", lambda m: str(names[m[1]]), read(f"{HERE}/{name}"))
        write(f"{self.folder}/gateway.lua", fill("gateway.lua"))
        for project in projects:
            write(f"{self.folder}/projects/{project}.lua", fill(f"project-{project}.lua"))
        self.log = f"{self.folder}/log"
        self.keys = {project: self.new_key(binary, project) for project in projects}
        self.key = self.keys["plain"]
        with open(self.log, "w", encoding="utf-8") as log:
            command = [binary, "serve", "-c", f"{self.folder}/gateway.lua"]
            super().__init__(GATEWAY_CORE, command, stdout=log, stderr=log)
        self.pids = self.all_pids = [self.popen.pid]
        wait_for_port(self.ports[0], self.popen, self.log)

    def new_key(self, binary, project):
        command = [binary, "key", "create", "--json", "--data", self.data, "--project", project]
        made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(made.stdout)["key"]

    def port(self, tls, _stream):
        return self.ports[tls]


class WithLua:
    """The same process, another project."""

    def __init__(self, moongate):
        self.pids, self.port, self.key = moongate.pids, moongate.port, moongate.keys["lua"]

    def stop(self):
        pass


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for_port(port, popen, log):
    for _ in range(200):
        if popen.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit(f"bench: does not start; {log} says:\n{read(log)[-2000:]}")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def load_command(tools, folder, subject, each, extra=()):
    load = each["load"]
    command = [f"{tools}/bench_load", "--port", str(subject.port(each["tls"], "chunks" in load)), "--key", subject.key]
    command += ["--model", "bench-tls" if each["tls"] else "bench"]
    for name, value in load.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    if each["tls"]:
        command += ["--ca", f"{folder}/cert.pem"]
    for pid in subject.pids:
        command += ["--pid", str(pid)]
    return command + list(extra)


def measure(tools, folder, subject, each):
    threads, busy = thread_times(subject.pids), core_busy_s(GATEWAY_CORE)
    start = time.monotonic()
    pin = lambda: os.sched_setaffinity(0, {LOAD_CORE})
    done = subprocess.run(load_command(tools, folder, subject, each), stdout=subprocess.PIPE, text=True, preexec_fn=pin, timeout=60)
    if done.returncode != 0:
        return {"failed": True}
    result = json.loads(done.stdout)
    took = {name: us - threads.get(name, 0) for name, us in thread_times(subject.pids).items()}
    result["threads"] = {name: us for name, us in took.items() if us > 0}
    elapsed = time.monotonic() - start
    others = core_busy_s(GATEWAY_CORE) - busy - sum(took.values()) / 1e6
    result["others"] = max(0.0, others / elapsed)
    if "chunks" in each["load"]:
        chunks = each["load"]["chunks"]  # four more events: role, finish, usage, [DONE]
        result["cpu_us_per_chunk"] = result["cpu_us"] / max(1, result["events"] * chunks / (chunks + 4))
    return result


def thread_times(pids):
    """CPU time of each thread since it began, in microseconds; threads of one name together."""
    times = {}
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                name = read(f"/proc/{pid}/task/{task}/comm").strip()
                used = int(read(f"/proc/{pid}/task/{task}/schedstat").split()[0]) / 1e3
            except (OSError, IndexError):
                continue
            times[name] = times.get(name, 0) + used
    return times


def core_busy_s(core):
    fields = next(line for line in read("/proc/stat").splitlines() if line.startswith(f"cpu{core} ")).split()
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in fields[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def resident_kib(pids, without):
    """Resident memory without the mappings of files below `without` (the journal)."""
    total, counts = 0, True
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps").splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                counts = not (without and without in line)
            elif line.startswith("Rss:") and counts:
                total += int(line.split()[1])
    return total


def measure_memory(tools, folder, start, streams, tls):
    """Resident memory of a fresh gateway: idle, then with each number of streams that trickle."""
    subject = start()
    try:
        time.sleep(1)
        without = getattr(subject, "data", None)
        result = {"idle": resident_kib(subject.all_pids, without)}
        each = cell("memory", (), "0.5k", 1, tls=tls, chunks=100000, gap_us=5000000)
        for count in streams:
            command = load_command(tools, folder, subject, each, ("--hold", str(count)))
            holder = Process(LOAD_CORE, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            said = json.loads(holder.popen.stdout.readline() or '{"held": 0}')
            time.sleep(1)
            result[str(count)] = resident_kib(subject.all_pids, without)
            if said["held"] != count:
                result[f"{count} held"] = said["held"]
            holder.popen.communicate("", timeout=30)
            time.sleep(1)
        result["after"] = resident_kib(subject.all_pids, without)
        return result
    finally:
        subject.stop()


def summarise(rounds):
    """Minimum and median of every number; of throughput, the maximum."""
    good = [each for each in rounds if not each.get("failed")]
    if not good:
        return {"failed": True}
    lowest, middle = {}, {}

    def walk(path, values):
        if isinstance(values[0], dict):
            for name in values[0]:
                walk(f"{path}.{name}" if path else name, [value.get(name, 0) for value in values])
        elif isinstance(values[0], (int, float)):
            lowest[path], middle[path] = min(values), statistics.median(values)

    walk("", good)
    fastest = max(each["requests_per_s"] for each in good)
    return {"min": lowest, "median": middle, "requests_per_s": fastest, "errors": sum(each["errors"] for each in good)}


def raise_file_limit():
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 65536), max(hard, 65536)))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_streams():
    """A stream is two of a gateway's files."""
    return min(10000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 2)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description="Moongate beside nginx and no proxy at all.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds, under 90 seconds")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only measurements whose name contains it")
    parser.add_argument("--rounds", type=int, metavar="N", help="interleaved rounds (default 3, quick 2)")
    parser.add_argument("--list", action="store_true", help="name the measurements and end")
    parser.add_argument("--json", default="build/bench/results.json", metavar="FILE", help="where the numbers go")
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--moongate", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 3)
    return args


def run(args, folder, results):
    wanted = lambda name: not args.only or any(part in name for part in args.only)
    mock = Mock(args.tools, folder)
    subjects = {"direct": Direct(mock)}
    started = [mock]
    try:
        subjects["nginx"] = Nginx(mock, folder)
        started.append(subjects["nginx"])
        if os.access(args.moongate, os.X_OK):
            subjects["moongate"] = Moongate(args.moongate, mock, folder)
            started.append(subjects["moongate"])
            subjects["moongate+lua"] = WithLua(subjects["moongate"])
        else:
            print(f"bench: {args.moongate} is not there: nginx and direct only", file=sys.stderr)
        for each in filter(lambda each: wanted(each["name"]), cells(args.quick)):
            rounds = {name: [] for name in each["subjects"] if name in subjects}
            for _ in range(args.rounds):
                for name, results_of in rounds.items():
                    results_of.append(measure(args.tools, folder, subjects[name], each))
            results["rounds"][each["name"]] = rounds
            results["cells"][each["name"]] = {name: summarise(list_) for name, list_ in rounds.items()}
            print(f"  {each['name']}", file=sys.stderr)
        streams = [1000] if args.quick else [1000, most_streams()]
        for name, tls, counts in (("memory", False, streams), ("memory tls", True, [1000])):
            if not wanted(name) or (tls and args.quick):
                continue
            starters = {"nginx": lambda: Nginx(mock, folder)}
            if "moongate" in subjects:
                starters["moongate"] = lambda: Moongate(args.moongate, mock, folder, ("plain",))
            subjects["nginx"].stop()
            results["cells"][name] = {who: measure_memory(args.tools, folder, start, counts, tls) for who, start in starters.items()}
            print(f"  {name}", file=sys.stderr)
    finally:
        for each in reversed(started):
            each.stop()


def main():
    args = arguments()
    if args.list:
        print("\n".join([each["name"] for each in cells(args.quick)] + ["memory", "memory tls"]))
        return
    if os.cpu_count() < 2:
        sys.exit("bench: needs two cores")
    raise_file_limit()
    began = time.monotonic()
    results = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "rounds": {}, "cells": {}}
    print(f"measuring, {args.rounds} interleaved rounds each", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="moongate-bench-") as folder:
        os.chmod(folder, 0o755)  # nginx's worker is another user
        run(args, folder, results)
    results["goals"] = goals(results["cells"])
    os.makedirs(os.path.dirname(os.path.abspath(args.json)), exist_ok=True)
    write(args.json, json.dumps(results, indent=1))
    print(f"\n{args.json}; took {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
