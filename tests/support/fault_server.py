"""A scriptable HTTP server on raw TCP: it plays what networks and servers do to their clients.

    with FaultServer() as server:
        first = [stream_head(), event("ready"), reset()]
        then = [stream_head(), event("ready"), event("terminated"), finish()]
        server.on("GET", "/v2/backend/b1/status/stream", [first, then])
        …
        assert len(server.requests) == 2
        assert server.wait_closed(2)

A script is a sequence of actions, played on the connection that the request came on. Where it ends, the connection
stays open and waits for the next request: say `close()`, `reset()`, `finish()` or `hang()`.
"""

from __future__ import annotations

import contextlib
import gzip as gzip_module
import json
import os
import select
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, Self, TypeVar, cast

from attrs import define, field

T = TypeVar("T")

LIFE = ("scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated")
"""The eight statuses, in the order of a backend's life."""

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


class Over(Exception):
    """The connection is over, by the script's will, the server's or the client's."""


@define
class Request:
    """One request, as it came.

    Attributes:
        headers: by lower-case name; of a repeated header, the last.
        raw_head: everything before the body, byte by byte.
        connection: the number of its connection, from 1.
        time: when it came, on the monotonic clock.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    raw_head: bytes = field(repr=False)
    time: float = field(factory=time.monotonic)

    @property
    def path(self) -> str:
        """The target without the query, percent-encoded as it came."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Signal:
    """A flag that `poll` can wait for, together with sockets."""

    def __init__(self) -> None:
        self.fd, self._write_end = os.pipe()

    def set(self) -> None:
        os.write(self._write_end, b"!")

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._write_end)


