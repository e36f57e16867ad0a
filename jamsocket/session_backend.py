"""`SessionBackend`: a connection without an account, blocking. `async_session_backend.py` is its twin."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from jamsocket_api.models import ReadyState, TerminatedState

from .backend_state import BackendState
from .config import Options
from .connection import ConnectionURL, SocketIOAddress, StatusOperations, read_connection
from .requests import ConnectResponse
from .retry import DEFAULT_STALL_TIMEOUT, Backoff, check_seconds
from .session import Session
from .status_stream import follow
from .streams import StatusStream
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


class SessionBackend:
    """A session backend as whoever holds a connect response sees it, blocking; no account and no token is needed.

    All listeners and waits share one status stream. It starts with the first of them, comes back after failures, and
    ends when the backend does, or with `close`. It may be shared between threads.

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
        >>> with SessionBackend(connection) as backend:
        ...     ready = backend.wait_ready(timeout=30)
        ...     httpx.get(backend.url_for("health")).status_code
        200
    """

    def __init__(
        self,
        connection: ConnectResponse | Mapping[str, Any] | str | bytes,
        *,
        timeout: float = 10.0,
        max_retries: int = 2,
        http_client: httpx.Client | None = None,
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
            >>> sio.connect(address.origin, socketio_path=address.socketio_path)
        """
        return self._url.socketio()

    def on_status(
        self, callback: Callable[[BackendState], object], *, on_error: Callable[[Exception], object] | None = None
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
            RuntimeError: if this is closed.

        Example:
            >>> unsubscribe = backend.on_status(print)
            >>> unsubscribe()
        """
        return self._listen(AllStates, callback, on_error)

    def on_ready(
        self, callback: Callable[[ReadyState], object], *, on_error: Callable[[Exception], object] | None = None
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
            RuntimeError: if this is closed.

        Example:
            >>> unsubscribe = backend.on_ready(lambda state: print("ready since", state.time))
        """
        return self._listen(UntilReady, callback, on_error)

    def wait_ready(self, timeout: float | None = 60.0) -> ReadyState:
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
            RuntimeError: if this is closed, also during the wait.

        Example:
            >>> backend.wait_ready(timeout=30).status
            'ready'
        """
        return self._wait(UntilReady, timeout)

    def wait_terminated(self, timeout: float | None = None) -> TerminatedState:
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
            >>> backend.wait_terminated().termination_reason
            <TerminationReason.EXTERNAL: 'external'>
        """
        return self._wait(UntilTerminated, timeout)

    def status(self) -> BackendState:
        """The present state of the backend; asks the API.

        Returns:
            One of the eight state classes, or `UnknownState` for a status that this version does not know.

        Raises:
            HTTPError: if the API refuses; `NotFoundError` for a backend that it does not know.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.
            RuntimeError: if this is closed.

        Example:
            >>> backend.status().status
            'ready'
        """
        shared = self._shared
        shared.check_open()
        state = shared.session.call(shared.session.operations.status(self.backend_id))
        with shared.changed:
            shared.timeline.learn(state)
            shared.changed.notify_all()
        return state

    def close(self) -> None:
        """Ends the stream and all waits, and closes the connections; the backend itself runs on.

        May be called from any thread, from inside a callback, and twice. After it returns no further call starts.
        """
        self._shared.close()

    def _listen(
        self,
        kind: Callable[[Timeline], Listener[S]],
        callback: Callable[[S], object],
        on_error: Callable[[Exception], object] | None,
    ) -> Callable[[], None]:
        with self._shared.changed:
            self._shared.check_open()
            subscription = _Subscription(self, self._shared, kind(self._shared.timeline), callback, on_error)
            self._shared.start()
        threading.Thread(target=subscription.run, name="jamsocket listener", daemon=True).start()
        return subscription.unsubscribe

    def _wait(self, kind: Callable[[Timeline], Wait[S]], timeout: float | None) -> S:
        shared = self._shared
        clock = shared.session.clock
        give_up_at = None if timeout is None else clock.monotonic() + check_seconds("timeout", timeout)
        with shared.changed:
            shared.check_open()
            wait = kind(shared.timeline)
            if not shared.timeline.is_over:
                shared.start()
            while True:
                if (state := wait.take()) is not None:
                    return state
                left = None if give_up_at is None else give_up_at - clock.monotonic()
                if timeout is not None and left is not None and left <= 0:
                    raise wait.timed_out(timeout)
                shared.changed.wait(left)
                shared.check_open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Nobody listens any more: a subscription and a wait each hold this object.
        with contextlib.suppress(Exception):
            self.close()

    def __repr__(self) -> str:
        return f"SessionBackend(backend_id={self.backend_id!r}, status={self._shared.timeline.status!r})"


def status_session(connection: ConnectResponse, options: Options, http_client: httpx.Client | None) -> Session:
    """A session that knows no API, only where the backend's status is."""
    operations = StatusOperations(connection.status_url)
    session = Session(operations.config, options, http_client)
    session.operations = operations
    return session


class _Shared:
    """The stream and what is known by it. Its thread holds this and not the `SessionBackend`, which can so be freed."""

    def __init__(
        self,
        connection: ConnectResponse,
        options: Options,
        http_client: httpx.Client | None,
        stall_timeout: float,
        backoff: Backoff,
    ) -> None:
        self.changed = threading.Condition()
        """Held to look at the timeline or to change it; notified after each change."""
        self.timeline = Timeline(connection.backend_id, str(connection.status))
        self.session = status_session(connection, options, http_client)
        self._stall_timeout = stall_timeout
        self._backoff = backoff
        self._stream: StatusStream | None = None
        self._is_reading = False
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("This SessionBackend is closed; make a new one.")

    def start(self) -> None:
        """Starts the stream, unless it runs or everything is known. With `changed` held."""
        if self._is_reading or self.timeline.is_complete:
            return
        self.timeline.begin()
        self._is_reading = True
        threading.Thread(target=self._read, name="jamsocket session backend", daemon=True).start()

    def close(self) -> None:
        with self.changed:
            self._is_closed = True
            stream = self._stream
            self.changed.notify_all()
        if stream is not None:
            stream.close()
        self.session.close()

    def _read(self) -> None:
        failure: Exception | None = None
        try:
            with self.changed:
                self.check_open()
                stream = self._stream = self._make_stream()
            with stream:
                # A stream replays the past: only this answer tells a backend that is ready from one that was.
                state = stream.call(self.session.operations.status(self.timeline.backend_id))
                with self.changed:
                    self.timeline.learn(state)
                    self.changed.notify_all()
                for state in stream:
                    with self.changed:
                        self.timeline.deliver(state)
                        self.changed.notify_all()
        except Exception as error:
            failure = error
        with self.changed:
            self._is_reading = False
            self._stream = None
            self.timeline.end(failure)
            self.changed.notify_all()

    def _make_stream(self) -> StatusStream:
        steps = follow(
            max_retries=self.session.options.max_retries,
            stall_timeout=self._stall_timeout,
            backoff=self._backoff,
            clock=self.session.clock,
        )
        return StatusStream(self.timeline.backend_id, steps, self.session)


class _Subscription:
    """Calls a callback for each state of a listener, on a thread of its own: it may take its time, and may wait."""

    def __init__(
        self,
        backend: SessionBackend,
        shared: _Shared,
        listener: Listener[S],
        callback: Callable[[S], object],
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self._backend = backend  # whoever listens keeps it
        self._shared = shared
        self._take: Callable[[], object] = listener.take
        self._callback: Callable[[Any], object] = callback
        self._on_error = on_error
        self._is_unsubscribed = False

    def unsubscribe(self) -> None:
        with self._shared.changed:
            self._is_unsubscribed = True
            self._shared.changed.notify_all()

    def run(self) -> None:
        try:
            while (state := self._next()) is not None:
                try:
                    self._callback(state)
                except Exception:
                    logger.exception("A SessionBackend's callback raised; the stream goes on")
        except StopListening:
            pass
        except Exception as error:
            self._report(error)

    def _next(self) -> object:
        with self._shared.changed:
            while not self._is_over:
                if (state := self._take()) is not None:
                    return state
                self._shared.changed.wait()
        return None

    @property
    def _is_over(self) -> bool:
        return self._is_unsubscribed or self._shared.is_closed

    def _report(self, error: Exception) -> None:
        if self._on_error is None:
            if is_worth_a_log_line(error):
                logger.error("A session backend's status stream ended with an error: %s", error)
            return
        try:
            self._on_error(error)
        except Exception:
            logger.exception("The on_error callback raised")
