from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient
from ...models.backend_info import BackendInfo
from ...types import Response


def request_kwargs(
    backend_id: str,
) -> dict[str, Any]:
    """All that is known of a backend, with the history of its states

    Works for ended backends too. The official development server does not know this path.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`. Its `extensions` say `requires_security` if the
        request needs the token.
    """

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v2/backend/{backend_id}".format(
            backend_id=quote(str(backend_id), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> BackendInfo:
    if response.status_code == 200:
        response_200 = BackendInfo.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[BackendInfo]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    backend_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[BackendInfo]:
    """All that is known of a backend, with the history of its states

    Works for ended backends too. The official development server does not know this path.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs(
        backend_id=backend_id,
    )

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    backend_id: str,
    *,
    client: AuthenticatedClient,
) -> BackendInfo:
    """All that is known of a backend, with the history of its states

    Works for ended backends too. The official development server does not know this path.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return sync_detailed(
        backend_id=backend_id,
        client=client,
    ).parsed


async def asyncio_detailed(
    backend_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[BackendInfo]:
    """All that is known of a backend, with the history of its states

    Works for ended backends too. The official development server does not know this path.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs(
        backend_id=backend_id,
    )

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    backend_id: str,
    *,
    client: AuthenticatedClient,
) -> BackendInfo:
    """All that is known of a backend, with the history of its states

    Works for ended backends too. The official development server does not know this path.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return (
        await asyncio_detailed(
            backend_id=backend_id,
            client=client,
        )
    ).parsed
