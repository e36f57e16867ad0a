from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

    from ...client import AuthenticatedClient, Client
    from ...models.hard_terminating_state import HardTerminatingState
    from ...models.loading_state import LoadingState
    from ...models.ready_state import ReadyState
    from ...models.scheduled_state import ScheduledState
    from ...models.starting_state import StartingState
    from ...models.terminated_state import TerminatedState
    from ...models.terminating_state import TerminatingState
    from ...models.waiting_state import WaitingState
    from ...types import Response


def request_kwargs(
    backend_id: str,
) -> dict[str, Any]:
    """Get the present state of a backend

    Needs no token and may be called from pages of any origin. Also answers for backends that are terminated,
    except on the official development server, which forgets them at once and answers 404.

    Args:
        backend_id (str): The backend's id, from `connect`.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
    """

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v2/backend/{backend_id}/status".format(
            backend_id=quote(str(backend_id), safe=""),
        ),
    }

    return _kwargs


def _parse_response(
    response: httpx.Response,
) -> (
    HardTerminatingState
    | LoadingState
    | ReadyState
    | ScheduledState
    | StartingState
    | TerminatedState
    | TerminatingState
    | WaitingState
):
    from ... import errors
    from ...models.hard_terminating_state import HardTerminatingState
    from ...models.loading_state import LoadingState
    from ...models.ready_state import ReadyState
    from ...models.scheduled_state import ScheduledState
    from ...models.starting_state import StartingState
    from ...models.terminated_state import TerminatedState
    from ...models.terminating_state import TerminatingState
    from ...models.waiting_state import WaitingState

    if response.status_code == 200:

        def _parse_response_200(
            data: object,
        ) -> (
            HardTerminatingState
            | LoadingState
            | ReadyState
            | ScheduledState
            | StartingState
            | TerminatedState
            | TerminatingState
            | WaitingState
        ):
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_backend_state_type_0 = ScheduledState.from_dict(data)

                return componentsschemas_backend_state_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_backend_state_type_1 = LoadingState.from_dict(data)

                return componentsschemas_backend_state_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_backend_state_type_2 = StartingState.from_dict(data)

                return componentsschemas_backend_state_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_backend_state_type_3 = WaitingState.from_dict(data)

                return componentsschemas_backend_state_type_3
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_backend_state_type_4 = ReadyState.from_dict(data)

                return componentsschemas_backend_state_type_4
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_backend_state_type_5 = TerminatingState.from_dict(data)

                return componentsschemas_backend_state_type_5
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_backend_state_type_6 = HardTerminatingState.from_dict(data)

                return componentsschemas_backend_state_type_6
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_backend_state_type_7 = TerminatedState.from_dict(data)

            return componentsschemas_backend_state_type_7

        response_200 = _parse_response_200(response.json())

        return response_200

    raise errors.UnexpectedStatus(response.status_code, response.content)


def _build_response(
    response: httpx.Response,
) -> Response[
    HardTerminatingState
    | LoadingState
    | ReadyState
    | ScheduledState
    | StartingState
    | TerminatedState
    | TerminatingState
    | WaitingState
]:
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
    client: AuthenticatedClient | Client,
) -> Response[
    HardTerminatingState
    | LoadingState
    | ReadyState
    | ScheduledState
    | StartingState
    | TerminatedState
    | TerminatingState
    | WaitingState
]:
    """Get the present state of a backend

    Needs no token and may be called from pages of any origin. Also answers for backends that are terminated,
    except on the official development server, which forgets them at once and answers 404.

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
    client: AuthenticatedClient | Client,
) -> (
    HardTerminatingState
    | LoadingState
    | ReadyState
    | ScheduledState
    | StartingState
    | TerminatedState
    | TerminatingState
    | WaitingState
):
    """Get the present state of a backend

    Needs no token and may be called from pages of any origin. Also answers for backends that are terminated,
    except on the official development server, which forgets them at once and answers 404.

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
    client: AuthenticatedClient | Client,
) -> Response[
    HardTerminatingState
    | LoadingState
    | ReadyState
    | ScheduledState
    | StartingState
    | TerminatedState
    | TerminatingState
    | WaitingState
]:
    """Get the present state of a backend

    Needs no token and may be called from pages of any origin. Also answers for backends that are terminated,
    except on the official development server, which forgets them at once and answers 404.

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
    client: AuthenticatedClient | Client,
) -> (
    HardTerminatingState
    | LoadingState
    | ReadyState
    | ScheduledState
    | StartingState
    | TerminatedState
    | TerminatingState
    | WaitingState
):
    """Get the present state of a backend

    Needs no token and may be called from pages of any origin. Also answers for backends that are terminated,
    except on the official development server, which forgets them at once and answers 404.

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
