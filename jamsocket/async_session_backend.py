"""`AsyncSessionBackend`: a connection without an account, on asyncio. `session_backend.py` is its twin."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from jamsocket_api.models import ReadyState, TerminatedState

from .async_run import refuse_on_trio
from .async_session import AsyncSession
from .async_streams import AsyncStatusStream
from .backend_state import BackendState
from .config import Options
from .connection import ConnectionURL, SocketIOAddress, StatusOperations, read_connection
from .errors import JamsocketError
from .requests import ConnectResponse
from .retry import DEFAULT_STALL_TIMEOUT, Backoff, check_seconds
from .status_stream import follow
from .timeline import (
    AllStates,
    Listener,
    StopListening,
    Timeline,
    UntilReady,
    UntilTerminated,
    Wait,
    is_worth_a_log_line,
)

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("jamsocket")

S = TypeVar("S")

_NO_TASKS = (
    "AsyncSessionBackend follows its backend in a task of its own, which trio does not allow; use SessionBackend in a "
    "thread (trio.to_thread.run_sync), or iterate AsyncJamsocket.statuses()."
)


class AsyncSessionBackend:
    """A session backend as whoever holds a connect response sees it, on asyncio; no account and no token is needed.

    All listeners and waits share one status stream. It starts with the first of them, comes back after failures, and
    ends when the backend does, or with `aclose`. It belongs to the event loop that first uses it. On trio, which has no
    tasks in the background, listeners and waits are a `RuntimeError`: use `SessionBackend` in a thread.

    Args:
        connection: what `connect` returned: the `ConnectResponse`, the mapping that it is as JSON, or the JSON text.
        timeout: the longest wait for the API in each phase (connect, send, head, body), in seconds.
        max_retries: how often a failed request is tried again; 0 turns it off.
        http_client: a client of your own, for proxies, certificates or limits. It is not closed.
        stall_timeout: seconds without a byte after which the stream's connection counts as dead.
        backoff: how long to wait before coming back after the stream's connection was lost.

    Raises:
        TypeError, ValueError: if `connection` is no connect response, its URLs are not http or https, or an option is
            not what it should be.

    Example:
        >>> async with AsyncSessionBackend(connection) as backend:
        ...     ready = await backend.wait_ready(timeout=30)
        ...     httpx.get(backend.url_for("health")).status_code
        200
    """

    def __init__(
        self,
        connection: ConnectResponse | Mapping[str, Any] | str | bytes,
        *,
        timeout: float = 10.0,
        max_retries: int = 2,
        http_client: httpx.AsyncClient | None = None,
        stall_timeout: float = DEFAULT_STALL_TIMEOUT,
        backoff: Backoff = Backoff(),
    ) -> None:
        self._connection = read_connection(connection)
        self._url = ConnectionURL(self._connection.url)
        self._shared = _Shared(
            self._connection,
            Options(timeout, max_retries),
            http_client,
            check_seconds("stall_timeout", stall_timeout),
            backoff,
        )

    @property
    def url(self) -> str:
        """Where the backend is reached. It contains the token: whoever has it is let in.

        Example:
            >>> httpx.get(backend.url).json()["user"]
            'ada'
        """
        return self._connection.url

    @property
    def backend_id(self) -> str:
        """The backend's id.

        Example:
            >>> backend.backend_id == connection.backend_id
            True
        """
        return self._connection.backend_id

    @property
    def status_url(self) -> str:
        """Where anybody can ask for the backend's status.

        Example:
            >>> backend.status_url.endswith(f"/v2/backend/{backend.backend_id}/status")
            True
        """
        return self._connection.status_url

    @property
    def is_ready(self) -> bool:
        """Whether the backend is ready, as far as is known.

        The stream keeps this up to date once a listener or a wait has started it; until then it is what the connect
        response, or the last `status`, said.

        Example:
            >>> backend.is_ready
            True
        """
        return self._shared.timeline.status == "ready"

    @property
    def is_terminated(self) -> bool:
        """Whether the backend is gone, as far as is known; see `is_ready`.

        Example:
            >>> backend.is_terminated
            False
        """
        return self._shared.timeline.status == "terminated"

    def url_for(self, path: str = "") -> str:
        """The URL of a path on the backend, with the connection's token.

        Args:
            path: a relative path, perhaps with a query and a fragment: "strokes?since=5".

        Raises:
            TypeError, ValueError: if the path is none, or would lose the token, as "/strokes" and other hosts do.

        Example:
            >>> httpx.get(backend.url_for("strokes?since=5")).json()["path"]
            '/strokes?since=5'
        """
        return self._url.join(path)

    def websocket_url(self, path: str = "") -> str:
        """The WebSocket address (ws or wss) of a path on the backend, with the connection's token.

        Args:
            path: as for `url_for`.

        Raises:
            TypeError, ValueError: as for `url_for`.

        Example:
            >>> backend.websocket_url("socket").partition("//")[0]
            'ws:'
        """
        return self._url.websocket(path)

    @property
    def socketio(self) -> SocketIOAddress:
        """Where Socket.IO is reached on the backend, in the two parts that python-socketio wants.

        Example:
            >>> address = backend.socketio
            >>> await sio.connect(address.origin, socketio_path=address.socketio_path)
        """
        return self._url.socketio()

    def on_status(
        self,
        callback: Callable[[BackendState], Awaitable[object] | object],
        *,
        on_error: Callable[[Exception], Awaitable[object] | object] | None = None,
    ) -> Callable[[], None]:
        """Calls a function with every status of the backend: past ones, then each new one, exactly once.

        Returns at once. The calls of one listener come one after another and hold up no other listener; an exception
        in one is logged and does not end them.

        Args:
            callback: called with each state, up to `terminated`.
            on_error: called once if the stream ends with an error; without it the error is logged.

        Returns:
            A function that ends the calls. After it returns no further call starts.

        Raises:
            RuntimeError: if this is closed, or on trio.

        Example:
            >>> unsubscribe = backend.on_status(print)
            >>> unsubscribe()
        """
        return self._listen(AllStates, callback, on_error)

    def on_ready(
        self,
        callback: Callable[[ReadyState], Awaitable[object] | object],
        *,
        on_error: Callable[[Exception], Awaitable[object] | object] | None = None,
    ) -> Callable[[], None]:
        """Calls a function once, when the backend is ready; at once if it is.

        It is not called for a backend that is on its way out, though it may have been ready. Returns at once.

        Args:
            callback: called with the `ready` state.
            on_error: called once if the backend will not get ready: with a `BackendTerminatedError`, or with the error
                that ended the stream. Without it, only the latter is logged.

        Returns:
            A function that takes the wish back. After it returns no call starts.

        Raises:
            RuntimeError: if this is closed, or on trio.

        Example:
            >>> unsubscribe = backend.on_ready(lambda state: print("ready since", state.time))
        """
        return self._listen(UntilReady, callback, on_error)

    async def wait_ready(self, timeout: float | None = 60.0) -> ReadyState:
        """Waits until the backend is ready.

        Args:
            timeout: the longest wait in all, in seconds; None to wait for ever.

        Returns:
            The `ready` state.

        Raises:
            BackendTerminatedError: if the backend ended instead, or had ended before; whoever has an account has to
                connect again.
            WaitTimeoutError: if the time ran out; its `state` is the last one seen.
            TypeError, ValueError: if `timeout` is not a positive number.
            HTTPError, TransportError, InvalidResponseError: if the stream cannot be opened or the API ends it;
                `NotFoundError` for a backend that it does not know. A later wait tries anew.
            RuntimeError: if this is closed, also during the wait, or on trio.

        Example:
            >>> (await backend.wait_ready(timeout=30)).status
            'ready'
        """
        return await self._wait(UntilReady, timeout)

    async def wait_terminated(self, timeout: float | None = None) -> TerminatedState:
        """Waits until the backend is gone.

        Args:
            timeout: the longest wait in all, in seconds; None to wait for ever.

        Returns:
            The `terminated` state, with the reason, where the platform gives one.

        Raises:
            WaitTimeoutError: if the time ran out; its `state` is the last one seen.
            TypeError, ValueError: if `timeout` is not a positive number.
            HTTPError, TransportError, InvalidResponseError, RuntimeError: as for `wait_ready`.

        Example:
            >>> (await backend.wait_terminated()).termination_reason
            <TerminationReason.EXTERNAL: 'external'>
        """
        return await self._wait(UntilTerminated, timeout)

    async def status(self) -> BackendState:
        """The present state of the backend; asks the API.

        Returns:
            One of the eight state classes, or `UnknownState` for a status that this version does not know.

        Raises:
            HTTPError: if the API refuses; `NotFoundError` for a backend that it does not know.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.
            RuntimeError: if this is closed.

        Example:
            >>> (await backend.status()).status
            'ready'
        """
        shared = self._shared
        shared.check_open()
        state = await shared.session.call(shared.session.operations.status(self.backend_id))
        shared.timeline.learn(state)
        shared.notify()
        return state

    async def aclose(self) -> None:
        """Ends the stream and all waits, and closes the connections; the backend itself runs on.

        May be called from inside a callback, and twice. After it returns no further call starts.
        """
        await self._shared.aclose()

    def _listen(
        self,
        kind: Callable[[Timeline], Listener[S]],
        callback: Callable[[S], Awaitable[object] | object],
        on_error: Callable[[Exception], Awaitable[object] | object] | None,
    ) -> Callable[[], None]:
        shared = self._shared
        shared.check_open()
        refuse_on_trio(_NO_TASKS)
        subscription = _Subscription(self, shared, kind(shared.timeline), callback, on_error)
        shared.start()
        subscription.start()
        return subscription.unsubscribe

    async def _wait(self, kind: Callable[[Timeline], Wait[S]], timeout: float | None) -> S:
        shared = self._shared
        seconds = None if timeout is None else check_seconds("timeout", timeout)
        shared.check_open()
        refuse_on_trio(_NO_TASKS)
        wait = kind(shared.timeline)
        if not shared.timeline.is_over:
            shared.start()
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                while (state := wait.take()) is None:
                    await shared.changed.wait()
                    shared.check_open()
                return state
        except TimeoutError as error:
            # An error of ours may be a TimeoutError too.
            if timeout is None or not scope.expired() or isinstance(error, JamsocketError):
                raise
            raise wait.timed_out(timeout) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Nobody listens any more: a subscription and a wait each hold this object.
        with contextlib.suppress(AttributeError, RuntimeError):  # half made; or the loop is closed
            self._shared.abandon()

    def __repr__(self) -> str:
        return f"AsyncSessionBackend(backend_id={self.backend_id!r}, status={self._shared.timeline.status!r})"


def status_session(
    connection: ConnectResponse, options: Options, http_client: httpx.AsyncClient | None
) -> AsyncSession:
    """A session that knows no API, only where the backend's status is."""
    operations = StatusOperations(connection.status_url)
    session = AsyncSession(operations.config, options, http_client)
    session.operations = operations
    return session


