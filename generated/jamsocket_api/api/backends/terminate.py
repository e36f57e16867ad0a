from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...types import UNSET, Unset

if TYPE_CHECKING:
    import httpx

    from ...client import AuthenticatedClient
    from ...models.acknowledgement import Acknowledgement
    from ...models.terminate_request import TerminateRequest
    from ...types import Response


def request_kwargs(
    backend_id: str,
    *,
    body: TerminateRequest | Unset = UNSET,
) -> dict[str, Any]:
    """End a backend

    Softly by default: the process gets SIGTERM and is `terminating`; if it still runs after 30 seconds, it gets
    SIGKILL. With `hard` it gets SIGKILL at once and is `hard-terminating`; that is possible after a soft request
    too. The answer comes when the request is accepted: the backend is gone, and its key free, when it is
    `terminated`.

    Repeating the request does no harm. The body may be `{}` or empty.

    Args:
        backend_id (str): The backend's id, from `connect`.
        body (TerminateRequest | Unset): How to end a backend.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
    """

    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v2/backend/{backend_id}/terminate".format(
            backend_id=quote(str(backend_id), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    if not isinstance(body, Unset):
        _kwargs["json"] = body.to_dict()

    if not isinstance(body, Unset):
        headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> Acknowledgement:
    from ... import errors
    from ...models.acknowledgement import Acknowledgement

    if response.status_code == 200:
        response_200 = Acknowledgement.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[Acknowledgement]:
    from http import HTTPStatus

    from ...types import Response

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
    body: TerminateRequest | Unset = UNSET,
) -> Response[Acknowledgement]:
    """End a backend

    Softly by default: the process gets SIGTERM and is `terminating`; if it still runs after 30 seconds, it gets
    SIGKILL. With `hard` it gets SIGKILL at once and is `hard-terminating`; that is possible after a soft request
    too. The answer comes when the request is accepted: the backend is gone, and its key free, when it is
    `terminated`.

    Repeating the request does no harm. The body may be `{}` or empty.

    Args:
        backend_id (str): The backend's id, from `connect`.
        body (TerminateRequest | Unset): How to end a backend.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
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
    body: TerminateRequest | Unset = UNSET,
) -> Acknowledgement:
    """End a backend

    Softly by default: the process gets SIGTERM and is `terminating`; if it still runs after 30 seconds, it gets
    SIGKILL. With `hard` it gets SIGKILL at once and is `hard-terminating`; that is possible after a soft request
    too. The answer comes when the request is accepted: the backend is gone, and its key free, when it is
    `terminated`.

    Repeating the request does no harm. The body may be `{}` or empty.

    Args:
        backend_id (str): The backend's id, from `connect`.
        body (TerminateRequest | Unset): How to end a backend.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
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
    body: TerminateRequest | Unset = UNSET,
) -> Response[Acknowledgement]:
    """End a backend

    Softly by default: the process gets SIGTERM and is `terminating`; if it still runs after 30 seconds, it gets
    SIGKILL. With `hard` it gets SIGKILL at once and is `hard-terminating`; that is possible after a soft request
    too. The answer comes when the request is accepted: the backend is gone, and its key free, when it is
    `terminated`.

    Repeating the request does no harm. The body may be `{}` or empty.

    Args:
        backend_id (str): The backend's id, from `connect`.
        body (TerminateRequest | Unset): How to end a backend.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
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
    body: TerminateRequest | Unset = UNSET,
) -> Acknowledgement:
    """End a backend

    Softly by default: the process gets SIGTERM and is `terminating`; if it still runs after 30 seconds, it gets
    SIGKILL. With `hard` it gets SIGKILL at once and is `hard-terminating`; that is possible after a soft request
    too. The answer comes when the request is accepted: the backend is gone, and its key free, when it is
    `terminated`.

    Repeating the request does no harm. The body may be `{}` or empty.

    Args:
        backend_id (str): The backend's id, from `connect`.
        body (TerminateRequest | Unset): How to end a backend.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    return (
        await asyncio_detailed(
            backend_id=backend_id,
            client=client,
            body=body,
        )
    ).parsed
