"""The one seam to httpx: requests go out and responses come in here, and nowhere else.

What httpx raises becomes one of our errors; what it would do on its own (follow redirects, keep cookies, add
credentials, decompress without a bound) is switched off.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import httpx

from ._version import __version__
from .clock import Clock
from .config import Config
from .content import ContentError, Decompressor
from .errors import (
    MAX_ERROR_BODY,
    ConfigError,
    InvalidResponseError,
    RequestTimeoutError,
    TransportError,
    one_line,
)
from .messages import Answer, Head, Request

MAX_BODY = 16 * 1024 * 1024
"""The largest successful answer that is read, in bytes; the API's own are a few hundred."""

USER_AGENT = f"jamsocket-python/{__version__}"

C = TypeVar("C", httpx.Client, httpx.AsyncClient)
E = TypeVar("E", bound=BaseException)

Timeouts: TypeAlias = dict[str, float | None]

# What httpx and the layers below it raise for a request that fails; all of it is translated.
FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError)


# A stream's connection is not kept for its next one: only of a new connection the socket is known from the start.
_ONE_USE = httpx.Limits(max_connections=None, max_keepalive_connections=0)

CLOSED = "This Jamsocket client is closed; make a new one."


class Transport:
    """Sends requests, blocking. Safe to share between threads."""

    def __init__(self, config: Config, http_client: httpx.Client | None, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._given = http_client
        self._own: httpx.Client | None = None
        self._is_closed = False
        # Reentrant: a signal handler that closes the client may interrupt the thread that is making it.
        self._lock = threading.RLock()
        _transports.add(self)

    def send(self, request: Request, timeout: float) -> Answer:
        """The complete answer to a request; raises `TransportError` or `InvalidResponseError`.

        `timeout` is in seconds for each phase, and for the body as a whole.
        """
        response: httpx.Response | None = None
        reader: AnswerReader | None = None
        client = self._client()
        try:
            http_request = build_request(request, self._config, timeouts(timeout))
            response = client.send(http_request, stream=True, auth=None, follow_redirects=False)
            reader = AnswerReader(head_of(request, response), timeout, self._clock)
            # Not a loop: its variable would outlive it, and show the answer's tokens in a traceback with locals.
            any(map(reader.feed, raw_chunks(response)))
        except FAILURES as error:
            if reader is None or reader.must_be_whole:
                raise translate(error, request, timeout) from without_traceback(error)
        except BaseException as error:  # an interrupt, whose frames would show the token too
            without_traceback(error)
            raise
        finally:
            if response is not None:
                response.close()
        return reader.answer()

    def stream_connection(self, timeout: float) -> StreamConnection:
        """A connection for one stream, apart from those that requests share."""
        if self._given is not None:
            return StreamConnection(self._given, self._config, timeout, self._clock, owned=False)
        client = own_client(httpx.Client, self._config, limits=_ONE_USE)
        return StreamConnection(client, self._config, timeout, self._clock, owned=True)

    def close(self) -> None:
        """Closes what is ours; a client that the user gave stays open."""
        with self._lock:
            self._is_closed = True
            own, self._own = self._own, None
        if own is not None:
            own.close()

    def after_fork(self) -> None:
        """In a forked child: leaves the connections to the parent, which uses them too."""
        self._own = None
        self._lock = threading.RLock()

    def _client(self) -> httpx.Client:
        if self._given is not None:
            return self._given
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

    def __init__(self, client: httpx.Client, config: Config, timeout: float, clock: Clock, *, owned: bool) -> None:
        self._client = client
        self._config = config
        self._timeout = timeout
        self._clock = clock
        self._owned = owned
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] | None = None
        self._request: Request | None = None
        self._head: Head | None = None
        self._patience: float | None = None
        self._socket: socket.socket | None = None
        self._interrupted = False
        self._process = os.getpid()

    def open(self, request: Request, patience: float | None) -> Head:
        """Sends the request; a read of an event stream may then wait `patience` seconds for a byte (None: for ever)."""
        self.drop()
        if self._interrupted:
            raise TransportError.closed(request)
        self._request, self._patience = request, patience
        limits = timeouts(self._timeout)
        try:
            http_request = build_request(request, self._config, limits, trace=self._trace)
            response = self._client.send(http_request, stream=True, auth=None, follow_redirects=False)
        except FAILURES as error:
            raise translate(error, request, self._timeout) from without_traceback(error)
        self._response = response
        self._keep_socket(response.extensions.get("network_stream"))
        if response.http_version == "HTTP/2":
            self._socket = None  # it carries other requests too: shutting it down would end them
        head = self._head = head_of(request, response)
        self._chunks = raw_chunks(response)
        if head.is_event_stream:
            limits["read"] = patience
        return head

    def read(self) -> bytes | None:
        """The next bytes, as they came over the wire; None at the end of the body, or if the connection is dropped."""
        if self._request is None or self._chunks is None:
            return None
        try:
            return next(self._chunks, None)
        except FAILURES as error:
            raise translate(error, self._request, self._patience) from without_traceback(error)

    def read_answer(self) -> Answer:
        """The rest of a response that is not a stream, bounded in size and time."""
        assert self._head is not None
        assert self._request is not None
        if self._response is None or self._chunks is None:
            return self._head.answer()
        reader = AnswerReader(self._head, self._timeout, self._clock)
        try:
            for chunk in self._chunks:
                if reader.feed(chunk):
                    break
        except FAILURES as error:
            if reader.must_be_whole:
                raise translate(error, self._request, self._timeout) from without_traceback(error)
        return reader.answer()

    def exchange(self, request: Request) -> Answer:
        """The complete answer to a request that is no stream."""
        self.open(request, None)
        return self.read_answer()

    def drop(self) -> None:
        """Closes the connection; another may be opened."""
        response, self._response, self._chunks, self._socket = self._response, None, None, None
        if response is not None:
            with contextlib.suppress(*FAILURES):
                response.close()

    def close(self) -> None:
        """Closes everything."""
        self.drop()
        if self._owned:
            self._client.close()

    def interrupt(self) -> None:
        """Ends a blocked read at once, and every later one. Safe from any thread."""
        self._interrupted = True
        self._shut_down()

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        # httpx gives the socket away only with the response; a stalled response head must be interruptible too.
        if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete", ".start_tls.complete")):
            self._keep_socket(info.get("return_value"))

    def _keep_socket(self, network_stream: Any) -> None:
        if network_stream is None:
            return
        found = network_stream.get_extra_info("socket")
        if isinstance(found, socket.socket):
            self._socket = found
            keep_alive(found)
        if self._interrupted:
            self._shut_down()

    def _shut_down(self) -> None:
        # A forked child shares the connection with its parent and must leave it alone.
        sock = self._socket
        if sock is not None and os.getpid() == self._process:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown: it takes the TLS layer away from under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class AsyncTransport:
    """Sends requests, on asyncio."""

    def __init__(self, config: Config, http_client: httpx.AsyncClient | None, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._given = http_client
        # Pooled connections belong to the event loop that made them.
        self._own: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        _transports.add(self)

    async def send(self, request: Request, timeout: float) -> Answer:
        """The complete answer to a request; raises `TransportError` or `InvalidResponseError`.

        `timeout` is in seconds for each phase, and for the body as a whole.
        """
        response: httpx.Response | None = None
        reader: AnswerReader | None = None
        client = self._client()
        try:
            http_request = build_request(request, self._config, timeouts(timeout))
            response = await client.send(http_request, stream=True, auth=None, follow_redirects=False)
            reader = AnswerReader(head_of(request, response), timeout, self._clock)
            async with contextlib.aclosing(async_raw_chunks(response)) as chunks:
                async for chunk in chunks:
                    is_enough = reader.feed(chunk)
                    del chunk  # a traceback with locals would show the answer's tokens
                    if is_enough:
                        break
        except FAILURES as error:
            if reader is None or reader.must_be_whole:
                raise translate(error, request, timeout) from without_traceback(error)
        except BaseException as error:  # a cancellation, whose frames would show the token too
            without_traceback(error)
            raise
        finally:
            if response is not None:
                await response.aclose()
        return reader.answer()

    def stream_connection(self, timeout: float) -> AsyncStreamConnection:
        """A connection for one stream, apart from those that requests share."""
        if self._given is not None:
            return AsyncStreamConnection(self._given, self._config, timeout, self._clock, owned=False)
        client = own_client(httpx.AsyncClient, self._config, limits=_ONE_USE)
        return AsyncStreamConnection(client, self._config, timeout, self._clock, owned=True)

    async def aclose(self) -> None:
        """Closes what is ours on this event loop; a client that the user gave stays open."""
        client = self._own.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def after_fork(self) -> None:
        """In a forked child: leaves the connections to the parent, which uses them too."""
        self._own = WeakKeyDictionary()

    def _client(self) -> httpx.AsyncClient:
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        client = self._own.get(loop)
        if client is None:
            client = self._own[loop] = own_client(httpx.AsyncClient, self._config)
        return client


class AsyncStreamConnection:
    """The HTTP side of one stream, on asyncio; a read is interrupted by cancelling it."""

    def __init__(self, client: httpx.AsyncClient, config: Config, timeout: float, clock: Clock, *, owned: bool) -> None:
        self._client = client
        self._config = config
        self._timeout = timeout
        self._clock = clock
        self._owned = owned
        self._response: httpx.Response | None = None
        self._chunks: AsyncGenerator[bytes] | None = None
        self._request: Request | None = None
        self._head: Head | None = None
        self._patience: float | None = None

    @property
    def is_open(self) -> bool:
        return self._response is not None

    async def open(self, request: Request, patience: float | None) -> Head:
        """Sends the request; a read of an event stream may then wait `patience` seconds for a byte (None: for ever)."""
        await self.drop()
        self._request, self._patience = request, patience
        limits = timeouts(self._timeout)
        try:
            response = await self._client.send(
                build_request(request, self._config, limits), stream=True, auth=None, follow_redirects=False
            )
        except FAILURES as error:
            raise translate(error, request, self._timeout) from without_traceback(error)
        self._response = response
        network_stream = response.extensions.get("network_stream")
        if network_stream is not None:
            keep_alive(network_stream.get_extra_info("socket"))
        head = self._head = head_of(request, response)
        self._chunks = async_raw_chunks(response)
        if head.is_event_stream:
            limits["read"] = patience
        return head

    async def read(self) -> bytes | None:
        """The next bytes, as they came over the wire; None at the end of the body, or if the connection is dropped."""
        if self._request is None or self._chunks is None:
            return None
        try:
            return await anext(self._chunks, None)
        except FAILURES as error:
            raise translate(error, self._request, self._patience) from without_traceback(error)

    async def read_answer(self) -> Answer:
        """The rest of a response that is not a stream, bounded in size and time."""
        assert self._head is not None
        assert self._request is not None
        if self._response is None or self._chunks is None:
            return self._head.answer()
        reader = AnswerReader(self._head, self._timeout, self._clock)
        try:
            async for chunk in self._chunks:
                if reader.feed(chunk):
                    break
        except FAILURES as error:
            if reader.must_be_whole:
                raise translate(error, self._request, self._timeout) from without_traceback(error)
        return reader.answer()

    async def exchange(self, request: Request) -> Answer:
        """The complete answer to a request that is no stream."""
        await self.open(request, None)
        return await self.read_answer()

    async def drop(self) -> None:
        """Closes the connection; another may be opened."""
        response, self._response = self._response, None
        chunks, self._chunks = self._chunks, None
        with contextlib.suppress(*FAILURES):
            if chunks is not None:
                await chunks.aclose()
            if response is not None:
                await response.aclose()

    async def aclose(self) -> None:
        """Closes everything."""
        await self.drop()
        if self._owned:
            await self._client.aclose()


_transports: WeakSet[Transport | AsyncTransport] = WeakSet()


def _after_fork() -> None:
    for transport in list(_transports):
        transport.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class AnswerReader:
    """Collects a response's body: bounded in size, in time and in what decompression may make of it.

    An error's body is cut at 64 KiB and may be incomplete, because the status already says what happened. A success
    has to be whole.
    """

    def __init__(self, head: Head, timeout: float, clock: Clock) -> None:
        self._head = head
        self._timeout = timeout
        self._clock = clock
        self._deadline = clock.monotonic() + timeout
        self._limit = MAX_BODY if head.is_success else MAX_ERROR_BODY
        self._body = bytearray()
        self._problem = ""
        self._is_late = False
        self._decompressor: Decompressor | None = None
        try:
            self._decompressor = Decompressor(head.content_coding)
        except ContentError as error:
            self._problem = str(error)

    def feed(self, chunk: bytes) -> bool:
        """Takes a chunk; True if no more is wanted."""
        if self._decompressor is None:
            return True
        try:
            for piece in self._decompressor.feed(chunk):
                self._body += piece
                if len(self._body) > self._limit:
                    del self._body[self._limit :]
                    self._problem = f"it is larger than {self._limit} bytes"
                    return True
        except ContentError as error:
            self._problem = str(error)
            return True
        self._is_late = self._clock.monotonic() > self._deadline
        return self._is_late

    @property
    def must_be_whole(self) -> bool:
        """Whether a connection that fails before the body's end makes the answer useless."""
        return self._head.is_success

    def answer(self) -> Answer:
        """The response with what was collected; raises for a success that is not usable."""
        answer = self._head.answer(bytes(self._body))
        if self._head.is_success:
            if self._problem:
                raise InvalidResponseError(self._problem, answer)
            if self._is_late:
                message = f"the answer was not complete after {self._timeout:g} s"
                raise RequestTimeoutError(message, method=answer.method, url=answer.url)
            if self._decompressor is not None and not self._decompressor.is_complete:
                raise InvalidResponseError("its compressed body is cut short", answer)
        return answer


def own_client(kind: type[C], config: Config, limits: httpx.Limits | None = None) -> C:
    """An httpx client of our own: nothing is followed, kept or sent that the API did not ask for."""
    # A loopback address is never reached through a proxy, which would see the token and could not reach it anyway.
    use_environment = not config.is_loopback
    try:
        return kind(
            verify=tls_context(config, use_environment=use_environment),
            trust_env=use_environment,
            follow_redirects=False,
            limits=limits or httpx.Limits(max_connections=None, max_keepalive_connections=100),
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise ConfigError(f"HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used: {error}") from None


def tls_context(config: Config, *, use_environment: bool) -> ssl.SSLContext:
    """The TLS context to verify the server (or an https proxy) with."""
    proxies = urllib.request.getproxies() if use_environment else {}
    if config.is_https or any(url.startswith("https:") for url in proxies.values()):
        return _shared_tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return _plain_tls_context()


@functools.cache
def _shared_tls_context(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    # Loading the certificates takes tens of milliseconds: once for a process, not once for a client.
    return httpx.create_ssl_context()


@functools.cache
def _plain_tls_context() -> ssl.SSLContext:
    # httpx wants one even for plain http. This one has no certificates, so it would trust nobody, and costs nothing.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def timeouts(seconds: float) -> Timeouts:
    return {"connect": seconds, "write": seconds, "read": seconds, "pool": seconds}


def build_request(request: Request, config: Config, limits: Timeouts, trace: object = None) -> httpx.Request:
    """The httpx request: made here in full, so that a user's client adds no headers, cookies or credentials."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT, **request.headers}
    # httpx reads the limits when it needs them: the same dict is changed once a stream's head is there.
    extensions: dict[str, Any] = {"timeout": limits}
    if trace is not None:
        extensions["trace"] = trace
    http_request = httpx.Request(
        request.method, request.url, headers=headers, content=request.content or None, extensions=extensions
    )
    if request.needs_token and config.token is not None:
        http_request.headers["Authorization"] = f"Bearer {config.token.reveal()}"
    return http_request


def head_of(request: Request, response: httpx.Response) -> Head:
    # A response that was read before (a mock's) is decoded already.
    coding = "" if response.is_stream_consumed else response.headers.get("content-encoding", "")
    return Head(request.method, request.url, response.status_code, response.headers, response.reason_phrase, coding)


def raw_chunks(response: httpx.Response) -> Iterator[bytes]:
    return iter((response.content,)) if response.is_stream_consumed else response.iter_raw()


async def async_raw_chunks(response: httpx.Response) -> AsyncGenerator[bytes]:
    if response.is_stream_consumed:
        yield response.content
    else:
        async for chunk in response.aiter_raw():
            yield chunk


def keep_alive(sock: Any) -> None:
    """Lets the kernel notice a peer that vanished without a word."""
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def translate(error: Exception, request: Request, timeout: float | None) -> TransportError:
    """Our error for what httpx, or a layer below it, raised."""
    what = one_line(str(error)) or type(error).__name__
    unwritable = isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL | UnicodeError)
    not_sent = unwritable or isinstance(
        error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError
    )
    if isinstance(error, httpx.TimeoutException):
        phases: dict[type[Exception], str] = {
            httpx.ConnectTimeout: "no connection",
            httpx.PoolTimeout: "no free connection in the http_client's pool",
            httpx.WriteTimeout: "the request could not be sent",
        }
        within = "in time" if timeout is None else f"within {timeout:g} s"
        message = f"{phases.get(type(error), 'no answer')} {within}"
        return RequestTimeoutError(message, method=request.method, url=request.url, request_sent=not not_sent)
    untrusted = _caused_by(error, ssl.SSLCertVerificationError)
    # The same request would fail the same way again: it cannot be written, or the proxy refuses the tunnel.
    refused = isinstance(error, httpx.ProxyError) and re.match(r"4(?!08|25|29)\d\d\b", str(error)) is not None
    message = f"no answer ({what})"
    if untrusted:
        message = f"the server's certificate is not trusted ({what}). Set SSL_CERT_FILE if it is signed by your own CA"
    return TransportError(
        message,
        method=request.method,
        url=request.url,
        request_sent=not not_sent,
        retryable=not (untrusted or unwritable or refused),
    )


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def without_traceback(error: E) -> E:
    """The same error without the frames it came through: their local variables hold headers, so the token."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
