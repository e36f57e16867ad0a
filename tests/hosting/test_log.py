"""`Log`: every reader gets what is kept, in order, under its right number, up to the end; memory is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jamsocket.hosting.log import Log

LINES = st.lists(st.text(alphabet="abcé\U0001f600 ", max_size=30), max_size=40)


async def rest(reader: AsyncIterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """What a reader gets up to the end."""
    async with asyncio.timeout(10):
        return [numbered async for numbered in reader]


@given(lines=LINES, after=st.integers(-3, 60), bound=st.integers(0, 3000), at_end=st.integers(0, 3000))
def test_who_reads_at_the_end_gets_the_last_lines(lines: list[str], after: int, bound: int, at_end: int) -> None:
    log = Log(bound)
    for line in lines:
        log.append(line)
    log.complete(at_end)
    kept = asyncio.run(rest(log.follow()))
    # An unbroken end of what was written, under the numbers that it always had.
    assert kept == list(enumerate(lines, 1))[len(lines) - len(kept) :]
    assert len(kept) <= 1 or sum(len(line) for _, line in kept) <= min(bound, at_end)
    assert asyncio.run(rest(log.follow(after))) == [numbered for numbered in kept if numbered[0] > after]
    if lines:
        assert kept[-1:] == [(len(lines), lines[-1])]  # the last word is always kept


@given(lines=LINES, script=st.lists(st.integers(0, 5), max_size=40), bound=st.integers(0, 2000))
def test_a_reader_beside_a_writer(lines: list[str], script: list[int], bound: int) -> None:
    """However the two alternate, what comes is in order, and what is missing had been forgotten."""

    async def play() -> list[tuple[int, str]]:
        log, waiting = Log(bound), list(lines)
        reader = asyncio.create_task(rest(log.follow()))
        for count in script:
            for line in waiting[:count]:
                log.append(line)
            del waiting[:count]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        for line in waiting:
            log.append(line)
        log.complete(10**6)
        return await reader

    got = asyncio.run(play())
    numbers = [number for number, _ in got]
    assert numbers == sorted(set(numbers))
    assert all(lines[number - 1] == line for number, line in got)
    if bound > sum(len(line) * 4 + 120 for line in lines):
        assert numbers == list(range(1, len(lines) + 1))  # nothing had to go


@pytest.mark.asyncio
async def test_a_reader_waits_for_what_comes_and_readers_do_not_disturb_each_other() -> None:
    log = Log(10_000)
    log.append("one")
    first, second = log.follow(), log.follow(1)
    assert await anext(first) == (1, "one")
    waiting = [asyncio.ensure_future(anext(first)), asyncio.ensure_future(anext(second))]
    await asyncio.sleep(0)
    assert not any(step.done() for step in waiting)
    log.append("two")
    assert await asyncio.gather(*waiting) == [(2, "two"), (2, "two")]
    log.complete(10_000)
    assert await rest(first) == await rest(second) == []


def test_a_flood_takes_bounded_memory() -> None:
    log = Log(100_000)
    for number in range(50_000):
        log.append(f"{number} " + "x" * 100)
    kept = asyncio.run(rest_of_complete(log, 100_000))
    assert 300 < len(kept) < 1000  # a line costs more than its text
    log.complete(10_000)
    assert len(asyncio.run(rest(log.follow()))) < 100


@pytest.mark.parametrize("line", ["", "é" * 50, "\U0001f600" * 20])
def test_the_bound_holds_for_lines_of_any_kind(line: str) -> None:
    log = Log(100_000)
    for _ in range(5_000):
        log.append(line)
    kept = asyncio.run(rest_of_complete(log, 100_000))
    # As CPython stores them: four bytes for each character of the widest kind.
    assert len(kept) * (len(line) * 4 + 80) <= 100_000 * 2
    assert len(kept) > 100


async def rest_of_complete(log: Log, max_bytes: int) -> list[tuple[int, str]]:
    log.complete(max_bytes)
    return await rest(log.follow())
