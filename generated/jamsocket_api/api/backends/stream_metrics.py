from typing import Any
from urllib.parse import quote


def request_kwargs(
    backend_id: str,
) -> dict[str, Any]:
    """A backend's use of processor and memory, as server-sent events

    Each event's data is a `BackendMetrics` as JSON; one comes about every ten seconds. The official development
    server does not know this path.


    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`. Its `extensions` say `requires_security` if the
        request needs the token.
    """

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v2/backend/{backend_id}/metrics/stream".format(
            backend_id=quote(str(backend_id), safe=""),
        ),
        "extensions": {"requires_security": True},
    }

    headers: dict[str, Any] = {}
    headers["Accept"] = "text/event-stream"
    _kwargs["headers"] = headers
    return _kwargs
