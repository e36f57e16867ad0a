"""How one thing is measured, in a process that does nothing else.

Time on the wall and time on the processor are both taken: on a busy machine only the second can be trusted, but it
leaves out what the server and the kernel's scheduler add. Of many short batches the lower quartile counts, because
whatever else the machine does can only make a batch longer.
"""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Self

WARM_UP = 50
BATCH = 10
"""Calls that are timed together: one alone would feel the clock, many would feel whatever else the machine does."""

Result = dict[str, float]
"""What a piece of work took: `wall` and `cpu` seconds for one call (or for all streams), `bytes` for one stream."""


class Stopwatch:
    """The times that some batches took, each divided by what was done in it."""

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._cpu: list[float] = []

    def batch(self, size: int = 1) -> Self:
        self._size = size
        return self

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._began
        self._wall.append((time.perf_counter() - wall) / self._size)
        self._cpu.append((time.process_time() - cpu) / self._size)

    def result(self) -> Result:
        return {"wall": _lower_quartile(self._wall), "cpu": statistics.median(self._cpu)}


def _lower_quartile(values: list[float]) -> float:
    return sorted(values)[(len(values) - 1) // 4]


def calls(number: int, call: Callable[[], object]) -> Result:
    """One call after another, blocking."""
    for _ in range(WARM_UP):
        call()
    watch = Stopwatch()
    for _ in range(number // BATCH):
        with watch.batch(BATCH):
            for _ in range(BATCH):
                call()
    return watch.result()


async def async_calls(number: int, call: Callable[[], Awaitable[object]]) -> Result:
    """One call after another, on asyncio."""
    for _ in range(WARM_UP):
        await call()
    watch = Stopwatch()
    for _ in range(number // BATCH):
        with watch.batch(BATCH):
            for _ in range(BATCH):
                await call()
    return watch.result()


async def async_batches(number: int, at_once: int, batch: Callable[[], Awaitable[object]]) -> Result:
    """Batches of calls that run at once; the time is for one call."""
    for _ in range(3):
        await batch()
    watch = Stopwatch()
    for _ in range(max(3, number // at_once)):
        with watch.batch(at_once):
            await batch()
    return watch.result()


def timed(number: int, act: Callable[[], object]) -> Result:
    """Something that is done a few times; the first does not count."""
    act()
    watch = Stopwatch()
    for _ in range(number):
        with watch.batch():
            act()
    return watch.result()


async def async_timed(number: int, act: Callable[[], Awaitable[object]]) -> Result:
    """As `timed`, on asyncio."""
    await act()
    watch = Stopwatch()
    for _ in range(number):
        with watch.batch():
            await act()
    return watch.result()


def resident() -> int:
    """The memory this process has now, in bytes."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def async_streams(number: int, at_once: int, open_some: Callable[[int], Awaitable[object]]) -> Result:
    """Streams opened so many at once until each has seen `ready`; they stay open while the memory is looked at."""
    kept = [await open_some(5)]
    before = resident()
    watch = Stopwatch()
    with watch.batch():
        kept += [await open_some(at_once) for _ in range(0, number, at_once)]
    return {**watch.result(), "bytes": (resident() - before) / number}


def thread_streams(number: int, follow: Callable[[Callable[[], None]], object]) -> Result:
    """Streams with a thread each: `follow` calls its argument at `ready` and goes on waiting."""

    def open_some(number: int) -> None:
        ready = threading.Semaphore(0)
        for _ in range(number):
            threading.Thread(target=follow, args=(ready.release,), daemon=True).start()
        for _ in range(number):
            ready.acquire()

    open_some(5)
    before = resident()
    watch = Stopwatch()
    with watch.batch():
        open_some(number)
    return {**watch.result(), "bytes": (resident() - before) / number}
