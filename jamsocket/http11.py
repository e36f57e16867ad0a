"""HTTP/1.1 as bytes: a request -> bytes, bytes -> a response's head and the pieces of its body. No I/O.

What goes out is written here: a few fixed headers and what our own operations add. What comes in is judged by h11,
because a server, or whoever poses as one, may send anything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import h11
from attrs import frozen

from .messages import STANDARD_HEADERS, Head, Request
from .secret import Secret

MAX_HEAD = 100 * 1024
"""The largest response head (or chunk header, or trailers) that is read, in bytes."""

# A name that the DNS could hold as it is, and a path that needs no more encoding. All else is left to httpx.
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.(?!$)|\.?$)){1,127}")
_TARGET = re.compile(r"(?!.*/\.\.?(?:[/?]|$))/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")


class UnwritableError(ValueError):
    """A request that cannot be put into HTTP; nothing was sent."""


@frozen
class Origin:
    """Where an API is: scheme, host and port, and how they are spelt in its URLs and in a `Host` header."""

    is_https: bool
    host: str
    is_address: bool
    port: int
    netloc: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> Origin | None:
        """The origin of a URL, or None if it takes more than this module knows (a name outside of ASCII, say)."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return None
        default = {"http": 80, "https": 443}.get(parts.scheme)
        is_address = ":" in host or host.rpartition(".")[2].isdecimal()
        is_plain = _is_address(host) if is_address else _NAME.fullmatch(host) is not None
        netloc = f"[{host}]" if ":" in host else host
        # Nothing but a host and a port: what else stands there, other parsers may take for the host.
        is_all = re.fullmatch(re.escape(netloc) + "(:[0-9]+)?", parts.netloc.lower()) is not None
        if default is None or not is_plain or not is_all or not url.isascii():
            return None
        if port not in {None, default}:
            netloc += f":{port}"
        prefix = url[: url.index("//") + 2] + parts.netloc
        return cls(parts.scheme == "https", host, is_address, port or default, netloc, prefix)

    def has(self, url: str) -> bool:
        """Whether a URL is one of this origin's, and plain: its path can be asked for as it is."""
        return url.startswith(self.prefix) and _TARGET.fullmatch(url, len(self.prefix)) is not None


def _is_address(host: str) -> bool:
    try:
        return "%" not in str(ip_address(host))  # a zone is nothing that other hosts should hear of
    except ValueError:
        return False


def write(request: Request, origin: Origin, token: Secret | None) -> bytes:
    """The bytes of a request that the origin has, with the token if it needs one; raises `UnwritableError`."""
    lines = [f"{request.method} {request.url[len(origin.prefix) :]} HTTP/1.1", f"Host: {origin.netloc}"]
    for name, value in {**STANDARD_HEADERS, **request.headers}.items():
        if _HEADER_VALUE.fullmatch(value) is None:
            raise UnwritableError(f"the value of {name} is not one of a header")
        lines.append(f"{name}: {value}")
    if request.content or request.method not in {"GET", "HEAD"}:
        lines.append(f"Content-Length: {len(request.content)}")
    if request.needs_token and token is not None:
        lines.append(f"Authorization: Bearer {token.reveal()}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + request.content


class Exchange:
    """One request and its response, as seen from the bytes that come in. Made when the request is sent."""

    __slots__ = ("_h11",)

    def __init__(self, method: str) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        # h11 only has to know what was asked: the bytes it would write are not needed.
        self._h11.send(_asked(method))
        self._h11.send(_END)

    def feed(self, data: bytes) -> None:
        """Takes bytes as they came; none at all mean that the connection has ended."""
        self._h11.receive_data(data)

    def head(self, request: Request) -> Head | None:
        """The response's head, or None if more bytes are needed; raises `h11.RemoteProtocolError`."""
        if self._h11.trailing_data == (b"", True):
            raise h11.RemoteProtocolError("the server closed the connection without an answer")
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Response):
                headers = Headers(event.headers)
                reason = bytes(event.reason).decode("ascii", "ignore")
                coding = headers.get("content-encoding", "")
                return Head(request.method, request.url, event.status_code, headers, reason, coding)

    def body(self) -> bytes | None:
        """The next piece of the body; b"" if more bytes are needed, None at the end.

        Raises:
            h11.RemoteProtocolError: without the bytes that are wrong, which may be a part of the body.
        """
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            problem = str(error).partition(": bytearray(")[0]
        else:
            if isinstance(event, h11.Data):
                return bytes(event.data)
            return b"" if event is h11.NEED_DATA else None
        raise h11.RemoteProtocolError(problem)

    @property
    def may_go_on(self) -> bool:
        """Whether the connection may carry another request: all was said on both sides, and nothing came behind it."""
        state = self._h11
        is_done = state.our_state is h11.DONE and state.their_state is h11.DONE
        return is_done and state.trailing_data == (b"", False)


_END = h11.EndOfMessage()


@functools.lru_cache(maxsize=16)
def _asked(method: str) -> h11.Request:
    return h11.Request(method=method, target="/", headers=[("Host", "")])


class Headers(Mapping[str, str]):
    """A response's headers; names are case-insensitive, and what comes several times is joined by commas."""

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self._fields: dict[str, str] = {}
        for raw_name, raw_value in fields:
            name, value = raw_name.decode("ascii"), raw_value.decode("utf-8", "replace")
            self._fields[name] = f"{self._fields[name]}, {value}" if name in self._fields else value

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"