class Connection:
    """One TCP connection, as actions see it, on its own thread.

    Attributes:
        over: set when the connection is closed, by whichever side.
        client_left: whether it was the client's doing, as far as we could see; then `error` says what we saw.
        sent: how many bytes the system took from us.
        request: the request that is being answered.
    """

    def __init__(self, server: FaultServer, sock: socket.socket, number: int, cut: Signal) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.over = threading.Event()
        self.client_left = False
        self.error: OSError | None = None
        self.sent = 0
        self.request: Request | None = None
        self.chunked = False
        self.compressor: zlib._Compress | None = None
        self._cut = cut  # set when the server ends its connections
        self._is_rude = False
        self._received = bytearray()
        sock.setblocking(False)

    def send(self, data: bytes) -> None:
        """Bytes on the wire, just so."""
        view = memoryview(data)

        def some() -> int:
            return self.sock.send(view)

        while view:
            done = self._when_possible(some, select.POLLOUT)
            self.sent += done
            view = view[done:]

    def write(self, data: bytes) -> None:
        """A part of the body, coded as the head promised."""
        if self.compressor is not None:
            data = self.compressor.compress(data) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        self._write_coded(data)

    def finish(self) -> None:
        """The proper end of the body."""
        if self.compressor is not None:
            self._write_coded(self.compressor.flush(zlib.Z_FINISH))
        if not self.chunked:
            raise Over
        self.send(b"0\r\n\r\n")

    def _write_coded(self, data: bytes) -> None:
        if self.chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.send(data)

    def wait(self, seconds: float | None = None, until: Signal | None = None) -> bool:
        """Waits, watching out for the client. True if the signal came, False if the time is up."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            ready = self._poll(select.POLLIN, left, until)
            if until is not None and until.fd in ready:
                return True
            if not ready:
                return False
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                self._receive()

    def read_request(self) -> Request:
        while b"\r\n\r\n" not in self._received:
            self._receive_more()
        head = bytes(self._take(self._received.index(b"\r\n\r\n") + 4))
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = self._read_chunks()
        else:
            body = self._read(int(headers.get("content-length", 0)))
        return Request(method, target, headers, body, self.number, head)

    def _read_chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._received:
                self._receive_more()
            size = int(self._take(self._received.index(b"\r\n") + 2), 16)
            chunk = self._read(size + 2)[:-2]
            if not size:
                return body
            body += chunk

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive_more()
        return bytes(self._take(size))

    def _take(self, size: int) -> bytearray:
        taken = self._received[:size]
        del self._received[:size]
        return taken

    def _receive_more(self) -> None:
        self._when_possible(self._receive, select.POLLIN)

    def _receive(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionResetError
        self._received += data

    def handshake(self, tls: ssl.SSLContext) -> None:
        self.sock = sock = tls.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self._when_possible(sock.do_handshake, select.POLLIN)

    def _when_possible(self, operation: Callable[[], T], event: int) -> T:
        while True:
            try:
                return operation()
            except ssl.SSLWantWriteError:
                self._poll(select.POLLOUT)
            except ssl.SSLWantReadError:
                self._poll(select.POLLIN)
            except BlockingIOError:
                self._poll(event)

    def _poll(self, event: int, seconds: float | None = None, also: Signal | None = None) -> set[int]:
        """Which descriptors are ready. Not `select`: it knows no descriptor above 1,023."""
        poll = select.poll()
        poll.register(self.sock, event)
        poll.register(self._cut.fd, select.POLLIN)
        if also is not None:
            poll.register(also.fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)}
        if self._cut.fd in ready:
            if self.server.cuts_with_reset:
                self.reset_on_close()
            raise Over
        return ready

    def reset_on_close(self) -> None:
        self._is_rude = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def say_goodbye(self) -> None:
        """The end that TLS wants to see before the FIN."""
        if isinstance(self.sock, ssl.SSLSocket) and not self._is_rude:
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()


Action = Callable[[Connection], None]
Script = Iterable[Action]
ScriptMaker = Callable[[Request], Script]


class _Route:
    """What to play for the requests to one path, in order; the last script repeats."""

    def __init__(self, scripts: Sequence[Script] | ScriptMaker) -> None:
        self._scripts = scripts
        self._next = 0

    def script(self, request: Request) -> Script:
        if callable(self._scripts):
            return self._scripts(request)
        self._next += 1
        return self._scripts[min(self._next, len(self._scripts)) - 1]


class FaultServer:
    """Listens on 127.0.0.1, with a thread for each connection. What no script speaks of is answered with 404.

    Args:
        port: 0 for a free one; it stays the same over `stop` and `start`.
        tls: what to present, for https.

    Attributes:
        requests: all of them, in the order they came.
        connections: all of them, also those that are over.
        open_connections, peak_connections: how many are open now, and were at most.
    """

    def __init__(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.open_connections = 0
        self.peak_connections = 0
        self.cuts_with_reset = False
        self._tls = tls
        self._routes: dict[tuple[str, str], _Route] = {}
        self._on_connect: list[Script] = [()]
        self._errors: list[BaseException] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._signals: dict[threading.Event, Signal] = {}
        self._watchers: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._cut = Signal()
        self._old_cuts: list[Signal] = []
        self.accept()

    # ── What to play ──

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, method: str, path: str, scripts: Sequence[Action] | Sequence[Script] | ScriptMaker) -> None:
        """What to play for a path, which may hold `*`: one script, one for each request in order (the last
        repeats), or a function that makes the script for a request."""
        if not callable(scripts):
            scripts = _listed(scripts)
        self._routes[method, path] = _Route(scripts)

    def on_connect(self, scripts: Sequence[Action] | Sequence[Script]) -> None:
        """What to play on a new connection, before TLS and before a request is read; `[]` to just serve it.
        One script, or one for each connection from now on (the last repeats)."""
        self._on_connect = _listed(scripts)

    # ── What happened ──

    @property
    def total_connections(self) -> int:
        return len(self.connections)

    @property
    def closed_connections(self) -> int:
        return self.total_connections - self.open_connections

    def seen(self, path: str) -> list[Request]:
        """The requests to a path."""
        return [request for request in self.requests if request.path == path]

    def wait_until(self, condition: Callable[[], object], timeout: float = 10.0) -> bool:
        """Waits until something that happens here makes the condition true."""
        with self._changed:
            return bool(self._changed.wait_for(condition, timeout))

    def wait_requests(self, count: int, timeout: float = 10.0) -> bool:
        """Waits until so many requests came in all."""
        return self.wait_until(lambda: len(self.requests) >= count, timeout)

    def wait_open(self, count: int, timeout: float = 10.0) -> bool:
        """Waits until exactly so many connections are open; 0 to see that nobody leaks one."""
        return self.wait_until(lambda: self.open_connections == count, timeout)

    def wait_closed(self, count: int, timeout: float = 10.0) -> bool:
        """Waits until so many connections are closed in all."""
        return self.wait_until(lambda: self.closed_connections >= count, timeout)

    # ── Life ──

    def accept(self) -> None:
        """Listens; after `refuse` or `stop`, on the same port."""
        listener = self._listener = socket.create_server(("127.0.0.1", self.port), backlog=4096)
        self.port = listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), daemon=True, name="fault server")
        self._acceptor.start()

    def refuse(self) -> None:
        """Closes the port: who wants to connect is refused. What is open stays."""
        if self._listener is None or self._acceptor is None:
            return
        listener, self._listener = self._listener, None
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor, which `close` would not
        self._acceptor.join()
        listener.close()

    def drop_connections(self, *, reset: bool = False) -> None:
        """Ends all connections in the same moment, and waits until they are closed. The port stays as it is."""
        self.cuts_with_reset = reset
        with self._changed:
            cut, self._cut = self._cut, Signal()
            self._old_cuts.append(cut)
            threads, self._threads = self._threads, []
        cut.set()
        for thread in threads:
            thread.join()
        self._raise_errors()

    def stop(self, *, reset: bool = False) -> None:
        """The process dies: nothing listens, nothing is open."""
        self.refuse()
        self.drop_connections(reset=reset)

    def start(self) -> None:
        """The process is back, on the same port."""
        self.accept()

    def close(self) -> None:
        """Ends for good; raises what a script raised that it should not have."""
        self._stopping.set()
        try:
            self.stop()
        finally:
            for watcher in self._watchers:
                watcher.join()
            for signal in (self._cut, *self._old_cuts, *self._signals.values()):
                signal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def signal_for(self, event_: threading.Event) -> Signal:
        """Turns an event into something that a thousand connections can wait for without a thousand timers."""
        with self._changed:
            signal = self._signals.get(event_)
            if signal is None:
                signal = self._signals[event_] = Signal()
                watcher = threading.Thread(target=self._watch, args=(event_, signal), daemon=True, name="fault watcher")
                self._watchers.append(watcher)
                watcher.start()
            return signal

    # ── Inside ──

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError as error:
                if self._listener is listener:  # else it was closed
                    self._errors.append(error)
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # one write, one segment
            with self._changed:
                connection = Connection(self, sock, len(self.connections) + 1, self._cut)
                self.connections.append(connection)
                self.open_connections += 1
                self.peak_connections = max(self.peak_connections, self.open_connections)
                script = self._on_connect.pop(0) if len(self._on_connect) > 1 else self._on_connect[0]
                thread = threading.Thread(target=self._serve, args=(connection, script), daemon=True)
                self._threads.append(thread)
                thread.start()
                self._changed.notify_all()

    def _serve(self, connection: Connection, on_connect: Script) -> None:
        try:
            for action in on_connect:
                action(connection)
            if self._tls is not None:
                connection.handshake(self._tls)
            while True:
                self._answer(connection)
        except Over:
            connection.say_goodbye()
        except OSError as error:
            connection.client_left = True
            connection.error = error
        except BaseException as error:
            self._errors.append(error)
        finally:
            connection.sock.close()
            connection.over.set()
            with self._changed:
                self.open_connections -= 1
                self._changed.notify_all()

    def _answer(self, connection: Connection) -> None:
        connection.request = request = connection.read_request()
        connection.chunked, connection.compressor = False, None
        with self._changed:
            self.requests.append(request)
            route = self._route(request)
            script = route.script(request) if route else [respond(404, {"message": "Not scripted."})]
            self._changed.notify_all()
        for action in script:
            action(connection)

    def _route(self, request: Request) -> _Route | None:
        exact = self._routes.get((request.method, request.path))
        if exact is not None:
            return exact
        for (method, pattern), route in self._routes.items():
            if method in (request.method, "*") and fnmatchcase(request.path, pattern):
                return route
        return None

    def _watch(self, event_: threading.Event, signal: Signal) -> None:
        while not self._stopping.is_set():
            if event_.wait(0.01):
                signal.set()
                return

    def _raise_errors(self) -> None:
        if self._errors:
            raise self._errors.pop()


def _listed(scripts: Sequence[Action] | Sequence[Script]) -> list[Script]:
    """One script or several -> several."""
    if not scripts or callable(scripts[0]):
        return [cast("Sequence[Action]", scripts)]
    return list(cast("Sequence[Script]", scripts))


# ── Actions: whole answers, heads ──


def respond(status: int, body: bytes | str | dict[str, Any] | list[Any] = b"", headers: Headers = ()) -> Action:
    """A whole response; a dict or list is sent as JSON. The connection stays."""
    fields = _fields(headers)
    if isinstance(body, dict | list):
        fields.setdefault("content-type", "application/json")
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body
    if not (status < 200 or status in (204, 304)):
        fields.setdefault("content-length", str(len(data)))
    return raw(head_bytes(status, _pairs(fields, headers)) + data)


def stream_head(
    status: int = 200, headers: Headers = (), *, chunked: bool = True, gzip: bool = False, version: str = "1.1"
) -> Action:
    """The head of a response whose body comes piece by piece: of an event stream, unless the headers say otherwise.

    Without `chunked` it lasts until `close()`, or for the content-length in the headers; `version="1.0"` for HTTP/1.0.
    With `gzip` each piece is flushed, so that it arrives at once.
    """
    fields = _fields(headers)
    fields.setdefault("content-type", "text/event-stream")
    if chunked:
        fields["transfer-encoding"] = "chunked"
    if gzip:
        fields["content-encoding"] = "gzip"
    head = head_bytes(status, _pairs(fields, headers), version)

    def action(connection: Connection) -> None:
        connection.chunked = chunked
        connection.compressor = zlib.compressobj(wbits=31) if gzip else None
        connection.send(head)

    return action


def head_bytes(status: int, headers: Headers = (), version: str = "1.1") -> bytes:
    """A response's head on the wire, with these headers and no others."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Strange"
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"HTTP/{version} {status} {phrase}", *(f"{name}: {value}" for name, value in pairs)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _fields(headers: Headers) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {name.lower(): value for name, value in pairs}


