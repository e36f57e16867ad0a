"""The status stream, on asyncio: performs what `status_stream.follow` decides, and calls callbacks from a task."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Self

from .errors import JamsocketError, NotFoundError, TransportError
from .retry import Sleep
from .session import AsyncSession
from .states import BackendState
from .status_stream import Deliver, Drop, Open, Read, ReadAnswer, Step, Unwatch, Watch
from .transport import AsyncStreamConnection

logger = logging.getLogger("jamsocket")


class AsyncStatusStream:
    """The statuses of one backend, as they happen: an async iterator over states that is also a context manager.

    Made by `AsyncJamsocket.statuses`. It connects at the first `anext`, delivers every state exactly once and in
    order, reconnects by itself, and ends after `terminated`. One task at a time may iterate; any may call `aclose`.

    Example:
        >>> async with jamsocket.statuses(connection.backend_id) as states:
        ...     async for state in states:
        ...         print(state.status)
        scheduled
        ...
        terminated
    """

    def __init__(self, backend_id: str, steps: Generator[Step, Any, None], session: AsyncSession) -> None:
        self._backend_id = backend_id
        self._steps = steps
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: AsyncStreamConnection | None = None
        self._scope: asyncio.Timeout | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False
        self._failure: JamsocketError | None = None
        self._watch: asyncio.Task[None] | None = None
        self._unfinished: Step | None = None
        self._sleep_until: float | None = None
        self._on_settled: Callable[[JamsocketError | None], None] = _ignore

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BackendState:
        if not self._idle.is_set():
            raise RuntimeError("Another task is iterating this status stream; open one for each.")
        self._loop = asyncio.get_running_loop()
        self._idle.clear()
        state: BackendState | None = None
        try:
            # The scope never expires by itself: it is how `aclose` interrupts a wait, in whichever task that is.
            async with asyncio.timeout(None) as self._scope:
                state = await self._advance()
        except JamsocketError:
            raise
        except TimeoutError:
            if not self._is_closed:
                raise
        finally:
            self._scope = None
            try:
                if state is None:
                    # Ended, failed, or interrupted: a cancelled read costs the connection, not the stream.
                    await self._drop_connection()
            finally:
                self._idle.set()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if state is None:
            raise StopAsyncIteration
        return state

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        connection, loop = self._connection, self._loop
        if connection is not None and connection.is_open and loop is not None and loop.is_running():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(lambda: loop.create_task(connection.aclose()))

    async def aclose(self) -> None:
        """Ends the stream, also while another task waits in it; further calls do nothing.

        A task that waits in `anext` gets `StopAsyncIteration`.
        """
        self.stop()
        await self._idle.wait()
        await self._drop_connection()

    def stop(self) -> None:
        """Ends the stream like `aclose`, without waiting for its connection to be closed. On the loop's thread."""
        self._is_closed = True
        self._unwatch()
        if self._scope is not None and not self._scope.expired() and self._loop is not None:
            self._scope.reschedule(self._loop.time())

    def fail(self, error: JamsocketError) -> None:
        """Ends the stream with an error for whoever iterates it."""
        self._failure = error
        self.stop()

    @property
    def is_closed(self) -> bool:
        """Whether the stream is over."""
        return self._is_closed

    def on_settled(self, callback: Callable[[JamsocketError | None], None]) -> None:
        """Has this called, perhaps more than once, when the stream is under way or has failed."""
        self._on_settled = callback

    async def _advance(self) -> BackendState | None:
        """Performs steps up to the next delivery; None if the stream is over."""
        result: Any = None
        step, self._unfinished = self._unfinished, None
        while not self._is_closed:
            if step is None:
                try:
                    step = self._steps.send(result)
                except BaseException as error:
                    self._is_closed = True
                    if isinstance(error, StopIteration):
                        return None
                    raise
            if isinstance(step, Deliver):
                return step.state
            self._unfinished = step
            result = await self._perform(step)
            step = self._unfinished = None
        return None

    async def _perform(self, step: Step) -> Any:
        match step:
            case Open(last_event_id=last_event_id, patience=patience):
                request = self._session.operations.status_stream(self._backend_id, last_event_id)
                if self._connection is None:
                    self._connection = self._session.stream_connection()
                try:
                    return await self._connection.open(request, patience)
                except TransportError as error:
                    return error
            case Read():
                try:
                    return None if self._connection is None else await self._connection.read()
                except TransportError as error:
                    return error
            case ReadAnswer() if self._connection is not None:
                return await self._connection.read_answer()
            case Drop():
                if self._connection is not None:
                    await self._connection.drop()
            case Watch(seconds=seconds):
                self._watch = asyncio.create_task(self._ask_after(seconds))
            case Unwatch():
                self._unwatch()
                self._on_settled(None)
            case Sleep(seconds=seconds):
                await self._sleep(seconds)
            case _:
                raise AssertionError(f"{step} cannot be performed now")
        return None

    async def _sleep(self, seconds: float) -> None:
        # Callers who give up on `anext` after a moment, again and again, must not start the wait anew each time.
        clock = self._session.clock
        if self._sleep_until is None:
            self._sleep_until = clock.monotonic() + seconds
        await clock.sleep(max(0.0, min(seconds, self._sleep_until - clock.monotonic())))
        self._sleep_until = None

    async def _ask_after(self, seconds: float) -> None:
        """The watch's task: does the server know this backend at all?"""
        await asyncio.sleep(seconds)
        try:
            await self._session.ask_status(self._backend_id)
        except NotFoundError as error:
            self._watch = None
            self.fail(error)
            self._on_settled(error)
            return
        except JamsocketError:
            pass  # only a 404 would have meant anything
        self._on_settled(None)

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    async def _drop_connection(self) -> None:
        self._unwatch()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


