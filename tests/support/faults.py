"""A scriptable HTTP server on raw TCP: it plays what networks and servers do to their clients.

    with FaultServer() as server:
        server.on("GET", "/v2/backend/b1/status/stream", [stream(event("ready"), reset()), stream(event("terminated"))])
        …
        assert [request.path for request in server.requests] == […]

A script is a sequence of actions, each a function of the `Connection` it is played on. The scripts of a path are played
one for each request; the last repeats.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Self

from attrs import define, field

LIFE = ["scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated"]


class Over(Exception):
    """The connection is over, by the script's will or the client's."""


@define
class Request:
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    time: float = field(factory=time.monotonic)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One TCP connection, as actions see it."""

    def __init__(self, server: FaultServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.chunked = False
        self.compressor: Any = None
        self._buffer = b""

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise Over from None

    def write(self, data: bytes) -> None:
        """A part of the body, coded as the head promised."""
        if self.compressor is not None:
            data = self.compressor.compress(data) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        if self.chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.send(data)

    def wait_for_client(self) -> None:
        """Returns when the client is gone or the server stops."""
        while not self.server.stopping.is_set():
            readable = is_readable(self.sock)
            if readable:
                try:
                    if not self.sock.recv(65536):
                        raise Over
                except OSError:
                    raise Over from None
        raise Over

    def read_request(self) -> Request | None:
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            if not self._receive():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Request(method, target, headers, body, self.number)

    def _receive(self) -> bool:
        while not self.server.stopping.is_set():
            readable = is_readable(self.sock)
            if not readable and not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
                continue
            try:
                data = self.sock.recv(65536)
            except OSError:
                return False
            self._buffer += data
            return bool(data)
        return False


def is_readable(sock: socket.socket) -> bool:
    """Whether there is something to read, or comes within a moment. (`select` could not count beyond 1,023.)"""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(20))


Action = Callable[[Connection], None]
Script = Sequence[Action]


