"""Puts a server under load and judges what it did; this is what `scripts/load` starts.

Judged are: each backend's history (by its stream, by its info and by what was done to it), keys, who answers a
connection URL, what the server uses over time, and what is left when everything has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

from tests.load.server import REMEMBERED
from tests.load.truth import Judge, Life

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds after which something counts as stuck."""

SETTLED = ("descriptors", "threads", "tasks", "backends", "keys", "tokens", "ports", "processes")


class Told:
    """The server's process, and what it tells of itself."""

    def __init__(self, process: asyncio.subprocess.Process, hello: dict[str, Any]) -> None:
        self.process = process
        self.url: str = hello["url"]
        self.mark: bytes = hello["mark"].encode()
        self.scratch = Path(hello["scratch"])

    @classmethod
    async def start(cls) -> Told:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "tests.load.server"),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        return cls(process, json.loads(await process.stdout.readline()))

    async def holds(self, *, collect: bool = False) -> dict[str, float]:
        """What it has in its hands now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"collect\n" if collect else b"look\n")
        told: dict[str, float] = json.loads(await self.process.stdout.readline())
        told["processes"] = len(self.marked("environ"))
        return told

    def marked(self, file: str) -> list[int]:
        """The processes that carry its mark in this file of theirs."""
        found: list[int] = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark in (process / file).read_bytes().split(b"\0"):
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    async def stop(self) -> tuple[int, str]:
        """Its exit code, and what it wrote as an error."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            _, stderr = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, stderr.decode()


