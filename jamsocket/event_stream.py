"""The life of an event stream as a state machine: when to connect, when to come back, when to stop.

`follow` decides and performs nothing: it yields steps and is sent their results, so that the blocking and the
asyncio client share every decision, and a test needs neither a network nor a clock. What is particular to one kind of
stream (what its events mean, what the end of a connection means) is a `Feed`.

    Open ──────► Head ─────► Watch, Read, Read, … ──► Deliver   (what is new to the caller)
     ▲             │                          │
     │             └► ReadAnswer ► Drop       └► Drop           (ended, broken, stalled)
     └──────────────────────── Sleep ◄──────────┘
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Generic, NotRequired, TypeAlias, TypedDict, TypeVar, Unpack

from attrs import frozen

from .clock import Clock
from .content import ContentError, Decompressor
from .errors import (
    InvalidResponseError,
    JamsocketError,
    RequestTimeoutError,
    TransportError,
    http_error,
    retry_after,
)
from .messages import Answer, Head
from .retry import MAX_RETRY_AFTER, Backoff, Sleep, wait_before_retry
from .secret import Secret
from .sse import EventDecoder, ServerSentEvent

T = TypeVar("T")

_MAX_PATIENCE = 600.0
_LONG_LIFE = 60.0


@frozen
class Open:
    """Step: send the request on a connection of its own; the result is a `Head` or a `TransportError`.

    `patience` is how long, in seconds, any read may then go without a byte; None: for ever.
    """

    last_event_id: str
    patience: float | None


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
    stream. `patience` is how long, in seconds, this one read may go without a byte, besides what `Open` said.
    """

    patience: float | None = None


@frozen
class Drop:
    """Step: close the connection."""


@frozen
class Deliver:
    """Step: hand this to the caller."""

    item: Any


Step: TypeAlias = Open | ReadAnswer | Watch | Unwatch | Read | Drop | Deliver | Sleep


class Feed(Generic[T]):
    """One stream of one kind: what its events mean to the caller, who has seen those before."""

    silence: float | None = None
    """Seconds without an event after which the server is asked whether it knows the backend at all; None for never."""

    ends_with_response: ClassVar[bool] = True
    """Whether a response that ends cleanly is the end of the stream."""

    always_resumable: ClassVar[bool] = True
    """Whether nothing is lost by coming back on another connection, whenever that is."""

    def read(self, event: ServerSentEvent) -> T | None:
        """What the event tells the caller; None if that is nothing, or nothing new."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether the last event was the stream's last."""
        return False

    @property
    def is_resumable(self) -> bool:
        """Whether nothing is lost by coming back on another connection now."""
        return self.always_resumable

    def cut(self, error: TransportError) -> TransportError:
        """The caller's error for a connection that broke when it was not resumable."""
        return error


class Terms(TypedDict):
    """How patient a stream is, by which clock, and the secret that its requests carry and no error may show."""

    max_retries: int
    stall_timeout: float
    backoff: Backoff
    clock: Clock
    secret: NotRequired[Secret | None]


def follow(feed: Feed[Any], **terms: Unpack[Terms]) -> Generator[Step, Any, None]:
    """The life of one stream, as steps for the caller to perform; returns when the stream is over.

    Raises the error that ends the stream: `HTTPError`, `TransportError` or `InvalidResponseError`.
    """
    max_retries, stall_timeout, backoff = terms["max_retries"], terms["stall_timeout"], terms["backoff"]
    clock, secret = terms["clock"], terms.get("secret")
    patience = stall_timeout
    last_event_id = ""
    retry_floor = 0.0
    failures = 0
    was_open = stalled_before = False

    while True:
        floor = retry_floor
        head = yield Open(last_event_id, patience if feed.always_resumable else None)
        if isinstance(head, Head) and head.is_event_stream:
            was_open = True
            connection = _Connection(head, feed, last_event_id, patience, clock)
            del head  # there are thousands of streams that wait for hours: none keeps what it does not need
            error = yield from connection.run()
            if feed.is_over or (error is None and feed.ends_with_response):
                return
            if error is not None and not isinstance(error, TransportError):
                raise error
            if error is not None and not feed.is_resumable:
                raise feed.cut(error) from error
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
                    raise _error(outcome, clock, secret)
                failures += 1
                yield Sleep(wait)
                continue
            if not _may_reconnect(outcome):
                raise _error(outcome, clock, secret)
            if isinstance(outcome, Answer):
                asked = retry_after(outcome.headers, clock.time_of_day()) or 0.0
                floor = max(floor, min(asked, MAX_RETRY_AFTER))

        yield Sleep(floor + clock.random() * backoff.ceiling(failures))
        failures += 1


class _Connection:
    """What happens on one connection that is an event stream."""

    def __init__(self, head: Head, feed: Feed[Any], last_event_id: str, patience: float, clock: Clock) -> None:
        self.decoder = EventDecoder(last_event_id)
        self.brought_news = False
        self.lived = 0.0
        self._is_watched = feed.silence is not None
        self._head = head if head.content_coding else None
        self._feed = feed
        self._patience = patience
        self._clock = clock

    def run(self) -> Generator[Step, Any, JamsocketError | None]:
        """Reads to the end of the connection, or of the stream; returns the error that ended it, if one did."""
        began = self._clock.monotonic()
        if self._feed.silence is not None:
            yield Watch(self._feed.silence)
        error = yield from self._read()
        if self._is_watched:
            yield Unwatch()
        self.lived = self._clock.monotonic() - began
        yield Drop()
        return error

    def _read(self) -> Generator[Step, Any, JamsocketError | None]:
        if self._head is None:
            return (yield from self._read_coded(Decompressor("")))
        try:
            return (yield from self._read_coded(Decompressor(self._head.content_coding)))
        except ContentError as error:
            return InvalidResponseError(str(error), self._head.answer())

    def _read_coded(self, decompressor: Decompressor) -> Generator[Step, Any, JamsocketError | None]:
        while True:
            result: bytes | JamsocketError | None = yield Read(self._patience_of_a_read())
            if not isinstance(result, bytes):
                return result
            pieces = enumerate(decompressor.feed(result))
            del result
            for number, piece in pieces:
                if number:
                    # A few compressed bytes may be much work: let others, and `close`, have their turn.
                    yield Sleep(0.0)
                events = self.decoder.feed(piece)
                if events and self._is_watched:
                    self._is_watched = False
                    yield Unwatch()
                del piece
                events.reverse()
                while events:
                    item = self._feed.read(events.pop())
                    if item is not None:
                        self.brought_news = True
                        yield Deliver(item)
                        if self._feed.is_over:
                            return None

    def _patience_of_a_read(self) -> float | None:
        # Where coming back may lose something, silence is no reason to go as long as that is so: the quiet may be the
        # backend's. Where it never does, `Open` said all.
        return self._patience if self._feed.is_resumable and not self._feed.always_resumable else None


def _may_reconnect(outcome: Answer | TransportError) -> bool:
    if isinstance(outcome, TransportError):
        return outcome.retryable
    return outcome.status in {408, 425, 429} or outcome.status >= 500


def _error(outcome: Answer | TransportError, clock: Clock, secret: Secret | None) -> JamsocketError:
    if isinstance(outcome, TransportError):
        return outcome
    return http_error(outcome, now=clock.time_of_day(), secret=secret)
