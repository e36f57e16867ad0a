"""What backends use: the arithmetic, its readers, and real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jamsocket.hosting.metrics import KEPT, Metrics, Usage, free_memory, measure

from .support import eventually_blocking

CPUS = os.cpu_count() or 1
MIB = 2**20


def test_processor_time_is_told_since_the_measurement_before() -> None:
    metrics = Metrics(None, started=100.0)
    metrics.add(Usage(500_000_000, 10 * MIB), 1000 * MIB, 101.0, 1)
    metrics.add(Usage(1_200_000_000, 30 * MIB), 900 * MIB, 103.0, 2)
    first, second = metrics.kept
    assert (first.cpu_used, first.sys_cpu) == (500_000_000, 1_000_000_000 * CPUS)
    assert (second.cpu_used, second.sys_cpu) == (700_000_000, 2_000_000_000 * CPUS)
    assert (first.mem_used, first.mem_available) == (10 * MIB, 1000 * MIB)
    assert second.public() == {
        "cpu_used": 700_000_000,
        "sys_cpu": 2_000_000_000 * CPUS,
        "mem_used": 30 * MIB,
        "mem_available": 900 * MIB,
    }
    assert metrics.max_memory == 30 * MIB
    metrics.add(Usage(1_200_000_000, 20 * MIB), 900 * MIB, 104.0, 3)
    assert metrics.max_memory == 30 * MIB


def test_what_is_available_is_what_the_limit_leaves() -> None:
    metrics = Metrics(64 * MIB, started=0.0)
    metrics.add(Usage(0, 24 * MIB), 1000 * MIB, 1.0, 1)
    assert metrics.kept[-1].public()["mem_available"] == 40 * MIB
    assert metrics.kept[-1].public()["mem_limit"] == 64 * MIB
    metrics.add(Usage(0, 65 * MIB), 1000 * MIB, 2.0, 2)
    assert metrics.kept[-1].mem_available == 1  # clients divide by it and take its logarithm


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 2**40), st.floats(0, 10), st.integers(0, 2**40)), max_size=20
    ),
    limit=st.none() | st.integers(0, 2**40),
)
def test_clients_can_calculate_with_whatever_comes(steps: list[tuple[int, int, float, int]], limit: int | None) -> None:
    """Also if processes end, and take their time along; if the clock stands still; if a limit is passed."""
    metrics, now = Metrics(limit, started=0.0), 0.0
    for cpu, memory, passed, free in steps:
        now += passed
        metrics.add(Usage(cpu, memory), free, now, 0)
        last = metrics.kept[-1]
        assert 0 <= last.cpu_used <= last.sys_cpu
        assert min(last.sys_cpu, last.mem_used, last.mem_available) >= 1
    assert (metrics.max_memory or 0) == max((memory for _, memory, _, _ in steps), default=0)


def test_only_so_many_are_kept() -> None:
    metrics = Metrics(None, started=0.0)
    for second in range(KEPT * 3):
        metrics.add(Usage(second, MIB), MIB, float(second), second)
    assert [each.time_ms for each in metrics.kept] == list(range(KEPT * 2, KEPT * 3))


@pytest.mark.asyncio
async def test_readers_get_the_last_one_then_new_ones_up_to_the_end() -> None:
    metrics = Metrics(None, started=0.0)
    early, times = metrics.follow(), list[int]()
    first = asyncio.ensure_future(anext(early))
    await asyncio.sleep(0)
    assert not first.done()
    metrics.add(Usage(0, MIB), MIB, 1.0, 1)
    assert (await first).time_ms == 1
    metrics.add(Usage(0, MIB), MIB, 2.0, 2)
    metrics.add(Usage(0, MIB), MIB, 3.0, 3)
    late = metrics.follow()
    assert (await anext(late)).time_ms == 3
    assert (await anext(early)).time_ms == 3  # it was too slow for the second
    metrics.complete()
    async with asyncio.timeout(10):
        times = [each.time_ms async for each in early] + [each.time_ms async for each in late]
    assert times == []
    # Whoever comes after the end is told the last one.
    assert [each.time_ms async for each in metrics.follow()] == [3]


@pytest.mark.asyncio
async def test_a_backend_that_was_never_measured_ends_without_a_word() -> None:
    metrics = Metrics(None, started=0.0)
    metrics.complete()
    assert [each async for each in metrics.follow()] == []


# ── Real processes ──

BURN = """
import subprocess, sys
block = bytearray(40_000_000)
use = "block = bytearray(30_000_000); sum(range(5_000_000)); print(1, flush=True); input()"
child = subprocess.Popen(
    [sys.executable, "-I", "-S", "-c", use], stdin=-1, stdout=-1, start_new_session={session}
)
child.stdout.readline()
sum(range(5_000_000))
print(1, flush=True)
sys.stdin.readline()
child.communicate()
"""


@pytest.fixture
def burner(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has used processor time and memory, with a child that has as well."""
    code = BURN.format(session=request.param)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


@pytest.mark.parametrize(("burner", "least"), [(False, 70_000_000), (True, 40_000_000)], indirect=["burner"])
def test_a_backend_is_measured_with_its_group(burner: subprocess.Popen[bytes], least: int) -> None:
    """Who left the group and the session is not found: that is what a process does that means to be on its own."""
    usage = measure([burner.pid])[burner.pid]
    assert least < usage.memory < least + 60_000_000
    assert usage.cpu > 10_000_000
    again = measure([burner.pid])[burner.pid]
    assert again.cpu >= usage.cpu


def test_only_what_is_asked_for_is_measured_and_what_is_gone_is_left_out() -> None:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        assert set(measure([process.pid])) == {process.pid}
        assert measure([]) == {}
        # Dead, but not waited for: it has no memory, which is not a measurement.
        process.kill()
        eventually_blocking(lambda: measure([process.pid]) == {})
        assert process.returncode is None
    finally:
        process.kill()
        process.wait()
    assert measure([process.pid]) == {}


def test_free_memory_is_a_number_of_this_machine() -> None:
    assert MIB < free_memory() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
