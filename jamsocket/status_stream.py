"""The status stream as a state machine: events -> each state exactly once; when to reconnect, when to stop.

`follow` decides and performs nothing: it yields steps and is sent their results, so that the blocking and the
asyncio client share every decision, and a test needs neither a network nor a clock.

    Open ──────► Head ─────► Watch, Read, Read, … ──► Deliver   (a state the caller has not seen)
     ▲             │                          │
     │             └► ReadAnswer ► Drop       └► Drop           (ended, broken, stalled)
     └──────────────────────── Sleep ◄──────────┘
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from typing import Any, TypeAlias

from attrs import frozen
from jamsocket_api.models import HardTerminatingState, ReadyState, TerminatedState, TerminatingState

from .clock import Clock
from .content import ContentError, Decompressor
from .errors import (
    BackendTerminatedError,
    InvalidResponseError,
    JamsocketError,
    RequestTimeoutError,
    TransportError,
    WaitTimeoutError,
    http_error,
    retry_after,
)
from .messages import Answer, Head
from .retry import MAX_RETRY_AFTER, Backoff, Sleep, wait_before_retry
from .sse import EventDecoder, ServerSentEvent
from .states import BackendState, MalformedStateError, UnknownState, parse_state, rank

logger = logging.getLogger("jamsocket")

DEFAULT_STALL_TIMEOUT = 45.0
"""Seconds without a single byte after which a connection counts as dead: three missed keep-alives."""

SILENCE = 2.0
"""Seconds without an event after which the server is asked whether it knows the backend at all."""

_MAX_PATIENCE = 600.0
_LONG_LIFE = 60.0
_MAX_UNKNOWN_STATUSES = 1000


@frozen
class Open:
    """Step: send the request on a connection of its own; the result is a `Head` or a `TransportError`.

    `patience` is how long, in seconds, a read may then go without a byte.
    """

    last_event_id: str
    patience: float


@frozen
class ReadAnswer:
    """Step: read the rest of a response that is no event stream; the result is an `Answer` or a `TransportError`."""


@frozen
class Watch:
    """Step: unless `Unwatch` comes within this many seconds, ask `status` once, without holding up reads.

    If the answer is 404, its `NotFoundError` is the result of the read that is then under way.
    """

    seconds: float


@frozen
class Unwatch:
    """Step: there is nothing to ask any more, because an event came or the connection is over.

    From now on the stream counts as under way: whoever waits for it to start may go on.
    """


@frozen
class Read:
    """Step: the next bytes of the body; the result is bytes, None at its clean end, or an error.

    A `RequestTimeoutError` means a stall; another `TransportError` a broken connection; any other error ends the
    stream.
    """


@frozen
class Drop:
    """Step: close the connection."""


@frozen
class Deliver:
    """Step: hand this state to the caller."""

    state: BackendState


Step: TypeAlias = Open | ReadAnswer | Watch | Unwatch | Read | Drop | Deliver | Sleep


def follow(*, max_retries: int, stall_timeout: float, backoff: Backoff, clock: Clock) -> Generator[Step, Any, None]:
    """The life of one status stream, as steps for the caller to perform; returns when the stream is over.

    Raises the error that ends the stream: `HTTPError`, `TransportError` or `InvalidResponseError`.
    """
    history = _History()
    patience = stall_timeout
    last_event_id = ""
    retry_floor = 0.0
    failures = 0
    was_open = stalled_before = False

    while True:
        floor = retry_floor
        head = yield Open(last_event_id, patience)
        if isinstance(head, Head) and head.is_event_stream:
            was_open = True
            connection = _Connection(head, history, last_event_id, clock)
            error = yield from connection.run()
            if connection.is_over:
                return
            if error is not None and not isinstance(error, TransportError):
                raise error
            last_event_id = connection.decoder.last_event_id
            if connection.decoder.retry is not None:
                retry_floor = min(connection.decoder.retry / 1000, backoff.maximum)
            floor = retry_floor
            # Nothing tells a quiet backend behind a server without keep-alives from a dead connection, except that
            # coming back brings nothing new: then look less often.
            stalled = isinstance(error, RequestTimeoutError)
            if connection.brought_news:
                patience = stall_timeout
            elif stalled and stalled_before:
                patience = min(2 * patience, max(stall_timeout, _MAX_PATIENCE))
            stalled_before = stalled
            if connection.brought_news or connection.lived >= _LONG_LIFE:
                failures = 0
        else:
            outcome: Answer | TransportError
            if isinstance(head, Head):
                outcome = yield ReadAnswer()
                yield Drop()
                if isinstance(outcome, Answer) and outcome.status == 204:
                    return
                if isinstance(outcome, Answer) and outcome.status == 200:
                    kind = head.media_type[:100]
                    raise InvalidResponseError(f"its content type is {kind!r}, not text/event-stream", outcome)
            else:
                outcome = head
            if not was_open:
                wait = wait_before_retry(outcome, idempotent=True, failures=failures, clock=clock, backoff=backoff)
                if wait is None or failures >= max_retries:
                    raise _error(outcome, clock)
                failures += 1
                yield Sleep(wait)
                continue
            if not _may_reconnect(outcome):
                raise _error(outcome, clock)
            if isinstance(outcome, Answer):
                asked = retry_after(outcome.headers, clock.time_of_day()) or 0.0
                floor = max(floor, min(asked, MAX_RETRY_AFTER))

        yield Sleep(floor + clock.random() * backoff.ceiling(failures))
        failures += 1


class _Connection:
    """What happens on one connection that is an event stream."""

    def __init__(self, head: Head, history: _History, last_event_id: str, clock: Clock) -> None:
        self.decoder = EventDecoder(last_event_id)
        self.brought_news = False
        self.is_over = False
        self.lived = 0.0
        self._is_watched = True
        self._head = head
        self._history = history
        self._clock = clock

    def run(self) -> Generator[Step, Any, JamsocketError | None]:
        """Reads to the end of the connection, or of the stream; returns the error that ended it, if one did."""
        began = self._clock.monotonic()
        yield Watch(SILENCE)
        error = yield from self._read()
        if self._is_watched:
            yield Unwatch()
        self.lived = self._clock.monotonic() - began
        yield Drop()
        return error

    def _read(self) -> Generator[Step, Any, JamsocketError | None]:
        try:
            return (yield from self._read_coded(Decompressor(self._head.content_coding)))
        except ContentError as error:
            return InvalidResponseError(str(error), self._head.answer())

    def _read_coded(self, decompressor: Decompressor) -> Generator[Step, Any, JamsocketError | None]:
        while True:
            result: bytes | JamsocketError | None = yield Read()
            if not isinstance(result, bytes):
                return result
            for number, piece in enumerate(decompressor.feed(result)):
                if number:
                    yield Sleep(
                        0.0
                    )  # a few compressed bytes may be much work: let others, and `close`, have their turn
                events = self.decoder.feed(piece)
                if events and self._is_watched:
                    self._is_watched = False
                    yield Unwatch()
                for event in events:
                    state = _read_state(event)
                    if state is not None and self._history.is_new(state):
                        self.brought_news = True
                        yield Deliver(state)
                        if isinstance(state, TerminatedState):
                            self.is_over = True
                            return None


class _History:
    """Which states the caller has seen."""

    def __init__(self) -> None:
        self._rank = -1
        self._unknown: set[str] = set()

    def is_new(self, state: BackendState) -> bool:
        """Whether the caller should see this state; remembers it."""
        if isinstance(state, UnknownState):
            if state.raw_status in self._unknown or len(self._unknown) >= _MAX_UNKNOWN_STATUSES:
                return False
            self._unknown.add(state.raw_status)
            return True
        if rank(state) <= self._rank:
            return False
        self._rank = rank(state)
        return True


class Readiness:
    """Judges the states of a backend that is hoped to become ready."""

    def __init__(self, backend_id: str, timeout: float | None) -> None:
        self._backend_id = backend_id
        self._timeout = timeout
        self._last: BackendState | None = None
        self._leaving = False

    def judge(self, state: BackendState) -> ReadyState | None:
        """The state, if it means that the backend is ready; None if that is still open.

        Raises:
            BackendTerminatedError: if the backend ended.
        """
        if self._last is None or rank(state) >= rank(self._last):
            self._last = state
        if isinstance(state, TerminatedState):
            raise BackendTerminatedError(self._backend_id, state)
        if isinstance(state, TerminatingState | HardTerminatingState):
            # A stream replays the past: a `ready` that comes after this one is from before it.
            self._leaving = True
        return state if isinstance(state, ReadyState) and not self._leaving else None

    def timed_out(self) -> WaitTimeoutError:
        """The error for a wait that took too long."""
        return WaitTimeoutError(self._backend_id, self._timeout or 0.0, self._last)

    def ended(self) -> JamsocketError:
        """The error for a stream that ended before anything was decided."""
        seen = f" after {self._last.status!r}" if self._last else ""
        return JamsocketError(f"The API ended the status stream of backend {self._backend_id}{seen}.")


def _read_state(event: ServerSentEvent) -> BackendState | None:
    """The state in an event, or None, with a line in the log, if there is none."""
    if event.event != "message":
        return None
    try:
        return parse_state(json.loads(event.data))
    except (ValueError, RecursionError) as error:
        why = error if isinstance(error, MalformedStateError) else "it is not JSON"
        logger.warning("Skipped a malformed event of a status stream: %s", why)
        return None


def _may_reconnect(outcome: Answer | TransportError) -> bool:
    if isinstance(outcome, TransportError):
        return outcome.retryable
    return outcome.status in {408, 425, 429} or outcome.status >= 500


def _error(outcome: Answer | TransportError, clock: Clock) -> JamsocketError:
    if isinstance(outcome, TransportError):
        return outcome
    return http_error(outcome, now=clock.time_of_day())
