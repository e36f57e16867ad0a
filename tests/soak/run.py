"""Runs both clients against the soak's server and judges what they saw; this is what `scripts/soak` starts.

Three things are judged: what each stream delivered (by the oracle, which knows the truth), what the server saw
(requests that should not have been made), and what the process used (memory, descriptors, threads, tasks, CPU: flat).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field

from jamsocket import (
    AsyncJamsocket,
    BackendState,
    BackendTerminatedError,
    Backoff,
    HTTPError,
    Jamsocket,
    NotFoundError,
    ReadyState,
    UnknownState,
)
from tests.soak.truth import FORGOTTEN, GONE, NO_CONTENT, TERMINATED, Truth

ROOT = Path(__file__).parent.parent.parent
CREDENTIALS: dict[str, Any] = {"account": "acme", "token": "t", "service": "soak", "timeout": 2.0, "max_retries": 1000}
BACKOFF = Backoff(initial=0.02, maximum=0.5)
LEFT = ("leave", "unsubscribe", "cancel")
"""Streams that their own caller ends, somewhere in the middle."""

STUCK = 90.0
"""Seconds after which a stream counts as stuck; the longest life takes a few."""


def word(state: BackendState) -> str:
    """What the server called this state."""
    return state.raw_status if isinstance(state, UnknownState) else state.status


@define
class Oracle:
    """Judges what each stream delivered."""

    seed: int
    violations: list[str] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    is_over: threading.Event = field(factory=threading.Event)
    _lock: threading.Lock = field(factory=threading.Lock)

    def blame(self, what: str) -> None:
        with self._lock:
            self.counts["violations"] += 1
            if len(self.violations) < 100:
                self.violations.append(what)

    def count(self, what: str, more: int = 1) -> None:
        with self._lock:
            self.counts[what] += more

    def judge(self, truth: Truth, got: list[str], how: str, error: Exception | None, *, cut_short: bool) -> None:
        """Compares what was delivered with what happened; `cut_short` streams were ended by their own caller."""
        self.count("streams")
        self.count(f"how: {how}")
        self.count("statuses", len(got))
        about = f"{truth.backend_id} ({how}, {truth.fate}): got {got}, was {truth.statuses}, error {error!r}"
        if len(set(got)) != len(got):
            return self.blame(f"a status twice: {about}")
        if got != truth.statuses[: len(got)]:
            return self.blame(f"a status lost, invented or out of order: {about}")
        if cut_short:
            if error is not None and not (truth.fate in {GONE, FORGOTTEN} and isinstance(error, HTTPError)):
                self.blame(f"an error that the fate does not explain: {about}")
            return None
        self.count(f"fate: {truth.fate}")
        match truth.fate:
            case "terminated":
                right = error is None and got == truth.statuses
            case "gone":
                right = isinstance(error, HTTPError) and error.code == 410
            case "forgotten":
                right = isinstance(error, NotFoundError)
            case _:
                right = error is None
        return None if right else self.blame(f"a wrong end: {about}")


def modes_for(truth: Truth) -> list[str]:
    modes = ["iterate", "iterate", "leave", "unsubscribe"]
    if truth.fate != NO_CONTENT:  # nobody tells a callback that its stream ended without a word
        modes += ["callback", "callback"]
    if truth.fate == TERMINATED:
        modes += ["wait"]
    return modes


@define
class Listener:
    """An `on_status` and `on_error` that knows when its stream is over; now and then it raises."""

    oracle: Oracle
    truth: Truth
    dice: random.Random
    done: Callable[[], object]
    got: list[str] = field(factory=list)
    error: Exception | None = None
    unsubscribed: float | None = None
    errors: int = 0

    def is_too_late(self) -> bool:
        """Whether a call that comes now is one after `unsubscribe`."""
        # One that was about to run when `unsubscribe` returned has started, as far as anyone can tell.
        return self.unsubscribed is not None and time.monotonic() - self.unsubscribed > 0.5

    def on_status(self, state: BackendState) -> None:
        if self.is_too_late():
            self.oracle.blame(f"{self.truth.backend_id}: a callback after unsubscribe")
        self.got.append(word(state))
        if state.status == "terminated":
            self.done()
        if self.dice.random() < 0.05:
            self.oracle.count("callbacks that raised")
            raise LookupError("from the soak's callback")

    def on_error(self, error: Exception) -> None:
        self.errors += 1
        if self.errors > 1 or self.is_too_late():
            self.oracle.blame(f"{self.truth.backend_id}: on_error {self.errors} times, or after unsubscribe")
        self.error = error
        self.done()


# ── The blocking client: a thread for each stream ──


def work(client: Jamsocket, oracle: Oracle, worker: int) -> None:
    number = 0
    while not oracle.is_over.is_set():
        number += 1
        truth = Truth.of(oracle.seed, f"thread{worker}-{number}")
        dice = random.Random(f"{oracle.seed} follows {truth.backend_id}")
        mode = dice.choice(modes_for(truth))
        try:
            attend(client, oracle, truth, dice, mode)
            client.terminate(truth.backend_id, hard=mode in LEFT)
        except Exception as error:
            oracle.blame(f"{truth.backend_id} ({mode}): {type(error).__name__}: {error}")


def attend(client: Jamsocket, oracle: Oracle, truth: Truth, dice: random.Random, mode: str) -> None:
    options: dict[str, Any] = {"backoff": BACKOFF, "stall_timeout": dice.choice([0.6, 1.0, 4.0])}
    got: list[str] = []
    error: Exception | None = None
    match mode:
        case "wait":
            try:
                wrong = not isinstance(client.wait_until_ready(truth.backend_id, timeout=STUCK, **options), ReadyState)
            except BackendTerminatedError as ended:
                wrong = ended.state.status != "terminated"
            else:
                wrong = wrong or "ready" not in truth.statuses
            return oracle.blame(f"{truth.backend_id}: waiting went wrong") if wrong else oracle.count("how: wait")
        case "callback" | "unsubscribe":
            done = threading.Event()
            listener = Listener(oracle, truth, dice, done.set)
            try:
                unsubscribe = client.status_stream(
                    truth.backend_id, listener.on_status, on_error=listener.on_error, **options
                )
            except HTTPError as first:
                listener.error = first
            else:
                patience = dice.uniform(0, 2) if mode == "unsubscribe" else STUCK
                if not done.wait(patience) and mode == "callback":
                    oracle.blame(f"{truth.backend_id} ({mode}): stuck after {listener.got}")
                unsubscribe()
                listener.unsubscribed = time.monotonic()
            got, error = list(listener.got), listener.error
        case _:
            states = client.statuses(truth.backend_id, **options)
            is_ended = threading.Event()
            leave_after = dice.uniform(0, 2) if mode == "leave" else STUCK
            # By another thread, while this one reads, sleeps between connections or makes one.
            timer = threading.Timer(leave_after, lambda: (is_ended.set(), states.close()))
            timer.daemon = True
            timer.start()
            try:
                for state in states:
                    got.append(word(state))
                    if dice.random() < 0.05:
                        time.sleep(dice.uniform(0, 0.3))  # a slow consumer
            except HTTPError as last:
                error = last
            timer.cancel()
            timer.join()
            if is_ended.is_set() and mode != "leave":
                oracle.blame(f"{truth.backend_id} ({mode}): stuck after {got}")
            elif mode == "leave":
                return oracle.judge(truth, got, mode, error, cut_short=is_ended.is_set())
    return oracle.judge(truth, got, mode, error, cut_short=mode == "unsubscribe")


# ── The asyncio client: a task for each stream ──


async def async_work(client: AsyncJamsocket, oracle: Oracle, worker: int) -> None:
    number = 0
    while not oracle.is_over.is_set():
        number += 1
        truth = Truth.of(oracle.seed, f"task{worker}-{number}")
        dice = random.Random(f"{oracle.seed} follows {truth.backend_id}")
        mode = dice.choice([*modes_for(truth), "cancel"])
        try:
            await async_attend(client, oracle, truth, dice, mode)
            await client.terminate(truth.backend_id, hard=mode in LEFT)
        except Exception as error:
            oracle.blame(f"{truth.backend_id} ({mode}): {type(error).__name__}: {error}")


async def async_attend(client: AsyncJamsocket, oracle: Oracle, truth: Truth, dice: random.Random, mode: str) -> None:
    options: dict[str, Any] = {"backoff": BACKOFF, "stall_timeout": dice.choice([0.6, 1.0, 4.0])}
    got: list[str] = []
    error: Exception | None = None
    match mode:
        case "wait":
            try:
                ready = await client.wait_until_ready(truth.backend_id, timeout=STUCK, **options)
                wrong = not isinstance(ready, ReadyState) or "ready" not in truth.statuses
            except BackendTerminatedError as ended:
                wrong = ended.state.status != "terminated"
            return oracle.blame(f"{truth.backend_id}: waiting went wrong") if wrong else oracle.count("how: wait")
        case "callback" | "unsubscribe":
            done = asyncio.Event()
            listener = Listener(oracle, truth, dice, done.set)

            async def on_status(state: BackendState) -> None:
                await asyncio.sleep(0)
                listener.on_status(state)

            try:
                unsubscribe = await client.status_stream(
                    truth.backend_id,
                    on_status if dice.random() < 0.5 else listener.on_status,
                    on_error=listener.on_error,
                    **options,
                )
            except HTTPError as first:
                listener.error = first
            else:
                try:
                    await asyncio.wait_for(done.wait(), dice.uniform(0, 2) if mode == "unsubscribe" else STUCK)
                except TimeoutError:
                    if mode == "callback":
                        oracle.blame(f"{truth.backend_id} ({mode}): stuck after {listener.got}")
                unsubscribe()
                listener.unsubscribed = time.monotonic()
            got, error = list(listener.got), listener.error
        case _:

            async def iterate() -> None:
                async with client.statuses(truth.backend_id, **options) as states:
                    streams.append(states)
                    async for state in states:
                        got.append(word(state))
                        if dice.random() < 0.05:
                            await asyncio.sleep(dice.uniform(0, 0.3))  # a slow consumer

            streams: list[Any] = []
            task = asyncio.create_task(iterate())
            await asyncio.wait([task], timeout=dice.uniform(0, 2) if mode in LEFT else STUCK)
            cut_short = not task.done()
            if cut_short and mode == "leave" and streams:
                await streams[0].aclose()
            elif cut_short:
                task.cancel()
                if mode == "iterate":
                    oracle.blame(f"{truth.backend_id} ({mode}): stuck after {got}")
            try:
                await task
            except HTTPError as last:
                error = last
            except asyncio.CancelledError:
                if not cut_short:
                    raise
            return oracle.judge(truth, got, mode, error, cut_short=cut_short)
    return oracle.judge(truth, got, mode, error, cut_short=mode == "unsubscribe")


# ── What the process uses ──


@define
class Sample:
    """What was in use at one moment, or, for CPU and statuses, since the sample before."""

    memory: float  # MiB
    objects: int  # that the garbage collector knows
    descriptors: int
    threads: int
    tasks: int
    cpu: float  # seconds
    statuses: int


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def memory() -> float:
    # What the process holds, not what the allocator keeps for later: that depends on the busiest moment so far.
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@define
class Use:
    """The samples, and whether they are flat."""

    samples: list[Sample] = field(factory=list)
    _cpu: float = 0.0
    _statuses: int = 0

    def start(self, oracle: Oracle) -> None:
        self._cpu, self._statuses = time.process_time(), oracle.counts["statuses"]

    def take(self, oracle: Oracle, loop: asyncio.AbstractEventLoop) -> None:
        cpu, statuses = time.process_time(), oracle.counts["statuses"]
        gc.collect()  # what is left is held by somebody
        self.samples.append(
            Sample(
                memory(),
                len(gc.get_objects()),
                descriptors(),
                threading.active_count(),
                len(asyncio.all_tasks(loop)),
                cpu - self._cpu,
                statuses - self._statuses,
            )
        )
        self._cpu, self._statuses = time.process_time(), statuses  # without what the look itself took

    def table(self) -> list[tuple[str, float, float, float]]:
        """Name, first half, second half, and what the second may be: medians, but CPU as a ratio of sums."""
        # The first tenth is for the caches, pools and heaps to fill.
        counted = self.samples[max(1, len(self.samples) // 10) :]
        first, second = counted[: len(counted) // 2], counted[len(counted) // 2 :]

        def halves(measure: Callable[[list[Sample]], float]) -> tuple[float, float]:
            return measure(first), measure(second)

        def median(name: str) -> tuple[float, float]:
            return halves(lambda part: statistics.median(getattr(sample, name) for sample in part))

        mem, objects, fds, threads, tasks = map(median, ("memory", "objects", "descriptors", "threads", "tasks"))
        cpu = halves(lambda part: 1000 * sum(s.cpu for s in part) / max(1, sum(s.statuses for s in part)))
        return [
            ("memory (RSS), MiB", *mem, mem[0] * 1.03 + 3),
            ("Python objects", *objects, objects[0] * 1.03 + 1000),
            ("descriptors", *fds, fds[0] * 1.2 + 10),
            ("threads", *threads, threads[0] * 1.2 + 10),
            ("tasks", *tasks, tasks[0] * 1.2 + 10),
            ("CPU for a status, ms", *cpu, cpu[0] * 1.4 + 0.5),
        ]


class Records(logging.Handler):
    """Counts what the library logs; an error other than that of our own callbacks is a violation."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self.oracle = oracle

    def emit(self, record: logging.LogRecord) -> None:
        self.oracle.count(f"log: {record.levelname.lower()}")
        if record.levelno >= logging.ERROR and not (record.exc_info and record.exc_info[0] is LookupError):
            self.oracle.blame(f"logged: {record.getMessage()}")


