"""Event streams, on asyncio: perform what `event_stream.follow` decides; callbacks are called from a task."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from jamsocket_api.models import BackendMetrics

from .async_run import is_running_here, result
from .async_session import AsyncSession
from .async_transport import AsyncStreamConnection
from .backend_state import BackendState
from .errors import JamsocketError, NotFoundError, RequestTimeoutError, TransportError
from .event_stream import Deliver, Drop, Open, Read, ReadAnswer, Step, Unwatch, Watch
from .messages import Answer, Request
from .operations import Operation
from .retry import Sleep

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger("jamsocket")

_ABANDONED_AFTER = 0.5
"""Seconds after which the connection goes if whoever waited for a state was cancelled and does not come back."""


class AsyncEventStream(Generic[T]):
    """What all streams have in common: an async iterator that is also a context manager."""

    def __init__(self, backend_id: str, steps: Generator[Step, Any, None], session: AsyncSession) -> None:
        self._backend_id = backend_id
        self._steps = steps
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: AsyncStreamConnection | None = None
        self._request: Request | None = None
        self._closing: asyncio.Task[None] | None = None
        # What is waited for, in a task of its own: who waits may be cancelled and come back, and nothing is lost. Reads
        # over our own connections need none; they can be cancelled and begun again.
        self._pending: asyncio.Task[Any] | None = None
        self._unfinished: Step | None = None
        self._abandonment: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._is_in_use = False
        self._is_closed = False
        self._failure: JamsocketError | None = None
        self._on_settled: Callable[[JamsocketError | None], None] = _ignore

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        with self._use():
            item = await self._until_cancelled(self._advance())
        if item is None:
            raise StopAsyncIteration
        return item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        loop, connection, pending = self._loop, self._connection, self._pending
        if connection is not None and loop is not None and loop.is_running():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(lambda: _keep(loop.create_task(_close(connection, pending))))

    async def aclose(self) -> None:
        """Ends the stream, also while another task waits in it; further calls do nothing.

        A task that waits in `anext` gets `StopAsyncIteration`.
        """
        loop = self._loop
        if loop is not None and not is_running_here(loop):
            # Its connection belongs to another loop, in another thread.
            if loop.is_running():
                await result(asyncio.run_coroutine_threadsafe(self.aclose(), loop))
            self._is_closed = True
            return
        self.stop()
        await self._release()

    def stop(self) -> None:
        """Ends the stream like `aclose`, without waiting for its connection to be closed. On the loop's thread."""
        self._is_closed = True
        self._unwatch()
        if self._pending is not None:
            self._pending.cancel()
        elif self._connection is not None:
            self._connection.interrupt()

    def fail(self, error: JamsocketError) -> None:
        """Ends the stream with an error for whoever iterates it."""
        if not self._is_closed:
            self._failure = error
            self.stop()

    @property
    def is_closed(self) -> bool:
        """Whether the stream is over."""
        return self._is_closed

    def on_settled(self, callback: Callable[[JamsocketError | None], None]) -> None:
        """Has this called, perhaps more than once, when the stream is under way or has failed."""
        self._on_settled = callback

    async def call(self, operation: Operation[R]) -> R:
        """Carries a call through on the stream's own connection, so that whatever ends the stream ends it too."""
        with self._use():
            return operation.parse(await self._until_cancelled(self._call(operation)))

    @contextlib.contextmanager
    def _use(self) -> Generator[None]:
        if self._is_in_use:
            raise RuntimeError("Another task is iterating this stream; open one for each.")
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("This stream is one for asyncio; on trio, make it inside of trio.run.") from None
        self._is_in_use = True
        if self._abandonment is not None:
            self._abandonment.cancel()
        try:
            yield
        finally:
            self._is_in_use = False

    async def _until_cancelled(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Awaits what uses the connection; afterwards the connection is released if the stream is over."""
        try:
            result = await coroutine
        except asyncio.CancelledError:
            if self._loop is not None:
                self._abandonment = self._loop.call_later(_ABANDONED_AFTER, self._abandon)
            raise
        except BaseException:
            await self._release()
            raise
        await self._look_for_the_end()
        return result

    async def _look_for_the_end(self) -> None:
        """Releases the connection if the stream is over, and raises what ended it."""
        if self._is_closed:
            await self._release()
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure

    async def _advance(self) -> T | None:
        """Performs steps up to the next delivery; None if the stream is over."""
        result: Any = None
        step, self._unfinished = self._unfinished, None
        while not self._is_closed:
            if step is None:
                try:
                    step = self._steps.send(result)
                except StopIteration:
                    self._is_closed = True
                    return None
                except BaseException:
                    self._is_closed = True
                    raise
            if isinstance(step, Deliver):
                item: T = step.item
                return item
            self._unfinished = step
            result = await self._perform(step)
            step = self._unfinished = None
        return None

    async def _perform(self, step: Step) -> Any:
        match step:
            case Open(last_event_id=last_event_id, patience=patience):
                request = self._request = self._ask_for_events(last_event_id)
                connection = await self._connected()
                return await self._wait_for(lambda: connection.open(request, patience))
            case Read(patience=patience):
                if self._connection is not None:
                    return await self._read(self._connection, patience)
                assert self._request is not None
                return TransportError.closed(self._request)  # not None: that would be the end of what the server said
            case ReadAnswer():
                if self._connection is not None:
                    return await self._wait_for(self._connection.read_answer)
                # Whoever waited was cancelled, and came back too late for it: it may be asked for again.
                assert self._request is not None
                message = "the connection was closed"
                return TransportError(message, method=self._request.method, url=self._request.url)
            case Drop():
                if self._connection is not None and not self._connection.drop_at_once():
                    await self._wait_for(self._connection.drop)
            case Watch(seconds=seconds):
                self._watch = asyncio.get_running_loop().call_later(seconds, self._start_asking)
            case Unwatch():
                self._unwatch()
                self._on_settled(None)
            case Sleep(seconds=seconds):
                await self._wait_for(lambda: self._session.clock.sleep(seconds))
            case Deliver():
                raise AssertionError("a delivery is not performed")
        return None

    def _ask_for_events(self, last_event_id: str) -> Request:
        """The request for this kind of stream."""
        raise NotImplementedError

    async def _read(self, connection: AsyncStreamConnection, patience: float | None) -> Any:
        if not connection.reads_survive_cancelling:
            return await self._wait_for(connection.read, patience)
        try:
            return await connection.read(patience)
        except TransportError as error:
            return error

    async def _wait_for(self, start: Callable[[], Coroutine[Any, Any, Any]], patience: float | None = None) -> Any:
        """The result of what `start` makes, or of what it made before, if that is still pending."""
        pending = self._pending
        if pending is None:
            pending = self._pending = asyncio.create_task(start())
        done, _ = await asyncio.wait([pending], timeout=patience)
        if not done:
            pending.cancel()
            await asyncio.wait([pending])
        if self._pending is pending:
            self._pending = None
        if not done and self._request is not None and not self._is_closed:
            message = f"no answer within {patience:g} s"
            return RequestTimeoutError(message, method=self._request.method, url=self._request.url)
        if pending.cancelled():
            return None  # the stream was stopped
        try:
            return pending.result()
        except TransportError as error:
            return error

    async def _call(self, operation: Operation[Any]) -> Answer:
        async def send() -> Answer:
            if self._is_closed:
                raise self._failure or TransportError.closed(operation.request)
            connection = await self._connected()
            outcome = await self._wait_for(lambda: connection.exchange(operation.request))
            if isinstance(outcome, Answer):
                return outcome
            if isinstance(outcome, TransportError):
                raise outcome
            raise self._failure or TransportError.closed(operation.request)

        async def sleep(seconds: float) -> None:
            await self._wait_for(lambda: self._session.clock.sleep(seconds))

        return await self._session.attempt(operation.request, send, sleep)

    async def _connected(self) -> AsyncStreamConnection:
        if self._closing is not None:
            await asyncio.shield(self._closing)
            self._closing = None
        if self._connection is None:
            self._connection = self._session.stream_connection()
        return self._connection

    async def _release(self) -> None:
        """Closes the connection, whatever happens to the task that asks for it."""
        self._disconnect()
        if self._closing is not None:
            await asyncio.shield(self._closing)

    def _abandon(self) -> None:
        if not self._is_in_use:
            self._disconnect()

    def _disconnect(self) -> None:
        self._unwatch()
        connection, self._connection = self._connection, None
        pending, self._pending = self._pending, None
        if pending is None and (connection is None or connection.drop_at_once()):
            return
        self._closing = _keep(asyncio.create_task(_close(connection, pending)))

    def _start_asking(self) -> None:
        self._watch = _keep(asyncio.create_task(self._ask()))

    async def _ask(self) -> None:
        """In a task of its own, as the reader waits: does the server know this backend at all?"""
        try:
            await self._session.ask_status(self._backend_id)
        except NotFoundError as error:
            self._watch = None
            self.fail(error)
            self._on_settled(error)
        except Exception as error:  # only a 404 would have meant anything
            logger.debug("Asking for the status of a silent backend failed: %s", type(error).__name__)
        self._on_settled(None)

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()


class AsyncStatusStream(AsyncEventStream[BackendState]):
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

    def _ask_for_events(self, last_event_id: str) -> Request:
        return self._session.operations.status_stream(self._backend_id, last_event_id)


class AsyncLogStream(AsyncEventStream[str]):
    """What one backend writes, line by line: an async iterator over strings that is also a context manager.

    Made by `AsyncJamsocket.logs`. It connects at the first `anext` and ends with the backend. One task at a time may
    iterate; any may call `aclose`.

    Example:
        >>> async with jamsocket.logs(connection.backend_id) as lines:
        ...     async for line in lines:
        ...         print(line)
        listening on port ...
    """

    def _ask_for_events(self, last_event_id: str) -> Request:
        return self._session.operations.log_stream(self._backend_id, last_event_id)


class AsyncMetricsStream(AsyncEventStream[BackendMetrics]):
    """What one backend uses, as it is measured: an async iterator over `BackendMetrics` that is also a context manager.

    Made by `AsyncJamsocket.metrics`. It connects at the first `anext`, reconnects by itself, and ends with the
    backend. One task at a time may iterate; any may call `aclose`.

    Example:
        >>> async with jamsocket.metrics(connection.backend_id) as measurements:
        ...     async for measured in measurements:
        ...         print(measured.mem_used > 0)
        True
        ...
    """

    def _ask_for_events(self, last_event_id: str) -> Request:
        return self._session.operations.metrics_stream(self._backend_id, last_event_id)


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
        stream.on_settled(self._settle)
        self._task = _keep(asyncio.create_task(self._run(), name="jamsocket status stream"))

    async def start(self) -> None:
        """Waits until the stream is under way; raises the error that keeps it from it."""
        try:
            await self._settled
        except BaseException:
            self.unsubscribe()
            raise

    def on_done(self, callback: Callable[[Self], object]) -> None:
        """Has this called when the subscription is over."""
        self._task.add_done_callback(lambda _: callback(self))

    async def wait(self) -> None:
        """Waits until an ended subscription is gone, but not for a callback that is running."""
        if not self._is_calling and is_running_here(self._loop):
            await asyncio.wait([self._task])

    def unsubscribe(self) -> None:
        """Ends the stream; no callback starts after this returns. A callback that is running is not waited for.

        May be called from any thread.
        """
        self._is_unsubscribed = True
        if is_running_here(self._loop):
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


async def _close(connection: AsyncStreamConnection | None, pending: asyncio.Task[Any] | None) -> None:
    if pending is not None:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
    if connection is not None:
        await connection.drop()


_tasks: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> asyncio.Task[None]:
    """Holds on to a task until it is done: event loops do not."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def _ignore(error: JamsocketError | None) -> None:
    return None