class _Shared:
    """The stream and what is known by it. Its task holds this and not the backend, which can so be freed."""

    def __init__(
        self,
        connection: ConnectResponse,
        options: Options,
        http_client: httpx.AsyncClient | None,
        stall_timeout: float,
        backoff: Backoff,
    ) -> None:
        self.changed = asyncio.Event()
        """Set at the next change of the timeline; then another takes its place."""
        self.timeline = Timeline(connection.backend_id, str(connection.status))
        self.session = status_session(connection, options, http_client)
        self.subscriptions: set[_Subscription] = set()
        self._stall_timeout = stall_timeout
        self._backoff = backoff
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("This AsyncSessionBackend is closed; make a new one.")

    def notify(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def start(self) -> None:
        """Starts the stream, unless it runs or everything is known."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("This AsyncSessionBackend belongs to another event loop; make one for each.")
        if self._reader is not None or self.timeline.is_complete:
            return
        self.timeline.begin()
        self._reader = loop.create_task(self._read(), name="jamsocket session backend")

    async def aclose(self) -> None:
        self._is_closed = True
        self.notify()
        reader = self._reader
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader])
        for subscription in list(self.subscriptions):
            await subscription.wait()
        await self.session.aclose()

    def abandon(self) -> None:
        """Closes, from wherever the garbage collector runs."""
        loop = self._loop
        if loop is not None and self._reader is not None and not self._is_closed:
            loop.call_soon_threadsafe(self._close_in_a_task)

    def _close_in_a_task(self) -> None:
        task = asyncio.ensure_future(self.aclose())
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    async def _read(self) -> None:
        failure: Exception | None = None
        try:
            async with self._make_stream() as stream:
                # A stream replays the past: only this answer tells a backend that is ready from one that was.
                self.timeline.learn(await stream.call(self.session.operations.status(self.timeline.backend_id)))
                self.notify()
                async for state in stream:
                    self.timeline.deliver(state)
                    self.notify()
        except Exception as error:
            failure = error
        finally:
            self._reader = None
        self.timeline.end(failure)
        self.notify()

    def _make_stream(self) -> AsyncStatusStream:
        steps = follow(
            max_retries=self.session.options.max_retries,
            stall_timeout=self._stall_timeout,
            backoff=self._backoff,
            clock=self.session.clock,
        )
        return AsyncStatusStream(self.timeline.backend_id, steps, self.session)


_closing: set[asyncio.Future[None]] = set()
"""The loop itself keeps no task alive."""


class _Subscription:
    """Calls (and awaits) a callback for each state of a listener, in a task of its own: it may take its time."""

    def __init__(
        self,
        backend: AsyncSessionBackend,
        shared: _Shared,
        listener: Listener[S],
        callback: Callable[[S], Awaitable[object] | object],
        on_error: Callable[[Exception], Awaitable[object] | object] | None,
    ) -> None:
        self._backend = backend  # whoever listens keeps it
        self._shared = shared
        self._take: Callable[[], object] = listener.take
        self._callback: Callable[[Any], Awaitable[object] | object] = callback
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._is_unsubscribed = False
        self._is_calling = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._shared.subscriptions.add(self)
        self._task = self._loop.create_task(self._run(), name="jamsocket listener")
        self._task.add_done_callback(lambda _: self._shared.subscriptions.discard(self))

    def unsubscribe(self) -> None:
        """Ends the calls; may be called from any thread."""
        self._is_unsubscribed = True
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._shared.notify)

    async def wait(self) -> None:
        """Waits until an ended subscription is gone, but not for a callback that is running."""
        if self._task is not None and not self._is_calling:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while (state := await self._next()) is not None:
                try:
                    await self._call(self._callback, state)
                except (Exception, asyncio.CancelledError) as error:
                    task = asyncio.current_task()
                    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                        raise  # it is this task that is cancelled, not something that the callback waited for
                    logger.exception("A SessionBackend's callback raised; the stream goes on")
        except StopListening:
            pass
        except Exception as error:
            await self._report(error)

    async def _next(self) -> object:
        while not self._is_over:
            if (state := self._take()) is not None:
                return state
            await self._shared.changed.wait()
        return None

    @property
    def _is_over(self) -> bool:
        return self._is_unsubscribed or self._shared.is_closed

    async def _report(self, error: Exception) -> None:
        if self._on_error is None:
            if is_worth_a_log_line(error):
                logger.error("A session backend's status stream ended with an error: %s", error)
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
