"""Both clients against arguments, servers, proxies and clocks that mean them no good, over real sockets."""

from __future__ import annotations

import contextlib
import enum
import gzip
import json
import random
import select
import socket
import ssl
import threading
import time
import tracemalloc
import types
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import trustme
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jamsocket import (
    AuthenticationError,
    BackendTerminatedError,
    Backoff,
    ConfigError,
    HTTPError,
    InvalidResponseError,
    JamsocketError,
    NotFoundError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)
from jamsocket.config import is_loopback
from jamsocket.event_stream import Open, Read
from jamsocket.messages import Head
from jamsocket.sse import EventDecoder, ServerSentEvent
from jamsocket.states import MalformedStateError, parse_state
from jamsocket.status_stream import follow
from tests.support.clients import FakeClock, Maker
from tests.support.faults import (
    Action,
    Connection,
    FaultServer,
    Over,
    Script,
    close,
    endless,
    event,
    finish,
    hang,
    head,
    raw,
    repeat,
    reset,
    respond,
    state,
    stream,
    write,
)
from tests.test_calls import CONNECT, CONNECTION, STATUS, TERMINATE
from tests.test_contract import junk_request, requests

STREAM = STATUS + "/stream"
MIB = 1 << 20
SENT_HEADERS = {"host", "accept", "accept-encoding", "user-agent"}
BODY_HEADERS = SENT_HEADERS | {"content-type", "content-length", "authorization"}

# A client is made for each test and shared by all examples of it, as an application would.
examples = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("POST", CONNECT, [respond(200, CONNECTION)])
        server.on("GET", STATUS, [respond(200, state("ready"))])
        server.on("POST", TERMINATE, [respond(200, {"status": "ok"})])
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def jamsocket(make: Maker, server: FaultServer, clock: FakeClock) -> Any:
    return make.to(server.url, clock=clock)


# ── What connect accepts comes through the wire; what it refuses never gets there ──

# `tests/test_contract.py` plays the ordinary values, without a socket. These are the odd ones.
NAMES = ["self", "cls", "key", "request", "options", "src_dict", "additional_properties", "__class__", "__proto__", ""]
NUMBERS = [0, -1, 1, 2**53 + 1, -(2**64), 10**40, 0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e22, True, False]
CONTROLS = ["\r\nX-Injected: 1", "\0", "\x1b[31m", "\u2028", "\ufeff", "\x7f\x85", '"}],', "\\", "\U0010ffff"]


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


ODD = st.sampled_from([*NUMBERS, *CONTROLS, None, Colour.RED, Size.LARGE])
ODD_JSON = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from([*NAMES, *CONTROLS]), inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3).map(types.MappingProxyType)
    ),
    max_leaves=8,
)
ODD_TEXT = st.sampled_from([*CONTROLS, *NAMES, Colour.RED, "x" * 5000])
ODD_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "key": ODD_TEXT,
        "user": ODD_TEXT,
        "auth": st.dictionaries(st.sampled_from([*NAMES, *CONTROLS]), ODD_JSON, max_size=4),
        "spawn": st.fixed_dictionaries(
            {},
            optional={
                "tag": ODD_TEXT,
                "executable": st.fixed_dictionaries(
                    {}, optional={"env": st.dictionaries(ODD_TEXT, ODD_TEXT, max_size=3), "mount": ODD_TEXT}
                ),
            },
        ),
    },
)


