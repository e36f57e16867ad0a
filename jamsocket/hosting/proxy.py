"""Connection URLs: `http://localhost:9090/{token}/…` -> the backend, for HTTP and WebSocket.

Bodies are passed on as they come, in both directions; headers as they are, but for those that tell the backend whom
it can trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Mapping

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from .._version import __version__
from .engine import EngineError
from .gate import Gate
from .local import LocalEngine, Token

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
_WEBSOCKET_HANDSHAKE = frozenset(
    {"sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol"}
)


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
        # Pages of any origin may use a connection URL: its token is what lets them in.
        try:
            self._gate.check(request.headers.get(hdrs.HOST), None)
        except EngineError as error:
            return web.Response(status=error.status)
        path, _, query = request.raw_path.partition("?")
        if path == "/ready":
            return web.Response()
        match = re.fullmatch(r"/([^/]+)(/.*)?", path)
        if match is None:
            return web.Response(status=400)
        token = self._engine.admit(match[1])
        if token is None:
            return web.Response(status=410)
        with self._engine.activity(token.backend):
            # A backend on its way out still serves those that were let in before.
            if not token.backend.life.is_leaving and not await token.backend.wait_until_open():
                return web.Response(status=410)
            port = token.backend.port
            url = URL(f"http://{self._host}:{port}{match[2] or '/'}{'?' + query if query else ''}", encoded=True)
            headers = self._request_headers(request, token, path)
            try:
                if is_websocket(request):
                    return await self._pass_websocket(request, url, headers, token)
                return await self._pass_http(request, url, headers, token)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                logger.debug("Backend %s gave no answer: %s", token.backend.id, type(error).__name__)
                return web.Response(status=502, headers={"x-plane-backend-id": token.backend.id})

    def _request_headers(self, request: web.BaseRequest, token: Token, path: str) -> CIMultiDict[str]:
        headers = end_to_end(request.headers)
        for name in [name for name in headers if name.lower().startswith("x-verified-")]:
            del headers[name]
        if token.user is not None:
            if token.user.isascii():
                headers["x-verified-username"] = token.user
            else:
                logger.warning("x-verified-username left out: a header cannot hold the user's name")
        # ASCII: what is not comes as \\u escapes, so that it survives the header.
        headers["x-verified-user-data"] = json.dumps(token.auth, separators=(",", ":"))
        headers["x-verified-path"] = path
        headers["x-verified-backend"] = token.backend.id
        headers["x-verified-secret"] = token.secret_token
        headers["x-forwarded-for"] = request.remote or ""
        headers["x-forwarded-proto"] = request.scheme
        return headers

    async def _pass_http(
        self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str], token: Token
    ) -> web.StreamResponse:
        assert self._session is not None
        async with self._session.request(
            request.method,
            url,
            headers=headers,
            data=request.content.iter_chunked(_CHUNK) if request.can_read_body else None,
            allow_redirects=False,
            skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
        ) as upstream:
            response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            response.headers.extend(end_to_end(upstream.headers))
            response.headers["x-plane-backend-id"] = token.backend.id
            add_defaults(response.headers)
            has_body = request.method != hdrs.METH_HEAD and upstream.status not in {204, 304}
            if hdrs.CONTENT_TYPE not in upstream.headers and has_body:
                response.headers[hdrs.CONTENT_TYPE] = "application/octet-stream"
            if has_body and hdrs.CONTENT_LENGTH not in upstream.headers and request.version >= (1, 1):
                response.enable_chunked_encoding()
            await response.prepare(request)
            try:
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
            except (aiohttp.ClientError, OSError) as error:
                # The head is out already: the only way to tell the client is to break off.
                logger.debug("Backend %s broke off: %s", token.backend.id, type(error).__name__)
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write_eof()
            return response

    async def _pass_websocket(
        self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str], token: Token
    ) -> web.StreamResponse:
        assert self._session is not None
        offered = [
            name.strip()
            for value in request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])
            for name in value.split(",")
            if name.strip()
        ]
        for name in _WEBSOCKET_HANDSHAKE:
            headers.popall(name, None)
        try:
            upstream = await self._session.ws_connect(
                url, headers=headers, protocols=offered, autoclose=False, autoping=False, max_msg_size=0, compress=0
            )
        except aiohttp.WSServerHandshakeError as error:
            refusal = web.Response(status=error.status if error.status >= 400 else 502)
            refusal.headers["x-plane-backend-id"] = token.backend.id
            return refusal
        async with upstream:
            chosen = (upstream.protocol,) if upstream.protocol else ()
            downstream = web.WebSocketResponse(
                protocols=chosen, autoclose=False, autoping=False, max_msg_size=0, compress=False
            )
            downstream.headers["x-plane-backend-id"] = token.backend.id
            await downstream.prepare(request)
            tasks = [
                asyncio.create_task(pump(downstream, upstream)),
                asyncio.create_task(pump(upstream, downstream)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            return downstream


AnyWebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def pump(source: AnyWebSocket, target: AnyWebSocket) -> None:
    """Passes messages on, and at last the closing handshake with its code and reason."""
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        while True:
            message = await source.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.PING:
                await target.ping(message.data)
            elif message.type is aiohttp.WSMsgType.PONG:
                await target.pong(message.data)
            elif message.type is aiohttp.WSMsgType.CLOSE:
                code = message.data
                await target.close(code=code or 1000, message=(message.extra or "").encode())
                await source.close(code=code or 1000)
                return
            else:  # the connection is gone, without a word
                await target.close(code=1011)
                return


def is_websocket(request: web.BaseRequest) -> bool:
    """Whether the request wants to become a WebSocket."""
    return (
        "upgrade" in request.headers.get(hdrs.CONNECTION, "").lower()
        and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
    )


def end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that are meant for the other end, repeated ones included."""
    result = CIMultiDict(headers)
    named = {name.strip().lower() for value in result.getall(hdrs.CONNECTION, []) for name in value.split(",")}
    for name in {name.lower() for name in result} & (_HOP_BY_HOP | named):
        result.popall(name)
    return result


def add_defaults(headers: CIMultiDict[str]) -> None:
    """What the proxy says of itself, and the CORS headers unless the backend has its own."""
    headers[hdrs.SERVER] = SERVER
    if not any(name in headers for name in _CORS):
        headers.update(_CORS)
