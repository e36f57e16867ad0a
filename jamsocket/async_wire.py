"""A connection to the API, on asyncio: performs on a transport what `http11` says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import cast

from .failures import Phase, without_traceback
from .http11 import Exchange, Origin, write
from .messages import Head, Request
from .secret import Secret
from .wire import FAILURES, HEAD_START, Address, in_turn, is_readable, new_socket, translate

_RECEIVED_AT_ONCE = 16 * 1024
"""The most that is taken from a socket at once, in bytes: as much as a TLS record can hold."""

_MAX_UNREAD = 64 * 1024
"""Bytes that came in before anybody wanted them; beyond that the server has to wait."""


class AsyncWire(asyncio.BufferedProtocol):
    """One connection, for one request at a time, on one event loop.

    Bytes that come in are kept until they are read, so a read may be cancelled and begun again: nothing is lost.
    """

    # A request's connection, and each of thousands of streams, is one of these.
    __slots__ = (
        "_arrived",
        "_buffer",
        "_exchange",
        "_failure",
        "_is_choked",
        "_is_over",
        "_is_paused",
        "_loop",
        "_origin",
        "_phase",
        "_request",
        "_token",
        "_transport",
        "_unread",
    )

    reads_survive_cancelling = True

    def __init__(self, origin: Origin, token: Secret | None) -> None:
        self._origin = origin
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._request: Request | None = None
        self._phase = Phase.CONNECT
        self._buffer: memoryview | None = None
        self._unread = 0
        self._arrived: asyncio.Future[bool] | None = None
        self._is_over = self._is_choked = self._is_paused = False
        self._failure: Exception | None = None

    async def begin(self, request: Request, timeout: float) -> Head:
        """Sends a request, over a new connection if there is none, and reads the response's head.

        `timeout` is in seconds for the connection, for the request and for the head, each as a whole.

        Raises:
            TransportError: if there is no answer.
        """
        self._request, self._phase = request, Phase.CONNECT
        exchange = self._exchange = Exchange(request.method)
        time = self._loop.time
        try:
            if self._transport is None:
                async with asyncio.timeout(timeout):
                    await self._connect()
            self._phase = Phase.WRITE
            await self._send(write(request, self._origin, self._token), time() + timeout)
            self._phase = Phase.READ
            until = time() + timeout
            while (head := exchange.head(request)) is None:
                await self._news(exchange, until)
            return head
        except FAILURES as error:
            self.close()
            raise translate(error, request, self._phase, timeout) from without_traceback(error)
        except BaseException as error:  # a cancellation, whose frames would show the token
            self.close()
            without_traceback(error)
            raise

    async def read(self, timeout: float | None, allowed: float | None = None) -> bytes | None:
        """The next piece of the body, within so many seconds (None: for ever), or None at its end.

        `allowed` is what an error names as the limit, if `timeout` is only what is left of it.

        Raises:
            TransportError: if there is none.
        """
        exchange, request = self._exchange, self._request
        if exchange is None or request is None:
            return None
        until = None if timeout is None else self._loop.time() + timeout
        try:
            while (piece := exchange.body()) == b"":
                await self._news(exchange, until)
            return piece
        except FAILURES as error:
            raise translate(error, request, Phase.READ, allowed or timeout) from without_traceback(error)

    @property
    def may_be_kept(self) -> bool:
        """Whether the connection may carry another request."""
        is_whole = not self._is_over and not self._is_choked
        return is_whole and self._exchange is not None and self._exchange.may_go_on

    @property
    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing came in since the last response."""
        if self._transport is None or not self.may_be_kept:
            return False
        # What the event loop has not got to yet counts too.
        sock = self._transport.get_extra_info("socket")
        return sock is not None and not is_readable(sock.fileno())

    def close(self) -> None:
        """Closes the connection, without waiting; a read that is under way ends."""
        self._is_over = True
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._wake()

    async def aclose(self) -> None:
        """As `close`, for those who are used to waiting."""
        self.close()

    # ── What the event loop calls ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by its class: other event loops (uvloop) have transports of their own.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1)  # to be told when everything was sent

    def get_buffer(self, sizehint: int) -> memoryview:
        # For one read, and a view: asyncio's TLS writes into parts of it.
        self._buffer = memoryview(bytearray(_RECEIVED_AT_ONCE))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        buffer, self._buffer = self._buffer, None
        exchange = self._exchange
        if buffer is None or exchange is None or self._is_over:
            return
        # Also behind a response that is complete: then the connection is not used again.
        exchange.feed(bytes(buffer[:nbytes]))
        self._unread += nbytes
        if self._unread > _MAX_UNREAD and self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._is_over = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self._failure = exc
        self._wake()

    def pause_writing(self) -> None:
        self._is_choked = True

    def resume_writing(self) -> None:
        self._is_choked = False
        self._wake()

    # ── Steps ──

    async def _connect(self) -> None:
        sock = await connect(await addresses(self._loop, self._origin))
        if not self._origin.is_https:
            await self._loop.create_connection(lambda: self, sock=sock)
            return
        from . import tls  # plain http needs no certificates

        await self._loop.create_connection(
            lambda: self, sock=sock, ssl=tls.context(), server_hostname=self._origin.host
        )

    async def _send(self, data: bytes, until: float) -> None:
        if self._transport is None or self._is_over:
            return  # the read that follows says why
        self._transport.write(data)
        while self._is_choked and not self._is_over:
            await self._wait(until)

    async def _news(self, exchange: Exchange, until: float | None) -> None:
        """Returns when there is more to look at: bytes, or the connection's end."""
        self._unread = 0
        if self._is_over:
            if self._failure is not None:
                raise self._failure
            exchange.feed(b"")
            return
        if until is not None and self._loop.time() >= until:
            raise TimeoutError("timed out")  # the event loop's timers come behind what comes in, however much that is
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        await self._wait(until)

    async def _wait(self, until: float | None) -> None:
        if until is not None and self._loop.time() >= until:
            # Not left to the timer: where bytes pour in without an end, they are always there first.
            raise TimeoutError("timed out")
        arrived = self._arrived = self._loop.create_future()
        timer = None if until is None else self._loop.call_at(until, _settle, arrived, False)
        try:
            if not await arrived:
                raise TimeoutError("timed out")
        finally:
            self._arrived = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._arrived is not None:
            _settle(self._arrived, True)


