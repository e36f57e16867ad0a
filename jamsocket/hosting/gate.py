"""Who may call: protects a server on this machine from web pages that happen to be open on it.

The Host header is checked against DNS rebinding (a name of the attacker's that leads here), the Origin header
against requests that a page of another site makes.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ..config import is_loopback
from .engine import EngineError


class Gate:
    """Lets in what is addressed to this machine by one of its own names, or by a name that was allowed.

    Args:
        allowed_hosts: further names, without port.
    """

    def __init__(self, allowed_hosts: frozenset[str] = frozenset()) -> None:
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    def check(self, host: str | None, origin: str | None) -> None:
        """Raises `EngineError` unless a request with these headers may pass."""
        if not host:
            raise EngineError(400, "BadRequest", "The Host header is missing.")
        if not self._is_ours(f"//{host}"):
            raise EngineError(403, "Forbidden", f"This server does not answer to the name {host}.")
        if origin is not None and not self._is_ours(origin):
            raise EngineError(403, "Forbidden", f"Pages of {origin} may not call this server.")

    def _is_ours(self, url: str) -> bool:
        try:
            name = urlsplit(url).hostname
        except ValueError:
            return False
        return name is not None and (is_loopback(name) or name in self._allowed)
