from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient
from ...models.acknowledgement import Acknowledgement
from ...models.use_image_request import UseImageRequest
from ...types import Response


def request_kwargs(
    account: str,
    service: str,
    environment: str,
    *,
    body: UseImageRequest,
) -> dict[str, Any]:
    """Choose the image of one of the service's environments

    As `use_image`, for an environment such as `staging`.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`. Its `extensions` say `requires_security` if the
        request needs the token.
    """

    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v2/service/{account}/{service}/{environment}/update".format(
            account=quote(str(account), safe=""),
            service=quote(str(service), safe=""),
            environment=quote(str(environment), safe=""),
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
    account: str,
    service: str,
    environment: str,
    *,
    client: AuthenticatedClient,
    body: UseImageRequest,
) -> Response[Acknowledgement]:
    """Choose the image of one of the service's environments

    As `use_image`, for an environment such as `staging`.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs(
        account=account,
        service=service,
        environment=environment,
        body=body,
    )

    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    account: str,
    service: str,
    environment: str,
    *,
    client: AuthenticatedClient,
    body: UseImageRequest,
) -> Acknowledgement:
    """Choose the image of one of the service's environments

    As `use_image`, for an environment such as `staging`.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return sync_detailed(
        account=account,
        service=service,
        environment=environment,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    account: str,
    service: str,
    environment: str,
    *,
    client: AuthenticatedClient,
    body: UseImageRequest,
) -> Response[Acknowledgement]:
    """Choose the image of one of the service's environments

    As `use_image`, for an environment such as `staging`.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    kwargs = request_kwargs(
        account=account,
        service=service,
        environment=environment,
        body=body,
    )

    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    account: str,
    service: str,
    environment: str,
    *,
    client: AuthenticatedClient,
    body: UseImageRequest,
) -> Acknowledgement:
    """Choose the image of one of the service's environments

    As `use_image`, for an environment such as `staging`.

    Raises:
        errors.UnexpectedStatus: If the answer is not a success. (The client of `Jamsocket.api` raises `HTTPError` before.)
        httpx.TimeoutException: If the request takes longer than Client.timeout.
    """

    return (
        await asyncio_detailed(
            account=account,
            service=service,
            environment=environment,
            client=client,
            body=body,
        )
    ).parsed
