"""The generated client over our transport: every operation of the API, with typed results.

`jamsocket_api` brings an httpx client of its own making, without time-outs, retries or error handling. Here it gets
one whose requests take the same way as the facade's: authenticated, tried again, errors raised as `HTTPError`.
"""

from __future__ import annotations

import httpx
from jamsocket_api import AuthenticatedClient

from .config import Config
from .errors import http_error
from .messages import Answer, Request
from .session import AsyncSession, Session

# httpx decodes and measures the body anew.
_HOP_HEADERS = {"content-encoding", "content-length", "transfer-encoding", "connection"}


class ApiTransport(httpx.BaseTransport):
    """Takes an httpx client's requests to a session, blocking."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        ours = _request(request, request.read())
        answer = self._session.send(ours, _timeout(request, self._session.options.timeout))
        return _response(answer, self._session.clock.time_of_day())


class AsyncApiTransport(httpx.AsyncBaseTransport):
    """Takes an httpx client's requests to a session, on asyncio."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ours = _request(request, await request.aread())
        answer = await self._session.send(ours, _timeout(request, self._session.options.timeout))
        return _response(answer, self._session.clock.time_of_day())


def api_client(session: Session) -> AuthenticatedClient:
    """The generated client for the blocking functions of `jamsocket_api`."""
    client = _client(session.config)
    transport = ApiTransport(session)
    return client.set_httpx_client(httpx.Client(base_url=session.config.api_url, transport=transport, trust_env=False))


def async_api_client(session: AsyncSession) -> AuthenticatedClient:
    """The generated client for the asyncio functions of `jamsocket_api`."""
    client = _client(session.config)
    transport = AsyncApiTransport(session)
    return client.set_async_httpx_client(
        httpx.AsyncClient(base_url=session.config.api_url, transport=transport, trust_env=False)
    )


def _client(config: Config) -> AuthenticatedClient:
    # The token stays where it is: the generated client would show it in its repr.
    return AuthenticatedClient(base_url=config.api_url, token="")


def _request(request: httpx.Request, content: bytes) -> Request:
    content_type = request.headers.get("content-type")
    return Request(
        method=request.method,
        url=str(request.url),
        content=content,
        headers={"Content-Type": content_type} if content_type else {},
        needs_token=bool(request.extensions.get("requires_security")),
        idempotent=request.method in {"GET", "HEAD"},
    )


def _timeout(request: httpx.Request, default: float) -> float:
    given = request.extensions.get("timeout", {}).get("read")
    return float(given) if given else default


def _response(answer: Answer, now: float) -> httpx.Response:
    if not 200 <= answer.status < 300:
        raise http_error(answer, now=now)
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_HEADERS]
    return httpx.Response(answer.status, headers=headers, content=answer.body)
