"""What runs an async program: an asyncio event loop, or trio. All that does not know which asks here.

On trio everything goes through httpx, and waits as trio does. Who is on asyncio never loads trio for it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import math
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .errors import JamsocketError

if TYPE_CHECKING:
    import trio

    Run: TypeAlias = asyncio.AbstractEventLoop | trio.lowlevel.TrioToken


R = TypeVar("R")


def trio_run() -> trio.lowlevel.TrioToken | None:
    """The run of trio that the caller is a task of; None on asyncio, and where nothing runs."""
    if "trio.lowlevel" not in sys.modules:  # whoever runs on it has loaded it (a mere `trio` may be anybody's folder)
        return None
    import sniffio  # comes with trio
    import trio

    try:
        # Both: an event loop may have trio as its guest, and a task of trio may be an event loop (trio-asyncio).
        if sniffio.current_async_library() != "trio":
            return None
        trio.lowlevel.current_task()
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


def is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the caller is a task or a callback of this event loop."""
    try:
        return trio_run() is None and asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


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


async def pause(sleeping: Awaitable[None], alarms: set[Callable[[], object]]) -> None:
    """Awaits this, or less if it is woken: as long as it goes on, one of `alarms` ends it, from any thread."""
    run = trio_run()
    if run is None:
        future = asyncio.ensure_future(sleeping)
        loop = future.get_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(future.cancel)

        alarms.add(wake)
        try:
            await asyncio.wait([future])
        finally:
            future.cancel()
            alarms.discard(wake)
    else:
        import trio

        with trio.CancelScope() as scope:

            def wake() -> None:
                run.run_sync_soon(scope.cancel)

            alarms.add(wake)
            try:
                await sleeping
            finally:
                alarms.discard(wake)


async def result(future: concurrent.futures.Future[R]) -> R:
    """What comes of something in another thread."""
    if trio_run() is None:
        return await asyncio.wrap_future(future)
    import trio

    return await trio.to_thread.run_sync(future.result, abandon_on_cancel=True)


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
        with trio.CancelScope(shield=True) as scope, contextlib.suppress(Exception):
            scope.cancel()
            for _ in range(100_000):  # more than can be there already; but a test double may never wait
                await anext(pieces)
        await pieces.aclose()
