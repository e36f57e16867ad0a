from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

    from ...client import AuthenticatedClient
    from ...models.running_backend_list import RunningBackendList
    from ...types import Response


def request_kwargs(
    account: str,
) -> dict[str, Any]:
    """List an account's running backends

    All that are not `terminated`, of all services and environments. The official development server does not have
    this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
    """

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v2/account/{account}/backends".format(
            account=quote(str(account), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> RunningBackendList:
    from ... import errors
    from ...models.running_backend_list import RunningBackendList

    if response.status_code == 200:
        response_200 = RunningBackendList.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[RunningBackendList]:
    from http import HTTPStatus

    from ...types import Response

    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    account: str,
    *,
    client: AuthenticatedClient,
) -> Response[RunningBackendList]:
    """List an account's running backends

    All that are not `terminated`, of all services and environments. The official development server does not have
    this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    kwargs = request_kwargs(
        account=account,
    )

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    account: str,
    *,
    client: AuthenticatedClient,
) -> RunningBackendList:
    """List an account's running backends

    All that are not `terminated`, of all services and environments. The official development server does not have
    this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    return sync_detailed(
        account=account,
        client=client,
    ).parsed


async def asyncio_detailed(
    account: str,
    *,
    client: AuthenticatedClient,
) -> Response[RunningBackendList]:
    """List an account's running backends

    All that are not `terminated`, of all services and environments. The official development server does not have
    this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    kwargs = request_kwargs(
        account=account,
    )

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    account: str,
    *,
    client: AuthenticatedClient,
) -> RunningBackendList:
    """List an account's running backends

    All that are not `terminated`, of all services and environments. The official development server does not have
    this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    return (
        await asyncio_detailed(
            account=account,
            client=client,
        )
    ).parsed
