"""What a change costs a healthy request: the release binary of another commit beside this tree's, in interleaved slices.

    ./dev bench compare BASE

builds BASE in a worktree of its own below build/bench/compare (kept for the next time). Both gateways run side by side on
one core, the load goes to one of them at a time in short slices, and each takes the first slice of a pair in turn, so
that whatever else runs on this machine meets both alike. Minima are compared: others only ever add. Where valgrind is
installed the instructions of a request are counted too, which no neighbour can disturb.
"""
import argparse
import glob
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench

GOAL = 1.03
TREES = "build/bench/compare"


def cells(quick):
    """Name, unit and what the load generator is told; the field of its answer that is compared."""
    seconds = 0.4 if quick else 0.6
    yield "saturated 0.5 KB", "CPU µs/request", "cpu_us_per_request", bench.cell("a", (), "0.5k", seconds)
    yield "500/s 0.5 KB", "CPU µs/request", "cpu_us_per_request", bench.cell("b", (), "0.5k", 2 * seconds, rate=500, connections=16)
    yield "saturated 8 KB", "CPU µs/request", "cpu_us_per_request", bench.cell("c", (), "8k", seconds)
    yield "sse", "CPU µs/chunk", "cpu_us_per_chunk", bench.cell(
        "d", (), "0.5k", 2 * seconds, rate=100, connections=16, chunks=bench.CHUNKS, gap_us=10000, warmup=1.2)


def build(commit):
    """The release binary of a commit."""
    done = subprocess.run(["git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench compare: no such commit: {commit}")
    sha = done.stdout.strip()
    tree = os.path.abspath(f"{TREES}/{sha[:12]}")
    binary = f"{tree}/build/release/moongate"
    if os.access(binary, os.X_OK):
        return binary
    print(f"building {sha[:12]} in {tree}", file=sys.stderr)
    os.makedirs(f"{tree}/build", exist_ok=True)
    archive = subprocess.Popen(["git", "archive", sha], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", tree], stdin=archive.stdout, check=True)
    if archive.wait() != 0:
        sys.exit("bench compare: git archive failed")
    if os.path.isdir("build/deps") and not os.path.exists(f"{tree}/build/deps"):
        os.symlink(os.path.abspath("build/deps"), f"{tree}/build/deps")
    with open(f"{tree}/build/log", "w", encoding="utf-8") as log:
        for command in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release"]):
            if subprocess.run(command, cwd=tree, stdout=log, stderr=log, check=False).returncode != 0:
                sys.exit(f"bench compare: {sha[:12]} does not build: see {tree}/build/log")
    return binary


def slices(args, folder, subjects):
    """{cell: {subject: [result, …]}}"""
    results = {}
    for name, _unit, _field, each in cells(args.quick):
        rounds = {who: [] for who in subjects}
        for turn in range(args.rounds):
            order = list(subjects) if turn % 2 == 0 else list(reversed(subjects))
            for who in order:
                rounds[who].append(bench.measure(args.tools, folder, subjects[who], each))
        results[name] = rounds
        print(f"  {name}", file=sys.stderr)
    return results


class Counted(bench.Moongate):
    """The same gateway under callgrind."""

    def __init__(self, binary, mock, folder):
        self.out = tempfile.mkdtemp(prefix="callgrind-", dir=folder)
        wrapper = f"{self.out}/moongate"
        bench.write(wrapper, f"""#!/bin/sh
[ "$1" = serve ] || exec {binary} "$@"
exec valgrind -q --tool=callgrind --callgrind-out-file={self.out}/out {binary} "$@"
""")
        os.chmod(wrapper, 0o755)
        super().__init__(wrapper, mock, folder, ("plain",))

    def instructions(self):
        """All that were executed; ends it."""
        self.popen.terminate()
        self.popen.wait(60)
        text = "".join(bench.read(path) for path in glob.glob(f"{self.out}/out*"))
        return sum(int(n) for n in re.findall(r"^(?:totals|summary): (\d+)$", text, re.M)[:1])


def instructions(args, folder, mock, binary, load):
    """Per request: the difference of a long and a short run, so that starting and ending do not count."""
    ran = []
    for seconds in (1, 5 if args.quick else 8):
        subject = Counted(binary, mock, folder)
        each = bench.cell("count", (), "0.5k", seconds, warmup=0, connections=4, **load)
        done = subprocess.run(bench.load_command(args.tools, folder, subject, each), stdout=subprocess.PIPE, text=True, timeout=120, check=True)
        said = json.loads(done.stdout)
        ran.append((said["events"] or said["requests"], subject.instructions()))
    (few, short), (many, long) = ran
    return (long - short) / (many - few)


def show(rows):
    print(f"\n{'measurement':20} {'':18} {'base':>10} {'here':>10} {'ratio':>7} {'of medians':>11}  goal ≤ {GOAL}")
    for name, unit, base, here, medians in rows:
        ratio = here / base
        middle = f"{medians:.3f}" if medians else ""
        print(f"{name:20} {unit:18} {base:10,.2f} {here:10,.2f} {ratio:7.3f} {middle:>11}  {'met' if ratio <= GOAL else 'MISSED'}")


def summary(args, results):
    for name, unit, field, _each in cells(args.quick):
        by = {who: [each[field] for each in rounds if not each.get("failed")] for who, rounds in results[name].items()}
        if all(by.values()):
            medians = statistics.median(by["here"]) / statistics.median(by["base"])
            yield name, unit, min(by["base"]), min(by["here"]), medians


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench compare", description="Another commit beside this tree.")
    parser.add_argument("base", metavar="BASE", help="the commit to compare with")
    parser.add_argument("--quick", action="store_true", help="shorter slices and fewer of them")
    parser.add_argument("--rounds", type=int, metavar="N", help="pairs of slices of each measurement (default 16, quick 8)")
    parser.add_argument("--no-count", action="store_true", help="do not count instructions")
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--moongate", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.rounds = args.rounds or (8 if args.quick else 16)
    return args


def main():
    args = arguments()
    binaries = {"base": build(args.base), "here": os.path.abspath(args.moongate)}
    bench.raise_file_limit()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="moongate-bench-") as folder:
        os.chmod(folder, 0o755)
        started = [bench.Mock(args.tools, folder)]
        mock = started[0]
        try:
            subjects = {}
            for who, binary in binaries.items():
                subjects[who] = bench.Moongate(binary, mock, folder, ("plain",))
                started.append(subjects[who])
            results = slices(args, folder, subjects)
            rows = list(summary(args, results))
            while len(started) > 1:
                started.pop().stop()
            if shutil.which("valgrind") and not args.no_count:
                for name, unit, load in (("healthy 0.5 KB", "instr/request", {}), ("sse", "instr/event", {"chunks": 100, "gap_us": 1000})):
                    counts = {who: instructions(args, folder, mock, binary, load) for who, binary in binaries.items()}
                    rows.append((name, unit, counts["base"], counts["here"], None))
                    print(f"  {name} {unit}", file=sys.stderr)
        finally:
            for each in reversed(started):
                each.stop()
    show(rows)
    noise = max(each.get("others", 0) for rounds in results.values() for list_ in rounds.values() for each in list_)
    print(f"\nminima of {args.rounds} slices each; other processes took up to {noise * 100:.0f} % of the gateways' core; "
          f"took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