def _pairs(fields: dict[str, str], headers: Headers) -> Headers:
    """The headers as the test gave them, so that repeated ones are sent, and what was added."""
    given = _fields(headers)
    added = [(name, value) for name, value in fields.items() if given.get(name) != value]
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [*pairs, *added]


# ── Actions: pieces of a body ──


def send(data: bytes | str) -> Action:
    """A part of the body."""
    encoded = data.encode() if isinstance(data, str) else data
    return lambda connection: connection.write(encoded)


def send_slowly(data: bytes | str, chunk: int = 1, pause: float = 0.0) -> Action:
    """A part of the body in small pieces, each a write (and an HTTP chunk) of its own."""
    encoded = data.encode() if isinstance(data, str) else data

    def action(connection: Connection) -> None:
        for begin in range(0, len(encoded), chunk):
            connection.write(encoded[begin : begin + chunk])
            if pause:
                connection.wait(pause)

    return action


def event(what: str | Mapping[str, Any], n: int = 0, *, id: str | None = None) -> Action:
    """An event with a state: a status' name, or the state itself."""
    return send(event_bytes(what, n, id=id))


def event_bytes(what: str | Mapping[str, Any], n: int = 0, *, id: str | None = None) -> bytes:
    """The same, for who wants to cut it: `data:{json}` and, if given, `id:`."""
    data = json.dumps(state(what, n) if isinstance(what, str) else what, separators=(",", ":"))
    return (f"data:{data}\n" + (f"id:{id}\n" if id is not None else "") + "\n").encode()


