from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient
from ...models.acknowledgement import Acknowledgement
from ...models.terminate_request import TerminateRequest
from ...types import Response


def request_kwargs(
    backend_id: str,
    *,
    body: TerminateRequest,
) -> dict[str, Any]:
    """End a backend

    Softly (SIGTERM, then SIGKILL 30 seconds later) or hard (SIGKILL at once). The answer comes when the request
    is accepted, not when the backend is gone. A hard request may follow a soft one. An empty body means `{}`.


    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`. Its `extensions` say `requires_security` if the
        request needs the token.
    """

    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v2/backend/{backend_id}/terminate".format(
            backend_id=quote(str(backend_id), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> Acknowledgement:
    if response.status_code == 200:
        response_200 = Acknowledgement.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[Acknowledgement]:
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
    body: TerminateRequest,
) -> Response[Acknowledgement]:
    """End a backend

    Softly (SIGTERM, then SIGKILL 30 seconds later) or hard (SIGKILL at once). The answer comes when the request
    is accepted, not when the backend is gone. A hard request may follow a soft one. An empty body means `{}`.


    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs(
        backend_id=backend_id,
        body=body,
    )

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    backend_id: str,
    *,
    client: AuthenticatedClient,
    body: TerminateRequest,
) -> Acknowledgement:
    """End a backend

    Softly (SIGTERM, then SIGKILL 30 seconds later) or hard (SIGKILL at once). The answer comes when the request
    is accepted, not when the backend is gone. A hard request may follow a soft one. An empty body means `{}`.


    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return sync_detailed(
        backend_id=backend_id,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    backend_id: str,
    *,
    client: AuthenticatedClient,
    body: TerminateRequest,
) -> Response[Acknowledgement]:
    """End a backend

    Softly (SIGTERM, then SIGKILL 30 seconds later) or hard (SIGKILL at once). The answer comes when the request
    is accepted, not when the backend is gone. A hard request may follow a soft one. An empty body means `{}`.


    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs(
        backend_id=backend_id,
        body=body,
    )

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    backend_id: str,
    *,
    client: AuthenticatedClient,
    body: TerminateRequest,
) -> Acknowledgement:
    """End a backend

    Softly (SIGTERM, then SIGKILL 30 seconds later) or hard (SIGKILL at once). The answer comes when the request
    is accepted, not when the backend is gone. A hard request may follow a soft one. An empty body means `{}`.


    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return (
        await asyncio_detailed(
            backend_id=backend_id,
            client=client,
            body=body,
        )
    ).parsed
