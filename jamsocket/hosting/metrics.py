"""What backends use of processor and memory: measured for all of them at once."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable

import psutil
from attrs import frozen

from .changes import Changes
from .engine import JSONObject

# How many measurements of a backend are kept.
KEPT = 150


@frozen
class Usage:
    """What a backend has used so far, with all its processes: processor time in nanoseconds, and memory in bytes."""

    cpu: int
    memory: int


@frozen
class Measurement:
    """What a backend used since the measurement before, in the API's terms: nanoseconds and bytes."""

    time_ms: int
    cpu_used: int
    sys_cpu: int
    mem_used: int
    mem_available: int
    mem_limit: int | None

    def public(self) -> JSONObject:
        """As the metrics stream sends it."""
        data: JSONObject = {
            "cpu_used": self.cpu_used,
            "sys_cpu": self.sys_cpu,
            "mem_used": self.mem_used,
            "mem_available": self.mem_available,
        }
        if self.mem_limit is not None:
            data["mem_limit"] = self.mem_limit
        return data


class Metrics:
    """The last measurements of one backend, for any number of readers.

    Args:
        memory_limit: the most memory that the backend may use, in bytes; None for all there is.
        started: when it was started, in seconds of a clock that never jumps.
    """

    def __init__(self, memory_limit: int | None, started: float) -> None:
        self.max_memory: int | None = None
        self.kept: deque[Measurement] = deque(maxlen=KEPT)
        self._memory_limit = memory_limit
        self._usage = Usage(0, 0)
        self._measured = started
        self._count = 0
        self._is_complete = False
        self._changes = Changes()

    def add(self, usage: Usage, machine_memory: int, now: float, now_ms: int) -> None:
        """Takes note of what the backend has used so far.

        Args:
            usage: what it has used.
            machine_memory: how much memory the machine has free, in bytes.
            now, now_ms: the time, on the clock that never jumps and in epoch milliseconds.
        """
        # Clients divide by it, and print rubbish for zeros.
        machine = max(1, int((now - self._measured) * 1e9) * (os.cpu_count() or 1))
        # A process that ended takes its time along if nobody waited for it: never less than nothing.
        used = min(max(0, usage.cpu - self._usage.cpu), machine)
        limit = self._memory_limit
        available = machine_memory if limit is None else limit - usage.memory
        self.kept.append(Measurement(now_ms, used, machine, max(1, usage.memory), max(1, available), limit))
        self.max_memory = max(usage.memory, self.max_memory or 0)
        self._usage, self._measured = usage, now
        self._count += 1
        self._changes.announce()

    def complete(self) -> None:
        """Says that nothing more will come."""
        self._is_complete = True
        self._changes.announce()

    async def follow(self) -> AsyncIterator[Measurement]:
        """The last measurement, if there was one, then new ones, up to the end; a slow reader misses some."""
        seen = 0
        while True:
            if self._count > seen:
                seen = self._count
                yield self.kept[-1]
            elif self._is_complete:
                return
            else:
                await self._changes.wait()


def measure(leaders: Iterable[int]) -> dict[int, Usage]:
    """What the process groups and sessions of these processes have used so far. Takes some milliseconds.

    A group that has no memory any more has ended, even if nobody has waited for its processes yet: it is left out.
    """
    wanted = set(leaders)
    cpu: defaultdict[int, float] = defaultdict(float)
    memory: defaultdict[int, int] = defaultdict(int)
    for process in psutil.process_iter():
        # It is gone, or another user's.
        with contextlib.suppress(psutil.Error, OSError):
            leader = os.getsid(process.pid)
            if leader not in wanted:
                leader = os.getpgid(process.pid)
                if leader not in wanted:
                    continue
            with process.oneshot():
                times, resident = process.cpu_times(), process.memory_info().rss
            cpu[leader] += times.user + times.system + times.children_user + times.children_system
            memory[leader] += resident
    return {leader: Usage(int(cpu[leader] * 1e9), used) for leader, used in memory.items() if used}


def free_memory() -> int:
    """How much memory this machine has left, in bytes."""
    return int(psutil.virtual_memory().available)
