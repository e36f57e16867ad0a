"""Requests go out and responses come in here: over connections of our own, or through httpx where those cannot go.

Our own (`wire`) are what a client uses by itself. httpx (`httpx_wire`) is used with a user's `http_client`, with a
proxy, and for a URL that takes more than `http11` knows; it is loaded only then. `async_transport.py` has the twins.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias
from weakref import WeakSet

from .answer_reader import AnswerReader
from .clock import Clock
from .config import Config
from .errors import TransportError
from .failures import without_traceback
from .http11 import Origin
from .messages import Answer, Head, Request
from .pool import Pool
from .wire import Wire

if TYPE_CHECKING:
    import httpx

    from .httpx_wire import HttpxWire

    AnyWire: TypeAlias = Wire | HttpxWire

logger = logging.getLogger("jamsocket")

CLOSED = "This Jamsocket client is closed; make a new one."


class Transport:
    """Sends requests, blocking. Safe to share between threads."""

    def __init__(self, config: Config, http_client: httpx.Client | None, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._given = http_client
        self._pool: Pool[Wire] = Pool()
        self._own: httpx.Client | None = None
        self._is_closed = False
        # Reentrant: a signal handler that closes the client may interrupt the thread that is making it.
        self._lock = threading.RLock()
        transports.add(self)

    def send(self, request: Request, timeout: float) -> Answer:
        """The complete answer to a request; raises `TransportError` or `InvalidResponseError`.

        `timeout` is in seconds for each phase: connecting, sending, the head and the body, each as a whole.
        """
        wire = self._wire(request)
        reader: AnswerReader | None = None
        try:
            reader = AnswerReader(logged(wire.begin(request, timeout)), timeout, self._clock)
            # No variable has the chunk: it would show the answer's tokens in a traceback with locals.
            while not reader.feed(wire.read(reader.time_left, timeout)):
                pass
        except TransportError:
            if reader is None or reader.must_be_whole:
                raise
        except BaseException as error:  # an interrupt, whose frames would show the token too
            without_traceback(error)
            raise
        finally:
            self._release(wire)
        return reader.answer()

    def stream_connection(self, timeout: float) -> StreamConnection:
        """A connection for one stream, apart from those that requests share."""
        return StreamConnection(self, timeout, self._clock)

    def stream_wire(self, request: Request) -> AnyWire:
        """What a stream's request may be sent with."""
        if self._direct is not None and self._direct.has(request.url):
            return Wire(self._direct, self._config.token)
        from .httpx_wire import HttpxWire, own_client

        if self._given is not None:
            return HttpxWire(self._given, self._config, owned=False)
        import httpx

        return HttpxWire(own_client(httpx.Client, self._config, for_one_stream=True), self._config, owned=True)

    def close(self) -> None:
        """Closes what is ours; a client that the user gave stays open."""
        with self._lock:
            self._is_closed = True
            own, self._own = self._own, None
        self._pool.close()
        if own is not None:
            own.close()

    def __del__(self) -> None:
        # A client that was never closed: its connections go with it, without a warning.
        with contextlib.suppress(Exception):
            self._pool.close()

    def after_fork(self) -> None:
        """In a forked child: leaves the connections to the parent, which uses them too."""
        self._pool.close()  # which only takes this process's hands off them
        self._pool = Pool()
        self._own = None
        self._lock = threading.RLock()

    @cached_property
    def _direct(self) -> Origin | None:
        return None if self._given is not None else direct_origin(self._config)

    def _wire(self, request: Request) -> AnyWire:
        if self._direct is not None and self._direct.has(request.url):
            return self._pool.take(self._clock.monotonic()) or Wire(self._direct, self._config.token)
        from .httpx_wire import HttpxWire

        return HttpxWire(self._client(), self._config, owned=False)

    def _release(self, wire: AnyWire) -> None:
        if isinstance(wire, Wire) and wire.may_be_kept:
            self._pool.give(wire, self._clock.monotonic())
        else:
            wire.close()

    def _client(self) -> httpx.Client:
        if self._given is not None:
            return self._given
        import httpx

        from .httpx_wire import own_client

        with self._lock:
            if self._own is None:
                self._own = own_client(httpx.Client, self._config)
            if self._is_closed:
                raise RuntimeError(CLOSED)
            return self._own


