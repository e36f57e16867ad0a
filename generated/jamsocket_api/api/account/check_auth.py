from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from ...client import AuthenticatedClient
    from ...models.auth_info import AuthInfo
    from ...types import Response


def request_kwargs() -> dict[str, Any]:
    """Check the token

    Tells whether the token is valid, and which accounts it may act for. The official development server does not
    have this operation and answers 404.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
    """

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/auth",
        "extensions": {"requires_security": True},
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> AuthInfo:
    from ... import errors
    from ...models.auth_info import AuthInfo

    if response.status_code == 200:
        response_200 = AuthInfo.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[AuthInfo]:
    from http import HTTPStatus

    from ...types import Response

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

    Tells whether the token is valid, and which accounts it may act for. The official development server does not
    have this operation and answers 404.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    kwargs = request_kwargs()

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient,
) -> AuthInfo:
    """Check the token

    Tells whether the token is valid, and which accounts it may act for. The official development server does not
    have this operation and answers 404.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    return sync_detailed(
        client=client,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
) -> Response[AuthInfo]:
    """Check the token

    Tells whether the token is valid, and which accounts it may act for. The official development server does not
    have this operation and answers 404.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    kwargs = request_kwargs()

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient,
) -> AuthInfo:
    """Check the token

    Tells whether the token is valid, and which accounts it may act for. The official development server does not
    have this operation and answers 404.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    return (
        await asyncio_detailed(
            client=client,
        )
    ).parsed
