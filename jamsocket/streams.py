"""Event streams, blocking: perform what `event_stream.follow` decides; callbacks are called from a thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from jamsocket_api.models import BackendMetrics

from .backend_state import BackendState
from .clock import Clock
from .errors import JamsocketError, NotFoundError, RequestTimeoutError, TransportError
from .event_stream import Deliver, Drop, Open, Read, ReadAnswer, Step, Unwatch, Watch
from .messages import Request
from .operations import Operation
from .retry import Sleep
from .session import Session
from .timer import Call, timer
from .transport import StreamConnection

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger("jamsocket")


# Seconds, at the very most.
_CLOSING_TAKES = 5.0


class EventStream(Generic[T]):
    """What all streams have in common: an iterator that is also a context manager."""

    def __init__(self, backend_id: str, steps: Generator[Step, Any, None], session: Session) -> None:
        self._backend_id = backend_id
        self._steps = steps
        self._session = session
        self._connection: StreamConnection | None = None
        self._guard: _StallGuard | None = None
        self._request: Request | None = None
        self._is_dropped = False
        self._in_use = threading.Lock()
        self._closed = threading.Event()
        self._failure: JamsocketError | None = None
        self._watch: Call | None = None
        self._unfinished: Step | None = None
        self._on_settled: Callable[[JamsocketError | None], None] = _ignore

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._use():
            item = self._advance()
            self._unfinished = None
        if item is None:
            raise StopIteration
        return item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def close(self) -> None:
        """Ends the stream, from any thread, also while another waits in it; further calls do nothing.

        Returns at once. A thread that waits in `next` gets `StopIteration`.
        """
        self._closed.set()
        connection = self._connection
        if connection is not None:
            connection.interrupt()
        self._release_if_closed()

    def fail(self, error: JamsocketError) -> None:
        """Ends the stream, from any thread, with an error for whoever iterates it."""
        if not self._closed.is_set():
            self._failure = error
            self.close()

    @property
    def is_closed(self) -> bool:
        """Whether the stream is over."""
        return self._closed.is_set()

    def on_settled(self, callback: Callable[[JamsocketError | None], None]) -> None:
        """Has this called, perhaps more than once and from any thread, when the stream is under way or has failed."""
        self._on_settled = callback

    def call(self, operation: Operation[R]) -> R:
        """Carries a call through on the stream's own connection, so that whatever ends the stream ends it too."""
        with self._use():
            answer = self._session.attempt(
                operation.request,
                lambda: self._connected().exchange(operation.request),
                lambda seconds: self._session.clock.wait(self._closed, seconds),
            )
        return operation.parse(answer)

    @contextlib.contextmanager
    def _use(self) -> Generator[None]:
        """One thread at a time; afterwards the connection is released if the stream is over."""
        if not self._in_use.acquire(blocking=False) and not self._wait_for_closing():
            raise RuntimeError("Another thread is iterating this stream; open one for each.")
        try:
            yield
        except BaseException as error:
            # What interrupts a step (Ctrl-C, say) costs the connection; a later `next` comes back on another.
            self._unwatch()
            self._drop()
            self._is_dropped = True
            if isinstance(error, JamsocketError):
                failure = self._take_failure()
                self._closed.set()
                if failure is not None:
                    raise failure from error
            raise
        finally:
            self._in_use.release()
            self._release_if_closed()
        failure = self._take_failure()
        if failure is not None:
            raise failure

    def _wait_for_closing(self) -> bool:
        """Takes the stream if it is closed: whoever has it then is about to leave it, and is no second reader."""
        return self._closed.is_set() and self._in_use.acquire(timeout=_CLOSING_TAKES)

    def _take_failure(self) -> JamsocketError | None:
        failure, self._failure = self._failure, None
        return failure

    def _advance(self) -> T | None:
        """Performs steps up to the next delivery; None if the stream is over."""
        result: Any = None
        while not self._closed.is_set():
            # Remembered until it is done: an interrupt must not lose it.
            step = self._unfinished
            if step is None:
                try:
                    step = self._unfinished = self._steps.send(result)
                except StopIteration:
                    self._closed.set()
                    return None
                except BaseException:
                    self._closed.set()
                    raise
            if isinstance(step, Deliver):
                item: T = step.item
                return item
            result = self._perform(step)
            self._unfinished = None
        return None

    def _perform(self, step: Step) -> Any:
        match step:
            case Open(last_event_id=last_event_id, patience=patience):
                request = self._request = self._ask_for_events(last_event_id)
                self._is_dropped = False
                return _outcome(lambda: self._connected().open(request, patience))
            case Read(patience=patience):
                return self._read(patience)
            case ReadAnswer() if self._connection is not None:
                return _outcome(self._connection.read_answer)
            case Drop():
                self._drop()
            case Watch(seconds=seconds):
                self._watch = timer.call_later(seconds, self._start_asking)
            case Unwatch():
                self._unwatch()
                self._on_settled(None)
            case Sleep(seconds=seconds):
                self._session.clock.wait(self._closed, seconds)
            case _:
                raise AssertionError(f"{step} cannot be performed now")
        return None

    def _ask_for_events(self, last_event_id: str) -> Request:
        """The request for this kind of stream."""
        raise NotImplementedError

    def _read(self, patience: float | None) -> bytes | TransportError | None:
        connection, request = self._connection, self._request
        assert request is not None
        if connection is None or self._is_dropped:
            return TransportError.closed(request)  # not None: that would be the end of what the server had to say
        if patience is None or connection.limits_reads:
            return _outcome(lambda: connection.read(patience))
        if self._guard is None:
            self._guard = _StallGuard(connection, self._session.clock)
        with self._guard.for_at_most(patience):
            result = _outcome(connection.read)
        if self._guard.is_stalled and not isinstance(result, bytes):
            message = f"no answer within {patience:g} s"
            return RequestTimeoutError(message, method=request.method, url=request.url)
        return result

    def _drop(self) -> None:
        guard, self._guard = self._guard, None
        connection = self._connection
        if guard is not None:
            guard.leave()
        if connection is not None:
            connection.drop()
            if guard is not None and guard.is_stalled:  # what was interrupted opens nothing any more
                self._connection = None

    def _connected(self) -> StreamConnection:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._session.stream_connection()
            if self._closed.is_set():
                connection.interrupt()  # `close` came too early to see it
        return connection

    def _start_asking(self, watch: Call) -> None:
        threading.Thread(target=self._ask, args=(watch,), name="jamsocket silence", daemon=True).start()

    def _ask(self, watch: Call) -> None:
        """On a thread of its own, as the reader waits: does the server know this backend at all?"""
        verdict: NotFoundError | None = None
        try:
            self._session.ask_status(self._backend_id)
        except NotFoundError as error:
            verdict = error
        except Exception as error:  # only a 404 would have meant anything
            logger.debug("Asking for the status of a silent backend failed: %s", type(error).__name__)
        if watch is self._watch:
            if verdict is not None:
                self.fail(verdict)
            self._on_settled(verdict)

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    def _release_if_closed(self) -> None:
        # The closing thread or the reading one, whoever comes last.
        while self._closed.is_set() and self._connection is not None and self._in_use.acquire(blocking=False):
            try:
                self._unwatch()
                self._drop()
                self._connection = None
            finally:
                self._in_use.release()


