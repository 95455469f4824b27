"""The goals, as ratios within one run, and the table that shows what was measured beside them."""

GROUPS = ("0.5k", "8k", "64k")


def goals(cells):
    """Prints the table; returns its rows."""
    rows = []
    for size in GROUPS:
        for load in ("saturated", "500/s"):
            rows += ratio(cells, f"{load} {size}", "CPU µs/request", "cpu_us_per_request", 0.9)
        rows += throughput(cells, f"saturated {size}")
        for name, field, goal in (("added p50 µs", "latency.p50", 0.8), ("added p99 µs", "latency.p99", 1.0),
                                  ("added p99.9 µs", "latency.p999", None)):
            rows += added(cells, f"500/s {size}", name, field, goal)
        for load in ("saturated", "500/s"):
            rows += lua_cost(cells, f"{load} {size}", "CPU µs/request", "cpu_us_per_request", 4)
    rows += ratio(cells, "sse", "CPU µs/chunk", "cpu_us_per_chunk", 0.9)
    rows += added(cells, "ttft", "added TTFT p50 µs", "ttft.p50", 1.0)
    for size in GROUPS:
        rows += ratio(cells, f"saturated {size} tls", "CPU µs/request", "cpu_us_per_request", None)
    rows += ratio(cells, "500/s 8k tls", "CPU µs/request", "cpu_us_per_request", None)
    rows += added(cells, "500/s 8k tls", "added p50 µs", "latency.p50", None)
    rows += ratio(cells, "sse tls", "CPU µs/chunk", "cpu_us_per_chunk", None)
    rows += recorder(cells) + memory(cells)
    show(rows, cells)
    return rows


def value(cells, cell, subject, field):
    return cells.get(cell, {}).get(subject, {}).get("min", {}).get(field)


def row(measure, unit, nginx, moongate, figure, goal, at_least=False, kind="ratio", direct=None):
    met = None
    if goal is not None and figure is not None:
        met = figure >= goal if at_least else figure <= goal
    return [{"measure": measure, "unit": unit, "direct": direct, "nginx": nginx, "moongate": moongate, "figure": figure, "kind": kind,
             "goal": goal, "at_least": at_least, "met": met}]


def ratio(cells, cell, unit, field, goal):
    nginx, moongate = (value(cells, cell, subject, field) for subject in ("nginx", "moongate"))
    if not nginx:
        return []
    return row(cell, unit, nginx, moongate, moongate / nginx if moongate else None, goal)


def throughput(cells, cell):
    direct, nginx, moongate = (cells.get(cell, {}).get(subject, {}).get("requests_per_s") for subject in ("direct", "nginx", "moongate"))
    if not nginx:
        return []
    return row(cell, "requests/s", nginx, moongate, moongate / nginx if moongate else None, 1.1, at_least=True, direct=direct)


def added(cells, cell, unit, field, goal):
    direct, nginx, moongate = (value(cells, cell, subject, field) for subject in ("direct", "nginx", "moongate"))
    if direct is None or nginx is None:
        return []
    more = moongate - direct if moongate is not None else None
    figure = more / (nginx - direct) if more is not None and nginx > direct else None
    return row(cell, unit, nginx - direct, more, figure, goal, direct=direct)


def lua_cost(cells, cell, unit, field, goal):
    plain, lua = (value(cells, cell, subject, field) for subject in ("moongate", "moongate+lua"))
    if plain is None or lua is None:
        return []
    return row(f"{cell} with Lua", unit, None, lua, lua - plain, goal, kind="more")


def recorder(cells):
    """The part of the whole process's CPU time that is not the worker's."""
    rows = []
    for size in GROUPS:
        lowest = cells.get(f"saturated {size}", {}).get("moongate", {}).get("min", {})
        threads = {name[len("threads."):]: us for name, us in lowest.items() if name.startswith("threads.")}
        if len(threads) < 2:
            continue
        share = threads.get("mg-recorder", 0) / sum(threads.values())
        per_request = share * lowest["cpu_us_per_request"]
        rows += row(f"saturated {size}", "of it recorder µs", None, per_request, per_request, 5, kind="value")
    return rows


def memory(cells):
    rows = []
    for cell in ("memory", "memory tls"):
        by = cells.get(cell, {})
        if not by:
            continue
        mib = lambda subject: by[subject]["idle"] / 1024 if subject in by else None
        rows += row(cell, "idle MiB", mib("nginx"), mib("moongate"), mib("moongate"), 7, kind="value")
        for streams in (name for name in by.get("nginx", {}) if name.isdigit()):
            each = lambda subject: (by[subject][streams] - by[subject]["idle"]) / int(streams) if streams in by.get(subject, {}) else None
            if each("nginx") is not None:
                goal = 20 if cell == "memory" else 90  # 20, and 35 for the library on each TLS side
                rows += row(f"{cell}, {streams} streams", "KiB/stream", each("nginx"), each("moongate"), each("moongate"), goal, kind="value")
    return rows


def show(rows, cells):
    number = lambda n: "" if n is None else f"{n:,.0f}" if abs(n) >= 1000 else f"{n:.1f}"
    print(f"\n{'measurement':28} {'':18} {'direct':>9} {'nginx':>9} {'moongate':>9} {'':>8} {'goal':>8}")
    for each in rows:
        figure = ""
        if each["figure"] is not None and each["kind"] != "value":
            figure = f"{each['figure']:.2f}" if each["kind"] == "ratio" else f"{each['figure']:+.1f}"
        sign = "≥" if each["at_least"] else "≤"
        goal = "" if each["goal"] is None else f"{sign} {each['goal']:g}"
        verdict = {True: "met", False: "MISSED", None: ""}[each["met"]]
        print(f"{each['measure']:28} {each['unit']:18} {number(each['direct']):>9} {number(each['nginx']):>9} {number(each['moongate']):>9} "
              f"{figure:>8} {goal:>8}  {verdict}")
    failures = [f"{cell}: {who}" for cell, by in cells.items() for who, got in by.items() if got.get("failed") or got.get("errors")]
    if failures:
        print("\nerrors in: " + ", ".join(failures))
    noise = [got["median"].get("others", 0) for by in cells.values() for got in by.values() if "median" in got]
    if noise:
        print(f"\nminima over the rounds; added = minus direct; other processes took up to {max(noise) * 100:.0f} % of the gateway's core")
