from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

    from ...client import AuthenticatedClient
    from ...models.acknowledgement import Acknowledgement
    from ...models.create_service_request import CreateServiceRequest
    from ...types import Response


def request_kwargs(
    account: str,
    *,
    body: CreateServiceRequest,
) -> dict[str, Any]:
    """Create a service

    The new service has one environment, `default`, and no image: upload one before connecting. A name that the
    account already uses is a conflict (409). The official development server does not have this operation and
    answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        body (CreateServiceRequest): The service to create.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
    """

    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v2/account/{account}/service".format(
            account=quote(str(account), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    _kwargs["json"] = body.to_dict()

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
    account: str,
    *,
    client: AuthenticatedClient,
    body: CreateServiceRequest,
) -> Response[Acknowledgement]:
    """Create a service

    The new service has one environment, `default`, and no image: upload one before connecting. A name that the
    account already uses is a conflict (409). The official development server does not have this operation and
    answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        body (CreateServiceRequest): The service to create.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    kwargs = request_kwargs(
        account=account,
        body=body,
    )

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    account: str,
    *,
    client: AuthenticatedClient,
    body: CreateServiceRequest,
) -> Acknowledgement:
    """Create a service

    The new service has one environment, `default`, and no image: upload one before connecting. A name that the
    account already uses is a conflict (409). The official development server does not have this operation and
    answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        body (CreateServiceRequest): The service to create.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    return sync_detailed(
        account=account,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    account: str,
    *,
    client: AuthenticatedClient,
    body: CreateServiceRequest,
) -> Response[Acknowledgement]:
    """Create a service

    The new service has one environment, `default`, and no image: upload one before connecting. A name that the
    account already uses is a conflict (409). The official development server does not have this operation and
    answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        body (CreateServiceRequest): The service to create.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
    """

    kwargs = request_kwargs(
        account=account,
        body=body,
    )

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    account: str,
    *,
    client: AuthenticatedClient,
    body: CreateServiceRequest,
) -> Acknowledgement:
    """Create a service

    The new service has one environment, `default`, and no image: upload one before connecting. A name that the
    account already uses is a conflict (409). The official development server does not have this operation and
    answers 404.

    Args:
        account (str): The account's name; `-` on a development server.
        body (CreateServiceRequest): The service to create.

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
            body=body,
        )
    ).parsed