def plain(value: Any) -> Any:
    """The JSON value that a Python value stands for."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict | types.MappingProxyType):
        return {str(plain(name)): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


@examples
@given(request=requests | ODD_REQUESTS)
@example(request={"auth": {"n": [1, 1.0, True, -0.0, 10**300]}})
def test_what_connect_accepts_comes_through_the_wire(jamsocket: Any, server: FaultServer, request: Any) -> None:
    before = len(server.requests)
    jamsocket.connect(request)
    jamsocket.connect(**request)
    sent = server.requests[before:]
    assert len(sent) == 2
    for one in sent:
        assert one.target == CONNECT
        assert set(one.headers) == BODY_HEADERS
        # By repr: 1, 1.0 and True are equal, and so are 0.0 and -0.0, but only in Python.
        assert repr(sorted_all(one.json)) == repr(sorted_all(plain(request)))


def sorted_all(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, sorted_all(value[name])) for name in sorted(value)]
    return [sorted_all(item) for item in value] if isinstance(value, list) else value


BAD = st.sampled_from([object(), b"x", {1}, float("nan"), float("-inf"), "\ud800", 1j, iter([]), range(3)])
BAD_SOMEWHERE = st.recursive(
    BAD, lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.just("a"), inner, min_size=1)
)


@examples
@given(request=junk_request | st.fixed_dictionaries({"auth": st.dictionaries(st.just("a"), BAD_SOMEWHERE, min_size=1)}))
@example(request={"auth": {"\ud800": 1}})
@example(request={"spawn": {"executable": {"env": {"\udfff": "x"}}}})
def test_what_connect_refuses_is_refused_before_sending(jamsocket: Any, server: FaultServer, request: Any) -> None:
    before = len(server.requests)
    try:
        jamsocket.connect(request)
    except (TypeError, ValueError):
        assert len(server.requests) == before
    else:
        assert len(server.requests) == before + 1
        json.loads(server.requests[-1].body, parse_constant=pytest.fail)


@pytest.mark.parametrize("arguments", [{"auth": {"n": 10**5000}}, {"spawn": {"lifetime_limit_seconds": 10**5000}}])
def test_a_number_that_python_does_not_print_is_refused(jamsocket: Any, server: FaultServer, arguments: Any) -> None:
    with pytest.raises(ValueError, match="4300"):
        jamsocket.connect(arguments)
    assert server.requests == []


# ── Header and path injection ──

NASTY = st.lists(
    st.sampled_from(
        ["\r", "\n", "\r\n", "\0", " ", "/", "..", ".", "%", "?", "#", ";", "\\", "a", "é", "\x85", "\u2028"]
    )
    | st.text(max_size=3),
    min_size=1,
    max_size=6,
).map("".join)


@examples
@given(backend_id=NASTY)
@example(backend_id="b1 HTTP/1.1\r\nHost: evil.test\r\n\r\nGET /")
def test_an_id_is_one_part_of_one_path(jamsocket: Any, server: FaultServer, backend_id: str) -> None:
    before = len(server.requests)
    try:
        jamsocket.terminate(backend_id)
    except NotFoundError:
        pass
    except ValueError:
        assert len(server.requests) == before
        return
    (request,) = server.requests[before:]
    empty, version, kind, name, call = request.target.split("/")
    assert (empty, version, kind, unquote(name), call) == ("", "v2", "backend", backend_id, "terminate")
    assert set(request.headers) == BODY_HEADERS
    assert request.headers["host"] == f"127.0.0.1:{server.port}"


@examples
@given(account=NASTY, service=NASTY, environment=st.none() | NASTY)
def test_names_are_one_part_of_one_path_each(
    make: Maker, server: FaultServer, account: str, service: str, environment: str | None
) -> None:
    try:
        client = make.to(server.url, account=account, service=service, environment=environment)
    except ConfigError as error:
        problems = error.problems
    else:
        problems = ()
    if problems:
        # Names are shown as Python would write them: no line of the message is another's.
        assert all(problem.isprintable() for problem in problems)
        return
    before = len(server.requests)
    with pytest.raises(NotFoundError):
        client.connect()
    (request,) = server.requests[before:]
    names = [unquote(part) for part in request.target.split("/")]
    assert names == ["", "v2", "service", account, service, *([environment] if environment else []), "connect"]
    assert set(request.headers) == BODY_HEADERS


@examples
@given(token=NASTY)
def test_a_token_is_one_header_or_refused(make: Maker, server: FaultServer, token: str) -> None:
    try:
        client = make.to(server.url, token=token)
    except ConfigError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert token not in refusal or len(token) < 3  # of which the message may have letters
        return
    before = len(server.requests)
    client.connect()
    (request,) = server.requests[before:]
    assert request.headers["authorization"] == f"Bearer {token}"
    assert set(request.headers) == BODY_HEADERS


HOST_PARTS = ["localhost", "127.0.0.1", "evil.test", "[::1]", ".", "@", ":", ":80", "\\", "/", "#", "?", "%2e", "%40"]
HOST_PARTS += [
    "\t",
    "。",
    "\uff0e",
    "ⓛ",
    ";",
    ",",
    "|",
    "^",
    "user",
    "0x7f.1",
    "2130706433",
    "127.1",
    "\u200b",
    "\u017f",
]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(st.sampled_from(HOST_PARTS), min_size=1, max_size=5))
def test_plain_http_only_ever_goes_to_this_machine(make: Maker, parts: list[str]) -> None:
    """What decides whether a host is this machine, and what connects to it, must not read the URL differently."""
    url = "http://" + "".join(parts)
    with contextlib.suppress(ConfigError):
        client = make.cls(account="a", token="t", service="s", api_url=url)
        sent_to = httpx.URL(client._session.config.api_url + "/v2/x").host
        assert is_loopback(sent_to), url


class Impatient(FakeClock):
    """Fails a test that would go on for ever."""

    def wait(self, wake: threading.Event, seconds: float) -> None:
        super().wait(wake, seconds)
        assert sum(seconds > 0 for seconds in self.slept) < 5, "it tries again and again"

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        assert sum(seconds > 0 for seconds in self.slept) < 5, "it tries again and again"


IDS = ["1", "a:b", "x, y", "\x01", "a\x7fb", "a b", "plain", "x" * 4000, "\x1b[31m"]
IDS += ["é", "☃", "trailing ", "  both  ", "\t", "a\vb", "a\fb", "a\tb\t"]


@pytest.mark.parametrize("id_", IDS)
def test_a_servers_event_id_does_no_harm(make: Maker, server: FaultServer, id_: str) -> None:
    """Sent back as the server gave it, or not at all; the stream goes on either way."""
    clock = Impatient()
    server.on("GET", STREAM, [stream(event("ready", id=id_), finish), stream(event("terminated"), finish)])
    with make.to(server.url, clock=clock).statuses("b1") as states:
        assert [state.status for state in states] == ["ready", "terminated"]
    first, second = server.seen(STREAM)
    usual = SENT_HEADERS | {"cache-control"}
    assert set(first.headers) == usual
    assert set(second.headers) - {"last-event-id"} == usual
    sent = second.headers.get("last-event-id")
    assert sent is None or sent.encode("latin-1") in {id_.encode(), id_.strip(" ").encode()}


def test_a_line_end_in_an_event_id_is_no_header(make: Maker, server: FaultServer) -> None:
    """A carriage return ends the field's line, a NUL voids it: neither can reach the header."""
    body = b'id: 1\rX-Injected: 1\ndata: {"status":"ready","time":"2026-01-02T03:04:05Z"}\n\nid: 2\0\n\n'
    server.on("GET", STREAM, [stream(write(body), finish), stream(event("terminated"), finish)])
    with make.to(server.url, clock=Impatient()).statuses("b1") as states:
        assert [state.status for state in states] == ["ready", "terminated"]
    again = server.seen(STREAM)[1]
    assert again.headers["last-event-id"] == "1"
    assert "x-injected" not in again.headers


