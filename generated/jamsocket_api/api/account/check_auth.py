from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient
from ...models.auth_info import AuthInfo
from ...types import Response


def request_kwargs() -> dict[str, Any]:
    """Check the token

    Tells which accounts the token may act for.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`. Its `extensions` say `requires_security` if the
        request needs the token.
    """

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/auth",
        "extensions": {"requires_security": True},
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> AuthInfo:
    if response.status_code == 200:
        response_200 = AuthInfo.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[AuthInfo]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
) -> Response[AuthInfo]:
    """Check the token

    Tells which accounts the token may act for.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs()

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient,
) -> AuthInfo:
    """Check the token

    Tells which accounts the token may act for.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return sync_detailed(
        client=client,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
) -> Response[AuthInfo]:
    """Check the token

    Tells which accounts the token may act for.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs()

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient,
) -> AuthInfo:
    """Check the token

    Tells which accounts the token may act for.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return (
        await asyncio_detailed(
            client=client,
        )
    ).parsed
