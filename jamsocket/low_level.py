"""The generated client over our transport: every operation of the API, with typed results.

`jamsocket_api` brings an httpx client of its own making, without time-outs, retries or error handling. Here it gets
one whose requests take the same way as the facade's: authenticated, tried again, errors raised as `HTTPError`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import httpx
from jamsocket_api import AuthenticatedClient

from .async_session import AsyncSession
from .async_transport import AsyncStreamConnection
from .config import Config
from .errors import HTTPError, InvalidResponseError, http_error
from .messages import Answer, Request
from .session import Session
from .transport import StreamConnection

_OF_THE_CODED_BODY = {"content-encoding", "content-length", "transfer-encoding"}


class ApiTransport(httpx.BaseTransport):
    """Takes an httpx client's requests to a session, blocking."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        ours, timeout = _request(request, request.read()), _read_timeout(request)
        if not _wants_stream(ours):
            return _response(self._session.send(ours, timeout or self._session.options.timeout), self._session)
        head, connection = self._session.open_stream(ours, timeout)
        try:
            return _response(head, self._session, _Body(connection))
        except HTTPError:
            connection.drop()
            raise


class AsyncApiTransport(httpx.AsyncBaseTransport):
    """Takes an httpx client's requests to a session, on asyncio or trio."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ours, timeout = _request(request, await request.aread()), _read_timeout(request)
        if not _wants_stream(ours):
            return _response(await self._session.send(ours, timeout or self._session.options.timeout), self._session)
        head, connection = await self._session.open_stream(ours, timeout)
        try:
            return _response(head, self._session, _AsyncBody(connection))
        except HTTPError:
            await connection.drop()
            raise


class _Body(httpx.SyncByteStream):
    """The body of an event stream."""

    def __init__(self, connection: StreamConnection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._connection.read()) is not None:
            yield chunk

    def close(self) -> None:
        self._connection.drop()


class _AsyncBody(httpx.AsyncByteStream):
    """The body of an event stream."""

    def __init__(self, connection: AsyncStreamConnection) -> None:
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._connection.read()) is not None:
            yield chunk

    async def aclose(self) -> None:
        await self._connection.drop()


def api_client(session: Session) -> AuthenticatedClient:
    """The generated client for the blocking functions of `jamsocket_api`."""
    client = _client(session.config)
    transport = ApiTransport(session)
    return client.set_httpx_client(
        httpx.Client(base_url=session.config.api_url, transport=transport, trust_env=False, timeout=None)
    )


def async_api_client(session: AsyncSession) -> AuthenticatedClient:
    """The generated client for the asyncio functions of `jamsocket_api`."""
    client = _client(session.config)
    transport = AsyncApiTransport(session)
    return client.set_async_httpx_client(
        httpx.AsyncClient(base_url=session.config.api_url, transport=transport, trust_env=False, timeout=None)
    )


def _client(config: Config) -> AuthenticatedClient:
    # The token stays where it is: the generated client would show it in its repr.
    return AuthenticatedClient(base_url=config.api_url, token="")


def _request(request: httpx.Request, content: bytes) -> Request:
    passed_on = ("content-type", "accept", "last-event-id")
    return Request(
        method=request.method,
        url=str(request.url),
        content=content,
        headers={name: request.headers[name] for name in passed_on if name in request.headers},
        needs_token=bool(request.extensions.get("requires_security")),
        idempotent=request.method in {"GET", "HEAD"},
    )


def _wants_stream(request: Request) -> bool:
    return request.headers.get("accept") == "text/event-stream"


def _read_timeout(request: httpx.Request) -> float | None:
    given: object = request.extensions.get("timeout", {}).get("read")
    return float(given) if isinstance(given, int | float) else None


def _response(
    answer: Answer, session: Session | AsyncSession, body: _Body | _AsyncBody | None = None
) -> httpx.Response:
    if not 200 <= answer.status < 300:
        raise http_error(answer, now=session.clock.time_of_day(), secret=session.config.token)
    if body is not None:
        return httpx.Response(answer.status, headers=answer.headers, stream=body)
    try:
        json.loads(answer.body)
    except (ValueError, RecursionError):
        raise InvalidResponseError("its body is not JSON", answer) from None
    # The body is decoded already; httpx measures it anew.
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_THE_CODED_BODY}
    return httpx.Response(answer.status, headers=headers, content=answer.body)
