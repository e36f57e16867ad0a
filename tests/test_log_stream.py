"""Logs and metrics: the decisions without a network, then over real sockets for both clients."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jamsocket import (
    BackendMetrics,
    Backoff,
    HTTPError,
    InvalidResponseError,
    NotFoundError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)
from jamsocket.event_stream import Deliver, Drop, Open, Read, ReadAnswer
from jamsocket.log_stream import follow_logs, follow_metrics
from jamsocket.messages import Head
from jamsocket.retry import Sleep
from tests.support.clients import AT_ONCE, FakeClock, Maker
from tests.support.faults import (
    Action,
    FaultServer,
    close,
    comment,
    finish,
    hang,
    raw,
    reset,
    respond,
    stream,
    until,
    write,
)
from tests.support.faults import head as respond_head

URL = "http://api.test/v2/backend/b1/logs/stream"
LOGS = "/v2/backend/b1/logs/stream"
METRICS = "/v2/backend/b1/metrics/stream"
FAST = Backoff(initial=0.001, maximum=0.01)
MEASURED = {"cpu_used": 1, "sys_cpu": 2, "mem_used": 3, "mem_available": 4}


def head(status: int = 200, **headers: str) -> Head:
    content_type = "text/event-stream" if status == 200 else "text/plain"
    return Head("GET", URL, status, {"content-type": content_type, **headers})


def line(text: str, id: int | str | None = None) -> bytes:
    return (f"data: {text}\n" + (f"id:{id}\n" if id is not None else "") + "\n").encode()


def lost(message: str = "reset", **options: Any) -> TransportError:
    return TransportError(message, method="GET", url=URL, **options)


def stall() -> RequestTimeoutError:
    return RequestTimeoutError("no byte", method="GET", url=URL)


END = None


class Play:
    """Plays connections to a state machine and writes down what it does."""

    def __init__(self, *connections: tuple[Head | TransportError, list[Any]], follow: Any = follow_logs) -> None:
        clock = FakeClock(luck=1.0)
        self.opened: list[Open] = []
        self.patience: list[float | None] = []
        self.delivered: list[Any] = []
        self.waits: list[float] = []
        self.kinds: set[str] = set()
        self.error: Exception | None = None
        self.ran_out = False
        steps = follow(max_retries=2, stall_timeout=45.0, backoff=Backoff(), clock=clock)
        script, reads, result = iter(connections), iter(()), None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            except Exception as error:
                self.error = error
                return
            self.kinds.add(type(step).__name__)
            result = None
            match step:
                case Open():
                    self.opened.append(step)
                    connection = next(script, None)
                    if connection is None:
                        self.ran_out = True
                        return
                    result, reads = connection[0], iter(connection[1])
                case Read(patience=patience):
                    self.patience.append(patience)
                    result = next(reads, END)
                case ReadAnswer():
                    assert isinstance(connection, tuple)
                    result = connection[0].answer(b"")  # type: ignore[union-attr]
                case Deliver(item=item):
                    self.delivered.append(item)
                case Sleep(seconds=seconds):
                    self.waits.append(seconds)
                case Drop():
                    pass

    @property
    def ids(self) -> list[str]:
        return [opened.last_event_id for opened in self.opened]


# ── Lines ──


def test_a_clean_end_is_the_end() -> None:
    play = Play((head(), [line("one") + line("two"), END]))
    assert (play.delivered, play.error, play.ran_out) == (["one", "two"], None, False)
    assert Play((head(), [END])).delivered == []


def test_a_line_is_the_data_as_it_is() -> None:
    odd = ["", "  two blanks", '{"json": 1}', "é 🎨", "a: b", "data: x", "\ttab "]
    assert Play((head(), [b"".join(map(line, odd)), END])).delivered == odd
    bare = b"data:\n\ndata:no blank\n\ndata: a\ndata: b\n\n"
    assert Play((head(), [bare, END])).delivered == ["", "no blank", "a\nb"]


def test_events_of_other_types_are_no_lines() -> None:
    assert Play((head(), [b"event: ping\ndata: x\n\n" + line("one"), END])).delivered == ["one"]


def test_with_ids_a_broken_stream_goes_on_behind_its_last_line() -> None:
    play = Play(
        (head(), [line("one", 1) + line("two", 2) + line("three", 3)[:-1], lost()]),
        (lost(), []),
        (head(503), []),
        (head(), [stall()]),
        (head(), [line("three", 3), END]),
    )
    assert play.delivered == ["one", "two", "three"]
    assert play.ids == ["", "2", "2", "2", "2"]
    assert play.error is None


def test_without_ids_a_cut_is_an_error_that_says_so() -> None:
    cause = lost()
    play = Play((head(), [line("one") + line("two"), cause]))
    assert play.delivered == ["one", "two"]
    assert isinstance(play.error, TransportError)
    assert "cut after 2 lines" in str(play.error)
    assert "may be missing" in str(play.error)
    assert play.error.__cause__ is cause


def test_before_the_first_line_nothing_can_be_lost() -> None:
    play = Play((head(), [b": hello\n\n", lost()]), (head(), [lost()]), (head(), [line("one"), END]))
    assert (play.delivered, play.error) == (["one"], None)


@pytest.mark.parametrize(
    ("lines", "resumable"),
    [
        (line("one", 1) + line("two"), False),  # coming back behind 1 would repeat "two"
        (line("one", 1) + line("two", 1), False),
        (line("one") + line("two", 2), True),
        (line("one", "é"), False),  # cannot be sent back
        (line("one", "x" * 2000), False),
        (line("one", 1) + b"id\ndata: two\n\n", False),
    ],
)
def test_only_an_id_of_the_last_line_itself_will_do(lines: bytes, resumable: bool) -> None:
    play = Play((head(), [lines, lost()]), (head(), [END]))
    assert (play.error is None) == resumable


def test_silence_is_a_stall_only_where_the_stream_can_come_back() -> None:
    play = Play((head(), [line("one"), line("two", 2), line("three"), END]))
    assert [opened.patience for opened in play.opened] == [None]
    assert play.patience == [45, None, 45, None], "nothing delivered, no id, an id, no id again"


def test_a_quiet_backend_is_asked_for_less_and_less_often() -> None:
    play = Play((head(), [line("one", 1), stall()]), *[(head(), [stall()])] * 6, (head(), [line("two", 2), END]))
    assert play.patience == [45, 45, 45, 90, 180, 360, 600, 600, 600, 600]
    assert play.delivered == ["one", "two"]


def test_nothing_asks_for_the_status() -> None:
    for follow in (follow_logs, follow_metrics):
        assert not Play((head(), [END]), follow=follow).kinds & {"Watch", "Unwatch"}


@pytest.mark.parametrize("follow", [follow_logs, follow_metrics])
def test_the_first_connection_is_tried_again_and_the_later_ones_without_limit(follow: Any) -> None:
    play = Play(*[(head(503), [])] * 3, follow=follow)
    assert isinstance(play.error, ServerError)
    assert play.waits == [0.5, 1.0]
    assert isinstance(Play(*[(lost(), [])] * 3, follow=follow).error, TransportError)
    assert isinstance(Play((head(404), []), follow=follow).error, NotFoundError)
    assert Play((head(), [lost()]), *[(lost(), [])] * 9, (head(), [END]), follow=follow).error is None
    assert isinstance(Play((head(), [lost()]), (head(410), []), follow=follow).error, HTTPError)
    html = Head("GET", URL, 200, {"content-type": "text/html"})
    assert isinstance(Play((html, []), follow=follow).error, InvalidResponseError)
    assert Play((head(204), []), follow=follow).error is None


# ── Measurements ──


def measurement(**more: Any) -> bytes:
    return b"data:" + json.dumps({**MEASURED, **more}).encode() + b"\n\n"


def test_measurements_come_back_from_every_loss() -> None:
    play = Play(
        (head(), [measurement(), lost()]),
        (head(), [measurement(mem_used=5), stall()]),
        (head(), [measurement(mem_used=6), END]),
        follow=follow_metrics,
    )
    assert [measured.mem_used for measured in play.delivered] == [3, 5, 6]
    assert (play.error, play.ran_out) == (None, False)
    assert {opened.patience for opened in play.opened} == {45}


def test_what_a_measurement_may_hold(caplog: pytest.LogCaptureFixture) -> None:
    odd = [b"data: {\n\n", b"data: []\n\n", b"data: 5\n\n", b"data:\n\n", b"data: " + b"[" * 100_000 + b"\n\n"]
    odd += [measurement(cpu_used="1"), measurement(mem_used=None), measurement(sys_cpu=True)]
    good = measurement(mem_limit=None, mem_total="many", something_new=[1], sys_cpu=2.0)
    play = Play((head(), [*odd, b"event: ping\ndata: x\n\n", good, END]), follow=follow_metrics)
    (measured,) = play.delivered
    assert isinstance(measured, BackendMetrics)
    assert (measured.mem_limit, measured.mem_total, measured.sys_cpu) == (None, None, 2)
    assert measured["something_new"] == [1]
    assert len([record for record in caplog.records if "malformed" in record.message]) == len(odd)


# ── Over real sockets ──


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def jamsocket(make: Maker, server: FaultServer) -> Any:
    return make.to(server.url)


def soon(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return met


def told(*lines: bytes) -> list[Action]:
    return [write(each) for each in lines]


def seen(jamsocket: Any, **options: Any) -> list[str]:
    with jamsocket.logs("b1", **{"backoff": FAST, **options}) as lines:
        return list(lines)


def test_logs(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", LOGS, stream(*told(line("one"), line(""), line("three")), finish))
    lines = jamsocket.logs("b1")
    assert server.requests == [], "nothing connects before the first line is asked for"
    with lines:
        assert list(lines) == ["one", "", "three"]
        assert list(lines) == []
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer tok-planted-secret"
    assert request.headers["accept"] == "text/event-stream"
    assert server.wait_for(lambda: server.open_connections == 0)


def test_metrics(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", METRICS, [stream(write(measurement()), reset), stream(write(measurement(mem_used=9)), finish)])
    with jamsocket.metrics("b1", backoff=FAST) as measurements:
        assert [measured.mem_used for measured in measurements] == [3, 9]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer tok-planted-secret"}


LOSSES = {
    "fin": [close],
    "reset": [reset],
    "cut chunk": [raw(b"10\r\nabc"), close],
    "broken chunk": [raw(b"zz\r\nabc"), hang],
    "stall": [hang],
}


@pytest.mark.parametrize("loss", LOSSES)
def test_with_ids_every_loss_is_made_good(jamsocket: Any, server: FaultServer, loss: str) -> None:
    first = stream(*told(line("one", 1), line("two", 2), line("three", 3)[:-1]), *LOSSES[loss])
    server.on("GET", LOGS, [first, [reset], [respond(503)], stream(*told(line("three", 3)), finish)])
    assert seen(jamsocket, stall_timeout=0.15) == ["one", "two", "three"]
    assert [request.headers.get("last-event-id") for request in server.requests] == [None, "2", "2", "2"]


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "stall"])
def test_without_ids_every_loss_is_told(jamsocket: Any, server: FaultServer, loss: str) -> None:
    server.on("GET", LOGS, stream(*told(line("one")), *LOSSES[loss]))
    lines = jamsocket.logs("b1", backoff=FAST)
    assert next(lines) == "one"
    with pytest.raises(TransportError, match="cut after 1 line, and others may be missing"):
        next(lines)
    assert list(lines) == []
    assert len(server.requests) == 1


def test_without_ids_a_quiet_backend_is_waited_for(jamsocket: Any, server: FaultServer) -> None:
    go_on = threading.Event()
    server.on("GET", LOGS, stream(*told(line("one")), until(go_on), *told(line("two")), finish))
    threading.Timer(0.5, go_on.set).start()
    assert seen(jamsocket, stall_timeout=0.1) == ["one", "two"]
    assert len(server.requests) == 1


def test_a_stream_that_goes_on_is_not_stalled(jamsocket: Any, server: FaultServer) -> None:
    """The patience counts from the last byte, not from the first."""
    go_on = threading.Event()

    def comments(connection: Any) -> None:
        while not go_on.wait(0.03):
            comment()(connection)

    server.on("GET", LOGS, stream(*told(line("one", 1)), comments, *told(line("two", 2)), finish))
    threading.Timer(0.5, go_on.set).start()
    assert seen(jamsocket, stall_timeout=0.25) == ["one", "two"]
    assert len(server.requests) == 1


def test_before_the_first_line_a_silent_connection_is_left(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", LOGS, [stream(hang), stream(*told(line("one")), finish)])
    assert seen(jamsocket, stall_timeout=0.1) == ["one"]


def test_an_unknown_backend(jamsocket: Any, server: FaultServer) -> None:
    for stream_ in (jamsocket.logs("b1"), jamsocket.metrics("b1")):
        with pytest.raises(NotFoundError):
            next(stream_)


@pytest.mark.parametrize("path", [LOGS, METRICS])
def test_closing_ends_a_blocked_read(jamsocket: Any, make: Maker, server: FaultServer, path: str) -> None:
    server.on("GET", path, stream(hang))
    before = set(threading.enumerate())
    lines = jamsocket.logs("b1") if path is LOGS else jamsocket.metrics("b1")
    got: list[Any] = []
    reader = threading.Thread(target=lambda: got.extend(lines))
    reader.start()
    assert server.wait_for(lambda: len(server.requests) == 1)
    time.sleep(0.05)
    began = time.monotonic()
    lines.close()
    lines.close()
    reader.join(AT_ONCE)
    assert not reader.is_alive()
    assert time.monotonic() - began < AT_ONCE
    assert got == []
    assert server.wait_for(lambda: server.open_connections == 0)
    if make.kind == "blocking":  # the guard's timer too
        assert soon(lambda: set(threading.enumerate()) <= before | set(server._threads))


def test_closing_the_client_ends_its_streams(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", LOGS, stream(*told(line("one", 1)), hang))
    lines = jamsocket.logs("b1")
    assert next(lines) == "one"
    jamsocket.close()
    assert list(lines) == []
    with pytest.raises(RuntimeError, match="closed"):
        jamsocket.logs("b1")
    assert server.wait_for(lambda: server.open_connections == 0)


def test_a_reader_that_comes_while_another_thread_closes_is_at_the_end(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no second reader: `close` has the stream for a moment."""
    from jamsocket import Jamsocket
    from jamsocket.streams import EventStream

    server.on("GET", LOGS, stream(*told(line("one"), line("two")), hang))
    closing, go_on, drop = threading.Event(), threading.Event(), EventStream._drop

    def slow_drop(self: Any) -> None:
        closing.set()
        assert go_on.wait(10)
        drop(self)

    with Jamsocket(account="a", token="t", service="s", api_url=server.url) as client:
        lines = client.logs("b1")
        assert next(lines) == "one"
        monkeypatch.setattr(EventStream, "_drop", slow_drop)
        closer = threading.Thread(target=lines.close)
        closer.start()
        assert closing.wait(10)
        threading.Timer(0.2, go_on.set).start()
        assert list(lines) == []
        closer.join(10)


