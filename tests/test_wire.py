"""Our own connections: where they go, what they send, when one is used again, and how they are made. Real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import h11
import httpx
import pytest
import trustme

from jamsocket import InvalidResponseError, RequestTimeoutError, TransportError
from jamsocket.async_wire import connect as async_connect
from jamsocket.http11 import Exchange, Headers, Origin, UnwritableError, write
from jamsocket.messages import Request
from jamsocket.pool import KEPT, MAX_IDLE, Pool
from jamsocket.timer import Timer
from jamsocket.wire import Address, connect
from tests.support.clients import AT_ONCE, FakeClock, Maker
from tests.support.faults import FaultServer, event, finish, hang, raw, respond, state, stream
from tests.test_calls import CONNECT, CONNECTION, STATUS

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("GET", STATUS, [respond(200, state("ready"))])
        server.on("POST", CONNECT, [respond(200, CONNECTION)])
        yield server


# ── Where they go ──

PLAIN = {
    "https://api.jamsocket.com": (True, "api.jamsocket.com", 443, "api.jamsocket.com"),
    "http://LOCALHOST:8080/base": (False, "localhost", 8080, "localhost:8080"),
    "http://127.0.0.1:80": (False, "127.0.0.1", 80, "127.0.0.1"),
    "http://[::1]:8080": (False, "::1", 8080, "[::1]:8080"),
    "https://a_b.example.com.": (True, "a_b.example.com.", 443, "a_b.example.com."),
}
LEFT_TO_HTTPX = [
    "https://bücher.example",
    "https://user@api.test",
    "https://api.test:99999",
    "http://evil.test[::1]",
    "http://[::1]evil.test",
    "https://api.test:",
    "ftp://api.test",
    "http://0x7f.1",
    "http://999.1.1.1",
    "http://[fe80::1%25eth0]",
    "https://-a.test",
    "https://a..test",
    "https://.test",
    "https://" + "a" * 64 + ".test",
    "https://",
]


@pytest.mark.parametrize("url", PLAIN)
def test_an_origin_is_read_as_httpx_reads_it(url: str) -> None:
    origin = Origin.of(url)
    assert origin is not None
    assert (origin.is_https, origin.host, origin.port, origin.netloc) == PLAIN[url]
    theirs = httpx.Request("GET", url + "/x")
    assert theirs.url.host == origin.host
    assert theirs.headers["host"] == origin.netloc


@pytest.mark.parametrize("url", LEFT_TO_HTTPX)
def test_what_is_not_plain_is_left_to_httpx(url: str) -> None:
    assert Origin.of(url) is None


def test_a_url_is_asked_for_as_it_is_or_left_to_httpx() -> None:
    origin = Origin.of("https://api.test/base")
    assert origin is not None
    for target in ("/base/v2/backend/b%2F1/status", "/x?follow=true&n=1", "/..."):
        assert origin.has("https://api.test" + target)
        request = Request("GET", "https://api.test" + target)
        assert write(request, origin, None).startswith(f"GET {target} HTTP/1.1\r\nHost: api.test\r\n".encode())
    for url in (
        "https://api.test",
        "https://api.test.evil/x",
        "https://api.test@evil/x",
        "http://api.test/x",
        "https://api.test/a/../b",
        "https://api.test/.",
        "https://api.test/é",
        "https://api.test/a b",
        "https://api.test/x#y",
        "https://api.test/%zz",
        "https://api.test/x\r\nX-Injected: 1",
    ):
        assert not origin.has(url), url


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "\0", " a", "a ", "é", "\x7f"])
def test_a_header_that_is_none_is_not_sent(value: str) -> None:
    origin = Origin.of("http://localhost")
    assert origin is not None
    with pytest.raises(UnwritableError):
        write(Request("GET", "http://localhost/", headers={"Accept": value}), origin, None)


def test_a_name_outside_of_ascii_is_reached_all_the_same(make: Maker, server: FaultServer, monkeypatch: Any) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args, **more: real("127.0.0.1", *args, **more))
    client = make.to(f"http://bücher.test:{server.port}", allow_insecure_http=True)
    assert client.status("b1").status == "ready"
    assert server.requests[0].headers["host"] == f"xn--bcher-kva.test:{server.port}"


def test_a_program_loads_only_what_its_calls_need(server: FaultServer) -> None:
    code = f"""