class StatusStream(EventStream[BackendState]):
    """The statuses of one backend, as they happen: an iterator over states that is also a context manager.

    Made by `Jamsocket.statuses`. It connects at the first `next`, delivers every state exactly once and in order,
    reconnects by itself, and ends after `terminated`. One thread at a time may iterate; any may call `close`.

    Example:
        >>> with jamsocket.statuses(connection.backend_id) as states:
        ...     for state in states:
        ...         print(state.status)
        scheduled
        ...
        terminated
    """

    def _ask_for_events(self, last_event_id: str) -> Request:
        return self._session.operations.status_stream(self._backend_id, last_event_id)


class LogStream(EventStream[str]):
    """What one backend writes, line by line: an iterator over strings that is also a context manager.

    Made by `Jamsocket.logs`. It connects at the first `next` and ends with the backend. One thread at a time may
    iterate; any may call `close`.

    Example:
        >>> with jamsocket.logs(connection.backend_id) as lines:
        ...     for line in lines:
        ...         print(line)
        listening on port ...
    """

    def _ask_for_events(self, last_event_id: str) -> Request:
        return self._session.operations.log_stream(self._backend_id, last_event_id)


class MetricsStream(EventStream[BackendMetrics]):
    """What one backend uses, as it is measured: an iterator over `BackendMetrics` that is also a context manager.

    Made by `Jamsocket.metrics`. It connects at the first `next`, reconnects by itself, and ends with the backend. One
    thread at a time may iterate; any may call `close`.

    Example:
        >>> with jamsocket.metrics(connection.backend_id) as measurements:
        ...     for measured in measurements:
        ...         print(measured.mem_used > 0)
        True
        ...
    """

    def _ask_for_events(self, last_event_id: str) -> Request:
        return self._session.operations.metrics_stream(self._backend_id, last_event_id)