# ── All of it ──


class ServerProcess:
    """The server, in a process of its own, so that what we measure is the clients."""

    def __init__(self, seed: int) -> None:
        command = [sys.executable, "-m", "tests.soak.server", str(seed)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def ask(self, path: str) -> Any:
        for _ in range(100):  # it may just be refusing connections
            try:
                with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                    return json.load(answer)
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the soak's server does not answer")

    def close(self) -> None:
        self._process.communicate("", timeout=10)


def settled(count: Callable[[], int], limit: int) -> int:
    """The count, once it is down to the limit, or after a few seconds."""
    deadline = time.monotonic() + 5
    while (now := count()) > limit and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    return now


def soak(seconds: float, seed: int, streams: int) -> bool:
    """Runs for this long and prints what came of it; whether everything was right."""
    oracle, use = Oracle(seed), Use()
    # Whatever nobody catches is a violation: in threads, in finalizers, in the event loop.
    threading.excepthook = lambda args: oracle.blame(f"in a thread: {args.exc_type.__name__}: {args.exc_value}")
    sys.unraisablehook = lambda args: oracle.blame(f"unraisable: {args.exc_value!r} in {args.object!r}")
    logger = logging.getLogger("jamsocket")
    logger.addHandler(Records(oracle))
    logger.propagate = False

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: oracle.blame(f"in the event loop: {context}"))
    loop_thread = threading.Thread(target=loop.run_forever, daemon=True)
    loop_thread.start()
    server = ServerProcess(seed)
    # The clients of a first, empty round open what stays open for good: the resolver, the selector, modules.
    before = (descriptors(), threading.active_count())

    client = Jamsocket(**CREDENTIALS, api_url=server.url)
    async_client = AsyncJamsocket(**CREDENTIALS, api_url=server.url)
    threads = [
        threading.Thread(target=work, args=(client, oracle, worker), daemon=True) for worker in range(streams // 2)
    ]

    async def attend_all() -> None:
        await asyncio.gather(*(async_work(async_client, oracle, worker) for worker in range(streams - len(threads))))

    print(f"{streams} streams at a time, half of each client, for {seconds:.0f} s; seed {seed}", flush=True)
    began = time.monotonic()
    for thread in threads:
        thread.start()
    tasks = asyncio.run_coroutine_threadsafe(attend_all(), loop)
    use.start(oracle)
    # Enough samples for medians, and no more than 600: they would be the only thing that grows.
    interval = max(min(1.0, seconds / 40), seconds / 600)
    while (left := began + seconds - time.monotonic()) > 0:
        time.sleep(min(interval, left))
        use.take(oracle, loop)

    oracle.is_over.set()
    server.ask("/calm")
    deadline = time.monotonic() + STUCK
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    if alive := [thread for thread in threads if thread.is_alive()]:
        oracle.blame(f"{len(alive)} threads do not come to an end")
    try:
        tasks.result(max(1, deadline - time.monotonic()))
    except TimeoutError:
        oracle.blame("the tasks do not come to an end")
    client.close()
    asyncio.run_coroutine_threadsafe(async_client.aclose(), loop).result(10)
    report = server.ask("/report")

    left_tasks = settled(lambda: len(asyncio.all_tasks(loop)), 0)
    left_over = [
        ("descriptors", before[0], settled(descriptors, before[0])),
        ("threads", before[1], settled(threading.active_count, before[1])),
        ("tasks", 0, left_tasks),
    ]
    loop.call_soon_threadsafe(loop.stop)
    loop_thread.join(10)
    loop.close()
    server.close()

    print_figures(oracle, report, use, left_over)
    failures = [*oracle.violations, *(f"server: {what}" for what in report["violations"])]
    failures += [f"{n} is not flat: {a:.2f}, then {b:.2f}" for n, a, b, limit in use.table() if b > limit]
    failures += [f"{count - were} {name} are left over" for name, were, count in left_over if count > were]
    if oracle.counts["streams"] < streams:
        failures.append("hardly anything happened")
    for failure in failures:
        print(f"VIOLATION {failure}")
    again = f"scripts/soak {seconds / 60:g} --seed {seed} --streams {streams}"
    print(f"verdict: {'FAILED' if failures else 'passed'}, {len(failures)} violations ({again})", flush=True)
    return not failures


def print_figures(oracle: Oracle, report: Any, use: Use, left_over: list[tuple[str, int, int]]) -> None:
    print("\n| what happened | times |\n| --- | ---: |")
    for name in ("streams", "statuses", *sorted(set(oracle.counts) - {"streams", "statuses"})):
        print(f"| {name} | {oracle.counts[name]} |")
    print("\n| what the server played | times |\n| --- | ---: |")
    for name, times in sorted(report["played"].items()):
        print(f"| {name} | {times} |")
    print("\n| in use | first half | second half | limit |\n| --- | ---: | ---: | ---: |")
    for name, first, second, limit in use.table():
        print(f"| {name} | {first:.2f} | {second:.2f} | {limit:.2f} |")
    step = max(1, len(use.samples) // 12)
    course = " ".join(f"{sample.memory:.0f}" for sample in use.samples[step - 1 :: step])
    print(f"\nmemory (RSS), MiB, over the whole time: {course}")
    print("\n| left over | before | after |\n| --- | ---: | ---: |")
    for name, were, count in left_over:
        print(f"| {name} | {were} | {count} |")
    print()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Random faults for both clients, and an oracle.")
    parser.add_argument("minutes", type=float, help="how long")
    parser.add_argument("--seed", type=int, default=None, help="repeats the plan of an earlier run")
    parser.add_argument("--streams", type=int, default=60, help="streams at a time, for both clients together (60)")
    options = parser.parse_args(arguments)
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    return 0 if soak(60 * options.minutes, seed, max(2, options.streams)) else 1


if __name__ == "__main__":
    sys.exit(main())
