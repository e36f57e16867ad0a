"""A connection in the hands of code that has no account: read from JSON, its URL, where its status is. No I/O.

The connection token is the URL's first path segment. Whatever is derived from the URL has to keep it, and no message
may show it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from attrs import evolve, frozen

from .backend_state import BackendState
from .clock import Clock
from .config import DEV_NAME, Config
from .messages import Request
from .operations import Operation, Operations
from .requests import ConnectResponse, parse_connect_response

# What may stand in a path as it is, "%" included: a path that is encoded already stays so.
_PATH = "/%:@!$&'()*+,;=-._~"
_QUERY = _PATH + "?"
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@frozen(repr=False)
class SocketIOAddress:
    """Where Socket.IO is reached behind a connection URL, in the two parts that python-socketio wants.

    Attributes:
        origin: scheme, host and port, without the token.
        socketio_path: the path, with the token: whoever has it is let in.

    Example:
        >>> address = backend.socketio
        >>> await sio.connect(address.origin, socketio_path=address.socketio_path)
    """

    origin: str
    socketio_path: str

    def __repr__(self) -> str:
        return f"SocketIOAddress(origin={self.origin!r})"


class ConnectionURL:
    """A connection URL; raises `ValueError`, which does not repeat it, if it is none."""

    def __init__(self, url: str) -> None:
        self._parts = split_http_url(url, "url")
        self._base = self._parts.path if self._parts.path.endswith("/") else self._parts.path + "/"

    def join(self, path: str) -> str:
        """The URL of a path below this one; raises `ValueError` for one that would lose the token."""
        return urlunsplit(self._join(path))

    def websocket(self, path: str) -> str:
        """As `join`, with the scheme ws or wss."""
        joined = self._join(path)
        return urlunsplit(joined._replace(scheme="wss" if joined.scheme == "https" else "ws"))

    def socketio(self) -> SocketIOAddress:
        parts = self._parts
        return SocketIOAddress(
            origin=urlunsplit((parts.scheme, parts.netloc, "", parts.query, "")),
            socketio_path=f"{self._base}socket.io".lstrip("/"),
        )

    def _join(self, path: object) -> SplitResult:
        if not isinstance(path, str):
            raise TypeError(f"path must be a string, not {type(path).__name__}.")
        if re.search(r"[\x00-\x1f\x7f\\]", path) or path != path.strip():
            # Browsers drop some of these and read others as "/", so that another address comes out than was checked.
            raise ValueError("path must not contain control characters, backslashes or spaces at its ends.")
        path, hash_, fragment = path.partition("#")
        path, _, query = path.partition("?")
        path = self._relative(path)
        if path:
            self._check_segments(path)
        parts = self._parts
        return parts._replace(
            path=self._base + quote(path, safe=_PATH) if path or query or hash_ else parts.path,
            query="&".join(filter(None, (parts.query, quote(query, safe=_QUERY)))),
            fragment=quote(fragment, safe=_QUERY),
        )

    def _relative(self, path: str) -> str:
        """The path without what the connection URL begins with, if it was given whole."""
        parts = self._parts
        if _ABSOLUTE.match(path) or path.startswith("//"):
            rest = path.split("//", 1)[1]
            netloc, _, below = rest.partition("/")
            scheme = path.split("//", 1)[0] or f"{parts.scheme}:"
            if f"{scheme}//{netloc}".lower() != f"{parts.scheme}://{parts.netloc}".lower():
                raise ValueError(
                    "path leads to another address than the connection URL, so the connection's token would be lost: "
                    'give a path below the connection URL, such as "socket", without scheme and host.'
                )
            path = f"/{below}"
        if not path.startswith("/"):
            return path
        if path.startswith(self._base):
            return path.removeprefix(self._base)
        if f"{path}/" == self._base:
            return ""
        # It may be the path of another connection, or of this one with a slip: no message may show a token.
        is_harmless = len(path) <= 30 and self._base.strip("/") not in path
        shown, instead = (path, path.lstrip("/")) if is_harmless else ("/…", "…")
        raise ValueError(
            f'"{shown}" begins at the root of the host, so the connection\'s token, which is the first part of the '
            f'connection URL\'s path, would be lost: write "{instead}", without the leading slash.'
        )

    @staticmethod
    def _check_segments(path: str) -> None:
        depth = 0
        for segment in path.split("/"):
            # Browsers read "%2e" as a dot here.
            match unquote(segment):
                case ".":
                    pass
                case "..":
                    depth -= 1
                case _:
                    depth += 1
            if depth < 0:
                raise ValueError(
                    'path leads out of the connection URL with "..", so the connection\'s token would be lost: '
                    'give a path below the connection URL, such as "socket".'
                )


def split_http_url(url: object, name: str) -> SplitResult:
    """The parts of an http or https URL; raises `ValueError` or `TypeError`, which does not repeat it."""
    if not isinstance(url, str):
        raise TypeError(f"{name} must be a string, not {type(url).__name__}.")
    try:
        if not url.isprintable() or " " in url or "\\" in url:
            raise ValueError
        parts = urlsplit(url)
        _ = parts.port  # reading it is what checks it
    except ValueError:
        # Not the original's message and not as its cause: both may show the URL.
        raise ValueError(f"{name} is not a URL.") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"{name} must be an http or https URL.")
    if not parts.hostname:
        raise ValueError(f"{name} names no host.")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{name} must not contain a user or a password.")
    return parts


def read_connection(connection: object) -> ConnectResponse:
    """The connect response in what a caller holds: the response itself, a mapping, or JSON text.

    Raises:
        TypeError, ValueError: if there is none in it. The message does not repeat what was given.
    """
    if isinstance(connection, ConnectResponse):
        return connection
    if isinstance(connection, str | bytes):
        try:
            connection = json.loads(connection)
        except (ValueError, RecursionError):
            # Not as its cause: it holds the whole text, and so the token.
            raise ValueError("connection is neither a connect response nor the JSON of one.") from None
    if not isinstance(connection, Mapping):
        raise TypeError(
            f"connection must be a ConnectResponse, a mapping or JSON text, not {type(connection).__name__}."
        )
    try:
        return parse_connect_response(cast("Mapping[str, object]", connection))
    except ValueError as error:
        raise ValueError(f"connection is not a connect response: {error}.") from None


class StatusOperations(Operations):
    """`status` and its stream at the address that a connect response names, whichever server that is."""

    def __init__(self, status_url: str) -> None:
        parts = split_http_url(status_url, "status_url")
        self.config = Config(api_url=f"{parts.scheme}://{parts.netloc}", account=DEV_NAME, service=DEV_NAME)
        super().__init__(self.config, Clock())
        self._status_url = urlunsplit(parts._replace(fragment=""))
        self._stream_url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/stream", fragment=""))

    def status(self, backend_id: str) -> Operation[BackendState]:
        operation = super().status(backend_id)
        return evolve(operation, request=evolve(operation.request, url=self._status_url))

    def status_stream(self, backend_id: str, last_event_id: str) -> Request:
        return evolve(super().status_stream(backend_id, last_event_id), url=self._stream_url)
