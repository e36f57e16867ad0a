"""Time and chance, passed to whatever needs them, so that tests can put their own in the place."""

from __future__ import annotations

import threading
import time


class Clock:
    """The real world's clock, sleep and dice."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def time_of_day(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def random(self) -> float:
        """A number from 0 up to 1."""
        import random  # here, because it takes a while to load, and few programs need it

        return random.random()

    def wait(self, wake: threading.Event, seconds: float) -> None:
        """Returns after this many seconds, or as soon as `wake` is set."""
        wake.wait(seconds)

    async def sleep(self, seconds: float) -> None:
        """Returns after this many seconds."""
        from .async_run import sleep  # here, because the blocking client does without asyncio

        await sleep(seconds)