import sys
from jamsocket import Jamsocket
with Jamsocket(account="acme", token="t", service="whiteboard", api_url={server.url!r}) as client:
    client.connect(key="k")
    client.status("b1")
heavy = ["httpx", "asyncio", "ssl", "email", "urllib.request", "random", "jamsocket.streams", "jamsocket.event_stream"]
heavy += ["jamsocket_api.models.terminated_state", "jamsocket_api.api.services.use_image"]
loaded = {{*heavy}} & {{*sys.modules}}
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# ── What comes in ──


def cut(data: bytes, rng: random.Random) -> Iterator[bytes]:
    while data:
        size = rng.randint(1, max(1, len(data) // rng.randint(1, 5)))
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("seed", range(20))
def test_a_response_is_the_same_however_it_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    body = bytes(rng.randrange(256) for _ in range(rng.randint(0, 300)))
    framings = {
        "length": OK + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        "chunks": OK
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in cut(body, rng))
        + b"0\r\n\r\n",
        "close": OK + b"\r\n" + body,
    }
    for name, sent in framings.items():
        exchange = Exchange("GET")
        pieces = [*cut(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + sent, rng), b""]
        head, got = None, b""
        for number, piece in enumerate(pieces):
            if piece or name == "close":
                exchange.feed(piece)
            if head is None:
                head = exchange.head(Request("GET", "http://api.test/"))
            while head is not None and (part := exchange.body()):
                got += part
            assert exchange.may_go_on == (name != "close" and number >= len(pieces) - 2), name
        assert head is not None
        assert (head.status, got) == (200, body), name


def test_what_stands_in_a_broken_body_is_not_repeated() -> None:
    exchange = Exchange("GET")
    exchange.feed(OK + b"Transfer-Encoding: chunked\r\n\r\nplanted-token\r\n")
    assert exchange.head(Request("GET", "http://api.test/")) is not None
    with pytest.raises(h11.RemoteProtocolError) as caught:
        exchange.body()
    assert "planted" not in str(caught.value)
    assert caught.value.__context__ is None


def test_headers_are_a_mapping_without_case() -> None:
    headers = Headers([(b"x-a", b"1"), (b"x-b", b"caf\xc3\xa9 \xff"), (b"x-a", b"2")])
    assert (headers["X-A"], headers.get("x-B"), headers.get("x-c")) == ("1, 2", "café \ufffd", None)
    assert dict(headers) == {"x-a": "1, 2", "x-b": "café \ufffd"}


# ── When a connection is used again ──


def test_calls_share_a_connection_until_it_was_idle_for_too_long(make: Maker, server: FaultServer) -> None:
    clock = FakeClock()
    client = make.to(server.url, clock=clock)
    for _ in range(3):
        client.status("b1")
        clock.now += KEPT - 1
    assert server.connections == 1
    clock.now += 1
    client.status("b1")
    assert server.connections == 2
    assert server.wait_for(lambda: server.open_connections == 1), "the old one is closed"


@pytest.mark.parametrize(
    "answer",
    [
        raw(
            b"HTTP/1.0 200 OK\r\ncontent-length: %d\r\n\r\n" % len(json.dumps(state("ready")))
            + json.dumps(state("ready")).encode()
        ),
        respond(200, state("ready"), connection="close"),
        respond(404, b"x" * 100_000),
    ],
    ids=["HTTP/1.0", "connection: close", "a body that is not read to its end"],
)
def test_a_connection_that_may_not_be_used_again_is_not(make: Maker, server: FaultServer, answer: Any) -> None:
    server.on("GET", STATUS, [[answer], [respond(200, state("ready"))]])
    client = make.to(server.url)
    with contextlib.suppress(Exception):
        client.status("b1")
    assert server.wait_for(lambda: server.open_connections == 0)
    assert client.status("b1").status == "ready"


def test_a_late_surplus_ends_an_idle_connection(make: Maker, server: FaultServer) -> None:
    """It comes in a packet of its own, after the answer was read: the next call must not take it for its answer."""
    forged = json.dumps(state("terminated")).encode()
    go_on = threading.Event()

    def later(connection: Any) -> None:
        go_on.wait(5)
        connection.send(OK + b"content-length: %d\r\n\r\n" % len(forged) + forged)

    server.on("GET", STATUS, [[respond(200, state("ready")), later], [respond(200, state("waiting"))]])
    client = make.to(server.url)
    assert client.status("b1").status == "ready"
    go_on.set()
    time.sleep(0.1)
    assert client.status("b1").status == "waiting"
    assert server.connections == 2


@pytest.mark.parametrize("size", [4 * 1024, 16 * 1024])
@pytest.mark.parametrize("secure", [False, True])
def test_a_surplus_that_was_not_read_ends_the_connection(
    make: Maker, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, secure: bool, size: int
) -> None:
    """The answer ends where a read may end, and what is behind it waits in the socket, or in the TLS layer."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    body, forged = (json.dumps(state(status)).encode() for status in ("ready", "terminated"))
    start = OK + b"content-length: "
    answer = start + b"%d\r\n\r\n" % (length := size - len(start) - 8 - (size > 10_000)) + body.ljust(length)
    assert len(answer) == size
    surplus = start + b"%d\r\n\r\n" % len(forged) + forged
    with FaultServer(tls=context if secure else None) as server:
        server.on("GET", STATUS, [[raw(answer + surplus)], [respond(200, state("waiting"))]])
        client = make.to(f"{'https' if secure else 'http'}://localhost:{server.port}")
        assert client.status("b1").status == "ready"
        assert client.status("b1").status == "waiting"


class Idle:
    def __init__(self) -> None:
        self.is_quiet = True
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_the_pool_is_bounded_and_gives_the_last_one_first() -> None:
    pool: Pool[Idle] = Pool()
    idle = [Idle() for _ in range(MAX_IDLE + 3)]
    for number, one in enumerate(idle):
        pool.give(one, number / 1000)
    assert [one.is_closed for one in idle] == [True] * 3 + [False] * MAX_IDLE
    assert pool.take(1) is idle[-1]
    idle[-2].is_quiet = False
    assert pool.take(1) is idle[-3]
    assert idle[-2].is_closed
    newest = Idle()
    pool.give(newest, 1 + KEPT)
    assert all(one.is_closed for one in idle[:-3])
    assert not newest.is_closed
    pool.close()
    assert newest.is_closed
    late = Idle()
    pool.give(late, 1 + KEPT)
    assert late.is_closed
    assert pool.take(1 + KEPT) is None


# ── How they are made ──


@contextlib.contextmanager
def deaf() -> Iterator[Address]:
    """An address that never answers: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield socket.AF_INET, listener.getsockname()


def refusing() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return socket.AF_INET, listener.getsockname()


def blocking(candidates: list[Address], timeout: float) -> socket.socket:
    return connect(candidates, time.monotonic() + timeout)


def on_asyncio(candidates: list[Address], timeout: float) -> socket.socket:
    async def run() -> socket.socket:
        async with asyncio.timeout(timeout):
            found = await async_connect(candidates)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    return asyncio.run(run(), debug=True)


@pytest.mark.parametrize("how", [blocking, on_asyncio])
def test_an_address_that_does_not_answer_holds_nobody_up(server: FaultServer, how: Any) -> None:
    good = (socket.AF_INET, ("127.0.0.1", server.port))
    with deaf() as silent:
        began = time.monotonic()
        for candidates in ([silent, good], [refusing(), good], [silent, refusing(), good], [good, silent], [good]):
            with how(candidates, 10) as sock:
                assert sock.getpeername() == good[1]
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert time.monotonic() - began < AT_ONCE
        with pytest.raises(TimeoutError):
            how([silent, silent], 0.4)
    with pytest.raises(ConnectionRefusedError):
        how([refusing(), refusing()], 10)
    assert server.wait_for(lambda: server.open_connections == 0), "losers are closed"


def test_the_longest_time_out_can_be_waited(make: Maker, server: FaultServer) -> None:
    assert make.to(server.url, timeout=1e8).status("b1").status == "ready"


def test_ipv6(make: Maker) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    got: list[bytes] = []

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            got.append(sock.recv(65536))
            body = json.dumps(state("ready")).encode()
            sock.sendall(OK + b"content-length: %d\r\n\r\n" % len(body) + body)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    with listener:
        assert make.to(f"http://[::1]:{port}").status("b1").status == "ready"
        thread.join(5)
    assert f"\r\nHost: [::1]:{port}\r\n".encode() in got[0]


def test_a_request_that_is_not_read_is_given_up_in_time(make: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = make.to(f"http://127.0.0.1:{listener.getsockname()[1]}", max_retries=0, timeout=0.3)
        with pytest.raises(RequestTimeoutError, match="could not be sent") as caught:
            client.connect(key="k", auth={"x": "y" * 32 * 2**20})
        assert caught.value.request_sent


def test_tls_names_the_host_and_speaks_http_1_1(make: Maker, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    named: list[str | None] = []
    context.sni_callback = lambda sock, name, _: named.append(name)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with FaultServer(tls=context) as server:
        protocols: list[str | None] = []

        def note(connection: Any) -> None:
            protocols.append(connection.sock.selected_alpn_protocol())

        server.on("GET", STATUS, [note, respond(200, state("ready"))])
        server.on("GET", STATUS + "/stream", [note, *stream(event("terminated"), finish)])
        client = make.to(f"https://localhost:{server.port}")
        for _ in range(2):
            assert client.status("b1").status == "ready"
        assert [now.status for now in client.statuses("b1")] == ["terminated"]
        assert (named, protocols) == (["localhost"] * 2, ["http/1.1"] * 3)
        assert server.connections == 2
        with pytest.raises(TransportError, match="not trusted"):  # the certificate is for the name
            make.to(server.url, max_retries=0).status("b1")


def test_a_handshake_that_stalls_is_bounded(make: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = make.to(f"https://127.0.0.1:{listener.getsockname()[1]}", max_retries=0, timeout=0.3)
        began = time.monotonic()
        with pytest.raises(RequestTimeoutError, match="no connection") as caught:
            client.status("b1")
        assert time.monotonic() - began < AT_ONCE
        assert not caught.value.request_sent


def test_a_large_answer_comes_whole(make: Maker, server: FaultServer) -> None:
    """More than the event loop may keep unread, and more than one read takes."""
    big = {**state("ready"), "extra": "x" * 3_000_000}
    server.on("GET", STATUS, [respond(200, big)])
    assert make.to(server.url).status("b1").to_dict()["extra"] == big["extra"]
    server.on("GET", STATUS, [respond(200, {**big, "extra": "x" * 17_000_000})])
    with pytest.raises(InvalidResponseError, match="larger"):
        make.to(server.url).status("b1")


# ── The timer ──


def test_calls_are_made_in_their_order_and_the_thread_goes() -> None:
    timer, made, done = Timer(), list[str](), threading.Event()
    before = threading.active_count()
    last = timer.call_later(0.15, lambda call: (made.append("last"), done.set()))
    timer.call_later(0.05, lambda call: made.append("first"))
    cancelled = timer.call_later(0.1, lambda call: made.append("never"))
    cancelled.cancel()
    cancelled.cancel()
    assert threading.active_count() == before + 1
    assert done.wait(5)
    last.cancel()  # too late, and no harm
    assert made == ["first", "last"]
    timer.call_later(60, lambda call: None).cancel()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_many_watches_take_one_thread(server: FaultServer) -> None:
    from jamsocket import Jamsocket

    server.on("GET", STATUS + "/stream", stream(hang))
    with Jamsocket(account="a", token="t", service="s", api_url=server.url) as client:
        before = {thread.name for thread in threading.enumerate()}
        threads = [threading.Thread(target=lambda: list(client.statuses("b1")), name="reader") for _ in range(20)]
        for thread in threads:
            thread.start()
        assert server.wait_for(lambda: len(server.seen(STATUS + "/stream")) == 20)
        time.sleep(0.1)
        ours = [thread.name for thread in threading.enumerate() if thread.name.startswith("jamsocket")]
        assert ours == ["jamsocket timer"]
        assert "jamsocket timer" not in before
    for thread in threads:
        thread.join(5)
