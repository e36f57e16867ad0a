"""What runs an async program: an asyncio event loop, or trio. All that does not know which asks here.

On trio everything goes through httpx, and waits as trio does. Who is on asyncio never loads trio for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import JamsocketError

if TYPE_CHECKING:
    import trio

    Run: TypeAlias = asyncio.AbstractEventLoop | trio.lowlevel.TrioToken
    Pause: TypeAlias = asyncio.Future[None] | trio.CancelScope


def trio_run() -> trio.lowlevel.TrioToken | None:
    """The run of trio that the caller is a task of; None on asyncio, and where nothing runs."""
    if "trio.lowlevel" not in sys.modules:  # whoever runs on it has loaded it (a mere `trio` may be anybody's folder)
        return None
    import trio

    try:
        trio.lowlevel.current_task()  # also on an event loop, which may have trio as its guest
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


def current_run() -> Run:
    """What the caller's connections belong to."""
    return trio_run() or asyncio.get_running_loop()


def refuse_on_trio(message: str) -> None:
    """Raises `RuntimeError` on trio, for what needs a task in the background."""
    if trio_run() is not None:
        raise RuntimeError(message)


async def sleep(seconds: float) -> None:
    """Returns after this many seconds."""
    if trio_run() is None:
        await asyncio.sleep(seconds)
    else:
        import trio

        await trio.sleep(seconds)


async def pause(sleeping: Awaitable[None], pauses: set[Pause]) -> None:
    """Awaits this, unless it is cancelled before: as long as it goes on it is one of `pauses`."""
    if trio_run() is None:
        future = asyncio.ensure_future(sleeping)
        pauses.add(future)
        try:
            await asyncio.wait([future])
        finally:
            future.cancel()
            pauses.discard(future)
    else:
        import trio

        with trio.CancelScope() as scope:
            pauses.add(scope)
            try:
                await sleeping
            finally:
                pauses.discard(scope)


@contextlib.asynccontextmanager
async def deadline(seconds: float | None, error: Callable[[], JamsocketError]) -> AsyncGenerator[None]:
    """Ends what is done within after this many seconds, with this error."""
    if trio_run() is None:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                yield
        except TimeoutError as raised:
            # An error of ours may be a TimeoutError too.
            if not scope.expired() or isinstance(raised, JamsocketError):
                raise
            raise error() from None
    else:
        import trio

        with trio.move_on_after(math.inf if seconds is None else max(seconds, 0.0)) as cancelled:
            yield
        if cancelled.cancelled_caught:
            raise error() from None


async def leave(pieces: AsyncGenerator[Any]) -> None:
    """Has done with an async generator that may have more to say."""
    if trio_run() is None:
        await pieces.aclose()
    else:
        import trio

        # Those inside it (httpx has five of them) would be left to the garbage collector, and trio warns of each that
        # it finds. A cancellation where they wait for more ends them all.
        with trio.CancelScope(shield=True) as scope:
            scope.cancel()
            async for _ in pieces:
                pass
