"""The status stream's decisions, without a network or a clock: every sentence of design §3 that is about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jamsocket import (
    Backoff,
    HTTPError,
    InvalidResponseError,
    JamsocketError,
    NotFoundError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)
from jamsocket.errors import http_error
from jamsocket.event_stream import Deliver, Drop, Open, Read, ReadAnswer, Unwatch, Watch
from jamsocket.messages import Answer, Head
from jamsocket.retry import Sleep
from jamsocket.status_stream import follow
from tests.support.clients import FakeClock

URL = "http://api.test/v2/backend/b1/status/stream"
LIFE = ["scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated"]


def head(status: int = 200, **headers: str) -> Head:
    content_type = "text/event-stream" if status == 200 else "text/plain"
    coding = headers.pop("content_encoding", "")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Head("GET", URL, status, {"content-type": content_type, **named}, content_coding=coding)


def event(status: str, **more: Any) -> bytes:
    data = {"status": status, "time": "2026-01-02T03:04:05.678Z", **more}
    return b"data:" + json.dumps(data).encode() + b"\n\n"


def lost(message: str = "reset", **options: Any) -> TransportError:
    return TransportError(message, method="GET", url=URL, **options)


def stall() -> RequestTimeoutError:
    return RequestTimeoutError("no byte", method="GET", url=URL)


END = None
Reads = list[bytes | Exception | Callable[[FakeClock], None] | None]


class Play:
    """Plays connections to the state machine and writes down what it does."""

    def __init__(self, *connections: tuple[Head | TransportError, Reads], **options: Any) -> None:
        self.clock = FakeClock(luck=options.pop("luck", 1.0))
        arguments: dict[str, Any] = {"max_retries": 2, "stall_timeout": 45.0, "backoff": Backoff(), **options}
        self.opened: list[Open] = []
        self.delivered: list[str] = []
        self.waits: list[float] = []
        self.log: list[str] = []
        self.error: JamsocketError | None = None
        self.ran_out = False
        steps = follow(clock=self.clock, **arguments)
        script = iter(connections)
        reads: Any = iter(())
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            except JamsocketError as error:
                self.error = error
                return
            self.log.append(type(step).__name__)
            result = None
            match step:
                case Open():
                    self.opened.append(step)
                    connection = next(script, None)
                    if connection is None:
                        self.ran_out = True
                        return
                    result, reads = connection[0], iter(connection[1])
                case Read():
                    result = next(reads, END)
                    while callable(result):
                        result(self.clock)
                        result = next(reads, END)
                case ReadAnswer():
                    assert isinstance(connection, tuple)
                    assert isinstance(connection[0], Head)
                    result = connection[0].answer(b"what is wrong")
                case Deliver(item=state):
                    self.delivered.append(getattr(state, "raw_status", state.status))
                case Sleep(seconds=seconds):
                    self.waits.append(seconds)
                    self.clock.now += seconds
                case Drop() | Watch() | Unwatch():
                    pass

    @property
    def connections(self) -> int:
        return len(self.opened) - self.ran_out


def passing(seconds: float) -> Callable[[FakeClock], None]:
    def pass_time(clock: FakeClock) -> None:
        clock.now += seconds

    return pass_time


# ── Each status once, in order ──


def test_every_status_is_delivered_once_and_terminated_ends_it() -> None:
    play = Play((head(), [event(status) for status in LIFE] + [event("ready")]))
    assert play.delivered == LIFE
    assert play.connections == 1
    assert not play.ran_out, "no reconnect after terminated"
    assert play.log[-1] == "Drop", "the server may keep the connection open for ever: we do not"


def test_the_replay_of_a_new_connection_is_not_delivered_again() -> None:
    play = Play(
        (head(), [event("scheduled"), event("loading"), END]),
        (head(), [event("scheduled") + event("loading") + event("ready"), lost()]),
        (head(), [event("scheduled") + event("loading") + event("ready") + event("terminated")]),
    )
    assert play.delivered == ["scheduled", "loading", "ready", "terminated"]


def test_regressions_are_dropped() -> None:
    play = Play((head(), [event("ready"), event("starting"), event("ready"), event("terminated")]))
    assert play.delivered == ["ready", "terminated"]


@given(st.lists(st.sampled_from([*LIFE, "paused", "moved"]), max_size=30))
def test_whatever_the_server_sends_the_caller_sees_a_life(statuses: list[str]) -> None:
    delivered = Play((head(), [event(status) for status in statuses])).delivered
    known = [LIFE.index(status) for status in delivered if status in LIFE]
    assert known == sorted(set(known))
    assert len(delivered) == len(set(delivered))
    until_end = statuses[: statuses.index("terminated") + 1] if "terminated" in statuses else statuses
    assert set(delivered) <= set(until_end)
    assert {status for status in until_end if status not in LIFE} <= set(delivered)


def test_an_unknown_status_is_delivered_once() -> None:
    play = Play((head(), [event("paused"), event("paused"), event("ready"), event("paused"), event("terminated")]))
    assert play.delivered == ["paused", "ready", "terminated"]


def test_a_malformed_event_is_skipped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    bad = [b"data: {\n\n", b"data: []\n\n", b'data: {"status":5}\n\n', b'data: {"status":"ready"}\n\n', b"data:\n\n"]
    play = Play((head(), [*bad, b"data: " + b"[" * 100_000 + b"\n\n", event("ready"), event("terminated")]))
    assert play.delivered == ["ready", "terminated"]
    assert len([r for r in caplog.records if "malformed" in r.message]) == len(bad) + 1


def test_events_of_other_types_are_not_statuses(caplog: pytest.LogCaptureFixture) -> None:
    play = Play((head(), [b"event: ping\ndata: {}\n\n", event("terminated")]))
    assert play.delivered == ["terminated"]
    assert not caplog.records


def test_an_unfinished_event_at_a_cut_is_not_delivered() -> None:
    play = Play((head(), [event("scheduled"), event("ready")[:-1], END]), (head(), [event("terminated")]))
    assert play.delivered == ["scheduled", "terminated"]


# ── The first connection ──


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_the_first_connection_is_tried_again(status: int) -> None:
    play = Play(*[(head(status), [])] * 3)
    assert play.connections == 3
    assert isinstance(play.error, HTTPError)
    assert play.error.code == status
    assert play.waits == [0.5, 1.0], "with the stream's backoff"


def test_a_connection_that_is_refused_at_first() -> None:
    play = Play((lost(), []), (lost(), []), (lost("third"), []))
    assert isinstance(play.error, TransportError)
    assert "third" in str(play.error)
    assert Play((lost(), []), (lost(), []), (head(), [event("terminated")])).delivered == ["terminated"]
    assert Play((lost(), []), max_retries=0).waits == []


@pytest.mark.parametrize("status", [201, 301, 302, 400, 401, 403, 404, 409, 410, 501])
def test_other_answers_to_the_first_connection_are_final(status: int) -> None:
    play = Play((head(status), []))
    assert isinstance(play.error, HTTPError)
    assert play.error.code == status
    assert play.connections == 1


def test_no_second_try_for_a_certificate_that_is_not_trusted() -> None:
    assert Play((lost(retryable=False), [])).connections == 1
    assert Play((head(), [event("ready"), END]), (lost(retryable=False), [])).connections == 2


def test_a_first_retry_after_beyond_a_minute_is_the_callers() -> None:
    play = Play((head(429, retry_after="61"), []))
    assert isinstance(play.error, RateLimitError)
    assert play.error.retry_after == 61
    assert Play((head(429, retry_after="60"), []), (head(), [event("terminated")])).waits == [60.5]


@pytest.mark.parametrize("later", [False, True])
def test_a_200_of_another_type_is_an_invalid_response(later: bool) -> None:
    before = [(head(), [event("ready"), END])] if later else []
    play = Play(*before, (Head("GET", URL, 200, {"content-type": "text/html; charset=utf-8"}), []))
    assert isinstance(play.error, InvalidResponseError)
    assert "text/html" in str(play.error)


@pytest.mark.parametrize("later", [False, True])
def test_204_ends_the_stream_without_an_error(later: bool) -> None:
    before = [(head(), [event("ready"), END])] if later else []
    play = Play(*before, (head(204), []))
    assert play.error is None
    assert not play.ran_out


def test_a_content_type_with_parameters_in_capitals() -> None:
    strange = Head("GET", URL, 200, {"content-type": "Text/Event-Stream; Charset=UTF-8"})
    assert Play((strange, [event("terminated")])).delivered == ["terminated"]


# ── Later connections ──


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_later_these_lead_to_a_reconnect_without_limit(status: int) -> None:
    play = Play((head(), [event("ready"), END]), *[(head(status), [])] * 20, (head(), [event("terminated")]))
    assert play.delivered == ["ready", "terminated"]


@pytest.mark.parametrize("end", [END, lost(), stall()])
def test_later_every_kind_of_loss_leads_to_a_reconnect_without_limit(end: Any) -> None:
    play = Play((head(), [event("ready"), end]), *[(lost(), [])] * 20, (head(), [event("terminated")]))
    assert play.delivered == ["ready", "terminated"]


@pytest.mark.parametrize("status", [201, 206, 301, 307, 400, 401, 403, 404, 410, 418])
def test_later_other_answers_end_the_stream(status: int) -> None:
    play = Play((head(), [event("ready"), END]), (head(status), []))
    assert isinstance(play.error, HTTPError)
    assert play.error.code == status


# ── How long it waits ──


def test_the_wait_is_random_under_a_ceiling_that_doubles() -> None:
    connections = [(head(), [event("ready"), END])] + [(lost(), [])] * 9
    assert Play(*connections).waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert Play(*connections, luck=0.5).waits[:3] == [0.25, 0.5, 1]
    assert Play(*connections, luck=0.0).waits == [0.0] * 10
    assert Play(*connections, backoff=Backoff(initial=1, maximum=3)).waits[:4] == [1, 2, 3, 3]


def test_a_server_that_accepts_and_drops_makes_no_hot_loop() -> None:
    replay = (head(), [event("ready"), END])
    assert Play(*[replay] * 7).waits == [0.5, 1, 2, 4, 8, 16, 30]


def test_something_new_starts_the_wait_over() -> None:
    play = Play(
        (head(), [event("scheduled"), END]),
        (head(), [END]),
        (head(), [event("scheduled") + event("ready"), END]),
        (head(), [END]),
    )
    assert play.waits == [0.5, 1, 0.5, 1]


def test_a_connection_that_lived_for_a_minute_starts_the_wait_over() -> None:
    play = Play((head(), [event("ready"), END]), (head(), [END]), (head(), [passing(60), END]), (head(), [END]))
    assert play.waits == [0.5, 1, 0.5, 1]
    play = Play((head(), [event("ready"), END]), (head(), [END]), (head(), [passing(59), END]), (head(), [END]))
    assert play.waits == [0.5, 1, 2, 4]


def test_retry_and_retry_after_are_floors() -> None:
    play = Play(
        (head(), [b"retry: 2000\n\n" + event("ready"), END]),
        (head(503, retry_after="5"), []),
        (head(503, retry_after="1"), []),
        (head(503, retry_after="3600"), []),
        luck=0.0,
    )
    assert play.waits == [2, 5, 2, 60]


def test_retry_is_at_most_the_maximum() -> None:
    assert Play((head(), [b"retry: 999999\n\n" + event("ready"), END]), luck=0.0).waits == [30]


def test_a_retry_after_that_is_a_date() -> None:
    clock = FakeClock()
    assert clock.today == 1_800_000_000.0
    play = Play((head(), [event("ready"), END]), (head(503, retry_after="Fri, 15 Jan 2027 08:00:07 GMT"), []), luck=0.0)
    assert play.waits == [0, 7]


# ── A quiet backend ──


def test_a_stall_that_brings_nothing_new_doubles_the_patience() -> None:
    quiet = (head(), [event("ready"), stall()])
    play = Play(*[quiet] * 8)
    assert [opened.patience for opened in play.opened] == [45, 45, 90, 180, 360, 600, 600, 600, 600]


def test_something_new_brings_the_patience_back() -> None:
    quiet = (head(), [event("scheduled"), stall()])
    play = Play(quiet, quiet, quiet, (head(), [event("ready"), stall()]), quiet)
    assert [opened.patience for opened in play.opened] == [45, 45, 90, 180, 45, 90]


def test_a_stall_timeout_of_ones_own() -> None:
    quiet = (head(), [event("ready"), stall()])
    assert [o.patience for o in Play(*[quiet] * 3, stall_timeout=700.0).opened] == [700] * 4


# ── The question after two seconds ──


def test_each_connection_is_watched_until_its_first_event() -> None:
    play = Play((head(), [b": comment\n\n", event("ready"), event("terminating"), END]), (head(), [END]))
    assert play.log[:5] == ["Open", "Watch", "Read", "Read", "Unwatch"], "comments do not count"
    assert play.log.count("Watch") == 2
    assert play.log.count("Unwatch") == 2, "also at the end of a connection without an event"


def test_an_unknown_backend_ends_the_stream() -> None:
    error = http_error(Answer("GET", URL, 404, {}, b""), now=0)
    play = Play((head(), [error]))
    assert play.error is error
    assert isinstance(play.error, NotFoundError)


# ── Last-Event-ID, compression ──


def test_the_last_event_id_is_sent_when_the_server_gave_ids() -> None:
    play = Play(
        (head(), [b"id: 7\n" + event("scheduled"), END]),
        (head(), [b"id: 8\n" + event("loading")[:-1], END]),
        (head(), [b"id\n" + event("ready"), END]),
    )
    assert [opened.last_event_id for opened in play.opened] == ["", "7", "7", ""]


def test_a_coding_that_was_not_asked_for_ends_the_stream() -> None:
    play = Play((head(content_encoding="br"), [b"xyz"]))
    assert isinstance(play.error, InvalidResponseError)
    play = Play((head(content_encoding="gzip"), [b"this is not gzip"]))
    assert isinstance(play.error, InvalidResponseError)


def test_the_error_carries_what_the_server_said() -> None:
    play = Play((head(503), []), max_retries=0)
    assert isinstance(play.error, ServerError)
    assert play.error.message == "what is wrong"