def _settle(future: asyncio.Future[bool], result: bool) -> None:
    if not future.done():
        future.set_result(result)


async def addresses(loop: asyncio.AbstractEventLoop, origin: Origin) -> list[Address]:
    """The addresses of an origin's host, IPv6 and IPv4 in turn, the resolver's favourite first."""
    if origin.is_address:  # no thread is needed to read it
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found = socket.getaddrinfo(origin.host.encode(), origin.port, type=socket.SOCK_STREAM, flags=flags)
    else:
        found = await loop.getaddrinfo(origin.host.encode(), origin.port, type=socket.SOCK_STREAM)
    return in_turn([(family, address) for family, _, _, _, address in found])


async def connect(candidates: list[Address]) -> socket.socket:
    """A connection to the first address that answers; as `wire.connect`."""
    if len(candidates) == 1:
        return await _attempt(candidates[0])
    failure: BaseException = OSError("the host has no address")
    attempts: set[asyncio.Task[socket.socket]] = set()
    waiting: Iterator[Address] = iter(candidates)
    try:
        while True:
            address = next(waiting, None)
            if address is not None:
                attempts.add(asyncio.create_task(_attempt(address)))
            elif not attempts:
                raise failure
            pause = None if address is None else HEAD_START
            done, attempts = await asyncio.wait(attempts, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            attempts |= done  # until they are looked at, they are closed if something goes wrong
            for attempt in done:
                if attempt.exception() is None:
                    attempts.discard(attempt)
                    return attempt.result()
                attempts.discard(attempt)
                failure = attempt.exception() or failure
    finally:
        for attempt in attempts:
            attempt.cancel()
        for result in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(result, socket.socket):  # it came too late
                result.close()


async def _attempt(address: Address) -> socket.socket:
    family, where = address
    sock = new_socket(family)
    try:
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        with contextlib.suppress(OSError):
            sock.close()
        raise
    return sock
