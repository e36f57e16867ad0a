"""A connection to the API through an httpx client: the user's, or one of ours where `wire` cannot go (a proxy, say).

What httpx would do on its own (follow redirects, keep cookies, add credentials, decompress without a bound) is switched
off: each request is made whole here, and handed to the client for sending only.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeAlias, TypeVar

import httpx

from . import tls
from .config import Config
from .errors import ConfigError, RequestTimeoutError, TransportError
from .failures import Phase, no_answer, without_traceback
from .messages import STANDARD_HEADERS, Head, Request
from .wire import shut_down

C = TypeVar("C", httpx.Client, httpx.AsyncClient)

Timeouts: TypeAlias = dict[str, float | None]

# What httpx and the layers below it raise for a request that fails; all of it is translated.
FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError)


class HttpxWire:
    """One request at a time through an httpx client, blocking. `interrupt` may be called from any thread.

    `owned` means that the client goes with the wire.
    """

    may_be_kept = False  # httpx keeps connections itself

    def __init__(self, client: httpx.Client, config: Config, *, owned: bool) -> None:
        self._client = client
        self._config = config
        self._owned = owned
        self._request: Request | None = None
        self._limits: Timeouts = {}
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] | None = None
        self._socket: socket.socket | None = None
        self._is_interrupted = False

    def begin(self, request: Request, timeout: float) -> Head:
        """Sends a request and reads the response's head; `timeout` is in seconds for each phase.

        Raises:
            TransportError: if there is no answer.
        """
        self._request = request
        limits = self._limits = timeouts(timeout)
        try:
            http_request = build_request(request, self._config, limits, trace=self._trace)
            response = self._client.send(http_request, stream=True, auth=None, follow_redirects=False)
        except FAILURES as error:
            raise translate(error, request, timeout) from without_traceback(error)
        except BaseException as error:  # an interrupt, whose frames would show the token
            without_traceback(error)
            raise
        self._response = response
        self._keep_socket(response.extensions.get("network_stream"))
        if response.http_version == "HTTP/2":
            self._socket = None  # it carries other requests too: shutting it down would end them
        self._chunks = iter((response.content,)) if response.is_stream_consumed else response.iter_raw()
        return head_of(request, response)

    def read(self, timeout: float | None, allowed: float | None = None) -> bytes | None:
        """The next piece of the body, or None at its end; `timeout` is in seconds without a byte (None: for ever).

        `allowed` is what an error names as the limit, if `timeout` is only what is left of it.

        Raises:
            TransportError: if there is none.
        """
        if self._request is None or self._chunks is None:
            return None
        # httpx looks at the limits, the dict that the request was given, when the first piece is read, and not again.
        self._limits["read"] = None if timeout is None else max(timeout, 0.001)
        try:
            return next(self._chunks, None)
        except FAILURES as error:
            raise translate(error, self._request, allowed or timeout) from without_traceback(error)

    def close(self) -> None:
        """Has done with the response; a connection that httpx may use again stays in its pool."""
        response, self._response, self._chunks, self._socket = self._response, None, None, None
        with contextlib.suppress(*FAILURES):
            if response is not None:
                response.close()
        if self._owned:
            self._client.close()

    def interrupt(self) -> None:
        """Ends a read that is under way at once, and every later one. Safe from any thread."""
        self._is_interrupted = True
        sock = self._socket
        if sock is not None:
            shut_down(sock)

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
            if self._is_interrupted:
                shut_down(found)


class AsyncHttpxWire:
    """One request at a time through an httpx client, on asyncio (or whatever the client's transport runs on).

    `owned` means that the client goes with the wire.
    """

    may_be_kept = False  # httpx keeps connections itself
    reads_survive_cancelling = False

    def __init__(self, client: httpx.AsyncClient, config: Config, *, owned: bool) -> None:
        self._client = client
        self._config = config
        self._owned = owned
        self._request: Request | None = None
        self._limits: Timeouts = {}
        self._response: httpx.Response | None = None
        self._chunks: AsyncGenerator[bytes] | None = None

    async def begin(self, request: Request, timeout: float) -> Head:
        """Sends a request and reads the response's head.

        `timeout` is in seconds for each phase, as httpx knows it: each byte of a head begins another. All of them
        together take no more than five times that.

        Raises:
            TransportError: if there is no answer.
        """
        from .async_run import deadline  # here, because the blocking client does without asyncio

        def timed_out() -> RequestTimeoutError:
            message = f"no answer within {5 * timeout:g} s"
            return RequestTimeoutError(message, method=request.method, url=request.url)

        self._request = request
        limits = self._limits = timeouts(timeout)
        async with deadline(5 * timeout, timed_out):
            try:
                http_request = build_request(request, self._config, limits)
                response = await self._client.send(http_request, stream=True, auth=None, follow_redirects=False)
            except FAILURES as error:
                raise translate(error, request, timeout) from without_traceback(error)
            except BaseException as error:  # a cancellation, whose frames would show the token
                without_traceback(error)
                raise
        self._response = response
        network_stream = response.extensions.get("network_stream")
        if network_stream is not None:
            keep_alive(network_stream.get_extra_info("socket"))
        self._chunks = raw_chunks(response)
        return head_of(request, response)

    async def read(self, timeout: float | None, allowed: float | None = None) -> bytes | None:
        """The next piece of the body, or None at its end; `timeout` is in seconds without a byte (None: for ever).

        `allowed` is what an error names as the limit, if `timeout` is only what is left of it.

        Raises:
            TransportError: if there is none.
        """
        if self._request is None or self._chunks is None:
            return None
        # httpx looks at the limits, the dict that the request was given, when the first piece is read, and not again.
        self._limits["read"] = None if timeout is None else max(timeout, 0.001)
        try:
            return await anext(self._chunks, None)
        except FAILURES as error:
            raise translate(error, self._request, allowed or timeout) from without_traceback(error)

    async def aclose(self) -> None:
        """Has done with the response; a connection that httpx may use again stays in its pool."""
        from .async_run import leave  # here, because the blocking client does without asyncio

        response, self._response = self._response, None
        chunks, self._chunks = self._chunks, None
        with contextlib.suppress(*FAILURES):
            if chunks is not None:
                await leave(chunks)
        with contextlib.suppress(*FAILURES):
            if response is not None:
                await response.aclose()
        if self._owned:
            await self._client.aclose()


async def raw_chunks(response: httpx.Response) -> AsyncGenerator[bytes]:
    if response.is_stream_consumed:
        yield response.content
    else:
        async for chunk in response.aiter_raw():
            yield chunk


def own_client(kind: type[C], config: Config, *, for_one_stream: bool = False) -> C:
    """An httpx client of our own: nothing is followed, kept or sent that the API did not ask for."""
    # A loopback address is never reached through a proxy, which would see the token and could not reach it anyway.
    use_environment = not config.is_loopback
    try:
        return kind(
            verify=_tls_context(config, use_environment=use_environment),
            trust_env=use_environment,
            follow_redirects=False,
            # A stream's connection is not kept for its next one: only of a new connection the socket is known.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0 if for_one_stream else 100),
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise ConfigError(f"HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used: {error}") from None


def _tls_context(config: Config, *, use_environment: bool) -> ssl.SSLContext:
    """The TLS context to verify the server (or an https proxy) with."""
    proxies = urllib.request.getproxies() if use_environment else {}
    if config.is_https or any(url.startswith("https:") for url in proxies.values()):
        return tls.context()
    # httpx wants one even for plain http. This one has no certificates, so it would trust nobody, and costs nothing.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def timeouts(seconds: float) -> Timeouts:
    return {"connect": seconds, "write": seconds, "read": seconds, "pool": seconds}


def build_request(request: Request, config: Config, limits: Timeouts, trace: object = None) -> httpx.Request:
    """The httpx request: made here in full, so that a user's client adds no headers, cookies or credentials."""
    extensions: dict[str, Any] = {"timeout": limits}
    if trace is not None:
        extensions["trace"] = trace
    http_request = httpx.Request(
        request.method,
        request.url,
        headers={**STANDARD_HEADERS, **request.headers},
        content=request.content or None,
        extensions=extensions,
    )
    if request.needs_token and config.token is not None:
        http_request.headers["Authorization"] = f"Bearer {config.token.reveal()}"
    return http_request


def head_of(request: Request, response: httpx.Response) -> Head:
    # A response that was read before (a mock's) is decoded already.
    coding = "" if response.is_stream_consumed else response.headers.get("content-encoding", "")
    return Head(request.method, request.url, response.status_code, response.headers, response.reason_phrase, coding)


def keep_alive(sock: Any) -> None:
    """Lets the kernel notice a peer that vanished without a word."""
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


_PHASES: dict[type[Exception], Phase] = {
    httpx.PoolTimeout: Phase.POOL,
    httpx.ConnectTimeout: Phase.CONNECT,
    httpx.ConnectError: Phase.CONNECT,
    httpx.ProxyError: Phase.CONNECT,
    httpx.WriteTimeout: Phase.WRITE,
}


def translate(error: Exception, request: Request, timeout: float | None) -> TransportError:
    """Our error for one of `FAILURES`."""
    phase = _PHASES.get(type(error), Phase.READ)
    is_unwritable = isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL | UnicodeError)
    # The same request would fail the same way again: it cannot be written, or the proxy refuses the tunnel.
    is_refused = isinstance(error, httpx.ProxyError) and re.match(r"4(?!08|25|29)\d\d\b", str(error)) is not None
    return no_answer(
        error,
        request,
        phase=phase,
        timeout=timeout,
        is_late=isinstance(error, httpx.TimeoutException),
        is_sent=phase not in {Phase.POOL, Phase.CONNECT} and not is_unwritable,
        retryable=not (is_unwritable or is_refused),
    )
