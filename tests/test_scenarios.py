"""What networks and servers do to a status stream, played over real sockets for both clients: the rest of the table.

`test_streams.py` and `test_life_and_death.py` hold the ordinary scenarios. Here are every status code, crowds, floods,
slow readers, TLS, names and redirects; and after every test the descriptors, threads and tasks are counted.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import trustme

from jamsocket import (
    AsyncJamsocket,
    Backoff,
    HTTPError,
    InvalidResponseError,
    Jamsocket,
    TransportError,
)
from tests.support.clients import FakeClock, Maker
from tests.support.faults import (
    LIFE,
    Action,
    Connection,
    FaultServer,
    Script,
    close,
    event,
    event_bytes,
    finish,
    hang,
    raw,
    reset,
    respond,
    state,
    stream,
    until,
    write,
)

ROOT = Path(__file__).parent.parent
STREAM = "/v2/backend/b1/status/stream"
STATUS = "/v2/backend/b1/status"
FAST = Backoff(initial=0.001, maximum=0.01)
LONG = Backoff(initial=60, maximum=60)
CREDENTIALS: dict[str, Any] = {"account": "acme", "token": "t", "service": "s"}
FULL = stream(*(event(status) for status in LIFE), hang)


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one that listed them
            continue
    return found


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Each test collects garbage: what was there before them need not be looked through every time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Counts before each test, and after everything of it is closed. (The asyncio side counts tasks: `Loop.close`.)"""
    before, threads = descriptors(), set(threading.enumerate())
    yield
    gc.collect()  # what was left open complains now, and a warning is an error

    def left() -> list[Any]:
        alive = [thread for thread in threading.enumerate() if thread not in threads]
        return alive + [now for now in descriptors().items() if now not in before.items()]

    assert soon(lambda: not left()), left()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("GET", STATUS, [respond(200, state("starting"))])
        yield server


@pytest.fixture
def jamsocket(make: Maker, server: FaultServer) -> Any:
    return make.to(server.url)


def soon(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return met


async def no_task_is_left() -> None:
    """httpx leaves generators to the garbage collector, which has the loop close them in tasks: those may finish."""
    gc.collect()
    for _ in range(200):
        if not (left := asyncio.all_tasks() - {asyncio.current_task()}):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"tasks are left: {left}")


def seen(jamsocket: Any, **options: Any) -> list[str]:
    with jamsocket.statuses("b1", **{"backoff": FAST, **options}) as states:
        return [getattr(state, "raw_status", state.status) for state in states]


def run(states: Any) -> tuple[threading.Thread, list[str]]:
    """Iterates on a thread; what it gets is put into the list when the stream has ended."""
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.extend(now.status for now in states), daemon=True)
    thread.start()
    return thread, got


# ── Every status code, first and later ──

RETRYABLE = [408, 425, 429, 500, 502, 503, 504]
ONLY_LATER = [501, 505, 507, 511, 520, 599]
FINAL = [201, 202, 203, 205, 206, 300, 301, 302, 303, 304, 307, 308]
FINAL += [400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 418, 422, 428, 431, 451]


def code_of(jamsocket: Any) -> int:
    with pytest.raises(HTTPError) as caught:
        seen(jamsocket)
    return caught.value.code


def test_every_status_on_the_first_connection(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url, clock=FakeClock())
    for status in RETRYABLE + ONLY_LATER + FINAL:
        server.requests.clear()
        server.on("GET", STREAM, [respond(status)])
        assert code_of(jamsocket) == status
        assert len(server.seen(STREAM)) == (3 if status in RETRYABLE else 1), status
        if status in RETRYABLE:
            server.on("GET", STREAM, [[respond(status)], [respond(status)], FULL])
            assert seen(jamsocket) == LIFE


def test_every_status_on_a_later_connection(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url, clock=FakeClock())
    first = stream(event("scheduled"), reset)
    for status in RETRYABLE + ONLY_LATER:
        server.on("GET", STREAM, [first, *5 * [[respond(status)]], FULL])
        assert seen(jamsocket) == LIFE, status
    for status in FINAL:
        server.requests.clear()
        server.on("GET", STREAM, [first, [respond(status)], FULL])
        assert code_of(jamsocket) == status
        assert len(server.seen(STREAM)) == 2, status


