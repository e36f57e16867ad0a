from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

    from ...client import AuthenticatedClient
    from ...models.service_info import ServiceInfo
    from ...types import Response


def request_kwargs(
    account: str,
    service: str,
) -> dict[str, Any]:
    """Get a service, with its environments

    The official development server does not have this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
    """

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v2/service/{account}/{service}".format(
            account=quote(str(account), safe=""),
            service=quote(str(service), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> ServiceInfo:
    from ... import errors
    from ...models.service_info import ServiceInfo

    if response.status_code == 200:
        response_200 = ServiceInfo.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[ServiceInfo]:
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
    service: str,
    *,
    client: AuthenticatedClient,
) -> Response[ServiceInfo]:
    """Get a service, with its environments

    The official development server does not have this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    kwargs = request_kwargs(
        account=account,
        service=service,
    )

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    account: str,
    service: str,
    *,
    client: AuthenticatedClient,
) -> ServiceInfo:
    """Get a service, with its environments

    The official development server does not have this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    return sync_detailed(
        account=account,
        service=service,
        client=client,
    ).parsed


async def asyncio_detailed(
    account: str,
    service: str,
    *,
    client: AuthenticatedClient,
) -> Response[ServiceInfo]:
    """Get a service, with its environments

    The official development server does not have this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    kwargs = request_kwargs(
        account=account,
        service=service,
    )

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    account: str,
    service: str,
    *,
    client: AuthenticatedClient,
) -> ServiceInfo:
    """Get a service, with its environments

    The official development server does not have this operation and answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    return (
        await asyncio_detailed(
            account=account,
            service=service,
            client=client,
        )
    ).parsed
