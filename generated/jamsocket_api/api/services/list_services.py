from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

    from ...client import AuthenticatedClient
    from ...models.service_list import ServiceList
    from ...types import Response


def request_kwargs(
    account: str,
) -> dict[str, Any]:
    """List the names of an account's services

    All of them, in no particular order. The official development server does not have this operation and answers
    404.

    Args:
        account (str): The account's name; `-` on a development server.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
    """

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v2/account/{account}/services".format(
            account=quote(str(account), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> ServiceList:
    from ... import errors
    from ...models.service_list import ServiceList

    if response.status_code == 200:
        response_200 = ServiceList.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[ServiceList]:
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
) -> Response[ServiceList]:
    """List the names of an account's services

    All of them, in no particular order. The official development server does not have this operation and answers
    404.

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
) -> ServiceList:
    """List the names of an account's services

    All of them, in no particular order. The official development server does not have this operation and answers
    404.

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
) -> Response[ServiceList]:
    """List the names of an account's services

    All of them, in no particular order. The official development server does not have this operation and answers
    404.

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
) -> ServiceList:
    """List the names of an account's services

    All of them, in no particular order. The official development server does not have this operation and answers
    404.

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
