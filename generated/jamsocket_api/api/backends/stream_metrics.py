from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    pass


def request_kwargs(
    backend_id: str,
) -> dict[str, Any]:
    """Follow what a backend uses, as server-sent events

    The data of each event is a `BackendMetrics` as JSON. One comes about every 10 seconds; its processor times
    are those since the one before. The stream ends with the backend. The official development server does not
    have this operation and answers 404.

    Args:
        backend_id (str): The backend's id, from `connect`.

    Returns:
        What to pass to `httpx.Client.request` or `httpx.Client.stream`.
        Its `extensions` have `requires_security`, as the request needs the token.
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
