"""Connection URLs: `http://localhost:9090/{token}/…` -> the backend, for HTTP and WebSocket.

Bodies are passed on as they come, in both directions; headers as they are, but for those that tell the backend whom
it can trust.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from .._version import __version__
from . import tunnel
from .backend import Backend, Token
from .engine import EngineError
from .gate import Gate
from .local import LocalEngine

logger = logging.getLogger("jamsocket.hosting")

SERVER = f"jamsocket/{__version__}"

_CONNECT_TIMEOUT = 10.0
_CHUNK = 64 * 1024

# They belong to one connection, not to the message (RFC 9110, section 7.6.1).
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "*",
    "Access-Control-Allow-Headers": "*, Authorization",
}
# Some web servers cannot tell `-` from `_` in a header's name (CGI and WSGI turn both into `_`).
_OURS = re.compile("x[-_]verified[-_]", re.IGNORECASE)

# Of a request's and of a response's head, in bytes: what browsers and servers allow at most.
MAX_LINE = 64 * 1024


class Proxy:
    """The proxy's handler.

    Args:
        engine: knows the tokens and the backends.
        gate: which names the proxy answers to.
        host: where the backends listen.
    """

    def __init__(self, engine: LocalEngine, gate: Gate, host: str) -> None:
        self._engine = engine
        self._gate = gate
        self._host = host
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Opens the side towards the backends."""
        self._session = aiohttp.ClientSession(
            # A connection for each request: a kept one may be closed by the backend at the wrong moment.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def stop(self) -> None:
        """Closes it."""
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request from a browser."""
        response = await self._respond(request)
        if not response.prepared:
            add_defaults(response.headers)
        return response

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path == "/ready":
            return Answer()
        # Pages of any origin may use a connection URL: its token is what lets them in.
        try:
            self._gate.check_host(request.headers.get(hdrs.HOST))
        except EngineError as error:
            return Answer(status=error.status)
        match = re.fullmatch(r"/([^/]+)(/.*)?", path)
        if match is None:
            return Answer(status=400)
        token = self._engine.admit(match[1])
        if token is None:
            return Answer(status=410)
        backend = token.backend
        with self._engine.activity(backend):
            if not await backend.wait_until_open():
                return Answer(status=410)
            inner = path if token.is_static else match[2] or "/"
            target = f"http://{self._host}:{backend.port}{inner}{'?' + query if query else ''}"
            headers = self._request_headers(request, token, path)
            try:
                return await self._pass(request, URL(target, encoded=True), headers, backend)
            except (aiohttp.ClientError, OSError) as error:
                logger.debug("Backend %s gave no answer: %r", backend.id, error)
                return Answer(status=502, headers={"x-plane-backend-id": backend.id})

    def _request_headers(self, request: web.BaseRequest, token: Token, path: str) -> CIMultiDict[str]:
        headers = end_to_end(request.headers, keep_upgrade=wants_upgrade(request))
        for name in {name.lower() for name in headers if _OURS.match(name)}:
            headers.popall(name)
        if token.user is not None:
            if token.user.isascii():
                headers["x-verified-username"] = token.user
            else:
                logger.warning("x-verified-username left out: a header cannot hold the user's name")
        if not token.is_static:
            headers["x-verified-user-data"] = token.user_data
        headers["x-verified-path"] = path
        headers["x-verified-backend"] = token.backend.id
        headers["x-verified-secret"] = token.secret_token or ""
        headers["x-forwarded-for"] = request.remote or ""
        headers["x-forwarded-proto"] = request.scheme
        return headers

    async def _pass(
        self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str], backend: Backend
    ) -> web.StreamResponse:
        assert self._session is not None
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
            # The backend's own "go on" would not come through; the body is wanted in any case.
            headers.popall(hdrs.EXPECT)
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async with self._session.request(
            request.method,
            url,
            headers=headers,
            data=request.content.iter_chunked(_CHUNK) if request.can_read_body else None,
            allow_redirects=False,
            skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
        ) as upstream:
            if upstream.status == 101:
                return await _switch(request, upstream, backend)
            return await _copy(request, upstream, backend)


class _NoTypeOfItsOwn(web.StreamResponse):
    """aiohttp names a content type where there is none; a browser then takes an empty answer for a broken file."""

    async def _prepare_headers(self) -> None:
        has_type = hdrs.CONTENT_TYPE in self.headers
        await super()._prepare_headers()
        if not has_type:
            self.headers.popall(hdrs.CONTENT_TYPE, None)


class Passed(_NoTypeOfItsOwn):
    """A backend's response."""


class Answer(_NoTypeOfItsOwn, web.Response):
    """A response of the proxy's own."""


class ProxyRequestHandler(web.RequestHandler):
    """aiohttp's protocol, but what is not HTTP gets the proxy's kind of error: a status and nothing else."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the parser refuses, and what nobody caught."""
        if status != 400:
            super().handle_error(request, status, exc, message)  # logs it; no response if one was begun
        response = Answer(status=status)
        add_defaults(response.headers)
        response.force_close()
        return response


async def _switch(request: web.BaseRequest, upstream: aiohttp.ClientResponse, backend: Backend) -> web.StreamResponse:
    connection = upstream.connection
    if connection is None or connection.protocol is None:
        raise aiohttp.ClientConnectionError("the backend hung up after it switched protocols")
    response = tunnel.Switched(status=101, reason=upstream.reason)
    fill(response.headers, upstream.headers, backend, keep_upgrade=True)
    await response.prepare(request)
    await tunnel.join(request.protocol, connection.protocol)
    return response


async def _copy(request: web.BaseRequest, upstream: aiohttp.ClientResponse, backend: Backend) -> web.StreamResponse:
    response = Passed(status=upstream.status, reason=upstream.reason)
    fill(response.headers, upstream.headers, backend)
    has_body = request.method != hdrs.METH_HEAD and upstream.status not in {204, 304}
    if has_body and hdrs.CONTENT_LENGTH not in upstream.headers and request.version >= (1, 1):
        response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, OSError) as error:
        # The head is out already: the only way to tell the client is to break off.
        logger.debug("Backend %s broke off: %r", backend.id, error)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def wants_upgrade(request: web.BaseRequest) -> bool:
    """Whether the request wants to become a WebSocket, or something else that aiohttp can hand over."""
    return "upgrade" in tokens(request.headers, hdrs.CONNECTION) and request.headers.get(hdrs.UPGRADE, "").lower() in {
        "websocket",
        "tcp",
    }


