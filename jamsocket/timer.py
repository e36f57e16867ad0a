"""Calls that are made later, on one thread for all of them; `threading.Timer` would take a thread for each."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable


class Call:
    """A call that is to be made, unless it is cancelled before."""

    __slots__ = ("_timer", "act")

    def __init__(self, timer: Timer, act: Callable[[Call], object]) -> None:
        self._timer = timer
        self.act: Callable[[Call], object] | None = act

    def cancel(self) -> None:
        """Lets it not be made; does nothing if it was made already."""
        self._timer.cancel(self)


class Timer:
    """Makes calls when their time has come. Its thread is there only while there are any."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.reset()

    def reset(self) -> None:
        """Forgets all calls."""
        self._changed = threading.Condition()
        self._calls: list[tuple[float, int, Call]] = []
        self._left = 0
        self._is_running = False

    def call_later(self, seconds: float, act: Callable[[Call], object]) -> Call:
        """Has `act` called in so many seconds, with the call itself; it must not take long, others wait."""
        call = Call(self, act)
        entry = (time.monotonic() + seconds, next(self._numbers), call)
        with self._changed:
            heapq.heappush(self._calls, entry)
            self._left += 1
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="jamsocket timer", daemon=True).start()
            elif self._calls[0] is entry:
                self._changed.notify()
        return call

    def cancel(self, call: Call) -> None:
        with self._changed:
            if call.act is not None:
                call.act = None
                self._left -= 1
                if not self._left:
                    self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while self._left:
                when, _, call = self._calls[0]
                wait = when - time.monotonic()
                if call.act is not None and wait > 0:
                    self._changed.wait(wait)
                    continue
                heapq.heappop(self._calls)
                if call.act is not None:
                    act, call.act = call.act, None
                    self._left -= 1
                    act(call)
            self._calls.clear()
            self._is_running = False


timer = Timer()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    # A forked child has no thread but one, and a lock that nobody may ever release.
    os.register_at_fork(after_in_child=timer.reset)
