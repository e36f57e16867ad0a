"""The status stream over real sockets, for both clients: design §3."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jamsocket import (
    BackendTerminatedError,
    Backoff,
    HTTPError,
    InvalidResponseError,
    NotFoundError,
    ReadyState,
    RequestTimeoutError,
    ServerError,
    TransportError,
    WaitTimeoutError,
)
from tests.support.clients import AT_ONCE, Maker
from tests.support.faults import (
    LIFE,
    Action,
    FaultServer,
    close,
    comment,
    dev_server_stream,
    drip,
    event,
    event_bytes,
    finish,
    hang,
    hosted_stream,
    plane_stream,
    raw,
    repeat,
    reset,
    respond,
    state,
    stream,
    until,
    write,
)

STREAM = "/v2/backend/b1/status/stream"
STATUS = "/v2/backend/b1/status"
FAST = Backoff(initial=0.001, maximum=0.01)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("GET", STATUS, respond_with("starting"))
        yield server


@pytest.fixture
def jamsocket(make: Maker, server: FaultServer) -> Any:
    return make.to(server.url)


def respond_with(status: str) -> list[Action]:
    return [respond(200, state(status))]


def seen(jamsocket: Any, **options: Any) -> list[str]:
    with jamsocket.statuses("b1", **{"backoff": FAST, **options}) as states:
        return [getattr(state, "raw_status", state.status) for state in states]


def soon(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


# ── Three servers, one behaviour ──


@pytest.mark.parametrize("habit", [hosted_stream, dev_server_stream, plane_stream])
def test_a_whole_life_on_each_server(jamsocket: Any, server: FaultServer, habit: Any) -> None:
    server.on("GET", STREAM, habit(LIFE))
    assert seen(jamsocket) == LIFE
    assert len(server.seen(STREAM)) == 1, "no reconnect after terminated"
    assert server.wait_for(lambda: server.open_connections == 0), "the connection is closed by us"


@pytest.mark.parametrize("habit", [hosted_stream, dev_server_stream, plane_stream])
def test_a_life_in_two_connections_on_each_server(jamsocket: Any, server: FaultServer, habit: Any) -> None:
    first = habit(LIFE[:3])[:-1]
    server.on("GET", STREAM, [[*first, reset], habit(LIFE)])
    assert seen(jamsocket) == LIFE


@pytest.mark.parametrize("silence", [[hang], [repeat(comment(), 0.05)]])
def test_a_server_that_is_silent_about_an_unknown_backend(
    jamsocket: Any, server: FaultServer, silence: list[Action], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.2)
    server.on("GET", STREAM, stream(*silence))
    server.on("GET", STATUS, [respond(404)])
    with pytest.raises(NotFoundError) as caught:
        seen(jamsocket)
    assert caught.value.code == 404
    with pytest.raises(NotFoundError):
        jamsocket.status_stream("b1", print)
    assert len(server.seen(STATUS)) == 2, "asked once for each stream"


def test_a_404_at_once_is_the_same_error(jamsocket: Any, server: FaultServer) -> None:
    server.on(
        "GET", STREAM, [respond(404, {"error": {"message": "no b1", "code": "NotFound", "id": "x", "status": 404}})]
    )
    with pytest.raises(NotFoundError, match="no b1"):
        seen(jamsocket)
    with pytest.raises(NotFoundError, match="no b1"):
        jamsocket.status_stream("b1", print)


@pytest.mark.parametrize(
    "answer", [respond(500), respond(200, state("starting")), respond(401), respond(200, b"<html>")]
)
def test_any_other_answer_to_the_question_is_ignored(
    jamsocket: Any, server: FaultServer, answer: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.1)
    go_on = threading.Event()
    server.on("GET", STREAM, stream(until(go_on), event("terminated"), hang))
    server.on("GET", STATUS, [answer])
    got: list[str] = []
    unsubscribe = jamsocket.status_stream("b1", lambda state: got.append(state.status))
    assert len(server.seen(STATUS)) == 1, "status_stream returned because the question was answered"
    go_on.set()
    assert soon(lambda: got == ["terminated"])
    unsubscribe()
    assert len(server.seen(STATUS)) == 1


def test_an_event_in_time_and_nothing_is_asked(
    jamsocket: Any, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.1)
    go_on = threading.Event()
    server.on("GET", STREAM, stream(event("ready"), until(go_on), event("terminated"), hang))
    with jamsocket.statuses("b1") as states:
        assert next(states).status == "ready"
        threading.Timer(0.3, go_on.set).start()
        assert next(states).status == "terminated"
    assert server.seen(STATUS) == []


# ── Bytes ──


@pytest.mark.parametrize("options", [{}, {"chunked": False}, {"chunked": False, "version": "1.0"}, {"gzip": True}])
def test_framings_and_codings(jamsocket: Any, server: FaultServer, options: Any) -> None:
    server.on("GET", STREAM, stream(*(event(status) for status in LIFE), close, **options))
    assert seen(jamsocket) == LIFE


def test_byte_by_byte(jamsocket: Any, server: FaultServer) -> None:
    life = b"\xef\xbb\xbf" + b"".join(event_bytes(status) for status in LIFE).replace(b"\n", b"\r\n")
    server.on("GET", STREAM, stream(drip(life), hang))
    assert seen(jamsocket) == LIFE


def test_an_event_cut_in_the_middle_comes_whole_on_the_next_connection(jamsocket: Any, server: FaultServer) -> None:
    ready = event_bytes("ready")
    server.on(
        "GET", STREAM, [stream(event("waiting"), write(ready[:-1]), reset), stream(write(ready), event("terminated"))]
    )
    assert seen(jamsocket) == ["waiting", "ready", "terminated"]


def test_a_huge_event_is_skipped(jamsocket: Any, server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    huge = b"data:" + b"x" * (1 << 20) + b"\n\n"
    server.on("GET", STREAM, stream(event("ready"), write(huge), event("terminated"), hang))
    assert seen(jamsocket) == ["ready", "terminated"]
    assert any("more than" in record.message for record in caplog.records)


def test_unknown_statuses_come_through(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("paused", 1, why="x"), event("terminated"), hang))
    with jamsocket.statuses("b1") as states:
        unknown = next(states)
    assert (unknown.status, unknown.raw_status) == ("unknown", "paused")
    assert unknown.to_dict() == state("paused", 1, why="x")


# ── The first connection, and those after it ──


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 410, 501])
def test_a_final_answer_is_the_callers(jamsocket: Any, server: FaultServer, status: int) -> None:
    server.on("GET", STREAM, [respond(status, location="http://127.0.0.1:1/")])
    for attempt in (lambda: seen(jamsocket), lambda: jamsocket.status_stream("b1", print)):
        with pytest.raises(HTTPError) as caught:
            attempt()
        assert caught.value.code == status
    assert len(server.requests) == 2


def test_retryable_answers_are_tried_again(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, [[respond(503)], [respond(429)], stream(event("terminated"), hang)])
    assert seen(jamsocket) == ["terminated"]
    server.on("GET", STREAM, [respond(503)])
    with pytest.raises(ServerError):
        seen(jamsocket)
    assert len(server.seen(STREAM)) == 6


def test_a_refused_connection_is_the_callers_in_the_end(jamsocket: Any, server: FaultServer) -> None:
    server.refuse()
    with pytest.raises(TransportError) as caught:
        seen(jamsocket)
    assert caught.value.__cause__ is not None
    assert not caught.value.request_sent
    with pytest.raises(TransportError):
        jamsocket.status_stream("b1", print, backoff=FAST)


def test_a_host_without_an_address(make: Maker) -> None:
    jamsocket = make.to("http://no-such-host.invalid", allow_insecure_http=True)
    with pytest.raises(TransportError, match=r"no-such-host\.invalid"):
        seen(jamsocket)


def test_a_stalled_head_is_bounded_by_the_timeout(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url, timeout=0.1, max_retries=0)
    server.on("GET", STREAM, [hang])
    with pytest.raises(RequestTimeoutError):
        seen(jamsocket)


@pytest.mark.parametrize("type_", ["text/html", "application/json", "text/event-streams", ""])
def test_a_200_of_another_type(jamsocket: Any, server: FaultServer, type_: str) -> None:
    server.on("GET", STREAM, [respond(200, b"<html>", content_type=type_)])
    with pytest.raises(InvalidResponseError):
        seen(jamsocket)


def test_204_is_an_end_without_an_error(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, [respond(204)])
    assert seen(jamsocket) == []


LOSSES = {
    "clean end": [finish],
    "fin": [close],
    "reset": [reset],
    "cut chunk": [raw(b"10\r\nabc"), close],
    "broken chunk": [raw(b"zz\r\nabc"), hang],
    "stall": [hang],
}


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_leads_to_a_reconnect(jamsocket: Any, server: FaultServer, loss: str) -> None:
    server.on(
        "GET",
        STREAM,
        [
            stream(event("scheduled"), event("loading"), *LOSSES[loss]),
            [reset],
            [respond(503)],
            [respond(500)],
            stream(event("scheduled"), *LOSSES[loss]),
            stream(*(event(status) for status in LIFE), hang),
        ],
    )
    assert seen(jamsocket, stall_timeout=0.15) == LIFE


def test_a_restart_on_the_same_port(jamsocket: Any, server: FaultServer) -> None:
    go_on = threading.Event()
    server.on("GET", STREAM, [stream(event("ready"), until(go_on), close), stream(event("ready"), event("terminated"))])
    with jamsocket.statuses("b1", backoff=FAST) as states:
        assert next(states).status == "ready"
        server.refuse()
        go_on.set()
        threading.Timer(0.2, server.accept_again).start()
        assert next(states).status == "terminated"


def test_keep_alive_comments_are_no_stall(jamsocket: Any, server: FaultServer) -> None:
    go_on = threading.Event()

    def comments(connection: Any) -> None:
        while not go_on.wait(0.03):
            comment()(connection)

    server.on("GET", STREAM, stream(event("ready"), comments, event("terminated"), hang))
    threading.Timer(0.5, go_on.set).start()
    assert seen(jamsocket, stall_timeout=0.25) == ["ready", "terminated"]
    assert len(server.seen(STREAM)) == 1


def test_last_event_id_is_sent(jamsocket: Any, server: FaultServer) -> None:
    server.on(
        "GET", STREAM, [stream(event("ready", id="ready"), reset), stream(event("terminated", id="terminated"), hang)]
    )
    assert seen(jamsocket) == ["ready", "terminated"]
    assert [request.headers.get("last-event-id") for request in server.seen(STREAM)] == [None, "ready"]


def test_a_later_error_ends_the_stream(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, [stream(event("ready"), reset), [respond(410, b"gone for good")]])
    errors: list[Exception] = []
    jamsocket.status_stream("b1", lambda _: None, on_error=errors.append, backoff=FAST)
    assert soon(lambda: bool(errors))
    assert isinstance(errors[0], HTTPError)
    assert errors[0].message == "gone for good"
    assert len(errors) == 1


def test_an_error_nobody_listens_for_is_logged(
    jamsocket: Any, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", STREAM, [stream(event("ready"), reset), [respond(410)]])
    jamsocket.status_stream("b1", lambda _: None, backoff=FAST)
    assert soon(lambda: any("410" in record.message for record in caplog.records))


# ── Callbacks ──


def test_a_callback_that_raises_does_not_stop_the_stream(
    jamsocket: Any, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", STREAM, hosted_stream(LIFE))
    got: list[str] = []

    def on_status(state: Any) -> None:
        got.append(state.status)
        raise LookupError("in the callback")

    jamsocket.status_stream("b1", on_status)
    assert soon(lambda: got == LIFE)
    records = [record for record in caplog.records if record.exc_info]
    assert len(records) == len(LIFE)
    assert records[0].exc_info is not None
    assert records[0].exc_info[0] is LookupError


def test_unsubscribing_ends_it_and_may_be_done_twice(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    got: list[str] = []
    errors: list[Exception] = []
    unsubscribe = jamsocket.status_stream("b1", lambda state: got.append(state.status), on_error=errors.append)
    assert soon(lambda: got == ["ready"])
    began = time.monotonic()
    unsubscribe()
    unsubscribe()
    assert server.wait_for(lambda: server.open_connections == 0)
    assert time.monotonic() - began < AT_ONCE
    assert errors == []


def test_unsubscribing_from_inside_the_callback(jamsocket: Any, server: FaultServer) -> None:
    go_on = threading.Event()
    server.on("GET", STREAM, stream(event("ready"), until(go_on), event("terminating"), event("terminated"), hang))
    got: list[str] = []
    box: list[Callable[[], None]] = []

    def on_status(state: Any) -> None:
        got.append(state.status)
        if state.status == "terminating":
            box[0]()

    box.append(jamsocket.status_stream("b1", on_status))
    go_on.set()
    assert server.wait_for(lambda: server.open_connections == 0)
    assert got == ["ready", "terminating"]


def test_unsubscribing_does_not_wait_for_a_callback_that_runs(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url)
    server.on("GET", STREAM, stream(event("ready"), event("terminated"), hang))
    inside, leave = threading.Event(), threading.Event()
    got: list[str] = []

    def blocking(state: Any) -> None:
        got.append(state.status)
        inside.set()
        leave.wait(5)

    async def suspended(state: Any) -> None:
        import asyncio

        got.append(state.status)
        inside.set()
        await asyncio.to_thread(leave.wait, 5)

    unsubscribe = jamsocket.status_stream("b1", blocking if make.kind == "blocking" else suspended)
    assert inside.wait(5)
    began = time.monotonic()
    unsubscribe()
    assert time.monotonic() - began < AT_ONCE
    leave.set()
    assert server.wait_for(lambda: server.open_connections == 0)
    time.sleep(0.05)
    assert got == ["ready"], "no further call starts"


# ── Life and death ──


def test_nothing_connects_before_the_first_next_and_nothing_comes_after_close(
    jamsocket: Any, server: FaultServer
) -> None:
    server.on("GET", STREAM, hosted_stream(LIFE))
    states = jamsocket.statuses("b1")
    states.close()
    assert list(states) == []
    assert server.requests == []


def test_iterating_after_the_end_ends(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, hosted_stream(LIFE))
    states = jamsocket.statuses("b1")
    assert len(list(states)) == len(LIFE)
    assert list(states) == []


def test_iterating_after_an_error_ends(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, [respond(404)])
    states = jamsocket.statuses("b1")
    with pytest.raises(NotFoundError):
        next(states)
    assert list(states) == []
    assert len(server.requests) == 1


PLACES: dict[str, list[Any]] = {
    "blocked read": [stream(event("ready"), hang)],
    "stalled head": [hang],
    "close-delimited body": [stream(event("ready"), hang, chunked=False)],
    "backoff": [stream(event("ready"), reset), [reset]],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", ["stream", "client"])
def test_closing_from_another_thread(make: Maker, server: FaultServer, place: str, what: str) -> None:
    jamsocket = make.to(server.url)
    server.on("GET", STREAM, PLACES[place])
    states = jamsocket.statuses("b1", backoff=Backoff(initial=60, maximum=60))
    got: list[str] = []

    def iterate() -> None:
        got.extend(state.status for state in states)

    thread = threading.Thread(target=iterate)
    thread.start()
    assert server.wait_for(lambda: bool(server.seen(STREAM)))
    if place != "stalled head":
        assert soon(lambda: got == ["ready"] or len(server.seen(STREAM)) >= 1)
    time.sleep(0.1)
    requests = len(server.requests)
    began = time.monotonic()
    (states if what == "stream" else jamsocket).close()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - began < AT_ONCE
    assert server.wait_for(lambda: server.open_connections == 0)
    assert len(server.requests) == requests, "no reconnect"


def test_two_at_once_is_an_error(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url)
    server.on("GET", STREAM, stream(hang))
    states = jamsocket.statuses("b1")
    thread = threading.Thread(target=lambda: list(states))
    thread.start()
    assert server.wait_for(lambda: bool(server.requests))
    with pytest.raises(RuntimeError, match="Another"):
        next(states)
    states.close()
    thread.join(5)
    assert not thread.is_alive()


def test_leaving_the_with_block_closes(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    with jamsocket.statuses("b1") as states:
        for _ in states:
            break
    assert server.wait_for(lambda: server.open_connections == 0)


def test_a_stream_that_is_dropped_goes(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url)
    server.on("GET", STREAM, stream(event("ready"), hang))
    states = jamsocket.statuses("b1")
    assert next(states).status == "ready"
    del states
    gc.collect()
    assert server.wait_for(lambda: server.open_connections == 0)


def test_a_closed_client_says_so(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url)
    jamsocket.close()
    jamsocket.close()
    for attempt in (
        lambda: jamsocket.status("b1"),
        lambda: jamsocket.connect(),
        lambda: jamsocket.statuses("b1"),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            attempt()


def test_no_thread_and_no_task_is_left(make: Maker, server: FaultServer) -> None:
    threads = set(threading.enumerate())
    jamsocket = make.to(server.url)
    server.on("GET", STREAM, stream(event("ready"), hang))
    for _ in range(3):
        jamsocket.status_stream("b1", lambda _: None)
    assert server.wait_for(lambda: server.open_connections == 3)
    jamsocket.close()
    assert server.wait_for(lambda: server.open_connections == 0)

    def left() -> list[threading.Thread]:
        return [
            thread
            for thread in threading.enumerate()
            if thread not in threads and not thread.name.startswith(("test loop", "fault"))
        ]

    assert soon(lambda: not left()), left()
    if make.kind == "asyncio":
        assert soon(lambda: not make.loop.tasks())


# ── wait_until_ready ──


def test_waiting_until_ready(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, stream(*(event(status) for status in LIFE[:5]), hang))
    assert isinstance(jamsocket.wait_until_ready("b1"), ReadyState)
    assert server.wait_for(lambda: server.open_connections <= 1)


def test_a_backend_that_is_ready_needs_no_stream(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STATUS, respond_with("ready"))
    assert jamsocket.wait_until_ready("b1").status == "ready"
    assert server.seen(STREAM) == []


@pytest.mark.parametrize("status", ["starting", "terminating", "hard-terminating"])
def test_a_backend_that_ends_instead(jamsocket: Any, server: FaultServer, status: str) -> None:
    server.on("GET", STATUS, respond_with(status))
    # The replay says `ready`: that was before.
    past = LIFE[:5] if status != "starting" else LIFE[:3]
    end = event("terminated", termination_reason="swept")
    server.on("GET", STREAM, stream(*(event(status) for status in past), event("terminating"), end, hang))
    with pytest.raises(BackendTerminatedError, match="swept") as caught:
        jamsocket.wait_until_ready("b1")
    assert caught.value.state.termination_reason == "swept"


def test_a_backend_that_had_ended(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STATUS, respond_with("terminated"))
    with pytest.raises(BackendTerminatedError):
        jamsocket.wait_until_ready("b1")


def test_a_backend_nobody_knows(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STATUS, [respond(404)])
    with pytest.raises(NotFoundError):
        jamsocket.wait_until_ready("b1")


@pytest.mark.parametrize(
    "script",
    [
        stream(event("starting"), hang),
        stream(event("starting"), repeat(comment(), 0.02)),
        [hang],
        [reset],
    ],
)
def test_waiting_has_an_end(jamsocket: Any, server: FaultServer, script: list[Action]) -> None:
    server.on("GET", STREAM, [stream(event("starting"), reset), script])
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError, match="starting") as caught:
        jamsocket.wait_until_ready("b1", timeout=0.5)
    assert time.monotonic() - began < AT_ONCE
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.state.status == "starting"
    assert server.wait_for(lambda: server.open_connections <= 1)


def test_waiting_has_an_end_also_if_the_status_does_not_come(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STATUS, [hang])
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError, match="no status was seen"):
        jamsocket.wait_until_ready("b1", timeout=0.3)
    assert time.monotonic() - began < AT_ONCE


def test_a_stream_that_the_api_ends_before_anything_is_decided(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, [respond(204)])
    with pytest.raises(Exception, match="ended the status stream"):
        jamsocket.wait_until_ready("b1")


def test_waiting_for_ever(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    assert jamsocket.wait_until_ready("b1", timeout=None).status == "ready"


@pytest.mark.parametrize("method", ["statuses", "status_stream", "wait_until_ready"])
@pytest.mark.parametrize(
    ("options", "error"), [({"stall_timeout": 0}, ValueError), ({"stall_timeout": "45"}, TypeError)]
)
def test_numbers_that_are_none(jamsocket: Any, method: str, options: Any, error: type[Exception]) -> None:
    arguments = ["b1", print] if method == "status_stream" else ["b1"]
    with pytest.raises(error, match="stall_timeout"):
        getattr(jamsocket, method)(*arguments, **options)


def test_the_log_of_a_stream_holds_no_token(
    jamsocket: Any, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.on("GET", STREAM, [stream(event("ready"), reset), stream(event("terminated"), hang)])
    seen(jamsocket)
    assert "tok-planted-secret" not in caplog.text
    assert all("authorization" not in request.headers for request in server.requests), "the stream needs no token"


def test_streams_do_not_wait_for_each_other(jamsocket: Any, server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    streams = [jamsocket.statuses("b1") for _ in range(120)]
    assert {next(states).status for states in streams} == {"ready"}
    assert jamsocket.status("b1").status == "starting", "requests have connections of their own"
    for states in streams:
        states.close()
    assert server.wait_for(lambda: server.open_connections <= 1)


def test_the_users_http_client_is_used_for_streams_and_stays_open(make: Maker, server: FaultServer) -> None:
    http_client = make.http_client(headers={"Authorization": "Bearer theirs", "Cookie": "a=b"}, follow_redirects=True)
    jamsocket = make.to(server.url, http_client=http_client)
    server.on("GET", STREAM, [stream(event("ready"), hang), [respond(302, location=server.url + STATUS)]])
    with jamsocket.statuses("b1") as states:
        assert next(states).status == "ready"
    assert server.wait_for(lambda: server.open_connections == 0)
    with pytest.raises(HTTPError) as caught:
        seen(jamsocket)
    assert caught.value.code == 302
    assert not {"authorization", "cookie"} & {name for request in server.requests for name in request.headers}
    jamsocket.close()
    assert not http_client.is_closed
    make.close_http_client(http_client)


def test_tcp_keep_alive_is_on(jamsocket: Any, server: FaultServer, make: Maker) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    states = jamsocket.statuses("b1")
    assert next(states).status == "ready"
    if make.kind == "blocking":
        sock = states._connection._wire._sock
    else:
        sock = states.stream._connection._wire._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
    states.close()