def tokens(headers: Mapping[str, str], name: str) -> set[str]:
    """The words of a header that is a list, in lower case."""
    values = CIMultiDict(headers).getall(name, [])
    return {word.strip().lower() for value in values for word in value.split(",")}


def fill(
    headers: CIMultiDict[str], upstream: Mapping[str, str], backend: Backend, *, keep_upgrade: bool = False
) -> None:
    """A response's headers: the backend's, and the proxy's own."""
    headers.extend(end_to_end(upstream, keep_upgrade=keep_upgrade))
    headers["x-plane-backend-id"] = backend.id
    add_defaults(headers)


def end_to_end(headers: Mapping[str, str], *, keep_upgrade: bool = False) -> CIMultiDict[str]:
    """The headers that are meant for the other end, repeated ones included.

    With `keep_upgrade`, `Connection: Upgrade` and what it asks for stay.
    """
    result = CIMultiDict(headers)
    for name in {name.lower() for name in result} & (_HOP_BY_HOP | tokens(headers, hdrs.CONNECTION)):
        result.popall(name)
    if keep_upgrade:
        result[hdrs.CONNECTION] = "Upgrade"
        result[hdrs.UPGRADE] = CIMultiDict(headers).get(hdrs.UPGRADE, "websocket")
    return result


def add_defaults(headers: CIMultiDict[str]) -> None:
    """What the proxy says of itself, and the CORS headers unless the backend has its own."""
    headers[hdrs.SERVER] = SERVER
    if not any(name in headers for name in _CORS):
        headers.update(_CORS)