def test_two_at_once_is_an_error(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", LOGS, stream(hang))
    lines = jamsocket.logs("b1")
    reader = threading.Thread(target=lambda: list(lines))
    reader.start()
    assert server.wait_for(lambda: len(server.requests) == 1)
    with pytest.raises(RuntimeError, match="one for each"):
        next(lines)
    lines.close()
    reader.join(AT_ONCE)


def test_a_stream_nobody_closed_is_closed_by_the_garbage_collector(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", LOGS, stream(*told(line("one", 1)), hang))
    lines = jamsocket.logs("b1")
    assert next(lines) == "one"
    del lines
    gc.collect()
    assert server.wait_for(lambda: server.open_connections == 0)


def test_an_interrupted_wait_is_no_end(server: FaultServer) -> None:
    """What was dropped by ourselves must not be taken for the server's last word: lines would be missing, silently."""
    import asyncio

    from jamsocket import AsyncJamsocket

    server.on("GET", LOGS, [stream(*told(line("one", 1)), hang), stream(*told(line("two", 2)), finish)])

    async def follow() -> list[str]:
        async with AsyncJamsocket(account="a", token="t", service="s", api_url=server.url) as client:
            lines = client.logs("b1", backoff=FAST)
            got = [await anext(lines)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(lines), 0.05)
            await asyncio.sleep(1)  # long enough for the connection to be given up
            return [*got, *[line async for line in lines]]

    assert asyncio.run(follow()) == ["one", "two"]


def test_ctrl_c_is_no_end(server: FaultServer) -> None:
    import signal

    from jamsocket import Jamsocket

    server.on("GET", LOGS, [stream(*told(line("one", 1)), hang), stream(*told(line("two", 2)), finish)])
    with Jamsocket(account="a", token="t", service="s", api_url=server.url) as client:
        lines = client.logs("b1", backoff=FAST)
        assert next(lines) == "one"
        main = threading.main_thread().ident
        assert main
        threading.Timer(0.2, signal.pthread_kill, [main, signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            next(lines)
        assert list(lines) == ["two"]


def test_the_log_of_a_stream_holds_no_token(
    jamsocket: Any, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.on("GET", LOGS, [stream(*told(line("planted-line", 1)), reset), [respond(401, "tok-planted-secret")]])
    lines = jamsocket.logs("b1", backoff=FAST)
    assert next(lines) == "planted-line"
    with pytest.raises(HTTPError) as caught:
        next(lines)
    for text in (*(record.getMessage() for record in caplog.records), str(caught.value)):
        assert "tok-planted-secret" not in text
        assert "planted-line" not in text


@pytest.mark.parametrize("options", [{}, {"chunked": False}, {"gzip": True}])
def test_framings_and_codings(jamsocket: Any, server: FaultServer, options: Any) -> None:
    end = close if options.get("chunked") is False else finish
    server.on("GET", LOGS, [respond_head(**options), *told(line("one"), line("two")), end])
    assert seen(jamsocket) == ["one", "two"]
