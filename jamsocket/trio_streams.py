"""As `async_streams`, on trio: what happens in a stream happens within `anext`, or not at all.

There are no tasks in the background. Whoever is cancelled while he waits loses the connection, because what httpx was
reading is lost; the next `anext` opens another, and what the caller has had does not come again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

import trio
from jamsocket_api.models import BackendMetrics

from .async_run import trio_run
from .async_streams import AsyncEventStream, AsyncLogStream, AsyncMetricsStream, AsyncStatusStream
from .backend_state import BackendState
from .errors import RequestTimeoutError, TransportError
from .event_stream import Step, Watch
from .retry import Sleep

T = TypeVar("T")
R = TypeVar("R")
StreamT = TypeVar("StreamT", bound=AsyncEventStream[Any])


class TrioEventStream(AsyncEventStream[T]):
    """What streams have in common on trio."""

    _run: trio.lowlevel.TrioToken | None = None
    _nursery: trio.Nursery | None = None  # of the `anext` that is under way
    _waiting: trio.CancelScope | None = None  # what `stop` ends
    _question: trio.CancelScope | None = None

    def __del__(self) -> None:
        if self._connection is not None and self._run is not None:
            _have_done(self._run, self._connection.drop)

    async def aclose(self) -> None:
        if self._run is not None and self._run is not trio_run():
            # Its connection belongs to another run, in another thread.
            self._is_closed = True
            _have_done(self._run, self.aclose)
            return
        self.stop()
        if not self._is_in_use:  # whoever uses it releases it himself
            await self._release()

    def stop(self) -> None:
        self._is_closed = True
        self._unwatch()
        if self._waiting is not None:
            self._waiting.cancel()

    @contextlib.contextmanager
    def _use(self) -> Generator[None]:
        if self._is_in_use:
            raise RuntimeError("Another task is iterating this stream; open one for each.")
        run = trio_run()
        if run is None or self._run not in {None, run}:
            raise RuntimeError("This stream belongs to the run of trio that it was made in; make another here.")
        self._run = run
        self._is_in_use = True
        try:
            yield
        finally:
            self._is_in_use = False

    async def _until_cancelled(self, coroutine: Coroutine[Any, Any, R]) -> R:
        try:
            result = await self._in_nursery(coroutine)
        except BaseException:
            await self._release()
            raise
        await self._look_for_the_end()
        return result

    async def _in_nursery(self, coroutine: Coroutine[Any, Any, R]) -> R:
        results: list[R] = []
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    results.append(await coroutine)
                except BaseException as error:
                    failure = error  # not through the nursery: it would come out in a group
                self._nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # A cancellation came between the result and here: what waits next is told again, and the result is kept.
            # Else it is an interrupt, which nobody looks for in a group.
            _, others = group.split(trio.Cancelled)
            if others is not None:
                failure = others.exceptions[0]
        finally:
            self._nursery = None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # its traceback has this frame
        return results.pop()

    async def _perform(self, step: Step) -> Any:
        match step:
            case Watch(seconds=seconds):
                assert self._nursery is not None
                # Between this step and `Unwatch` there is no delivery, so both are within one `anext`.
                self._question = trio.CancelScope()
                self._nursery.start_soon(self._ask_after, seconds, self._question)
                return None
            case Sleep(seconds=seconds):
                clock = self._session.clock
                until = clock.monotonic() + seconds
                try:
                    return await super()._perform(step)
                except BaseException:  # cancelled: whoever comes back sleeps for the rest of it
                    self._unfinished = Sleep(max(until - clock.monotonic(), 0.0))
                    raise
            case _:
                return await super()._perform(step)

    async def _wait_for(self, start: Callable[[], Coroutine[Any, Any, Any]], patience: float | None = None) -> Any:
        with trio.move_on_after(math.inf if patience is None else patience) as self._waiting:
            try:
                return await start()
            except TransportError as error:
                return error
            finally:
                self._waiting = None
        if self._is_closed or self._request is None or patience is None:
            return None  # the stream was stopped
        message = f"no answer within {patience:g} s"
        return RequestTimeoutError(message, method=self._request.method, url=self._request.url)

    async def _release(self) -> None:
        self._unwatch()
        connection, self._connection = self._connection, None
        if connection is not None:
            with trio.CancelScope(shield=True):
                await connection.drop()

    async def _ask_after(self, seconds: float, question: trio.CancelScope) -> None:
        with question:
            await trio.sleep(seconds)
            await self._ask()

    def _unwatch(self) -> None:
        question, self._question = self._question, None
        if question is not None:
            question.cancel()


class TrioStatusStream(TrioEventStream[BackendState], AsyncStatusStream):
    """The statuses of one backend, on trio."""


class TrioLogStream(TrioEventStream[str], AsyncLogStream):
    """What one backend writes, on trio."""


class TrioMetricsStream(TrioEventStream[BackendMetrics], AsyncMetricsStream):
    """What one backend uses, on trio."""


_KINDS: dict[type[AsyncEventStream[Any]], type[TrioEventStream[Any]]] = {
    AsyncStatusStream: TrioStatusStream,
    AsyncLogStream: TrioLogStream,
    AsyncMetricsStream: TrioMetricsStream,
}


def on_trio(kind: type[StreamT]) -> type[StreamT]:
    """The same kind of stream, on trio."""
    return _KINDS[kind]  # type: ignore[return-value]


def _have_done(run: trio.lowlevel.TrioToken, act: Callable[[], Awaitable[object]]) -> None:
    """Has this done in a run, by a task that nobody waits for; if the run is over, or ends just now, it is not done."""

    async def quietly() -> None:
        with contextlib.suppress(Exception):  # trio takes an error in such a task for one of its own
            await act()

    def start() -> None:
        with contextlib.suppress(RuntimeError):
            trio.lowlevel.spawn_system_task(quietly)

    with contextlib.suppress(RuntimeError):
        run.run_sync_soon(start)
