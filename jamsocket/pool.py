"""Connections that wait for their next request. No I/O, no clock, and no lock: threads and signals may meet here."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

KEPT = 5.0
"""Seconds that an idle connection is kept: less than any server or load balancer waits before it closes one."""

MAX_IDLE = 100


class Kept(Protocol):
    """A connection, as the pool sees it."""

    @property
    def is_quiet(self) -> bool:
        """Whether it is open and nothing came in: what did would be taken for the answer to the next request."""
        ...

    def close(self) -> None: ...


W = TypeVar("W", bound=Kept)


class Pool(Generic[W]):
    """Idle connections to one place; the last one used is the first one used again."""

    def __init__(self) -> None:
        self._idle: deque[tuple[float, W]] = deque()
        self.is_closed = False

    def take(self, now: float) -> W | None:
        """A connection that may be used, if there is one; `now` is in seconds on a monotonic clock."""
        while self._idle:
            try:
                since, connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if now - since < KEPT and connection.is_quiet:
                return connection
            connection.close()
        return None

    def give(self, connection: W, now: float) -> None:
        """Keeps a connection for later, and closes those that were kept for too long."""
        self._idle.append((now, connection))
        while self._idle and (self.is_closed or len(self._idle) > MAX_IDLE or now - self._idle[0][0] >= KEPT):
            self._close_oldest()

    def close(self) -> None:
        """Closes all that are idle; one that is given later is closed at once."""
        self.is_closed = True
        while self._idle:
            self._close_oldest()

    def _close_oldest(self) -> None:
        try:
            _, connection = self._idle.popleft()
        except IndexError:  # another thread was quicker
            return
        connection.close()
