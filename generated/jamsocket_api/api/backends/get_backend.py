from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

    from ...client import AuthenticatedClient
    from ...models.backend_info import BackendInfo
    from ...types import Response


def request_kwargs(
    backend_id: str,
) -> dict[str, Any]:
    """Get all that is known of a backend, with the history of its states

    Also for backends that are terminated. The official development server does not have this operation and
    answers 404.

    Args:
        backend_id (str): The backend's id, from `connect`.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
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
    from ... import errors
    from ...models.backend_info import BackendInfo

    if response.status_code == 200:
        response_200 = BackendInfo.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[BackendInfo]:
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
) -> Response[BackendInfo]:
    """Get all that is known of a backend, with the history of its states

    Also for backends that are terminated. The official development server does not have this operation and
    answers 404.

    Args:
        backend_id (str): The backend's id, from `connect`.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
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
    """Get all that is known of a backend, with the history of its states

    Also for backends that are terminated. The official development server does not have this operation and
    answers 404.

    Args:
        backend_id (str): The backend's id, from `connect`.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
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
    """Get all that is known of a backend, with the history of its states

    Also for backends that are terminated. The official development server does not have this operation and
    answers 404.

    Args:
        backend_id (str): The backend's id, from `connect`.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
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
    """Get all that is known of a backend, with the history of its states

    Also for backends that are terminated. The official development server does not have this operation and
    answers 404.

    Args:
        backend_id (str): The backend's id, from `connect`.

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
        )
    ).parsed