class FaultServer:
    """Listens on 127.0.0.1. Unscripted requests are answered with 404."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self.open_connections = 0
        self.connections = 0
        self._tls = tls
        self._scripts: dict[tuple[str, str], list[Script]] = {}
        self._lock = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = port
        self._listen()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, method: str, path: str, scripts: Sequence[Script] | Script) -> None:
        """What to play for a path: one script, or one for each request."""
        listed: list[Script] = [scripts] if scripts and callable(scripts[0]) else list(scripts)  # type: ignore[list-item,arg-type]
        self._scripts[method, path] = listed

    def seen(self, path: str) -> list[Request]:
        """The requests to a path."""
        with self._lock:
            return [request for request in self.requests if request.path == path]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Waits until something that happens here makes the condition true."""
        with self._lock:
            return self._lock.wait_for(condition, timeout)

    def refuse(self) -> None:
        """Closes the port: connections are refused from now on."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def accept_again(self) -> None:
        """Opens the same port again."""
        self._listen()

    def close(self) -> None:
        self.stopping.set()
        self.refuse()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        listener = self._listener = socket.create_server(("127.0.0.1", self.port), backlog=2048)
        self.port = listener.getsockname()[1]
        self._start(lambda: self._accept(listener))

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True, name="fault server")
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self.open_connections += 1
                number = self.connections
                self._lock.notify_all()
            self._start(lambda sock=sock, number=number: self._serve(sock, number))  # type: ignore[misc]

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            connection = Connection(self, sock, number)
            while request := connection.read_request():
                with self._lock:
                    self.requests.append(request)
                    self._lock.notify_all()
                connection.chunked, connection.compressor = False, None
                for action in self._next_script(request):
                    action(connection)
        except (Over, OSError):
            pass
        finally:
            sock.close()
            with self._lock:
                self.open_connections -= 1
                self._lock.notify_all()

    def _next_script(self, request: Request) -> Script:
        scripts = self._scripts.get((request.method, request.path))
        if scripts is None:
            return [respond(404)]
        return scripts.pop(0) if len(scripts) > 1 else scripts[0]


# ── Actions ──


def respond(status: int, body: bytes | str | dict[str, Any] = b"", **headers: str) -> Action:
    """A whole response; a dict is sent as JSON."""
    if isinstance(body, dict):
        headers.setdefault("content_type", "application/json")
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body

    def action(connection: Connection) -> None:
        connection.send(_head(status, {"content_length": str(len(data)), **headers}) + data)

    return action


def head(
    status: int = 200, *, chunked: bool = True, gzip: bool = False, version: str = "1.1", **headers: str
) -> Action:
    """A response head, of an event stream unless the headers say otherwise; without `chunked`, until close."""
    headers.setdefault("content_type", "text/event-stream")
    if chunked:
        headers["transfer_encoding"] = "chunked"
    if gzip:
        headers["content_encoding"] = "gzip"

    def action(connection: Connection) -> None:
        connection.chunked = chunked
        connection.compressor = zlib.compressobj(wbits=31) if gzip else None
        connection.send(_head(status, headers, version))

    return action


def write(data: bytes) -> Action:
    """A part of the body."""
    return lambda connection: connection.write(data)


def raw(data: bytes) -> Action:
    """Bytes on the wire, just so."""
    return lambda connection: connection.send(data)


def drip(data: bytes) -> Action:
    """A part of the body, byte by byte."""

    def action(connection: Connection) -> None:
        for index in range(len(data)):
            connection.write(data[index : index + 1])

    return action


def event(status: str, number: int | None = None, *, id: str | None = None, **more: Any) -> Action:
    """A status as an event."""
    return write(event_bytes(status, number, id=id, **more))


def event_bytes(status: str, number: int | None = None, *, id: str | None = None, **more: Any) -> bytes:
    text = f"data:{json.dumps(state(status, number, **more), separators=(',', ':'))}\n"
    return (text + (f"id:{id}\n" if id is not None else "") + "\n").encode()


def state(status: str, number: int | None = None, **more: Any) -> dict[str, Any]:
    """A state as JSON; each status has a time of its own."""
    number = LIFE.index(status) if number is None and status in LIFE else number or 0
    return {"status": status, "time": f"2026-01-02T03:04:{number:02}.678Z", **more}


def comment() -> Action:
    return write(b":\n\n")


def finish(connection: Connection) -> None:
    """The proper end of a chunked body; the connection stays."""
    connection.send(b"0\r\n\r\n")


def close(connection: Connection) -> None:
    """FIN, whatever was promised."""
    raise Over


def reset(connection: Connection) -> None:
    """RST."""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Over


def hang(connection: Connection) -> None:
    """Not a word until the client goes."""
    connection.wait_for_client()


def until(flag: threading.Event) -> Action:
    """Goes on when the test says so."""

    def action(connection: Connection) -> None:
        while not flag.wait(0.01):
            if connection.server.stopping.is_set():
                raise Over

    return action


def repeat(action: Action, every: float) -> Action:
    """An action again and again, until the client goes."""

    def again(connection: Connection) -> None:
        while not connection.server.stopping.wait(every):
            action(connection)
        raise Over

    return again


def endless(data: bytes) -> Action:
    """The same bytes without end."""

    def action(connection: Connection) -> None:
        while not connection.server.stopping.is_set():
            connection.write(data)

    return action


def stream(*actions: Action, **options: Any) -> list[Action]:
    """A status stream: its head, then these actions."""
    return [head(**options), *actions]


# ── The three servers' habits: platform.md §1.7 ──


def hosted_stream(statuses: Iterable[str]) -> list[Action]:
    """Closes after `terminated`; otherwise stays open."""
    told = list(statuses)
    return stream(*(event(status) for status in told), finish if told[-1] == "terminated" else hang)


def dev_server_stream(statuses: Iterable[str]) -> list[Action]:
    """Never ends, no keep-alives, not even after `terminated`."""
    return stream(*(event(status) for status in statuses), hang)


def plane_stream(statuses: Iterable[str]) -> list[Action]:
    """Ids, comments as keep-alives, never ends."""
    return stream(*(event(status, id=status) for status in statuses), repeat(comment(), 0.05))


def _head(status: int, headers: dict[str, str], version: str = "1.1") -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Strange"
    lines = [f"HTTP/{version} {status} {phrase}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