def test_204_later_ends_the_stream_without_an_error(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, [stream(event("scheduled"), reset), [respond(204)], FULL])
    assert seen(jamsocket) == ["scheduled"]
    assert len(server.seen(STREAM)) == 2


def test_a_200_of_another_type_later_ends_the_stream(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, [stream(event("scheduled"), reset), [respond(200, b"<html>", content_type="text/html")]])
    with pytest.raises(InvalidResponseError, match="text/html"):
        seen(jamsocket)


def test_an_interim_answer_is_passed_over(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, [raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), *FULL])
    assert seen(jamsocket) == LIFE


# ── Reconnects ──


def test_a_stream_survives_any_number_of_losses(jamsocket: Any, server: FaultServer) -> None:
    losses: list[Script] = []
    for number in range(30):
        told = [event(status) for status in LIFE[: 1 + number // 5]]
        end: list[Action] = [[finish], [reset], [close], [raw(b"10\r\nabc"), close], [raw(b"zz\r\n"), hang]][number % 5]
        losses += [stream(*told, *end), [reset], [respond(502)]]
    server.on("GET", STREAM, [*losses, FULL])
    assert seen(jamsocket) == LIFE
    assert len(server.seen(STREAM)) == 91


def test_a_server_that_accepts_and_drops_is_not_called_in_a_hot_loop(make: Maker, server: FaultServer) -> None:
    first = stream(event("ready"), reset)
    drops = [[close], stream(close), stream(finish), first]
    for number, script in enumerate(drops):
        server.on("GET", f"/v2/backend/drop{number}/status/stream", [first, script])
    jamsocket = make.to(server.url)
    streams = [jamsocket.statuses(f"drop{number}") for number in range(len(drops))]
    threads = [run(states)[0] for states in streams]
    assert server.wait_for(lambda: server.connections >= len(drops))
    server.wait_for(lambda: server.connections > 20 * len(drops), timeout=1.0)
    # With ceilings of 0.5, 1, 2, … s, five in a second would be ill luck already.
    for number in range(len(drops)):
        assert len(server.seen(f"/v2/backend/drop{number}/status/stream")) <= 12
    for states, thread in zip(streams, threads, strict=True):
        states.close()
        thread.join(5)
        assert not thread.is_alive()


def test_retry_and_retry_after_are_waited_for(make: Maker, server: FaultServer) -> None:
    clock = FakeClock(luck=0.0)
    server.on(
        "GET",
        STREAM,
        [
            [respond(503, retry_after="7")],
            stream(write(b"retry: 2500\n\n"), event("ready"), reset),
            [respond(429, retry_after="40")],
            [respond(503, retry_after="3600")],
            FULL,
        ],
    )
    assert seen(make.to(server.url, clock=clock), backoff=Backoff()) == ["ready", "terminating", *LIFE[6:]]
    assert clock.slept == [7.0, 2.5, 40.0, 60.0]


def test_a_name_that_stops_resolving_for_a_while(
    make: Maker, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, asked = socket.getaddrinfo, []

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("api.test", b"api.test"):
            return look_up(host, *args, **kwargs)
        asked.append(host)
        if len(asked) in range(2, 6):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    server.on("GET", STREAM, [stream(event("scheduled"), reset), FULL])
    jamsocket = make.to(f"http://api.test:{server.port}", allow_insecure_http=True)
    assert seen(jamsocket) == LIFE
    assert len(asked) == 6


# ── What the server says ──


def test_repeats_and_regressions_are_not_delivered(jamsocket: Any, server: FaultServer) -> None:
    told = [LIFE[0], LIFE[0], LIFE[2], LIFE[1], LIFE[2], LIFE[4], LIFE[3], LIFE[0]]
    again = [LIFE[4], LIFE[1], LIFE[5], LIFE[4], "terminated"]
    paused = event("paused", 1)
    server.on(
        "GET",
        STREAM,
        [stream(*map(event, told), paused, reset), stream(paused, *map(event, again), event("ready"), hang)],
    )
    assert seen(jamsocket) == [LIFE[0], LIFE[2], LIFE[4], "paused", LIFE[5], "terminated"]


MALFORMED = {
    "no JSON": b"data: {\n\n",
    "no object": b'data: []\n\ndata: 5\n\ndata: null\n\ndata: "ready"\n\n',
    "no status": b"data: {}\n\n",
    "a status that is no word": b'data: {"status": 5, "time": "2026-01-02T03:04:05Z"}\n\n',
    "no time": b'data: {"status": "ready"}\n\n',
    "a time that is none": b'data: {"status": "ready", "time": "yesterday"}\n\n',
    "no data": b"data\n\n\n\nevent: message\n\n",
    "deep": b"data: " + b"[" * 100_000 + b"\n\n",
    "a huge number": b'data: {"status": ' + b"9" * 10_000 + b"}\n\n",
    "not UTF-8": b"data: \xff\xfe\x00\n\n",
    "another type": b"event: metrics\n" + event_bytes("terminated"),
    "too big": b"data: " + b"x" * (1 << 20) + b"\n\n",
    "a field without end": b"x" * (1 << 21) + b"\n\n",
    "a whole page": b"<html>\r\n\r\n<body>502 Bad Gateway</body>\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_event_is_skipped(jamsocket: Any, server: FaultServer, name: str) -> None:
    server.on("GET", STREAM, stream(event("starting"), write(MALFORMED[name]), event("terminated"), hang))
    assert seen(jamsocket) == ["starting", "terminated"]
    assert len(server.seen(STREAM)) == 1


def memory() -> float:
    """What this process holds, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def times(count: int, data: bytes) -> Action:
    def action(connection: Connection) -> None:
        for _ in range(count):
            connection.send(data)

    return action


def chunk(line: bytes) -> bytes:
    """A chunk of 128 KiB that repeats these 256 bytes."""
    assert len(line) == 256
    return b"20000\r\n" + 512 * line + b"\r\n"


FLOODS: dict[str, Script] = {
    "a line without end": stream(event("starting"), times(256, chunk(256 * b"x"))),
    "an event without end": stream(event("starting"), times(256, chunk(b"data:" + 250 * b"x" + b"\n"))),
    "a gzip bomb": stream(
        raw(b"%x\r\n" % len(bomb := gzip.compress(event_bytes("starting") + b"x" * (32 << 20)))),
        raw(bomb + b"\r\n"),
        finish,
        gzip=True,
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_32_mib_is_read_in_bounded_memory(jamsocket: Any, server: FaultServer, name: str) -> None:
    server.on("GET", STREAM, [[*FLOODS[name], finish], FULL])
    with jamsocket.statuses("b1", backoff=FAST) as states:
        got, before, peak = [next(states).status], memory(), 0.0
        for now in states:
            got.append(now.status)
            peak = max(peak, memory())
    # Its end is not delivered, the connection was lost for all that we know, and the next one tells everything.
    assert got == ["starting", *LIFE[3:]]
    assert peak - before < 12


# ── Other hosts ──


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("theirs", [False, True])
def test_a_redirect_to_another_origin_is_not_followed(
    make: Maker, server: FaultServer, status: int, later: bool, theirs: bool
) -> None:
    """Nothing arrives there, and the caller sees the 3xx; also with the user's own client that follows redirects."""
    http_client = make.http_client(follow_redirects=True) if theirs else None
    with FaultServer() as elsewhere:
        jamsocket = make.to(server.url, http_client=http_client)
        away = [respond(status, location=elsewhere.url + STREAM)]
        server.on("GET", STREAM, [stream(event("ready"), finish), away] if later else away)
        server.on("GET", STATUS, away)
        server.on("POST", "/v2/service/acme/whiteboard/connect", [respond(status, location=elsewhere.url + "/")])
        server.on("POST", "/v2/backend/b1/terminate", [respond(status, location=elsewhere.url + "/")])
        assert code_of(jamsocket) == status
        for call in (
            lambda: jamsocket.status("b1"),
            lambda: jamsocket.connect(key="k", auth={"planted": "in the body"}),
            lambda: jamsocket.terminate("b1"),
        ):
            with pytest.raises(HTTPError):
                call()
        assert (elsewhere.connections, elsewhere.requests) == (0, [])
    if theirs:
        make.close_http_client(http_client)


# ── TLS ──


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def tls_context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def below_tls(data: bytes) -> Action:
    """Bytes on the TCP connection, where a TLS record should be."""

    def action(connection: Connection) -> None:
        with socket.socket(fileno=os.dup(connection.sock.fileno())) as bare:
            bare.sendall(data)

    return action


TLS_LOSSES = {
    "reset": [reset],
    "close without a goodbye": [close],
    "garbage": [below_tls(b"\x17\x03\x03\x00\x20" + 32 * b"x"), hang],
    "no record at all": [below_tls(b"HTTP/1.1 400 Bad Request\r\n\r\n"), hang],
    "half a record": [below_tls(b"\x17\x03\x03\x40\x00abc"), close],
    "stall in a record": [below_tls(b"\x17\x03\x03\x40\x00abc"), hang],
    "an alert in the clear": [below_tls(b"\x15\x03\x03\x00\x02\x02\x28"), hang],
}


@pytest.mark.parametrize("name", TLS_LOSSES)
@pytest.mark.parametrize("chunked", [True, False])
def test_tls_that_fails_in_the_middle(make: Maker, authority: trustme.CA, name: str, chunked: bool) -> None:
    with FaultServer(tls=tls_context(authority)) as server:
        half = event_bytes("loading")[:-1]
        first = stream(event("scheduled"), write(half), *TLS_LOSSES[name], chunked=chunked)
        server.on("GET", STREAM, [first, FULL])
        assert seen(make.to(server.url), stall_timeout=0.2) == LIFE


def test_tls_that_is_not_spoken(make: Maker, authority: trustme.CA) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"

    def answer(data: bytes) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.recv(65536)
                sock.sendall(data)

    thread = threading.Thread(target=answer, args=(b"HTTP/1.1 400 Bad Request\r\n\r\n",), daemon=True)
    thread.start()
    with pytest.raises(TransportError) as caught:
        seen(make.to(url))
    assert not caught.value.request_sent
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_certificate_that_is_not_trusted_any_more_ends_the_stream(make: Maker, authority: trustme.CA) -> None:
    go_on = threading.Event()
    with FaultServer(tls=tls_context(authority)) as server:
        server.on("GET", STREAM, [stream(event("ready"), until(go_on), reset), FULL])
        with make.to(server.url).statuses("b1", backoff=FAST) as states:
            assert next(states).status == "ready"
            server._tls = tls_context(trustme.CA())
            go_on.set()
            with pytest.raises(TransportError, match="not trusted"):
                next(states)
            assert list(states) == []
        assert server.connections == 2, "asked once, not again and again"


# ── Crowds ──


class Crowd:
    """A server for a thousand streams: each hears three states, all are reset in one moment, and return."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.arrivals: list[tuple[float, str]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        make = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self._server = asyncio.run_coroutine_threadsafe(make, self.loop).result(5)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    def reset_all(self) -> float:
        """Resets every connection; the moment in which that happened."""

        def act() -> None:
            for writer in self._writers:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

        now = time.monotonic()
        self.loop.call_soon_threadsafe(act)
        return now

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            is_back = b"last-event-id" in request.lower()
            self.arrivals.append((time.monotonic(), request.split()[1].decode()))
            if not is_back:
                self._writers.append(writer)
            told = LIFE if is_back else LIFE[:3]
            body = b"".join(event_bytes(status, id=status) for status in told)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body)
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()


def check_return(crowd: Crowd, lost: float, count: int, spread: float) -> None:
    back = sorted(moment - lost for moment, _ in crowd.arrivals[count:])
    assert len(back) == count, "each came back once"
    assert {target for _, target in crowd.arrivals[count:]} == {target for _, target in crowd.arrivals[:count]}
    tenths = [sum(1 for moment in back if low <= moment / spread * 10 < low + 1) for low in range(10)]
    assert back[-1] - back[0] > 0.7 * spread, back
    assert max(tenths) < count / 3, f"a tenth of them is expected in each tenth of the time: {tenths}"


def test_a_thousand_asyncio_streams_that_lose_their_server_return_one_by_one() -> None:
    count, spread = 1000, 4.0
    life: dict[str, list[str]] = {f"b{number}": [] for number in range(count)}

    async def consume(jamsocket: AsyncJamsocket, backend_id: str) -> None:
        async for now in jamsocket.statuses(backend_id, backoff=Backoff(initial=spread, maximum=30)):
            life[backend_id].append(now.status)

    async def main(crowd: Crowd) -> float:
        async with AsyncJamsocket(**CREDENTIALS, api_url=crowd.url) as jamsocket:
            tasks = [asyncio.create_task(consume(jamsocket, backend_id)) for backend_id in life]
            assert await asyncio.to_thread(soon, lambda: all(len(got) == 3 for got in life.values()), 20)
            lost = crowd.reset_all()
            await asyncio.wait_for(asyncio.gather(*tasks), 30)
            await no_task_is_left()
        return lost

    with Crowd() as crowd:
        check_return(crowd, asyncio.run(main(crowd)), count, spread)
    assert all(got == LIFE for got in life.values()), "nothing lost, nothing doubled"


def test_two_hundred_blocking_streams_that_lose_their_server_return_one_by_one() -> None:
    count, spread = 200, 2.0
    life: dict[str, list[str]] = {f"b{number}": [] for number in range(count)}

    def consume(backend_id: str) -> None:
        for now in jamsocket.statuses(backend_id, backoff=Backoff(initial=spread, maximum=30)):
            life[backend_id].append(now.status)

    with Crowd() as crowd, Jamsocket(**CREDENTIALS, api_url=crowd.url) as jamsocket:
        threads = [threading.Thread(target=consume, args=(backend_id,), daemon=True) for backend_id in life]
        for thread in threads:
            thread.start()
        assert soon(lambda: all(len(got) == 3 for got in life.values()), 20)
        lost = crowd.reset_all()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        check_return(crowd, lost, count, spread)
    assert all(got == LIFE for got in life.values()), "nothing lost, nothing doubled"


# ── Slow consumers ──


@pytest.mark.parametrize("how", ["iterator", "callback"])
def test_a_slow_consumer_holds_the_server_up_and_misses_nothing(make: Maker, server: FaultServer, how: str) -> None:
    names = [f"strange-{number}" for number in range(900)]
    sent = 0

    def tell(connection: Connection) -> None:
        nonlocal sent
        for number, name in enumerate(names):
            connection.write(event_bytes(name, number % 60, padding="x" * 50_000))
            sent += 50_000

    server.on("GET", STREAM, stream(tell, event("terminated"), hang))
    jamsocket = make.to(server.url)
    got: list[str] = []
    start, done = threading.Event(), threading.Event()
    before = memory()

    def on_status(now: Any) -> None:
        got.append(getattr(now, "raw_status", now.status))
        start.wait(20)
        if now.status == "terminated":
            done.set()

    async def on_status_async(now: Any) -> None:
        got.append(getattr(now, "raw_status", now.status))
        if not start.is_set():
            await asyncio.to_thread(start.wait, 20)
        if now.status == "terminated":
            done.set()

    def iterate() -> None:
        with jamsocket.statuses("b1") as states:
            for now in states:
                on_status(now)

    thread = threading.Thread(target=iterate, daemon=True)
    if how == "iterator":
        thread.start()
    else:
        unsubscribe = jamsocket.status_stream("b1", on_status if make.kind == "blocking" else on_status_async)

    def is_held_up() -> bool:
        was = sent
        time.sleep(0.1)
        return was == sent > 0

    assert soon(is_held_up, 10)
    assert sent < 20e6, "the kernel's buffers fill; we read no further"
    assert memory() - before < 16
    assert len(got) == 1
    start.set()
    assert done.wait(20)
    if how == "iterator":
        thread.join(5)
    else:
        unsubscribe()
    assert got == [*names, "terminated"]


# ── Closing ──


@pytest.fixture
def blackhole() -> Iterator[str]:
    """The URL of a port whose queue is full: a connection to it is neither made nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued = [socket.socket() for _ in range(4)]
        for sock in queued:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for sock in queued:
            sock.close()


@pytest.mark.parametrize("what", ["stream", "client"])
def test_closing_while_a_connection_is_being_made(make: Maker, blackhole: str, what: str) -> None:
    """The blocking client cannot interrupt that: the close returns at once, the reader ends within `timeout`."""
    jamsocket = make.to(blackhole, timeout=1.0)
    states = jamsocket.statuses("b1")
    thread, _ = run(states)
    time.sleep(0.2)
    began = time.monotonic()
    (states if what == "stream" else jamsocket).close()
    assert time.monotonic() - began < 0.5
    thread.join(3)
    assert not thread.is_alive()
    assert time.monotonic() - began < (1.5 if make.kind == "blocking" else 0.5)


MORE_PLACES: dict[str, list[Script]] = {
    "wait before a first try": [[respond(503)]],
    "before the first event": [stream(hang)],
    "inside an event": [stream(write(event_bytes("ready")[:-9]), hang)],
    "error answer that does not end": [[raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nx"), hang]],
    "later wait with Retry-After": [stream(event("ready"), reset), [respond(429, retry_after="60")]],
}


@pytest.mark.parametrize("place", MORE_PLACES)
@pytest.mark.parametrize("what", ["stream", "client"])
def test_closing_in_more_places(make: Maker, server: FaultServer, place: str, what: str) -> None:
    jamsocket = make.to(server.url)
    server.on("GET", STREAM, MORE_PLACES[place])
    states = jamsocket.statuses("b1", backoff=LONG if "first" in place else FAST)
    thread, _ = run(states)
    assert server.wait_for(lambda: len(server.seen(STREAM)) == len(MORE_PLACES[place]) or not thread.is_alive())
    time.sleep(0.1)
    began = time.monotonic()
    (states if what == "stream" else jamsocket).close()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - began < 1
    assert server.wait_for(lambda: server.open_connections == 0)


def test_closing_while_the_server_is_asked_about_a_silent_backend(
    make: Maker, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.05)
    server.on("GET", STREAM, stream(hang))
    server.on("GET", STATUS, [hang])
    jamsocket = make.to(server.url, timeout=1.0)
    states = jamsocket.statuses("b1")
    thread, _ = run(states)
    assert server.wait_for(lambda: bool(server.seen(STATUS)))
    began = time.monotonic()
    states.close()
    thread.join(5)
    assert time.monotonic() - began < 1
    assert server.wait_for(lambda: server.open_connections == 0), "the question ends within `timeout`"


def test_unsubscribing_during_the_wait_before_a_reconnect_leaves_no_connection(
    make: Maker, server: FaultServer
) -> None:
    go_on = threading.Event()
    server.on("GET", STREAM, [stream(event("ready"), until(go_on), reset), stream(event("terminated"), hang)])
    jamsocket = make.to(server.url)
    got: list[str] = []
    errors: list[Exception] = []
    unsubscribe = jamsocket.status_stream(
        "b1",
        lambda now: got.append(now.status),
        on_error=errors.append,
        backoff=Backoff(initial=0.4, maximum=0.4),
    )
    go_on.set()
    assert server.wait_for(lambda: server.open_connections == 0)
    unsubscribe()
    unsubscribe()
    assert not server.wait_for(lambda: server.connections > 1, timeout=0.6), "nobody comes back"
    assert (got, errors) == (["ready"], [])


def test_unsubscribing_an_asyncio_stream_from_another_thread(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))

    async def main() -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
            for _ in range(20):
                unsubscribe = await jamsocket.status_stream("b1", lambda _: None)
                thread = threading.Thread(target=unsubscribe)
                thread.start()
                await asyncio.to_thread(thread.join)
                assert await asyncio.to_thread(server.wait_for, lambda: server.open_connections == 0)

    asyncio.run(main(), debug=True)


@types.coroutine
def cancelled_at(coroutine: Any, step: int) -> Generator[Any, Any, Any]:
    """Runs a coroutine and has the task cancelled at its n-th suspension, to the step."""
    suspensions = 0
    while True:
        try:
            awaited = coroutine.send(None)
        except StopIteration as done:
            return done.value
        suspensions += 1
        if suspensions == step:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
        try:
            yield awaited
        except BaseException as error:
            try:
                awaited = coroutine.throw(error)
            except StopIteration as done:
                return done.value
            suspensions += 1
            yield awaited


def test_cancelling_at_every_await_point_and_coming_back_loses_nothing(server: FaultServer) -> None:
    async def main() -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
            for step in range(1, 1000):
                server.on(
                    "GET",
                    STREAM,
                    [
                        [respond(503)],
                        stream(*map(event, LIFE[:3]), write(b"data: {"), reset),
                        [reset],
                        stream(*map(event, LIFE), hang),
                    ],
                )
                states = jamsocket.statuses("b1", backoff=Backoff(initial=0.0001, maximum=0.001))
                got: list[str] = []

                async def consume(states: Any = states, got: list[str] = got) -> None:
                    async for now in states:
                        got.append(now.status)  # noqa: PERF401  (what came before the cancelling counts)

                async def cancelled(consume: Any = consume, step: int = step) -> None:
                    await cancelled_at(consume(), step)

                task = asyncio.create_task(cancelled())
                await asyncio.wait([task])
                if not task.cancelled():
                    assert step > 5, "there were not so few"
                    assert got == LIFE
                    break
                await consume()
                assert got == LIFE, f"cancelled at suspension {step}"
                await states.aclose()
            else:
                pytest.fail("it never came to the end")
            await no_task_is_left()

    asyncio.run(main(), debug=True)
    assert server.wait_for(lambda: server.open_connections == 0)


# ── Hammering ──


def test_threads_that_hammer_one_client(make: Maker, server: FaultServer) -> None:
    """Calls, whole lives, streams left early, callbacks and waits at once, each thread's answers its own."""
    for number in range(12):
        path = f"/v2/backend/t{number}/status"
        server.on("GET", path, [respond(200, state("paused", 1, who=f"t{number}"))])
        told = [event(status, who=f"t{number}") for status in LIFE]
        server.on("GET", path + "/stream", stream(*told, hang))
    jamsocket = make.to(server.url)
    problems: list[str] = []

    def check(what: bool, where: str) -> None:
        if not what:
            problems.append(where)

    def hammer(number: int) -> None:
        name = f"t{number}"
        try:
            for _ in range(4):
                check(jamsocket.status(name).to_dict()["who"] == name, "status")
                with jamsocket.statuses(name) as states:
                    check([now.status for now in states] == LIFE, "statuses")
                with jamsocket.statuses(name) as states:
                    check(next(states).status == LIFE[0], "first status")
                ended = threading.Event()
                got: list[str] = []

                def on_status(now: Any, got: list[str] = got, ended: threading.Event = ended) -> None:
                    got.append(now.status)
                    if now.status == "terminated":
                        ended.set()

                unsubscribe = jamsocket.status_stream(name, on_status)
                check(ended.wait(10), "callback")
                unsubscribe()
                check(got == LIFE, "callbacks")
                check(jamsocket.wait_until_ready(name).status == "ready", "wait")
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert problems == []
    assert not any(thread.is_alive() for thread in threads)
    jamsocket.close()
    assert server.wait_for(lambda: server.open_connections == 0)


def test_streams_closed_by_other_threads_while_they_read(make: Maker, server: FaultServer) -> None:
    """For each of many moments in the life of a connection, a close from another thread."""
    server.on("GET", STREAM, [stream(event("ready"), write(b"data: {"), reset), stream(event("ready"), hang)])
    jamsocket = make.to(server.url)
    for number in range(60):
        states = jamsocket.statuses("b1", backoff=FAST)
        thread, got = run(states)
        time.sleep(number * 0.0002)
        states.close()
        thread.join(5)
        assert not thread.is_alive()
        assert got in ([], ["ready"])
    assert server.wait_for(lambda: server.open_connections == 0)


# ── The process ──

PROCESS = {
    "blocking": """
from jamsocket import Jamsocket
import sys, time
jamsocket = Jamsocket(**CREDENTIALS, api_url=URL)
jamsocket.status_stream("b1", lambda now: print(now.status, flush=True))
jamsocket.statuses("b1")
sys.stdin.readline()
print("still here")
""",
    "asyncio": """
from jamsocket import AsyncJamsocket
import asyncio, sys
async def main():
    async with AsyncJamsocket(**CREDENTIALS, api_url=URL) as jamsocket:
        await jamsocket.status_stream("b1", lambda now: print(now.status, flush=True))
        await asyncio.to_thread(sys.stdin.readline)
        print("still here")
asyncio.run(main())
""",
}


@pytest.mark.parametrize("kind", PROCESS)
def test_a_drop_in_the_middle_does_not_end_the_process(server: FaultServer, kind: str) -> None:
    server.on("GET", STREAM, [stream(event("ready"), raw(b"10\r\nabc"), reset), [reset]])
    code = f"CREDENTIALS, URL = {CREDENTIALS!r}, {server.url!r}\n{PROCESS[kind]}"
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.wait_for(lambda: len(server.seen(STREAM)) > 1)
    server.refuse()
    out, err = process.communicate("\n", timeout=20)
    assert (process.returncode, out, err) == (0, "ready\nstill here\n", "")


# ── The page ──


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    named = set(re.findall(r"\b([\w/]+\.py)::(test_\w+)", page))
    assert len(named) > 50
    for file, name in sorted(named):
        source = (ROOT / "tests" / file).read_text()
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{file}::{name}"