class AsyncSubscription:
    """Calls (and awaits) `on_status` for each state of a stream, one after another, in one task."""

    def __init__(
        self,
        stream: AsyncStatusStream,
        on_status: Callable[[BackendState], Awaitable[object] | object],
        on_error: Callable[[Exception], Awaitable[object] | object] | None,
    ) -> None:
        self._stream = stream
        self._on_status = on_status
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._settled: asyncio.Future[None] = self._loop.create_future()
        self._is_unsubscribed = False
        self._first_error: Exception | None = None
        self._is_calling = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts, and waits until the stream is under way; raises the error that keeps it from it."""
        self._stream.on_settled(self._settle)
        self._task = asyncio.create_task(self._run(), name="jamsocket status stream")
        try:
            await self._settled
        except BaseException:
            self.unsubscribe()
            raise

    def on_done(self, callback: Callable[[Self], object]) -> None:
        """Has this called when the subscription is over."""
        assert self._task is not None
        self._task.add_done_callback(lambda _: callback(self))

    async def wait(self) -> None:
        """Waits until an ended subscription is gone, but not for a callback that is running."""
        if self._task is not None and not self._is_calling:
            await asyncio.wait([self._task])

    def unsubscribe(self) -> None:
        """Ends the stream; no callback starts after this returns. A callback that is running is not waited for.

        May be called from any thread.
        """
        self._is_unsubscribed = True
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            self._stream.stop()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the stream with it
                self._loop.call_soon_threadsafe(self._stream.stop)

    def _settle(self, error: Exception | None) -> None:
        if self._settled.done():
            return
        if error is None:
            self._settled.set_result(None)
        else:
            self._first_error = error
            self._settled.set_exception(error)

    async def _run(self) -> None:
        try:
            async for state in self._stream:
                if self._is_unsubscribed or self._stream.is_closed:
                    break
                try:
                    await self._call(self._on_status, state)
                except (Exception, asyncio.CancelledError) as error:
                    task = asyncio.current_task()
                    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                        raise  # it is this task that is cancelled, not something that the callback waited for
                    logger.exception("The on_status callback raised; the stream goes on")
        except Exception as error:
            if self._settled.done():
                await self._report(error)
            else:
                self._settle(error)
        finally:
            await self._stream.aclose()
            self._settle(None)

    async def _report(self, error: Exception) -> None:
        if self._is_unsubscribed or error is self._first_error:
            return
        if self._on_error is None:
            logger.error("A status stream ended with an error: %s", error)
            return
        try:
            await self._call(self._on_error, error)
        except Exception:
            logger.exception("The on_error callback raised")

    async def _call(self, callback: Callable[[Any], Awaitable[object] | object], value: object) -> None:
        self._is_calling = True
        try:
            outcome = callback(value)
            if inspect.isawaitable(outcome):
                await outcome
        finally:
            self._is_calling = False


def _ignore(error: JamsocketError | None) -> None:
    return None