@define
class Load:
    """The load, and what it has seen so far."""

    server: Told
    session: aiohttp.ClientSession
    dice: random.Random
    wanted: int
    """How many backends at once."""

    judge: Judge = field(factory=Judge)
    lives: dict[str, Life] = field(factory=dict)
    urls: dict[str, str] = field(factory=dict)
    connect_ms: list[float] = field(factory=list)
    ready_ms: list[float] = field(factory=list)
    tasks: set[asyncio.Task[None]] = field(factory=set)
    followers: set[asyncio.Task[None]] = field(factory=set)

    # ── What is done ──

    async def connect(self, key: str | None, *, mode: str = "", fate: str | None = None, **spawn: int) -> None:
        """One connect, and now and then a use of what it gave."""
        request = {"spawn": {"executable": {"env": {"MODE": mode}}, **spawn}} | ({"key": key} if key else {})
        start = time.perf_counter()
        answer = await self.call("POST", "/v2/service/load/load/connect", request)
        self.connect_ms.append((time.perf_counter() - start) * 1000)
        backend_id = answer["backend_id"]
        self.judge.counts["connects"] += 1
        if answer["spawned"]:
            if backend_id in self.lives:
                self.judge.blame(f"{backend_id} was spawned twice")
            life = self.lives[backend_id] = Life(backend_id, key, fate)
            self.urls[backend_id] = answer["url"]
            self.start(self.followers, self.follow(life))
        async with asyncio.timeout(PATIENCE):
            while backend_id not in self.lives:  # noqa: ASYNC110 - whoever spawned it has not been told yet
                await asyncio.sleep(0.01)
        if fate is None and self.dice.random() < 0.5:
            await self.use(self.lives[backend_id], answer["url"])

    async def use(self, life: Life, url: str) -> None:
        """A request through a connection URL, often one that is given up in the middle."""
        how = self.dice.choice(["get", "get", "drip", "hang", "body", "half a body", "websocket", "websocket"])
        self.judge.counts[f"use: {how}"] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                failure = await getattr(self, f"_{how.replace(' ', '_')}")(life, url)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = f"{how}: {error!r}"
        if failure:
            self.judge.counts["uses of what was ending"] += 1
            life.failures.append((time.time() * 1000, failure))

    async def _get(self, life: Life, url: str) -> str | None:
        async with self.session.get(url) as response:
            body = await response.text()
        if response.status == 200 and body != life.backend_id:
            self.judge.blame(f"a request for {life.backend_id} was answered by {body}")
        return None if response.status == 200 else f"get: {response.status}"

    async def _drip(self, life: Life, url: str) -> str | None:
        async with self.session.get(f"{url}drip") as response:
            if response.status != 200:
                return f"drip: {response.status}"
            got = b""
            for _ in range(self.dice.randrange(1, 6)):
                if not (more := await response.content.readany()):
                    return "drip: an early end"
                got += more
        return None if got.startswith(b"drip\n") else f"drip: {got!r}"

    async def _hang(self, life: Life, url: str) -> str | None:
        try:
            async with self.session.get(
                f"{url}hang", timeout=aiohttp.ClientTimeout(self.dice.uniform(0, 1))
            ) as response:
                return f"hang: {response.status}"
        except TimeoutError:
            return None

    async def _body(self, life: Life, url: str) -> str | None:
        size = self.dice.randrange(500_000)
        async with self.session.post(f"{url}body", data=bytes(size)) as response:
            body = await response.text()
        return None if (response.status, body) == (200, str(size)) else f"body: {response.status} {body}"

    async def _half_a_body(self, life: Life, url: str) -> str | None:
        async def half() -> AsyncIterator[bytes]:
            yield bytes(100_000)
            await asyncio.sleep(self.dice.uniform(0, 0.5))
            raise ConnectionAbortedError

        try:
            headers = {"Content-Length": "200000"}
            async with self.session.post(f"{url}body", data=half(), headers=headers) as response:
                return f"half a body: {response.status}"
        except (aiohttp.ClientError, ConnectionAbortedError):
            return None

    async def _websocket(self, life: Life, url: str) -> str | None:
        socket = await self.session.ws_connect(f"{url}ws")
        try:
            for number in range(3):
                await socket.send_str(f"{life.backend_id} {number}")
                if (message := await socket.receive()).data != f"{life.backend_id} {number}":
                    return f"websocket: {message}"
            await asyncio.sleep(self.dice.uniform(0, 0.5))
            if self.dice.random() < 0.5:
                transport = socket.get_extra_info("socket")
                if transport is not None and socket._response.connection is not None:
                    assert socket._response.connection.transport is not None
                    socket._response.connection.transport.abort()
        finally:
            await socket.close()
        return None

    async def end(self, life: Life) -> None:
        """Ends a backend in one of the ways there are."""
        how = self.dice.choice(["soft", "soft", "hard", "soft, then hard", "exit", "crash", "kill"])
        await self.bring_about(life, how)

    async def bring_about(self, life: Life, how: str) -> None:
        life.fate, life.fated_ms = how, time.time() * 1000
        if how in {"exit", "crash", "kill"}:
            try:
                async with self.session.get(f"{self.urls[life.backend_id]}{how}") as response:
                    if response.status != 502:
                        self.judge.blame(f"{life.backend_id} answered {response.status} to {how}")
            except aiohttp.ClientError as error:
                self.judge.blame(f"{life.backend_id}, {how}: {error!r}")
            return
        for hard in [True] if how == "hard" else [False, True] if how == "soft, then hard" else [False]:
            over = {409} if hard and how != "hard" else set[int]()
            await self.call("POST", f"/v2/backend/{life.backend_id}/terminate", {"hard": hard}, accept=over)

    # ── What is watched ──

    async def follow(self, life: Life) -> None:
        """Follows a backend to its end, sometimes with a second connection in between, and has it judged."""
        born = time.perf_counter()
        cut = self.dice.random() < 0.2
        try:
            while not life.is_over:
                told: list[dict[str, Any]] = []
                url = f"{self.server.url}/v2/backend/{life.backend_id}/status/stream"
                limit = aiohttp.ClientTimeout(self.dice.uniform(0, 3) if cut else None)
                cut = False
                try:
                    async with self.session.get(url, timeout=limit) as response:
                        async for line in response.content:
                            if line.startswith(b"data:"):
                                told.append(json.loads(line[5:]))
                                if len(told) <= len(life.states):
                                    continue  # the first connection told it
                                life.states = list(told)
                                if told[-1]["status"] == "ready":
                                    self.ready_ms.append((time.perf_counter() - born) * 1000)
                    if not life.is_over:
                        self.judge.blame(f"the stream of {life.backend_id} ended: {told}")
                        return
                except TimeoutError:
                    self.judge.counts["streams that were left and taken up again"] += 1
                if told != life.states[: len(told)]:
                    self.judge.blame(f"{life.backend_id}: the second stream told {told}, the first {life.states}")
            self.judge.judge(life, await self.call("GET", f"/v2/backend/{life.backend_id}"))
        except aiohttp.ClientError as error:
            self.judge.blame(f"the stream of {life.backend_id}: {error!r}")

    async def call(self, method: str, path: str, data: object = None, accept: set[int] | None = None) -> dict[str, Any]:
        async with self.session.request(method, f"{self.server.url}{path}", json=data) as response:
            answer: dict[str, Any] = await response.json()
        if response.status not in {200, *(accept or ())}:
            self.judge.blame(f"{method} {path}: {response.status} {answer}")
        return answer

    def start(self, group: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        group.add(task)
        task.add_done_callback(lambda done: self.finish(group, done))

    def finish(self, group: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        group.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.judge.blame(f"{task.get_coro()}: {error!r}")

    # ── The whole ──

    @property
    def open(self) -> list[Life]:
        """Those whose end is open."""
        return [life for life in self.lives.values() if life.fate is None and not life.is_over]

    async def connects(self, seconds: float, per_minute: float) -> None:
        """The connects, evenly spread, and the ends that keep the number of backends where it should be."""
        start = time.monotonic()
        count = 0
        while (passed := time.monotonic() - start) < seconds:
            while count < passed * per_minute / 60:
                count += self.some_connects()
            surplus = self.open[: max(0, len(self.open) - self.wanted)]
            for life in self.dice.sample(self.open, len(surplus)):
                self.start(self.tasks, self.end(life))
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)

    def some_connects(self) -> int:
        """Begins one connect, or several at once with one key; how many."""
        key = f"room-{self.dice.randrange(self.wanted * 5 // 4)}"
        fresh = f"new-{self.dice.getrandbits(40)}"
        mode = self.dice.choice(["", "", "", "stubborn", "parent"])
        match self.dice.choices(
            ["room", "new", "no key", "together", "early", "idle", "lifetime"], [12, 2, 2, 1, 1, 1, 1]
        ):
            case ["room"]:
                self.start(self.tasks, self.connect(key, mode=mode))
            case ["new"]:
                self.start(self.tasks, self.connect(fresh, mode=mode))
            case ["no key"]:
                self.start(self.tasks, self.connect(None, mode=mode))
            case ["together"]:
                for _ in range(5):
                    self.start(self.tasks, self.connect(fresh))
                return 5
            case ["early"]:
                self.start(self.tasks, self.connect(None, mode="early", fate="early"))
            case ["idle"]:
                self.start(self.tasks, self.connect(fresh, mode=mode, fate="idle", max_idle_seconds=1))
            case _:
                self.start(self.tasks, self.connect(fresh, fate="lifetime", lifetime_limit_seconds=2))
        return 1

    async def end_all(self) -> None:
        """Ends what runs, and waits until everything that was begun has come to its end."""
        async with asyncio.timeout(PATIENCE):
            while self.tasks:
                await asyncio.wait(self.tasks)
        for life in self.open:
            await self.bring_about(life, "soft")
        async with asyncio.timeout(PATIENCE):
            while self.followers:
                await asyncio.wait(self.followers)

    async def watch(self, seconds: float, samples: list[dict[str, float]]) -> None:
        for _ in range(40):
            await asyncio.sleep(seconds / 40)
            samples.append(await self.server.holds())


async def run(seconds: float, backends: int, per_minute: float, seed: int) -> int:
    print(f"{backends} backends at once, {per_minute:g} connects a minute, for {seconds:g} s; seed {seed}", flush=True)
    server = await Told.start()
    connector = aiohttp.TCPConnector(limit=0, resolver=aiohttp.ThreadedResolver())
    samples: list[dict[str, float]] = []
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
        load = Load(server, session, random.Random(seed), backends)
        # The first few show what the server holds when nothing is going on; then as many as there shall be.
        for _ in range(5):
            await load.connect(None)
        await load.end_all()
    before = await settle(server, None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        load.session = session
        while len(load.open) < backends:
            await asyncio.gather(*(load.connect(f"room-{len(load.lives)}-{number}") for number in range(10)))
        first, began = await server.holds(), time.monotonic()
        await asyncio.gather(load.connects(seconds, per_minute), load.watch(seconds, samples))
        took = time.monotonic() - began
        last = await server.holds()
        await load.end_all()
    load.judge.judge_keys(load.lives.values())
    after = await settle(server, before)
    code, stderr = await server.stop()
    for what in SETTLED:
        if after[what] > before[what]:
            load.judge.blame(f"left behind: {what}: {after[what]:g}, there were {before[what]:g}")
    if (code, stderr) != (0, ""):
        load.judge.blame(f"the server ended with {code} and said: {stderr[-2000:]}")
    if left := server.marked("environ") + server.marked("cmdline"):
        load.judge.blame(f"processes survived the server: {left}")
    if server.scratch.exists():
        load.judge.blame(f"{server.scratch} survived the server")
    judge_memory(load.judge, [sample["memory (RSS), MiB"] for sample in samples])
    report(load, samples, before, after, took, last["CPU, s"] - first["CPU, s"])
    return 1 if load.judge.violations else 0


async def settle(server: Told, wanted: dict[str, float] | None) -> dict[str, float]:
    """What the server holds, once that is no more than what is wanted or does not get less."""
    deadline = time.monotonic() + (10 if wanted else 1)
    while True:
        held = await server.holds(collect=True)
        if time.monotonic() > deadline or (wanted and all(held[what] <= wanted[what] for what in SETTLED)):
            return held
        await asyncio.sleep(0.1)


def judge_memory(judge: Judge, sizes: Sequence[float]) -> None:
    """It may not grow with time. The first quarter is left out: the histories are filling up."""
    rest = sizes[len(sizes) // 4 :]
    if len(rest) < 4:
        return
    early, late = (statistics.mean(half) for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]))
    if late > early * 1.1 + 4:
        judge.blame(f"memory grows: {early:.1f} MiB, then {late:.1f} MiB")


def report(
    load: Load,
    samples: list[dict[str, float]],
    before: dict[str, float],
    after: dict[str, float],
    took: float,
    cpu: float,
) -> None:
    """Prints the figures."""
    counts = load.judge.counts
    counts["backends"] = len(load.lives)
    print("\n| what happened | times |\n| --- | ---: |")
    for what, times in sorted(counts.items()):
        print(f"| {what} | {times} |")
    print("\n| how long, ms | median | 95 % | longest |\n| --- | ---: | ---: | ---: |")
    for what, values in (("connect", load.connect_ms), ("until ready", load.ready_ms)):
        cuts = statistics.quantiles(values, n=100) if len(values) > 1 else [0.0] * 99
        print(f"| {what} | {cuts[49]:.0f} | {cuts[94]:.0f} | {max(values, default=0):.0f} |")
    print("\n| in use | least | mean | most |\n| --- | ---: | ---: | ---: |")
    for what in ("backends", "processes", "memory (RSS), MiB", "descriptors", "threads", "tasks", "keys", "tokens"):
        values = [sample[what] for sample in samples] or [0.0]
        print(f"| {what} | {min(values):.0f} | {statistics.mean(values):.0f} | {max(values):.0f} |")
    sizes = [sample["memory (RSS), MiB"] for sample in samples]
    print("\nmemory over the whole time, MiB:", *(f"{size:.0f}" for size in sizes[:: max(1, len(sizes) // 12)]))
    each = cpu / max(1, counts["connects"]) * 1000
    print(f"the server's CPU: {cpu / took:.0%} of one processor, {each:.0f} ms for a connect and all that follows")
    print(f"remembered backends: {after['remembered']:.0f} (at most {REMEMBERED} that have ended)")
    print("\n| left over | before | after |\n| --- | ---: | ---: |")
    for what in SETTLED:
        print(f"| {what} | {before[what]:.0f} | {after[what]:.0f} |")
    print()
    for violation in load.judge.violations:
        print("violation:", violation)
    print(f"verdict: {'failed' if load.judge.violations else 'passed'}, {counts['violations']} violations")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/load", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=600.0)
    parser.add_argument("--backends", type=int, default=200, help="how many at once")
    parser.add_argument("--connects", type=float, default=1000.0, help="how many a minute")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    return asyncio.run(run(options.seconds, options.backends, options.connects, options.seed))


if __name__ == "__main__":
    os.environ.pop("JAMSOCKET_TOKEN", None)
    sys.exit(main())
