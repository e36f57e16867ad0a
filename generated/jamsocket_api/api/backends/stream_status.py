from typing import Any
from urllib.parse import quote

from ...types import UNSET, Unset


def request_kwargs(
    backend_id: str,
    *,
    last_event_id: str | Unset = UNSET,
) -> dict[str, Any]:
    """The states of a backend, past and future, as server-sent events

    Needs no token; it may be called from any origin. Every connection begins with all states that the backend
    has had. Each event is one line `data:` with a `BackendState` as JSON, then an empty line; some servers add
    an `id:` or send comments to keep the connection open.

    The stream is over after `terminated`, but a server may leave the connection open. For an id that they do not
    know, some servers answer 404 and others 200 and silence: ask for the status then.


    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`. Its `extensions` say `requires_security` if the
        request needs the token.
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
