from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient
from ...models.connect_request import ConnectRequest
from ...models.connect_response import ConnectResponse
from ...types import Response


def request_kwargs(
    account: str,
    service: str,
    *,
    body: ConnectRequest,
) -> dict[str, Any]:
    """Get a backend of the service's default environment

    Returns the backend that holds the key, or spawns one. Without a key, a new backend is spawned each time. Of
    any number of simultaneous requests with one key exactly one spawns (`spawned` is true in its answer only).

    The key stays held until the backend is `terminated`: while it is ending, `connect` returns it with
    `spawned` false and its `status`, and the URL answers 410. Wait for `terminated`, then connect again.

    Each answer has a token of its own, with the `user` and `auth` of its request. The `spawn` settings of a
    request that finds a running backend are ignored. `{}` is a complete body; servers accept an empty one too.


    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`. Its `extensions` say `requires_security` if the
        request needs the token.
    """

    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v2/service/{account}/{service}/connect".format(
            account=quote(str(account), safe=""),
            service=quote(str(service), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> ConnectResponse:
    if response.status_code == 200:
        response_200 = ConnectResponse.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[ConnectResponse]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    account: str,
    service: str,
    *,
    client: AuthenticatedClient,
    body: ConnectRequest,
) -> Response[ConnectResponse]:
    """Get a backend of the service's default environment

    Returns the backend that holds the key, or spawns one. Without a key, a new backend is spawned each time. Of
    any number of simultaneous requests with one key exactly one spawns (`spawned` is true in its answer only).

    The key stays held until the backend is `terminated`: while it is ending, `connect` returns it with
    `spawned` false and its `status`, and the URL answers 410. Wait for `terminated`, then connect again.

    Each answer has a token of its own, with the `user` and `auth` of its request. The `spawn` settings of a
    request that finds a running backend are ignored. `{}` is a complete body; servers accept an empty one too.


    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs(
        account=account,
        service=service,
        body=body,
    )

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    account: str,
    service: str,
    *,
    client: AuthenticatedClient,
    body: ConnectRequest,
) -> ConnectResponse:
    """Get a backend of the service's default environment

    Returns the backend that holds the key, or spawns one. Without a key, a new backend is spawned each time. Of
    any number of simultaneous requests with one key exactly one spawns (`spawned` is true in its answer only).

    The key stays held until the backend is `terminated`: while it is ending, `connect` returns it with
    `spawned` false and its `status`, and the URL answers 410. Wait for `terminated`, then connect again.

    Each answer has a token of its own, with the `user` and `auth` of its request. The `spawn` settings of a
    request that finds a running backend are ignored. `{}` is a complete body; servers accept an empty one too.


    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return sync_detailed(
        account=account,
        service=service,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    account: str,
    service: str,
    *,
    client: AuthenticatedClient,
    body: ConnectRequest,
) -> Response[ConnectResponse]:
    """Get a backend of the service's default environment

    Returns the backend that holds the key, or spawns one. Without a key, a new backend is spawned each time. Of
    any number of simultaneous requests with one key exactly one spawns (`spawned` is true in its answer only).

    The key stays held until the backend is `terminated`: while it is ending, `connect` returns it with
    `spawned` false and its `status`, and the URL answers 410. Wait for `terminated`, then connect again.

    Each answer has a token of its own, with the `user` and `auth` of its request. The `spawn` settings of a
    request that finds a running backend are ignored. `{}` is a complete body; servers accept an empty one too.


    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs(
        account=account,
        service=service,
        body=body,
    )

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    account: str,
    service: str,
    *,
    client: AuthenticatedClient,
    body: ConnectRequest,
) -> ConnectResponse:
    """Get a backend of the service's default environment

    Returns the backend that holds the key, or spawns one. Without a key, a new backend is spawned each time. Of
    any number of simultaneous requests with one key exactly one spawns (`spawned` is true in its answer only).

    The key stays held until the backend is `terminated`: while it is ending, `connect` returns it with
    `spawned` false and its `status`, and the URL answers 410. Wait for `terminated`, then connect again.

    Each answer has a token of its own, with the `user` and `auth` of its request. The `spawn` settings of a
    request that finds a running backend are ignored. `{}` is a complete body; servers accept an empty one too.


    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return (
        await asyncio_detailed(
            account=account,
            service=service,
            client=client,
            body=body,
        )
    ).parsed
