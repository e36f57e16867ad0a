"""A connection to the API, blocking: performs on a socket what `http11` says."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import socket
import time
from collections import deque
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import h11

from .failures import Phase, no_answer, without_traceback
from .http11 import Exchange, Origin, UnwritableError, write
from .messages import Head, Request
from .secret import Secret

if TYPE_CHECKING:
    from .errors import TransportError

# What sockets (TLS and name resolution included) and h11 raise for a request that fails; all of it is translated.
FAILURES = (OSError, UnicodeError, UnwritableError, h11.RemoteProtocolError)

_RECEIVED_AT_ONCE = 4 * 1024
"""The most that is taken from a socket at once, in bytes. A read holds so much memory while it waits: maybe hours."""

HEAD_START = 0.25
"""Seconds that one of a host's addresses is tried alone before the next one is tried beside it."""

Address = tuple[socket.AddressFamily, Any]


class Wire:
    """One connection, for one request at a time. One thread uses it; `interrupt` may be called from any other."""

    # A request's connection, and each of a thousand streams, is one of these.
    __slots__ = ("_exchange", "_is_interrupted", "_origin", "_phase", "_request", "_sock", "_token")

    def __init__(self, origin: Origin, token: Secret | None) -> None:
        self._origin = origin
        self._token = token
        self._sock: socket.socket | None = None
        self._exchange: Exchange | None = None
        self._request: Request | None = None
        self._phase = Phase.CONNECT
        self._is_interrupted = False

    def begin(self, request: Request, timeout: float) -> Head:
        """Sends a request, over a new connection if there is none, and reads the response's head.

        `timeout` is in seconds for the connection, for the request and for the head, each as a whole.

        Raises:
            TransportError: if there is no answer.
        """
        self._request, self._phase = request, Phase.CONNECT
        exchange = self._exchange = Exchange(request.method)
        try:
            if self._sock is None:
                self._connect(time.monotonic() + timeout)
            self._phase = Phase.WRITE
            self._send(write(request, self._origin, self._token), time.monotonic() + timeout)
            self._phase = Phase.READ
            until = time.monotonic() + timeout
            while (head := exchange.head(request)) is None:
                exchange.feed(self._receive(until))
            return head
        except FAILURES as error:
            self.close()
            raise translate(error, request, self._phase, timeout) from without_traceback(error)
        except BaseException as error:  # an interrupt, whose frames would show the token
            self.close()
            without_traceback(error)
            raise

    def read(self, timeout: float | None, allowed: float | None = None) -> bytes | None:
        """The next piece of the body, within so many seconds (None: for ever), or None at its end.

        `allowed` is what an error names as the limit, if `timeout` is only what is left of it.

        Raises:
            TransportError: if there is none.
        """
        exchange, request = self._exchange, self._request
        if exchange is None or request is None:
            return None
        until = None if timeout is None else time.monotonic() + timeout
        try:
            while (piece := exchange.body()) == b"":
                exchange.feed(self._receive(until))
            return piece
        except FAILURES as error:
            raise translate(error, request, Phase.READ, allowed or timeout) from without_traceback(error)

    @property
    def may_be_kept(self) -> bool:
        """Whether the connection may carry another request."""
        return self._sock is not None and self._exchange is not None and self._exchange.may_go_on

    @property
    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing came in since the last response."""
        return self._sock is not None and not has_news(self._sock)

    def close(self) -> None:
        """Closes the connection."""
        sock, self._sock, self._exchange = self._sock, None, None
        if sock is not None:
            sock.close()

    def interrupt(self) -> None:
        """Ends a read that is under way at once, and every later one. Safe from any thread."""
        self._is_interrupted = True
        sock = self._sock
        if sock is not None:
            shut_down(sock)

    def _connect(self, until: float) -> None:
        sock = self._adopt(connect(addresses(self._origin), until))
        if not self._origin.is_https:
            return
        from . import tls  # plain http needs no TLS library

        # Adopted before the handshake, so that it can be interrupted.
        secured = tls.context().wrap_socket(sock, server_hostname=self._origin.host, do_handshake_on_connect=False)
        self._adopt(secured)
        secured.settimeout(_left(until))
        secured.do_handshake()

    def _adopt(self, sock: socket.socket) -> socket.socket:
        self._sock = sock
        if self._is_interrupted:  # too early to see it
            shut_down(sock)
        return sock

    def _send(self, data: bytes, until: float) -> None:
        rest = memoryview(data)
        try:
            while rest:
                sock = self._open_socket()
                sock.settimeout(_left(until))
                rest = rest[sock.send(rest) :]
        except TimeoutError:
            raise
        except OSError:
            # A server that will not read on may have said why: the read that follows tells, or fails too.
            return

    def _receive(self, until: float | None) -> bytes:
        sock = self._open_socket()
        sock.settimeout(None if until is None else _left(until))
        return sock.recv(_RECEIVED_AT_ONCE)

    def _open_socket(self) -> socket.socket:
        if self._sock is None:
            raise ConnectionAbortedError("the connection was closed")
        return self._sock


def translate(error: Exception, request: Request, phase: Phase, timeout: float | None) -> TransportError:
    """Our error for one of `FAILURES`."""
    is_unwritable = isinstance(error, UnicodeError | UnwritableError)
    return no_answer(
        error,
        request,
        phase=phase,
        timeout=timeout,
        is_late=isinstance(error, TimeoutError),
        is_sent=phase is not Phase.CONNECT and not is_unwritable,
        retryable=not is_unwritable,  # the same request would fail the same way again
    )


def addresses(origin: Origin) -> list[Address]:
    """The addresses of an origin's host, IPv6 and IPv4 in turn, the resolver's favourite first."""
    # As bytes: for a name in ASCII, nothing need be loaded that could encode others.
    found = socket.getaddrinfo(origin.host.encode(), origin.port, type=socket.SOCK_STREAM)
    return in_turn([(family, address) for family, _, _, _, address in found])


def in_turn(found: list[Address]) -> list[Address]:
    first = [one for one in found if one[0] == found[0][0]]
    others = [one for one in found if one[0] != found[0][0]]
    return [one for one in chain.from_iterable(zip_longest(first, others)) if one is not None]


def new_socket(family: socket.AddressFamily) -> socket.socket:
    """A socket to connect with, non-blocking."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Lets the kernel notice a peer that vanished without a word.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def connect(candidates: list[Address], until: float) -> socket.socket:
    """A connection to the first address that answers. One that does not is not waited for in vain: the next has its
    turn after a moment, so that a network without IPv6 costs a quarter of a second and not the whole time-out."""
    waiting = deque(candidates)
    failure: OSError = OSError("the host has no address")
    trying: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or trying:
                if waiting:
                    family, address = waiting.popleft()
                    sock = new_socket(family)
                    trying.add(sock)
                    try:
                        sock.connect(address)
                    except BlockingIOError:
                        pass
                    except OSError as error:
                        failure = error
                        trying.remove(sock)
                        sock.close()
                        continue
                    selector.register(sock, selectors.EVENT_WRITE)
                pause = HEAD_START if waiting else 3600.0  # no selector can count up to any time-out
                for key, _ in selector.select(min(_left(until), pause)):
                    tried = key.fileobj
                    assert isinstance(tried, socket.socket)
                    selector.unregister(tried)
                    trying.remove(tried)
                    code = tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        return tried
                    failure = OSError(code, os.strerror(code))
                    tried.close()
            raise failure
        finally:
            for sock in trying:
                sock.close()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def has_news(sock: socket.socket) -> bool:
    """Whether a socket has something to read, its end included."""
    pending = getattr(sock, "pending", None)  # what TLS has decrypted already
    if pending is not None and pending():
        return True
    return is_readable(sock.fileno())


def is_readable(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    if hasattr(select, "poll"):  # `select` cannot count beyond 1,023
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([descriptor], [], [], 0)[0])


def shut_down(sock: socket.socket) -> None:
    """Ends whatever another thread does with a socket."""
    with contextlib.suppress(OSError):
        # Not SSLSocket.shutdown: it takes the TLS layer away from under the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
