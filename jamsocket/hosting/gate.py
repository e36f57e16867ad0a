"""Who may call: protects a server on this machine from web pages that happen to be open on it.

The Host header is checked against DNS rebinding (a name of the attacker's that leads here), the Origin header
against requests that a page of another site makes. A token is needed only where other machines can call.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

from .engine import EngineError

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Gate:
    """Lets in what is addressed to this port by one of this machine's own names, or to a name that was allowed.

    Args:
        port: the port that is guarded.
        bound: the address it is bound to; a name like the others, unless it means every address.
        allowed: further names: `name` for any port, `name:port` for one.
        token: the bearer token that callers must have; None takes any and none.
    """

    def __init__(
        self, port: int, *, bound: str = "127.0.0.1", allowed: Iterable[str] = (), token: str | None = None
    ) -> None:
        self._token = token
        names = [*_LOCAL_NAMES, f"[{bound}]" if ":" in bound else bound]
        self._own = {f"{name.lower()}:{port}" for name in names if name not in {"0.0.0.0", "[::]"}}
        if port == 80:
            self._own |= {name.rpartition(":")[0] for name in self._own}
        self._allowed = {name.lower() for name in allowed}

    def check_host(self, host: str | None) -> None:
        """Raises `EngineError` unless a request with this Host header may pass."""
        if not host:
            raise EngineError(400, "BadRequest", "The Host header is missing.")
        if host.lower() not in self._own and not self._is_allowed(f"//{host}"):
            raise EngineError(403, "Forbidden", f"This server does not answer to the name {host}.")

    def check_origin(self, origin: str | None) -> None:
        """Raises `EngineError` if the request comes from a page that is not this server's own."""
        if origin is None:
            return
        scheme, _, host = origin.lower().partition("://")
        if not (scheme == "http" and host in self._own) and not self._is_allowed(origin):
            raise EngineError(403, "Forbidden", f"Pages of {origin} may not call this server.")

    def check_token(self, authorization: str | None) -> None:
        """Raises `EngineError` unless a request with this Authorization header may pass."""
        if self._token is None:
            return
        scheme, _, token = (authorization or "").partition(" ")
        given, wanted = (text.encode("utf-8", "surrogateescape") for text in (token.strip(), self._token))
        if scheme.lower() != "bearer" or not secrets.compare_digest(given, wanted):
            raise EngineError(401, "InvalidAuth", "The token is missing or not valid.")

    def _is_allowed(self, url: str) -> bool:
        try:
            parts = urlsplit(url.lower())
            name = parts.hostname or ""
        except ValueError:
            return False
        return bool(name) and (name in self._allowed or parts.netloc in self._allowed)
