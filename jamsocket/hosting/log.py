"""`Log`: the last lines that a backend wrote, numbered, for any number of readers."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from itertools import islice

from .changes import Changes

# What a line costs beside its text: a string object, a tuple and a place in the deque.
_OVERHEAD = 120


class Log:
    """The last lines of one backend.

    Args:
        max_bytes: how much memory they may take, roughly; older lines go.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lines: deque[str] = deque()
        self._size = 0
        self._first = 1
        self._is_complete = False
        self._changes = Changes()

    def append(self, line: str) -> None:
        """Adds a line."""
        self._lines.append(line)
        self._size += _cost(line)
        self._forget()
        self._changes.announce()

    def complete(self, max_bytes: int) -> None:
        """Says that nothing more will come, and from now on takes only so much memory."""
        self._max_bytes = max_bytes
        self._forget()
        self._is_complete = True
        self._changes.announce()

    async def follow(self, after: int = 0) -> AsyncIterator[tuple[int, str]]:
        """The numbers and lines after the line with this number: those that are kept, then new ones, up to the end.

        The first line ever written has the number 1. A reader that is slower than the backend misses lines; the
        numbers show it.
        """
        while True:
            start = max(after + 1, self._first)
            lines = list(islice(self._lines, start - self._first, None))
            for number, line in enumerate(lines, start):
                yield number, line
                after = number
            if lines:
                continue
            if self._is_complete:
                return
            await self._changes.wait()

    def _forget(self) -> None:
        while self._size > self._max_bytes and len(self._lines) > 1:
            self._size -= _cost(self._lines.popleft())
            self._first += 1


def _cost(line: str) -> int:
    return len(line) * (1 if line.isascii() else 4) + _OVERHEAD