class _StallGuard:
    """Interrupts a connection when one of its reads takes too long. One timer serves many reads."""

    def __init__(self, connection: StreamConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._due: float | None = None
        self.is_stalled = False

    @contextlib.contextmanager
    def for_at_most(self, seconds: float) -> Generator[None]:
        """What is done in this block may take so long."""
        with self._lock:
            self._due = self._clock.monotonic() + seconds
            if self._timer is None:
                self._look_after(seconds)
        try:
            yield
        finally:
            with self._lock:
                self._due = None

    def leave(self) -> None:
        """Guards nothing any more."""
        with self._lock:
            timer, self._timer, self._due = self._timer, None, None
        if timer is not None:
            timer.cancel()

    def _look_after(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            if threading.current_thread() is not self._timer:
                return
            self._timer = None
            if self._due is None:
                return
            left = self._due - self._clock.monotonic()
            if left > 0:
                self._look_after(left)
                return
            self.is_stalled = True
        self._connection.interrupt()


class Subscription:
    """Calls `on_status` for each state of a stream, one after another, on one daemon thread."""

    def __init__(
        self,
        stream: StatusStream,
        on_status: Callable[[BackendState], object],
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self._stream = stream
        self._on_status = on_status
        self._on_error = on_error
        self._settled = threading.Event()
        self._first_error: Exception | None = None
        self._is_unsubscribed = False

    def start(self) -> None:
        """Starts, and waits until the stream is under way; raises the error that keeps it from it."""
        self._stream.on_settled(self._settle)
        threading.Thread(target=self._run, name="jamsocket status stream", daemon=True).start()
        try:
            self._settled.wait()
            if self._first_error is not None:
                raise self._first_error
        except BaseException:
            self.unsubscribe()
            raise

    def unsubscribe(self) -> None:
        """Ends the stream; no callback starts after this returns. A callback that is running is not waited for."""
        self._is_unsubscribed = True
        self._stream.close()

    def _settle(self, error: Exception | None) -> None:
        if not self._settled.is_set():
            self._first_error = error
            self._settled.set()

    def _run(self) -> None:
        try:
            for state in self._stream:
                if self._stream.is_closed:
                    break
                try:
                    self._on_status(state)
                except BaseException:  # SystemExit too: in a thread it would end nothing but the stream
                    logger.exception("The on_status callback raised; the stream goes on")
        except Exception as error:
            if self._settled.is_set():
                self._report(error)
            else:
                self._settle(error)
        finally:
            self._stream.close()
            self._settle(None)

    def _report(self, error: Exception) -> None:
        if self._is_unsubscribed or error is self._first_error:
            return
        if self._on_error is None:
            logger.error("A status stream ended with an error: %s", error)
            return
        try:
            self._on_error(error)
        except Exception:
            logger.exception("The on_error callback raised")


def _outcome(act: Callable[[], R]) -> R | TransportError:
    """What an act on a connection results in, for the state machine to judge."""
    try:
        return act()
    except TransportError as error:
        return error


def _ignore(error: JamsocketError | None) -> None:
    return None