class StreamConnection:
    """The HTTP side of one stream, blocking: one response after another, read piece by piece.

    One thread uses it; `interrupt` may be called from any other.
    """

    def __init__(self, transport: Transport, timeout: float, clock: Clock) -> None:
        self._transport = transport
        self._timeout = timeout
        self._clock = clock
        self._wire: AnyWire | None = None
        self._head: Head | None = None
        self._patience: float | None = None
        self._interrupted = False
        self._process = os.getpid()

    def open(self, request: Request, patience: float | None) -> Head:
        """Sends the request; a read of an event stream may then wait `patience` seconds for a byte (None: for ever)."""
        self.drop()
        self._patience = patience
        wire = self._wire = self._transport.stream_wire(request)
        if self._interrupted:
            raise TransportError.closed(request)
        head = logged(wire.begin(request, self._timeout))
        self._head = None if head.is_event_stream else head  # of a stream only the body is still wanted
        return head

    @property
    def limits_reads(self) -> bool:
        """Whether a read can have a patience of its own; httpx fixes it at the first one."""
        return self._wire is None or isinstance(self._wire, Wire)

    def read(self, patience: float | None = None) -> bytes | None:
        """The next bytes, as they came over the wire; None at the end of the body, or if the connection is dropped.

        `patience` is for this read alone, in seconds, where reads can have one.
        """
        if patience is None:
            patience = self._patience
        return None if self._wire is None else self._wire.read(patience)

    def read_answer(self) -> Answer:
        """The rest of a response that is not a stream, bounded in size and time."""
        assert self._head is not None
        reader = AnswerReader(self._head, self._timeout, self._clock)
        try:
            while self._wire is not None and not reader.feed(self._wire.read(reader.time_left, self._timeout)):
                pass
        except TransportError:
            if reader.must_be_whole:
                raise
        return reader.answer()

    def exchange(self, request: Request) -> Answer:
        """The complete answer to a request that is no stream."""
        self.open(request, None)
        return self.read_answer()

    def drop(self) -> None:
        """Closes the connection; another may be opened."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def interrupt(self) -> None:
        """Ends a blocked read at once, and every later one. Safe from any thread."""
        self._interrupted = True
        wire = self._wire
        # A forked child shares the connection with its parent and must leave it alone.
        if wire is not None and os.getpid() == self._process:
            wire.interrupt()


def logged(head: Head) -> Head:
    """The same head, after a line in the log: no header and no body, they may hold tokens."""
    logger.debug("%s %s: %d", head.method, head.url, head.status)
    return head


class Forked(Protocol):
    def after_fork(self) -> None: ...


transports: WeakSet[Forked] = WeakSet()
"""All that have to know when a process forks."""


def _after_fork() -> None:
    for transport in list(transports):
        transport.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def direct_origin(config: Config) -> Origin | None:
    """Where the API is, if our own connections can go there: with plain names, and not through a proxy."""
    origin = Origin.of(config.api_url)
    if origin is None or config.is_loopback or not _has_proxy("https" if origin.is_https else "http"):
        return origin
    return None


def _has_proxy(scheme: str) -> bool:
    """Whether the environment names a proxy that may apply; which hosts it is not for, httpx judges then."""
    # Only there does the system know of proxies too; elsewhere loading all of `urllib.request` is not needed for a no.
    if sys.platform not in {"darwin", "win32"} and not any(name.lower().endswith("_proxy") for name in os.environ):
        return False
    import urllib.request

    proxies = urllib.request.getproxies()
    return any(proxies.get(kind) for kind in (scheme, "all"))
