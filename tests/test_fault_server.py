"""The fault server does what its scripts say."""

from __future__ import annotations

import json
import os
import resource
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import trustme

from tests.support.fault_server import (
    Action,
    FaultServer,
    Request,
    Script,
    broken_chunk,
    call,
    close,
    comment,
    cut_chunk,
    dev_server_stream,
    endless,
    endless_headers,
    event,
    event_bytes,
    finish,
    garbage,
    gzipped,
    hang,
    hosted_stream,
    pause,
    plane_stream,
    raw,
    repeat,
    reset,
    respond,
    send,
    send_slowly,
    state,
    stream_head,
    wait_for,
)

FOR_EVER = 3600.0


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@contextmanager
def connected(server: FaultServer, request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> Iterator[socket.socket]:
    """A socket that has sent a request."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(request)
        yield sock


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        more = sock.recv(1)
        assert more, data
        data += more
    return data


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


def play(server: FaultServer, *actions: Action) -> bytes:
    """What a client sees of a script, to the end of the connection."""
    server.on("GET", "/", list(actions))
    with connected(server) as sock:
        return read_all(sock)


def get(server: FaultServer, path: str = "/", **headers: str) -> httpx.Response:
    return httpx.get(server.url + path, headers=headers)


# ── Requests and scripts ──


def test_records_requests(server: FaultServer) -> None:
    server.on("POST", "/a%2Fb", [respond(200, {"ok": True}, [("x-a", "1"), ("x-a", "2")])])
    with httpx.Client() as client:
        response = client.post(server.url + "/a%2Fb?q=1", json={"x": 1}, headers={"X-Name": "value"})
        client.get(server.url + "/unknown", headers={"x-name": "other"})
        assert server.open_connections == 1
    assert response.json() == {"ok": True}
    assert response.headers.get_list("x-a") == ["1", "2"]
    assert response.headers["content-type"] == "application/json"
    first, second = server.requests
    assert (first.method, first.target, first.path, first.query) == ("POST", "/a%2Fb?q=1", "/a%2Fb", "q=1")
    assert (first.headers["x-name"], first.json, first.connection) == ("value", {"x": 1}, 1)
    assert first.raw_head.startswith(b"POST /a%2Fb?q=1 HTTP/1.1\r\n")
    assert first.raw_head.endswith(b"\r\n\r\n")
    assert (second.path, second.body, second.connection) == ("/unknown", b"", 1)
    assert first.time < second.time
    assert server.seen("/unknown") == [second]
    assert server.wait_open(0)
    assert (server.total_connections, server.closed_connections, server.peak_connections) == (1, 1, 1)


def test_reads_chunked_requests(server: FaultServer) -> None:
    httpx.post(server.url, content=iter([b"a" * 20, b"b"]))
    assert server.requests[0].body == b"a" * 20 + b"b"


def test_plays_one_script_for_each_request_and_repeats_the_last(server: FaultServer) -> None:
    server.on("GET", "/", [[respond(500)], [respond(429, headers={"retry-after": "1"})], [respond(200)]])
    assert [get(server).status_code for _ in range(4)] == [500, 429, 200, 200]


def test_asks_a_function_for_the_script(server: FaultServer) -> None:
    def script(request: Request) -> Script:
        yield stream_head()
        for letter in request.path:
            yield send(letter)
        yield finish()

    server.on("GET", "/say/*", script)
    assert get(server, "/say/a").text == "/say/a"
    assert get(server, "/say/b").text == "/say/b"
    assert get(server, "/say").status_code == 404


def test_a_status_without_a_body_has_none(server: FaultServer) -> None:
    assert play(server, respond(204), close()) == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_status_of_ones_own(server: FaultServer) -> None:
    assert play(server, respond(599, "x"), close()) == b"HTTP/1.1 599 Strange\r\ncontent-length: 1\r\n\r\nx"


def test_tells_what_a_script_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), FaultServer() as server:
        assert play(server, call(fail)) == b""


# ── Bodies ──


def test_a_chunked_body(server: FaultServer) -> None:
    told = play(server, stream_head(), send(b"hello"), send(b""), comment(), finish(), close())
    head, _, body = told.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
    assert body == b"5\r\nhello\r\n3\r\n:\n\n\r\n0\r\n\r\n"


def test_the_connection_stays_after_a_chunked_body(server: FaultServer) -> None:
    server.on("GET", "/", [stream_head(), send("x"), finish()])
    with httpx.Client() as client:
        assert [client.get(server.url).text for _ in range(3)] == ["x"] * 3
    assert server.total_connections == 1


def test_a_body_until_close(server: FaultServer) -> None:
    told = play(server, stream_head(chunked=False, version="1.0"), send("x"), finish())
    assert told == b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\nx"


def test_a_gzip_body_arrives_piece_by_piece(server: FaultServer) -> None:
    go_on = threading.Event()
    server.on("GET", "/", [stream_head(gzip=True), send("a"), wait_for(go_on), send("b"), finish()])
    with httpx.stream("GET", server.url) as response:
        pieces = response.iter_bytes()
        assert next(pieces) == b"a"
        go_on.set()
        assert b"".join(pieces) == b"b"
    body = play(server, stream_head(gzip=True, chunked=False), send("a"), finish()).partition(b"\r\n\r\n")[2]
    decompressor = zlib.decompressobj(wbits=31)
    assert (decompressor.decompress(body), decompressor.eof) == (b"a", True)


def test_gzip_answers(server: FaultServer) -> None:
    server.on("GET", "/", [respond(200, gzipped(bytes(1_000_000)), {"content-encoding": "gzip"})])
    assert len(get(server).content) == 1_000_000
    assert server.connections[0].sent < 10_000


def test_sends_slowly(server: FaultServer) -> None:
    told = play(server, stream_head(), send_slowly("abc"), send_slowly("defg", 2, pause=0.001), close())
    assert told.endswith(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n2\r\nde\r\n2\r\nfg\r\n")


def test_events() -> None:
    assert state("ready") == {"status": "ready", "time": "2026-01-02T03:04:04.000Z"}
    assert state("ready", 7, x=1) == {"status": "ready", "time": "2026-01-02T03:04:04.007Z", "x": 1}
    times = [state(status, n)["time"] for status in ("scheduled", "ready", "terminated", "new") for n in (0, 1)]
    assert times == sorted(set(times))
    assert event_bytes({"a": 1}) == b'data:{"a":1}\n\n'
    assert event_bytes("ready", id="ready").endswith(b'"}\nid:ready\n\n')


# ── Ends ──


def test_a_reset(server: FaultServer) -> None:
    server.on("GET", "/", [stream_head(), event("ready"), reset()])
    with connected(server) as sock, pytest.raises(ConnectionResetError):
        read_all(sock)
    assert not server.connections[0].client_left


def test_a_clean_end_in_the_middle(server: FaultServer) -> None:
    server.on("GET", "/", [stream_head(), send("data:"), close()])
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        get(server)


def test_a_chunk_that_is_cut(server: FaultServer) -> None:
    assert play(server, stream_head(), cut_chunk(b"abc")).endswith(b"\r\n\r\nd\r\nabc")


def test_a_chunk_that_is_none(server: FaultServer) -> None:
    server.on("GET", "/", [stream_head(), broken_chunk()])
    with pytest.raises(httpx.RemoteProtocolError):
        get(server)


def test_garbage(server: FaultServer) -> None:
    server.on("GET", "/", [garbage()])
    with pytest.raises(httpx.RemoteProtocolError):
        get(server)


def test_a_promise_that_is_not_kept(server: FaultServer) -> None:
    server.on("GET", "/", [stream_head(headers={"content-length": "9"}, chunked=False), send("abc"), close()])
    with pytest.raises(httpx.RemoteProtocolError, match="received 3 bytes, expected 9"):
        get(server)


def test_closes_a_connection_between_requests(server: FaultServer) -> None:
    server.on("GET", "/", [respond(200), close()])
    with httpx.Client() as client:
        client.get(server.url)
        assert server.wait_closed(1)
        assert client.get(server.url).status_code == 200
    assert server.total_connections == 2


def test_accepts_and_drops(server: FaultServer) -> None:
    server.on_connect([[close()], [reset()], []])
    server.on("GET", "/", [respond(200)])
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            get(server)
    assert get(server).status_code == 200
    assert (server.total_connections, len(server.requests)) == (3, 1)


# ── Without end ──


@pytest.mark.parametrize(
    "script", [[stream_head(), endless(b"x" * 10_000)], [endless_headers()], [stream_head(gzip=True), endless(b"x")]]
)
@pytest.mark.parametrize("who", ["client", "server"])
def test_what_never_ends_ends_with_its_client_or_the_server(server: FaultServer, script: Script, who: str) -> None:
    server.on("GET", "/", list(script))
    with connected(server) as sock:
        connection = read_some(server, sock, 100_000)
        if who == "server":
            server.stop()
    assert connection.over.wait(10)
    assert connection.client_left == (who == "client")


def read_some(server: FaultServer, sock: socket.socket, size: int) -> Any:
    while size > 0:
        size -= len(sock.recv(size))
    return server.connections[-1]


@pytest.mark.parametrize(
    "action",
    [hang(), wait_for(threading.Event()), pause(FOR_EVER), repeat(comment(), FOR_EVER), repeat(comment(), 0.001)],
)
@pytest.mark.parametrize("who", ["client", "a reset of the client", "server"])
def test_a_client_that_goes_is_noticed_in_every_silence(server: FaultServer, action: Action, who: str) -> None:
    server.on("GET", "/", [stream_head(), action])
    with connected(server) as sock:
        read_until(sock, b"\r\n\r\n")
        assert server.open_connections == 1
        if who == "server":
            server.stop()
        elif who == "a reset of the client":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert server.wait_closed(1)
    assert server.connections[0].over.is_set()
    assert server.connections[0].client_left == (who != "server")


def test_a_client_that_does_not_read_stops_us(server: FaultServer) -> None:
    server.on("GET", "/", [stream_head(), send(b"x" * 50_000_000), finish()])
    with connected(server) as sock:
        read_until(sock, b"\r\n\r\n")
        assert not server.wait_closed(1, timeout=0.05)
        assert server.connections[0].sent < 50_000_000
    assert server.wait_closed(1)


def test_goes_on_when_the_test_says_so(server: FaultServer) -> None:
    go_on, done = threading.Event(), threading.Event()
    script = [stream_head(), send("a"), wait_for(go_on), send("b"), wait_for(go_on), call(done.set), finish()]
    server.on("GET", "/", script)
    with httpx.stream("GET", server.url) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"a"
        assert not done.is_set()
        go_on.set()
        assert list(pieces) == [b"b"]
        assert done.wait(10)


# ── The server's life ──


def test_refuses_and_accepts_again(server: FaultServer) -> None:
    server.on("GET", "/", [stream_head(), send("a"), hang()])
    with connected(server) as sock:
        read_until(sock, b"a\r\n")
        port = server.port
        server.refuse()
        with pytest.raises(httpx.ConnectError):
            get(server)
        assert server.open_connections == 1
        server.accept()
        assert server.port == port
    server.on("GET", "/", [respond(200)])
    assert get(server).status_code == 200


@pytest.mark.parametrize("with_reset", [False, True])
def test_stops_and_starts_on_the_same_port(server: FaultServer, with_reset: bool) -> None:
    server.on("GET", "/", [[stream_head(), send("a"), hang()], [respond(200)]])
    with connected(server) as sock:
        read_until(sock, b"a\r\n")
        server.stop(reset=with_reset)
        assert server.open_connections == 0
        if with_reset:
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        else:
            assert sock.recv(1) == b""
    with pytest.raises(httpx.ConnectError):
        get(server)
    server.start()
    assert get(server).status_code == 200


def test_a_thousand_connections_lose_their_server_in_the_same_moment() -> None:
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * count)), hard))
    go_on = threading.Event()
    with FaultServer() as server:
        server.on("GET", "/*", [stream_head(), wait_for(go_on), send("a"), hang()])
        socks = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(count)]
        try:
            for number, sock in enumerate(socks):
                sock.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % number)
            assert server.wait_requests(count, 30)
            assert server.open_connections == server.peak_connections == count
            go_on.set()
            for sock in socks:
                read_until(sock, b"a\r\n")
            server.drop_connections()
            assert server.open_connections == 0
            assert {sock.recv(1) for sock in socks} == {b""}
            assert {request.path for request in server.requests} == {f"/{number}" for number in range(count)}
            server.on("GET", "/", [respond(200)])
            assert get(server).status_code == 200
        finally:
            for sock in socks:
                sock.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_leaves_nothing_behind() -> None:
    def left() -> tuple[int, set[threading.Thread]]:
        return len(os.listdir("/proc/self/fd")), set(threading.enumerate())

    before = left()
    with FaultServer() as server:
        server.on("GET", "/", [stream_head(), wait_for(threading.Event())])
        with connected(server) as sock, connected(server):
            read_until(sock, b"\r\n\r\n")
            server.stop(reset=True)
            server.start()
        with socket.create_connection(("127.0.0.1", server.port)):
            assert server.wait_open(1)
    server_port = server.port
    assert left() == before
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", server_port)):
        pass


# ── TLS ──


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[FaultServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer(tls=context) as server:
        yield server


def test_tls(tls_server: FaultServer, authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    assert tls_server.url.startswith("https://")
    tls_server.on("GET", "/", [stream_head(), send("x" * 1_000_000), finish()])
    assert len(httpx.get(tls_server.url, verify=trusting).text) == 1_000_000
    tls_server.on("GET", "/", [stream_head(), send("x"), reset()])
    # A reset: Python's ssl tells its client of it as if it were an end.
    with pytest.raises(httpx.TransportError):
        httpx.get(tls_server.url, verify=trusting)
    tls_server.on("GET", "/", [stream_head(chunked=False), send("x"), close()])
    assert httpx.get(tls_server.url, verify=trusting).text == "x"
    assert tls_server.wait_open(0)


def test_tls_that_is_not_trusted(tls_server: FaultServer) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(tls_server.url, verify=ssl.create_default_context())
    assert tls_server.wait_closed(1)
    assert isinstance(tls_server.connections[0].error, ssl.SSLError)
    assert not tls_server.requests


def test_a_tls_handshake_that_hangs(tls_server: FaultServer) -> None:
    tls_server.on_connect([hang()])
    with pytest.raises(httpx.ConnectTimeout):
        httpx.get(tls_server.url, verify=ssl.create_default_context(), timeout=0.05)
    assert tls_server.wait_closed(1)


def test_a_tls_client_that_says_nothing(tls_server: FaultServer) -> None:
    with socket.create_connection(("127.0.0.1", tls_server.port)):
        assert tls_server.wait_open(1)
        tls_server.stop()
    assert tls_server.open_connections == 0


# ── The three servers ──


def statuses(body: bytes) -> list[str]:
    return [json.loads(line[5:])["status"] for line in body.split(b"\n") if line.startswith(b"data:")]


def test_the_hosted_service_ends_after_terminated(server: FaultServer) -> None:
    server.on("GET", "/", hosted_stream(["ready", state("terminated", exit_error=False)]))
    assert statuses(get(server).content) == ["ready", "terminated"]
    server.on("GET", "/", hosted_stream(["ready"], raw(b""), reset()))
    with connected(server) as sock, pytest.raises(ConnectionResetError):
        read_all(sock)


def test_the_dev_server_never_ends(server: FaultServer) -> None:
    server.on("GET", "/", dev_server_stream(["ready", "terminated"]))
    with connected(server) as sock:
        body = read_until(sock, b"\n\n\r\n") + read_until(sock, b"\n\n\r\n")
        assert statuses(body) == ["ready", "terminated"]
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_plane_gives_ids_and_keep_alives_and_never_ends(server: FaultServer) -> None:
    server.on("GET", "/", plane_stream(["waiting", "ready", "terminated"], keep_alive=0.001))
    began = time.monotonic()
    with connected(server, b"GET / HTTP/1.1\r\nLast-Event-ID: waiting\r\n\r\n") as sock:
        body = read_until(sock, b":\n\n\r\n3\r\n:\n\n\r\n")
    assert b"id:ready\n\n" in body
    assert b"cache-control: no-cache" in body
    assert statuses(body) == ["ready", "terminated"]
    assert time.monotonic() - began < 10