def state(status: str, n: int = 0, **extra: Any) -> dict[str, Any]:
    """A state as JSON. Times grow with the life of the backend, and with `n`, which tells repeats apart."""
    place = LIFE.index(status) if status in LIFE else len(LIFE)
    return {"status": status, "time": f"2026-01-02T03:04:{place:02}.{n:03}Z", **extra}


def comment(text: str = "") -> Action:
    """A keep-alive."""
    return send(f":{text}\n\n")


def raw(data: bytes) -> Action:
    """Bytes on the wire, whatever the head promised."""
    return lambda connection: connection.send(data)


def endless(data: bytes) -> Action:
    """The same part of the body again and again, as fast as the client reads, until it goes."""

    def action(connection: Connection) -> None:
        while True:
            connection.write(data)
            connection.wait(0)

    return action


def endless_headers(line: bytes = b"x-more: of the same\r\n") -> Action:
    """A head that never ends."""

    def action(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.send(line)
            connection.wait(0)

    return action


def garbage(data: bytes = b"\x00\xff\xfeSSH-2.0 is not HTTP\r\n\r\n") -> Action:
    """Something that is no HTTP, and the end."""

    def action(connection: Connection) -> None:
        connection.send(data)
        raise Over

    return action


# ── Actions: time ──


def wait_for(go_on: threading.Event) -> Action:
    """Not a word until the test sets the event."""

    def action(connection: Connection) -> None:
        if not go_on.is_set():
            connection.wait(until=connection.server.signal_for(go_on))

    return action


def pause(seconds: float) -> Action:
    """Not a word for a while; over at once if the client goes."""

    def action(connection: Connection) -> None:
        connection.wait(seconds)

    return action


def hang() -> Action:
    """Not a word until the client goes or the server stops."""

    def action(connection: Connection) -> None:
        connection.wait()

    return action


def repeat(action: Action, every: float) -> Action:
    """An action again and again, that many seconds apart, until the client goes."""

    def again(connection: Connection) -> None:
        while True:
            connection.wait(every)
            action(connection)

    return again


def call(function: Callable[[], object]) -> Action:
    """Lets the test do something at this point of the script."""

    def action(_: Connection) -> None:
        function()

    return action


# ── Actions: ends ──


def finish() -> Action:
    """The proper end of the body. The connection stays, unless its close is what ends the body."""

    def action(connection: Connection) -> None:
        connection.finish()

    return action


def close() -> Action:
    """A clean FIN, whatever was promised."""

    def action(_: Connection) -> None:
        raise Over

    return action


def reset() -> Action:
    """RST."""

    def action(connection: Connection) -> None:
        connection.reset_on_close()
        raise Over

    return action


def cut_chunk(data: bytes = b"data:") -> Action:
    """An HTTP chunk that promises more than comes, and a clean FIN."""

    def action(connection: Connection) -> None:
        connection.send(b"%x\r\n%b" % (len(data) + 10, data))
        raise Over

    return action


def broken_chunk() -> Action:
    """A chunk whose length is no number, and silence."""

    def action(connection: Connection) -> None:
        connection.send(b"xyz\r\nthis is not a chunk\r\n")
        connection.wait()

    return action


# ── The three servers' habits: platform.md §1.7 ──

States = Iterable[str | Mapping[str, Any]]


def hosted_stream(states: States, *then: Action) -> list[Action]:
    """Tells what was; ends after `terminated`, otherwise stays open. Or `then` goes on."""
    told = list(states)
    is_over = bool(told) and _status(told[-1]) == "terminated"
    return [stream_head(), *map(event, told), *(then or [finish() if is_over else hang()])]


def dev_server_stream(states: States, *then: Action) -> list[Action]:
    """Tells what was and stays open, also after `terminated`, without a keep-alive. Knows every id: no states for one
    that it does not know."""
    return [stream_head(), *map(event, states), *(then or [hang()])]


def plane_stream(states: States, *then: Action, keep_alive: float = 0.05) -> list[Action]:
    """Ids, a comment as keep-alive (every 15 s in life), never ends; leaves out what `Last-Event-ID` has seen."""
    told = list(states)

    def replay(connection: Connection) -> None:
        request = connection.request
        seen = request.headers.get("last-event-id") if request else None
        rank = LIFE.index(seen) if seen in LIFE else -1
        for each in told:
            status = _status(each)
            if status not in LIFE or LIFE.index(status) > rank:
                connection.write(event_bytes(each, id=status))

    head = stream_head(headers={"cache-control": "no-cache"})
    return [head, replay, *(then or [repeat(comment(), keep_alive)])]


def _status(what: str | Mapping[str, Any]) -> str:
    return what if isinstance(what, str) else str(what["status"])


def gzipped(data: bytes) -> bytes:
    """For `respond` with `content-encoding: gzip`; zeros make a bomb."""
    return gzip_module.compress(data)
