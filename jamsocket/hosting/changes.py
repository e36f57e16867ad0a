"""`Changes`: lets any number of tasks wait for the next change of something."""

from __future__ import annotations

import asyncio


class Changes:
    """What somebody announces and others wait for. Nobody has to be waiting, and nobody is served twice."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def announce(self) -> None:
        """Wakes everybody who waits."""
        event, self._next = self._next, asyncio.Event()
        event.set()

    async def wait(self) -> None:
        """Returns at the next announcement."""
        await self._next.wait()
