from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...types import UNSET, Unset

if TYPE_CHECKING:
    pass


def request_kwargs(
    backend_id: str,
    *,
    last_event_id: str | Unset = UNSET,
) -> dict[str, Any]:
    """Follow the states of a backend, as server-sent events

    Needs no token and may be called from pages of any origin. The data of each event is a `BackendState` as JSON.
    Every connection begins with all states that the backend has had, in order, and goes on with new ones as they
    come; a client that connects again leaves out those that it has seen.

    `terminated` is the last event. Some servers then close the connection, others leave it open. If a server
    gives its events an `id:`, the header `Last-Event-ID` makes it begin after that event.

    For an id that it does not know, a server answers 404, or 200 and then no event: if nothing comes for a few
    seconds, ask `get_status`.

    Args:
        backend_id (str): The backend's id, from `connect`.
        last_event_id (str | Unset):

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
    """

    headers: dict[str, Any] = {}
    if not isinstance(last_event_id, Unset):
        headers["Last-Event-ID"] = last_event_id

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v2/backend/{backend_id}/status/stream".format(
            backend_id=quote(str(backend_id), safe=""),
        ),
    }

    headers["Accept"] = "text/event-stream"
    _kwargs["headers"] = headers
    return _kwargs
