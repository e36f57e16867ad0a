from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

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
    """Get a backend of a service's default environment

    Returns the backend that holds `key`, or spawns one that holds it from now on. Without a key, a new backend is
    spawned for every request. The answer comes at once, when the backend is scheduled: it need not be ready yet.
    Its `url` can be used immediately; requests to it wait until the backend is ready.

    **Keys.** Of any number of simultaneous requests with one key exactly one spawns a backend; `spawned` is true
    in its answer only. A backend holds its key until it is `terminated`. While it is ending, `connect` still
    returns it, with `spawned` false and a `status` that says so, but its `url` answers 410: wait for
    `terminated`, then connect again.

    **Tokens.** Each answer has a connection token of its own, bound to the `user` and `auth` of its request.

    **Settings.** `spawn` applies only to a backend that this request spawns; one that is found keeps its own
    settings. If it runs another image than the one asked for, that is a conflict (`KeyHeld`).

    **Repeating.** A request with a key can be repeated safely. One without a key may have spawned a backend even
    if no answer arrived, and repeating it then spawns another.

    The body may be `{}`; servers accept an empty one too.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.
        body (ConnectRequest): Which backend to get, for whom, and how to spawn it if there is none.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
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
    from ... import errors
    from ...models.connect_response import ConnectResponse

    if response.status_code == 200:
        response_200 = ConnectResponse.from_dict(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(response: httpx.Response) -> Response[ConnectResponse]:
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
    body: ConnectRequest,
) -> Response[ConnectResponse]:
    """Get a backend of a service's default environment

    Returns the backend that holds `key`, or spawns one that holds it from now on. Without a key, a new backend is
    spawned for every request. The answer comes at once, when the backend is scheduled: it need not be ready yet.
    Its `url` can be used immediately; requests to it wait until the backend is ready.

    **Keys.** Of any number of simultaneous requests with one key exactly one spawns a backend; `spawned` is true
    in its answer only. A backend holds its key until it is `terminated`. While it is ending, `connect` still
    returns it, with `spawned` false and a `status` that says so, but its `url` answers 410: wait for
    `terminated`, then connect again.

    **Tokens.** Each answer has a connection token of its own, bound to the `user` and `auth` of its request.

    **Settings.** `spawn` applies only to a backend that this request spawns; one that is found keeps its own
    settings. If it runs another image than the one asked for, that is a conflict (`KeyHeld`).

    **Repeating.** A request with a key can be repeated safely. One without a key may have spawned a backend even
    if no answer arrived, and repeating it then spawns another.

    The body may be `{}`; servers accept an empty one too.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.
        body (ConnectRequest): Which backend to get, for whom, and how to spawn it if there is none.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
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
    """Get a backend of a service's default environment

    Returns the backend that holds `key`, or spawns one that holds it from now on. Without a key, a new backend is
    spawned for every request. The answer comes at once, when the backend is scheduled: it need not be ready yet.
    Its `url` can be used immediately; requests to it wait until the backend is ready.

    **Keys.** Of any number of simultaneous requests with one key exactly one spawns a backend; `spawned` is true
    in its answer only. A backend holds its key until it is `terminated`. While it is ending, `connect` still
    returns it, with `spawned` false and a `status` that says so, but its `url` answers 410: wait for
    `terminated`, then connect again.

    **Tokens.** Each answer has a connection token of its own, bound to the `user` and `auth` of its request.

    **Settings.** `spawn` applies only to a backend that this request spawns; one that is found keeps its own
    settings. If it runs another image than the one asked for, that is a conflict (`KeyHeld`).

    **Repeating.** A request with a key can be repeated safely. One without a key may have spawned a backend even
    if no answer arrived, and repeating it then spawns another.

    The body may be `{}`; servers accept an empty one too.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.
        body (ConnectRequest): Which backend to get, for whom, and how to spawn it if there is none.

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
        body=body,
    ).parsed


async def asyncio_detailed(
    account: str,
    service: str,
    *,
    client: AuthenticatedClient,
    body: ConnectRequest,
) -> Response[ConnectResponse]:
    """Get a backend of a service's default environment

    Returns the backend that holds `key`, or spawns one that holds it from now on. Without a key, a new backend is
    spawned for every request. The answer comes at once, when the backend is scheduled: it need not be ready yet.
    Its `url` can be used immediately; requests to it wait until the backend is ready.

    **Keys.** Of any number of simultaneous requests with one key exactly one spawns a backend; `spawned` is true
    in its answer only. A backend holds its key until it is `terminated`. While it is ending, `connect` still
    returns it, with `spawned` false and a `status` that says so, but its `url` answers 410: wait for
    `terminated`, then connect again.

    **Tokens.** Each answer has a connection token of its own, bound to the `user` and `auth` of its request.

    **Settings.** `spawn` applies only to a backend that this request spawns; one that is found keeps its own
    settings. If it runs another image than the one asked for, that is a conflict (`KeyHeld`).

    **Repeating.** A request with a key can be repeated safely. One without a key may have spawned a backend even
    if no answer arrived, and repeating it then spawns another.

    The body may be `{}`; servers accept an empty one too.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.
        body (ConnectRequest): Which backend to get, for whom, and how to spawn it if there is none.

    Raises:
        errors.UnexpectedStatus: if the status is not a documented success.
        httpx.HTTPError: if there is no answer, in time or at all.
        ValueError, KeyError, TypeError: if the body of a success is not as documented.

        The clients of `Jamsocket.api` and `AsyncJamsocket.api` raise `JamsocketError` instead of the first two.
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
    """Get a backend of a service's default environment

    Returns the backend that holds `key`, or spawns one that holds it from now on. Without a key, a new backend is
    spawned for every request. The answer comes at once, when the backend is scheduled: it need not be ready yet.
    Its `url` can be used immediately; requests to it wait until the backend is ready.

    **Keys.** Of any number of simultaneous requests with one key exactly one spawns a backend; `spawned` is true
    in its answer only. A backend holds its key until it is `terminated`. While it is ending, `connect` still
    returns it, with `spawned` false and a `status` that says so, but its `url` answers 410: wait for
    `terminated`, then connect again.

    **Tokens.** Each answer has a connection token of its own, bound to the `user` and `auth` of its request.

    **Settings.** `spawn` applies only to a backend that this request spawns; one that is found keeps its own
    settings. If it runs another image than the one asked for, that is a conflict (`KeyHeld`).

    **Repeating.** A request with a key can be repeated safely. One without a key may have spawned a backend even
    if no answer arrived, and repeating it then spawns another.

    The body may be `{}`; servers accept an empty one too.

    Args:
        account (str): The account's name; `-` on a development server.
        service (str): The service's name; on a development server, `-` means its only or first service.
        body (ConnectRequest): Which backend to get, for whom, and how to spawn it if there is none.

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
            body=body,
        )
    ).parsed