# ── Huge and hostile responses ──


def bounded(call: Callable[[], object], peak: int) -> JamsocketError:
    """The error that a call ends in; its memory must stay below the peak."""
    tracemalloc.start()
    try:
        with pytest.raises(JamsocketError) as caught:
            call()
        assert tracemalloc.get_traced_memory()[1] < peak
    finally:
        tracemalloc.stop()
    return caught.value


def megabytes(count: int) -> Action:
    """So much of a body, never held in memory."""

    def action(connection: Connection) -> None:
        for _ in range(count * 16):
            connection.write(b" " * 65536)

    return action


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b" " * (100 * MIB), 1)

HOSTILE: dict[str, tuple[Script, type[JamsocketError]]] = {
    "100 MB of body": (
        [head(200, chunked=False, content_type="application/json", content_length=str(100 * MIB)), megabytes(100)],
        InvalidResponseError,
    ),
    "100 MB of chunks": ([head(200, content_type="application/json"), megabytes(100), finish], InvalidResponseError),
    "100 MB until close": ([raw(OK + b"\r\n"), megabytes(100), close], InvalidResponseError),
    "100 MB of an error": ([head(404, content_type="text/plain"), megabytes(100), finish], NotFoundError),
    "a gzip bomb": ([respond(200, BOMB, content_encoding="gzip")], InvalidResponseError),
    "a gzip bomb as an error": ([respond(404, BOMB, content_encoding="gzip")], NotFoundError),
    "a bomb in a bomb": ([respond(200, gzip.compress(BOMB), content_encoding="gzip, gzip")], InvalidResponseError),
    "endless empty gzip members": (
        [head(200, content_encoding="gzip", content_type="application/json"), endless(gzip.compress(b"") * 100)],
        RequestTimeoutError,
    ),
    "endless headers": ([raw(OK), endless(b"x-a: " + b"b" * 1000 + b"\r\n")], TransportError),
    "one endless header": ([raw(OK + b"x-a: "), endless(b"b" * 1000)], TransportError),
    "an endless status line": ([raw(b"HTTP/1.1 200 "), endless(b"b" * 1000)], TransportError),
    "a continued header": ([raw(OK + b"x-a: b\r\n"), endless(b" c\r\n" * 200)], TransportError),
    "endless chunk extensions": ([raw(CHUNKED + b"5;"), endless(b"a=b;" * 200)], TransportError),
    "an endless chunk size": ([raw(CHUNKED), endless(b"0" * 500)], TransportError),
    "endless trailers": ([raw(CHUNKED + b"2\r\n{}\r\n0\r\n"), endless(b"x-a: b\r\n" * 100)], TransportError),
    "a huge chunk size": ([raw(CHUNKED + b"ffffffffffffffffffff\r\n{}"), close], TransportError),
    "a body shorter than its length": ([raw(OK + b"content-length: 3\r\n\r\n{}"), close], TransportError),
    "a negative length": ([raw(OK + b"content-length: -1\r\n\r\n{}"), close], TransportError),
    "a length of 30 digits": ([raw(OK + b"content-length: " + b"9" * 30 + b"\r\n\r\n{}"), close], TransportError),
    "two lengths": ([raw(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"), close], TransportError),
    "a length that cuts the JSON": (
        [raw(OK + b'content-length: 3\r\n\r\n{"status":"ready"}'), close],
        InvalidResponseError,
    ),
    "another transfer coding": ([raw(OK + b"transfer-encoding: gzip\r\n\r\n"), close], TransportError),
    "a switch of protocols": ([raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), hang], TransportError),
    "a NUL in a header": ([raw(OK + b"a: b\0c\r\ncontent-length: 2\r\n\r\n{}"), close], TransportError),
    "a number of 5,000 digits": ([respond(200, b'{"status":' + b"9" * 5000 + b"}")], InvalidResponseError),
    "a status of 999": ([raw(b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n")], ServerError),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_responses(make: Maker, server: FaultServer, name: str) -> None:
    script, kind = HOSTILE[name]
    timeout = 0.3 if kind is RequestTimeoutError else 10
    server.on("GET", STATUS, list(script))
    client = make.to(server.url, max_retries=0, timeout=timeout)
    began = time.monotonic()
    error = bounded(lambda: client.status("b1"), 64 * MIB)
    assert isinstance(error, kind), error
    assert time.monotonic() - began < 20
    # The client is none the worse for it.
    server.on("GET", STATUS, [respond(200, state("ready"))])
    assert make.to(server.url).status("b1").status == "ready"


def test_a_hostile_stream_is_bounded_too(make: Maker, server: FaultServer) -> None:
    """A bomb of comments, one of an event that never ends, and then the truth."""
    comments = gzip.compress((b":" + b"x" * 4000 + b"\n") * 10_000, 1)
    endless_event = gzip.compress(b"data:" + b"x" * (50 * MIB) + b"\n\n", 1)
    last = gzip.compress(f"data:{json.dumps(state('terminated'))}\n\n".encode())
    scripts = [
        [head(200, chunked=False, content_encoding="gzip"), raw(body), close]
        for body in (comments, endless_event, last)
    ]
    server.on("GET", STREAM, scripts)
    client = make.to(server.url, clock=Impatient())
    tracemalloc.start()
    try:
        with client.statuses("b1") as states:
            assert [state.status for state in states] == ["terminated"]
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


def test_a_bomb_on_a_stream_leaves_room_to_breathe() -> None:
    """Nothing is timed: counted is what is decoded between two steps, where the caller can do something else."""
    answer = Head("GET", "http://api.test", 200, {"content-type": "text/event-stream"}, content_coding="gzip")
    steps = follow(max_retries=0, stall_timeout=45, backoff=Backoff(), clock=FakeClock())
    bomb = gzip.compress(b":\n" * (2 * MIB), 1)
    count = 0

    class Counting(EventDecoder):
        def feed(self, chunk: bytes) -> list[ServerSentEvent]:
            nonlocal count
            count += len(chunk)
            return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jamsocket.event_stream.EventDecoder", Counting)
        step = next(steps)
        while not isinstance(step, Read):
            step = steps.send(answer if isinstance(step, Open) else None)
        steps.send(bomb)
    assert count <= MIB


DRIPS: dict[str, Script] = {
    "a head": [raw(OK + b"x-a: "), repeat(raw(b"b"), 0.02)],
    "interim responses": [repeat(raw(b"HTTP/1.1 100 Continue\r\n\r\n"), 0.02)],
    "many interim responses": [endless(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")],
    "a chunk's extension": [raw(CHUNKED + b"5;"), repeat(raw(b"b"), 0.02)],
    "trailers": [raw(CHUNKED + b"2\r\n{}\r\n0\r\n"), repeat(raw(b"x: y\r\n"), 0.02)],
}


def test_no_drip_outlasts_the_timeout(make: Maker) -> None:
    """A `timeout` of 0.2 s, and each of these goes on for as long as the client listens."""
    with contextlib.ExitStack() as stack:
        ends: dict[str, BaseException] = {}
        threads: list[threading.Thread] = []
        servers: list[FaultServer] = []
        for name, script in DRIPS.items():
            server = stack.enter_context(FaultServer())
            server.on("GET", STATUS, list(script))
            client = make.to(server.url, max_retries=0, timeout=0.2)

            def call(name: str = name, client: Any = client) -> None:
                try:
                    client.status("b1")
                except Exception as error:
                    ends[name] = error

            servers.append(server)
            threads.append(threading.Thread(target=call, daemon=True))
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 3
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        in_time = dict(ends)
        for server in servers:
            server.close()
        for thread in threads:
            thread.join(10)
    assert set(in_time) == set(DRIPS)
    assert all(isinstance(error, RequestTimeoutError) for error in in_time.values())


# ── What a server says is shown as one line, and not at any length ──


def shows_well(error: BaseException) -> None:
    assert len(str(error)) < 2000
    assert str(error).isprintable()


SAID: dict[str, bytes] = {
    "a long reason": b"HTTP/1.1 404 " + b"r" * 60_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "a reason with a tab": b"HTTP/1.1 404 a\tb\r\ncontent-length: 0\r\n\r\n",
    "a long line that is no status": b"HTTP/1.1 x" + b"r" * 60_000 + b"\r\n\r\n",
    "a long line that is no header": OK + b"\0" * 60_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", SAID)
def test_a_heads_text_is_cut(make: Maker, server: FaultServer, name: str) -> None:
    server.on("GET", STATUS, [raw(SAID[name]), close])
    with pytest.raises((HTTPError, TransportError)) as caught:
        make.to(server.url, max_retries=0).status("b1")
    shows_well(caught.value)


@pytest.mark.parametrize("type_", ["x" * 60_000, "text/\x1b[31m"])
def test_a_content_type_is_cut(make: Maker, server: FaultServer, type_: str) -> None:
    server.on("GET", STREAM, stream(finish, content_type=type_))
    with pytest.raises((InvalidResponseError, TransportError)) as caught:
        next(make.to(server.url, max_retries=0).statuses("b1"))
    shows_well(caught.value)


@pytest.mark.parametrize("reason", ["x" * 100_000, "\x1b[31mred", "a\nWARNING:root:forged"])
def test_a_termination_reason_is_cut(make: Maker, server: FaultServer, reason: str) -> None:
    server.on("GET", STATUS, [respond(200, state("terminated", termination_reason=reason))])
    with pytest.raises(BackendTerminatedError) as caught:
        make.to(server.url).wait_until_ready("b1")
    shows_well(caught.value)


def test_a_backend_id_is_shown_on_one_line(make: Maker, server: FaultServer) -> None:
    """The id may be what a server called the backend in its answer to `connect`."""
    server.on("GET", "/v2/backend/b%0AWARNING%3Aforged/status", [respond(200, state("terminated"))])
    with pytest.raises(BackendTerminatedError) as caught:
        make.to(server.url).wait_until_ready("b\nWARNING:forged")
    shows_well(caught.value)


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_at_the_edge_of_the_calendar(when: str) -> None:
    for status in ("ready", "warming"):
        with contextlib.suppress(MalformedStateError):
            parse_state({"status": status, "time": when}).to_dict()


# ── Kept connections that end between requests ──


def all_calls(client: Any) -> list[Callable[[], object]]:
    return [
        lambda: client.status("b1"),
        lambda: client.terminate("b1"),
        client.connect,
        lambda: client.connect(key="k"),
    ]


ANSWERS: dict[tuple[str, str], Action] = {
    ("GET", STATUS): respond(200, state("ready")),
    ("POST", TERMINATE): respond(200, {}),
    ("POST", CONNECT): respond(200, CONNECTION),
}
LATE_408 = raw(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")


def after(seconds: float) -> Action:
    return lambda connection: time.sleep(seconds)


@pytest.mark.parametrize(
    "ending",
    [[close], [reset], [after(0.05), LATE_408, close], [after(0.05), raw(b"\r\n"), close]],
    ids=["closed", "reset", "408 while idle", "a blank line while idle"],
)
def test_a_connection_that_ended_between_requests_fails_none(
    make: Maker, server: FaultServer, ending: Script, clock: FakeClock
) -> None:
    for (method, path), answer in ANSWERS.items():
        server.on(method, path, [answer, *ending])
    client = make.to(server.url, clock=clock, max_retries=0)
    count = 0
    for _ in range(2):
        for call in all_calls(client):
            call()
            count += 1
            assert server.wait_for(lambda: server.open_connections == 0)
            assert len(server.requests) == count, "each call is one request, so no connect spawns twice"
    assert clock.slept == []


@pytest.mark.parametrize("ending", [close, reset], ids=["closed", "reset"])
def test_a_connection_that_ends_just_as_it_is_used(
    make: Maker, server: FaultServer, ending: Action, clock: FakeClock
) -> None:
    """The server saw the request, and went: what is idempotent is tried again, a spawn is not."""
    client = make.to(server.url, clock=clock)
    for (method, path), answer in ANSWERS.items():
        for index, call in enumerate(all_calls(client)):
            if (method, path) != [*ANSWERS, ("POST", CONNECT)][index]:
                continue
            is_spawn = index == 2
            client.status("b1") if path != STATUS else call()  # so that there is a kept connection
            server.on(method, path, [[ending], [answer]])
            before = len(server.requests)
            if is_spawn:
                with pytest.raises(TransportError) as caught:
                    call()
                assert caught.value.request_sent
            else:
                call()
            assert len(server.requests) - before == (1 if is_spawn else 2)


def test_what_a_server_adds_to_an_answer_is_no_other_requests_answer(make: Maker, server: FaultServer) -> None:
    """A second response behind the first, in the same packet: it must not be taken for that of the next request."""
    body = json.dumps(state("ready")).encode()
    forged = json.dumps(state("terminated")).encode()
    answer = OK + b"content-length: %d\r\n\r\n" % len(body) + body
    surplus = OK + b"content-length: %d\r\n\r\n" % len(forged) + forged
    server.on("GET", STATUS, [[raw(answer + surplus)], [respond(200, state("waiting"))]])
    client = make.to(server.url)
    assert client.status("b1").status == "ready"
    assert client.status("b1").status == "waiting"


# ── Proxies from the environment ──


def tunnel(port: int) -> Action:
    """What a proxy does with CONNECT: bytes to and fro, whatever they are."""

    def action(connection: Connection) -> None:
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pairs = {connection.sock: upstream, upstream: connection.sock}
            while not connection.server.stopping.is_set():
                for ready in select.select(list(pairs), [], [], 0.02)[0]:
                    data = ready.recv(65536)
                    if not data:
                        raise Over
                    pairs[ready].sendall(data)

    return action


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    with FaultServer() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url.replace("http://", "http://user:pw-planted@"))
        yield proxy


@pytest.fixture
def behind(proxy: FaultServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """The API, as https://api.test, reached through the proxy only."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.test").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with FaultServer(tls=context) as server:
        for (method, path), answer in ANSWERS.items():
            server.on(method, path, [answer])
        server.on("GET", STREAM, stream(event("ready"), event("terminated"), finish))
        proxy.on("CONNECT", "api.test:443", [tunnel(server.port)])
        yield server


def test_https_goes_through_a_tunnel(make: Maker, proxy: FaultServer, behind: FaultServer) -> None:
    client = make.to("https://api.test")
    for call in all_calls(client):
        call()
    with client.statuses("b1") as states:
        assert [state.status for state in states] == ["ready", "terminated"]
    assert len(behind.requests) == 5
    assert behind.requests[1].headers["authorization"] == "Bearer tok-planted-secret"
    # One tunnel for the calls, one for the stream; the proxy hears where to, and its own credentials, and no more.
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", "api.test:443")] * 2
    for request in proxy.requests:
        assert request.headers["proxy-authorization"].startswith("Basic ")
        assert set(request.headers) == {"host", "accept", "proxy-authorization"}
    assert all("proxy-authorization" not in request.headers for request in behind.requests)


def here(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Lets a name resolve to this machine."""
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        return real("127.0.0.1" if host in {name, name.encode()} else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("exempt", ["api.test", "*", "other.test,api.test", ".test", "test"])
def test_no_proxy_is_honoured(
    make: Maker, server: FaultServer, proxy: FaultServer, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    here(monkeypatch, "api.test")
    monkeypatch.setenv("NO_PROXY", exempt)
    client = make.to(f"http://api.test:{server.port}", allow_insecure_http=True)
    assert client.status("b1").status == "ready"
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


def test_no_proxy_for_another_host_changes_nothing(
    make: Maker, server: FaultServer, proxy: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "other.test,pi.test")
    proxy._scripts["GET", f"http://api.test{STATUS}"] = [[respond(200, state("ready"))]]
    assert make.to("http://api.test", allow_insecure_http=True).status("b1").status == "ready"
    assert len(proxy.requests) == 1


def test_a_proxy_that_wants_credentials(make: Maker, proxy: FaultServer, clock: FakeClock) -> None:
    proxy._scripts["GET", f"http://api.test{STATUS}"] = [[respond(407, proxy_authenticate="Basic")]]
    with pytest.raises(AuthenticationError, match="A proxy wants credentials") as caught:
        make.to("http://api.test", allow_insecure_http=True, clock=clock).status("b1")
    assert "pw-planted" not in str(caught.value)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("status", "attempts"),
    [
        (407, 1),
        (403, 1),
        (502, 3),
    ],
)
def test_a_proxy_that_refuses_the_tunnel(
    make: Maker, proxy: FaultServer, behind: FaultServer, clock: FakeClock, status: int, attempts: int
) -> None:
    """Nothing reached the API, so that even a spawn may be tried again, where that can help."""
    proxy.on("CONNECT", "api.test:443", [respond(status, b"planted-page", proxy_authenticate="Basic")])
    with pytest.raises(JamsocketError, match=str(status)) as caught:
        make.to("https://api.test", clock=clock).connect()
    assert "pw-planted" not in str(caught.value)
    assert not getattr(caught.value, "request_sent", False)
    assert behind.requests == []
    assert len(proxy.requests) == attempts


@pytest.mark.parametrize("script", [[close], [reset], [raw(b"SSH-2.0\r\n\r\n"), close], [respond(200), close]])
def test_a_proxy_that_fails(
    make: Maker, proxy: FaultServer, behind: FaultServer, clock: FakeClock, script: Any
) -> None:
    proxy.on("CONNECT", "api.test:443", list(script))
    with pytest.raises(TransportError) as caught:
        make.to("https://api.test", clock=clock).status("b1")
    assert "pw-planted" not in str(caught.value)
    assert clock.slept
    assert behind.requests == []


def test_a_proxy_that_is_not_there(make: Maker, proxy: FaultServer, clock: FakeClock) -> None:
    proxy.refuse()
    with pytest.raises(TransportError) as caught:
        make.to("https://api.test", clock=clock).connect()
    assert not caught.value.request_sent
    assert "pw-planted" not in str(caught.value)


# ── Clock jumps ──


class Jumping(FakeClock):
    """Its time of day jumps by up to years, back and forth, whenever it is looked at; seconds pass as ever."""

    def __init__(self) -> None:
        super().__init__()
        self._dice = random.Random(4)

    def time_of_day(self) -> float:
        return self.today + self._dice.choice([-1, 1]) * self._dice.uniform(0, 3e8)


def test_the_time_of_day_decides_nothing(make: Maker, server: FaultServer) -> None:
    waits = []
    for clock in (FakeClock(), Jumping()):
        client = make.to(server.url, clock=clock)
        server.on("GET", STATUS, [[respond(503, retry_after="3")], [respond(500)], [respond(200, state("ready"))]])
        assert client.status("b1").status == "ready"
        scripts: list[Script] = [
            stream(event("ready"), reset),
            [respond(503, retry_after="7")],
            [respond(502)],
            stream(write(b"retry: 2000\n\n"), finish),
            stream(event("terminated"), finish),
        ]
        server.on("GET", STREAM, scripts)
        with client.statuses("b1", backoff=Backoff(0.5, 30)) as states:
            assert [state.status for state in states] == ["ready", "terminated"]
        waits.append(clock.slept)
    assert waits[0] == waits[1]
    assert len(waits[0]) == 6


@pytest.mark.parametrize(("jump", "waited"), [(-3600, None), (0, 9.0), (5, 4.0), (3600, 0.0)])
def test_a_retry_after_date_is_read_with_the_clock_that_there_is(
    make: Maker, server: FaultServer, jump: float, waited: float | None
) -> None:
    """The one place where the time of day counts: a clock that is wrong waits too little, or not at all."""
    clock = FakeClock(luck=0.0)
    clock.today += jump
    server.on("GET", STATUS, [[respond(429, retry_after="Fri, 15 Jan 2027 08:00:09 GMT")], ANSWERS_STATUS])
    client = make.to(server.url, clock=clock)
    if waited is None:
        with pytest.raises(RateLimitError):
            client.status("b1")
        assert clock.slept == []
    else:
        client.status("b1")
        assert clock.slept == [waited]


ANSWERS_STATUS: Script = [ANSWERS["GET", STATUS]]


@settings(max_examples=300, deadline=None)
@given(
    value=st.text(max_size=30)
    | st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        st.sampled_from(["Fri", "Mon", "", "x"]),
        st.integers(-1, 99),
        st.sampled_from(["Jan", "Feb", "Xyz", "13"]),
        st.integers(-1, 99999),
        st.integers(-1, 99),
        st.integers(-1, 99),
        st.integers(-1, 99),
        st.sampled_from(["GMT", "-0000", "+9999", "-2359", "", "EST", "Z", "+99999999999999999999"]),
    )
)
def test_no_retry_after_raises(value: str) -> None:
    from jamsocket.errors import retry_after

    seconds = retry_after({"retry-after": value}, 1_800_000_000.0)
    assert seconds is None or seconds >= 0
