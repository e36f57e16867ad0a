"""`SessionBackend` and its asyncio twin over real sockets: each test is written once and runs for both."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import copy
import doctest
import gc
import inspect
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jamsocket import (
    AsyncSessionBackend,
    BackendTerminatedError,
    Backoff,
    ConnectResponse,
    HTTPError,
    InvalidResponseError,
    Jamsocket,
    JamsocketError,
    NotFoundError,
    ReadyState,
    ServerError,
    SessionBackend,
    TerminatedState,
    TransportError,
    WaitTimeoutError,
)
from jamsocket.connection import ConnectionURL
from jamsocket.hosting import DevServer
from tests.support.clients import AT_ONCE, Loop
from tests.support.faults import (
    LIFE,
    FaultServer,
    event,
    hang,
    hosted_stream,
    reset,
    respond,
    state,
    stream,
    until,
)

ROOT = Path(__file__).parent.parent
STATUS = "/elsewhere/b1/status"
STREAM = "/elsewhere/b1/status/stream"
FAST = Backoff(initial=0.001, maximum=0.01)
SECRETS = ("planted-token", "planted-secret", "planted-ready")


class Face:
    """An asyncio object behind a blocking face: whatever is called is called, and awaited, on the loop."""

    def __init__(self, loop: Loop, target: Any) -> None:
        self.loop = loop
        self.target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.target, name)
        if not callable(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            outcome = found(*args, **kwargs)
            return await outcome if inspect.isawaitable(outcome) else outcome

        return lambda *args, **kwargs: self.loop.run(call(*args, **kwargs))

    def close(self) -> None:
        self.loop.run(self.target.aclose())

    def __repr__(self) -> str:
        return repr(self.target)


class Backends:
    """Makes session backends of one kind, and closes them at the end."""

    def __init__(self, kind: str, server: FaultServer) -> None:
        self.kind = kind
        self.server = server
        self.loop = Loop() if kind == "asyncio" else None
        self._made: list[Any] = []

    def connection(self, **fields: Any) -> dict[str, Any]:
        return {
            "backend_id": "b1",
            "spawned": True,
            "status": "scheduled",
            "token": "planted-token",
            "url": "http://localhost:9090/planted-token/",
            "secret_token": "planted-secret",
            "status_url": self.server.url + STATUS,
            "ready_url": "https://ready.example.com/planted-ready",
            **fields,
        }

    def __call__(self, connection: Any = None, **options: Any) -> Any:
        connection = self.connection() if connection is None else connection
        options = {"backoff": FAST, **options}
        made: Any
        if self.loop is None:
            made = SessionBackend(connection, **options)
        else:
            made = Face(self.loop, AsyncSessionBackend(connection, **options))
        self._made.append(made)
        return made

    def forget(self, made: Any) -> None:
        self._made.remove(made)

    def close(self) -> None:
        for made in self._made:
            made.close()
        if self.loop is not None:
            self.loop.close()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("GET", STATUS, [respond(200, state("starting"))])
        yield server


@pytest.fixture(params=["blocking", "asyncio"])
def backends(request: pytest.FixtureRequest, server: FaultServer) -> Iterator[Backends]:
    backends = Backends(request.param, server)
    yield backends
    backends.close()


def soon(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


def words(got: list[Any]) -> list[str]:
    return [getattr(each, "raw_status", each.status) for each in got]


# ── What it is made of ──


def test_from_whatever_holds_a_connection(backends: Backends) -> None:
    plain = backends.connection()
    for given in (plain, ConnectResponse.from_dict(plain), json.dumps(plain), json.dumps(plain).encode()):
        backend = backends(given)
        assert backend.url == plain["url"]
        assert backend.backend_id == "b1"
        assert backend.status_url == plain["status_url"]
        assert backend.is_ready is False
        assert backend.is_terminated is False
    assert backends.server.requests == [], "nothing starts before somebody listens"


def test_what_the_dev_server_answers(backends: Backends) -> None:
    assert backends(backends.connection(ready_url="", secret_token=None)).url


def test_the_status_of_the_response_counts_until_more_is_known(backends: Backends) -> None:
    assert backends(backends.connection(status="ready")).is_ready
    assert backends(backends.connection(status="terminated")).is_terminated


@pytest.mark.parametrize("given", [None, 5, ["x"], "no json", b"\xff", "[]", "5", {}, "{}"])
def test_what_is_no_connection(backends: Backends, given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="connection"):
        backends({} if given is None else given)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"status_url": "ftp://x/status"}, "status_url must be an http or https URL"),
        ({"status_url": "javascript:alert(1)"}, "status_url must be an http"),
        ({"status_url": "file:///etc/passwd"}, "status_url must be an http"),
        ({"status_url": "/v2/backend/b1/status"}, "status_url must be an http"),
        ({"status_url": "http://"}, "status_url names no host"),
        ({"status_url": "http://a b/"}, "status_url is not a URL"),
        ({"status_url": "http://x:99999/"}, "status_url is not a URL"),
        ({"status_url": "http://u:planted-secret@x/"}, "user or a password"),
        ({"url": "ws://x/planted-token/"}, "url must be an http or https URL"),
        ({"url": "http://[planted-token/"}, "url is not a URL"),
        ({"spawned": "yes"}, "spawned is not true or false"),
        ({"token": 5}, "token is not a string"),
    ],
)
def test_connections_that_cannot_be_used(backends: Backends, fields: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        backends(backends.connection(**fields))
    shown = "".join(map(str, (caught.value, caught.value.__cause__, caught.value.args)))
    assert not any(secret in shown for secret in SECRETS)


def test_broken_json_is_not_shown(backends: Backends) -> None:
    with pytest.raises(ValueError, match="neither") as caught:
        backends(json.dumps(backends.connection())[:-1])
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not any(secret in str(caught.value) for secret in SECRETS)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"max_retries": -1}, {"stall_timeout": -1}, {"http_client": 5}])
def test_options_that_are_none(backends: Backends, options: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        backends(**options)


def test_no_secret_is_shown(backends: Backends, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    backends.server.on("GET", STREAM, [stream(event("ready"), reset), [respond(410)]])
    backend = backends()
    errors: list[Exception] = []
    backend.on_status(lambda _: None, on_error=errors.append)
    assert soon(lambda: bool(errors))
    shown = [repr(backend), repr(backend.socketio), str(errors[0]), repr(errors[0]), caplog.text]
    assert not any(secret in each for secret in SECRETS for each in shown)
    assert "b1" in repr(backend)
    requests = backends.server.requests
    assert all("authorization" not in request.headers and "planted" not in request.target for request in requests)


# ── URLs ──


URL = "https://b1.example.com/planted-token/"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("strokes", "strokes"),
        ("a/b/?x=1&y=%2F#top", "a/b/?x=1&y=%2F#top"),
        ("?x=1", "?x=1"),
        ("#top", "#top"),
        ("a/../b", "a/../b"),
        ("./a", "./a"),
        ("room:1", "room:1"),
        ("a b/ü?q=ö", "a%20b/%C3%BC?q=%C3%B6"),
        ("100%25", "100%25"),
        ("..a/b..", "..a/b.."),
        ("a?next=/x&u=https://y/", "a?next=/x&u=https://y/"),
        (URL + "a", "a"),
        (URL, ""),
        ("/planted-token/a?b", "a?b"),
        ("/planted-token", ""),
        ("//B1.example.com/planted-token/a", "a"),
    ],
)
def test_paths_that_keep_the_token(path: str, expected: str) -> None:
    assert ConnectionURL(URL).join(path) == URL + expected
    assert ConnectionURL(URL).websocket(path) == URL.replace("https:", "wss:") + expected
    assert str(httpx.URL(URL + expected)).startswith(URL), "also after another library has read it"


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("/", "would be lost"),
        ("/strokes", r'"/strokes" begins at the root.* write "strokes"'),
        ("/other-token-of-somebody-else-planted-secret/x", "without the leading slash"),
        ("/planted-tokenx/a", "would be lost"),
        ("http://b1.example.com/planted-token/a", "another address"),
        ("https://b1.example.com.evil.org/planted-token/", "another address"),
        ("https://evil.org/", "another address"),
        ("//evil.org/planted-token/", "another address"),
        ("ftp://b1.example.com/planted-token/", "another address"),
        ("https://b1.example.com/x", "would be lost"),
        ("../x", "leads out"),
        ("a/../../x", "leads out"),
        ("%2e%2E/x", "leads out"),
        ("/planted-token/../x", "leads out"),
        ("\\x", "backslashes"),
        ("\t/x", "control characters"),
        ("a\nb", "control characters"),
        (" /x", "spaces at its ends"),
    ],
)
def test_paths_that_would_lose_the_token(path: str, match: str) -> None:
    for derive in (ConnectionURL(URL).join, ConnectionURL(URL).websocket):
        with pytest.raises(ValueError, match=match) as caught:
            derive(path)
        assert not any(secret in str(caught.value) for secret in SECRETS)


def test_a_path_that_is_none() -> None:
    with pytest.raises(TypeError, match="path must be a string"):
        ConnectionURL(URL).join(5)  # type: ignore[arg-type]


def test_url_helpers(backends: Backends) -> None:
    backend = backends()
    assert backend.url_for() == backend.url
    assert backend.url_for("a?b=c") == "http://localhost:9090/planted-token/a?b=c"
    assert backend.websocket_url() == "ws://localhost:9090/planted-token/"
    assert backend.websocket_url("socket") == "ws://localhost:9090/planted-token/socket"
    assert backend.socketio.origin == "http://localhost:9090"
    assert backend.socketio.socketio_path == "planted-token/socket.io"


def test_a_url_with_a_query_or_without_a_slash() -> None:
    assert ConnectionURL("http://x/tok?k=1").join("a?b=2") == "http://x/tok/a?k=1&b=2"
    assert ConnectionURL("http://x/tok").join("") == "http://x/tok"
    assert ConnectionURL("http://x/tok").socketio().socketio_path == "tok/socket.io"


# ── Listeners ──


def test_every_listener_sees_everything_on_one_stream(backends: Backends) -> None:
    go_on = threading.Event()
    rest = [event(status) for status in LIFE[3:]]
    backends.server.on("GET", STREAM, stream(*(event(status) for status in LIFE[:3]), until(go_on), *rest, hang))
    backend = backends()
    first: list[Any] = []
    second: list[Any] = []
    late: list[Any] = []
    backend.on_status(first.append)
    backend.on_status(second.append)
    assert soon(lambda: words(first) == words(second) == LIFE[:3])
    backend.on_status(late.append)
    assert soon(lambda: words(late) == LIFE[:3])
    go_on.set()
    assert soon(lambda: words(first) == words(second) == words(late) == LIFE)
    after: list[Any] = []
    backend.on_status(after.append)
    assert soon(lambda: words(after) == LIFE), "also when all is over"
    assert backend.is_terminated
    assert not backend.is_ready
    assert len(backends.server.seen(STREAM)) == 1
    assert backends.server.wait_for(lambda: backends.server.open_connections == 0)


def test_it_comes_back_and_repeats_nothing(backends: Backends) -> None:
    scripts = [stream(*(event(status) for status in LIFE[:4]), reset), [respond(503)], hosted_stream(LIFE)]
    backends.server.on("GET", STREAM, scripts)
    got: list[Any] = []
    backends().on_status(got.append)
    assert soon(lambda: words(got) == LIFE)


def test_unknown_statuses_come_through(backends: Backends) -> None:
    backends.server.on("GET", STREAM, stream(event("paused", 1), event("ready"), event("terminated"), hang))
    got: list[Any] = []
    backends().on_status(got.append)
    assert soon(lambda: words(got) == ["paused", "ready", "terminated"])


def test_a_callback_that_raises_hurts_nobody(backends: Backends, caplog: pytest.LogCaptureFixture) -> None:
    backends.server.on("GET", STREAM, hosted_stream(LIFE))
    backend = backends()
    got: list[Any] = []

    def raising(state: Any) -> None:
        raise LookupError("in the callback")

    backend.on_status(raising)
    backend.on_status(got.append)
    assert soon(lambda: words(got) == LIFE)
    assert soon(lambda: sum(1 for record in caplog.records if record.exc_info) == len(LIFE))


def test_a_slow_listener_holds_up_nobody(backends: Backends) -> None:
    backends.server.on("GET", STREAM, hosted_stream(LIFE))
    backend = backends()
    leave = threading.Event()
    slow: list[Any] = []

    def blocking(state: Any) -> None:
        slow.append(state)
        leave.wait(10)

    async def suspended(state: Any) -> None:
        slow.append(state)
        await asyncio.to_thread(leave.wait, 10)

    unsubscribe = backend.on_status(blocking if backends.kind == "blocking" else suspended)
    got: list[Any] = []
    backend.on_status(got.append)
    assert soon(lambda: words(got) == LIFE and bool(slow))
    began = time.monotonic()
    unsubscribe()
    assert time.monotonic() - began < AT_ONCE, "it does not wait for a callback that runs"
    leave.set()
    backend.close()
    assert words(slow) == LIFE[:1]


def test_unsubscribing(backends: Backends) -> None:
    go_on = threading.Event()
    backends.server.on("GET", STREAM, stream(event("ready"), until(go_on), event("terminated"), hang))
    backend = backends()
    gone: list[Any] = []
    stays: list[Any] = []
    unsubscribe = backend.on_status(gone.append)
    backend.on_status(stays.append)
    assert soon(lambda: words(gone) == words(stays) == ["ready"])
    unsubscribe()
    unsubscribe()
    go_on.set()
    assert soon(lambda: words(stays) == ["ready", "terminated"])
    assert words(gone) == ["ready"]


def test_unsubscribing_from_inside(backends: Backends) -> None:
    backends.server.on("GET", STREAM, stream(event("starting"), event("ready"), event("terminated"), hang))
    backend = backends()
    box: list[Callable[[], None]] = []
    is_there = threading.Event()
    got: list[Any] = []

    def on_status(state: Any) -> None:
        if backends.kind == "blocking":
            is_there.wait(5)
        got.append(state)
        box[0]()

    box.append(backend.on_status(on_status))
    is_there.set()
    assert backend.wait_terminated(5)
    assert soon(lambda: bool(got))
    backend.close()
    assert words(got) == ["starting"]


def test_waiting_inside_a_callback(backends: Backends) -> None:
    go_on = threading.Event()
    backends.server.on("GET", STREAM, stream(event("ready"), until(go_on), event("terminated"), hang))
    backend = backends()
    got: list[Any] = []

    def blocking(state: Any) -> None:
        go_on.set()
        got.append(backend.wait_terminated(5))

    async def suspended(state: Any) -> None:
        go_on.set()
        got.append(await backend.target.wait_terminated(5))

    backend.on_ready(blocking if backends.kind == "blocking" else suspended)
    assert soon(lambda: words(got) == ["terminated"])


def test_on_ready_is_called_once_and_late_comers_at_once(backends: Backends) -> None:
    backends.server.on("GET", STREAM, stream(*(event(status) for status in LIFE[:5]), hang))
    backend = backends()
    first: list[Any] = []
    late: list[Any] = []
    backend.on_ready(first.append)
    assert soon(lambda: words(first) == ["ready"])
    assert backend.is_ready
    backend.on_ready(late.append)
    assert soon(lambda: words(late) == ["ready"])
    assert isinstance(first[0], ReadyState)
    backend.close()
    assert words(first) == ["ready"]


@pytest.mark.parametrize("now", ["terminating", "terminated"])
def test_on_ready_is_not_called_for_a_backend_that_was_ready(backends: Backends, now: str) -> None:
    backends.server.on("GET", STATUS, [respond(200, state(now))])
    backends.server.on("GET", STREAM, hosted_stream(LIFE))
    backend = backends()
    ready: list[Any] = []
    errors: list[Exception] = []
    everything: list[Any] = []
    backend.on_ready(ready.append, on_error=errors.append)
    backend.on_status(everything.append)
    assert soon(lambda: words(everything) == LIFE), "the past is told to those who ask for it"
    assert soon(lambda: len(errors) == 1)
    assert isinstance(errors[0], BackendTerminatedError)
    backend.on_ready(ready.append, on_error=errors.append)
    assert soon(lambda: len(errors) == 2)
    assert ready == []
    assert not backend.is_ready


def test_a_backend_that_ends_is_not_worth_a_log_line(backends: Backends, caplog: pytest.LogCaptureFixture) -> None:
    backends.server.on("GET", STREAM, stream(event("terminated"), hang))
    backend = backends()
    backend.on_ready(lambda _: None)
    backend.wait_terminated()
    backend.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_an_error_goes_to_every_listener_or_to_the_log(backends: Backends, caplog: pytest.LogCaptureFixture) -> None:
    backends.server.on("GET", STREAM, [stream(event("ready"), reset), [respond(410, b"gone for good")]])
    backend = backends()
    errors: list[Exception] = []
    backend.on_status(lambda _: None, on_error=errors.append)
    backend.on_status(lambda _: None)
    assert soon(lambda: len(errors) == 1)
    assert isinstance(errors[0], HTTPError)
    assert soon(lambda: any("gone for good" in record.message for record in caplog.records))


def test_after_an_error_the_next_listener_tries_anew(backends: Backends) -> None:
    backends.server.on("GET", STREAM, [[respond(403)], hosted_stream(LIFE)])
    backend = backends()
    errors: list[Exception] = []
    backend.on_status(lambda _: None, on_error=errors.append)
    assert soon(lambda: len(errors) == 1)
    got: list[Any] = []
    backend.on_status(got.append)
    assert soon(lambda: words(got) == LIFE)


# ── Waiting ──


def test_waiting_until_ready(backends: Backends) -> None:
    backends.server.on("GET", STREAM, stream(*(event(status) for status in LIFE[:5]), hang))
    backend = backends()
    assert isinstance(backend.wait_ready(), ReadyState)
    assert backend.is_ready
    assert isinstance(backend.wait_ready(timeout=None), ReadyState)
    assert len(backends.server.seen(STREAM)) == 1


def test_waiting_until_terminated(backends: Backends) -> None:
    backends.server.on("GET", STREAM, stream(event("ready"), event("terminated", termination_reason="swept"), hang))
    backend = backends()
    ended = backend.wait_terminated()
    assert isinstance(ended, TerminatedState)
    assert ended.termination_reason == "swept"
    assert backend.wait_terminated(1) == ended
    assert backend.is_terminated


def test_a_backend_that_had_ended_when_it_was_connected(backends: Backends) -> None:
    backends.server.on("GET", STATUS, [respond(200, state("terminated"))])
    backends.server.on("GET", STREAM, hosted_stream(LIFE))
    connection = backends.connection(status="terminated")
    assert backends(connection).wait_terminated(5).status == "terminated"
    with pytest.raises(BackendTerminatedError):
        backends(connection).wait_ready(5)


@pytest.mark.parametrize("now", ["starting", "terminating", "terminated"])
def test_a_backend_that_ends_instead(backends: Backends, now: str) -> None:
    reason = {"termination_reason": "swept"}
    backends.server.on("GET", STATUS, [respond(200, state(now, **reason))])
    past = LIFE[:3] if now == "starting" else LIFE[:5]
    end = [event("terminating", **reason), event("terminated", **reason)]
    backends.server.on("GET", STREAM, stream(*(event(status) for status in past), *end, hang))
    backend = backends()
    for _ in range(2):
        with pytest.raises(BackendTerminatedError, match="swept") as caught:
            backend.wait_ready()
        assert caught.value.backend_id == "b1"
        assert caught.value.state.termination_reason == "swept"


def test_a_backend_nobody_knows(backends: Backends) -> None:
    backends.server.on("GET", STATUS, [respond(404)])
    backend = backends()
    for wait in (backend.wait_ready, backend.wait_terminated, backend.status):
        with pytest.raises(NotFoundError):
            wait()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([respond(503)], ServerError),
        ([respond(301, location="/x")], HTTPError),
        ([respond(200, b"<html>", content_type="text/html")], InvalidResponseError),
        ([respond(204)], JamsocketError),
    ],
)
def test_errors_of_the_stream_are_the_waiters(backends: Backends, script: Any, error: type[Exception]) -> None:
    backends.server.on("GET", STREAM, script)
    with pytest.raises(error):
        backends(max_retries=0).wait_ready()


def test_a_refused_connection(backends: Backends) -> None:
    backends.server.refuse()
    with pytest.raises(TransportError):
        backends(max_retries=0).wait_ready()


@pytest.mark.parametrize("place", ["status", "stream", "head", "backoff"])
@pytest.mark.parametrize("wait", ["wait_ready", "wait_terminated"])
def test_waiting_has_an_end(backends: Backends, place: str, wait: str) -> None:
    if place == "status":
        backends.server.on("GET", STATUS, [hang])
    scripts: dict[str, Any] = {
        "head": [hang],
        "stream": stream(event("starting"), hang),
        "backoff": [stream(event("starting"), reset), [reset]],
    }
    backends.server.on("GET", STREAM, scripts.get(place, [hang]))
    backend = backends(backoff=Backoff(initial=60, maximum=60))
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError, match="no status" if place == "status" else "starting") as caught:
        getattr(backend, wait)(timeout=0.3)
    assert 0.25 < time.monotonic() - began < AT_ONCE
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.timeout == 0.3
    assert ("was not ready" if wait == "wait_ready" else "had not terminated") in str(caught.value)
    again = copy.copy(caught.value)
    assert str(again) == str(caught.value)


@pytest.mark.parametrize(("timeout", "error"), [(0, ValueError), (-1, ValueError), ("5", TypeError), (True, TypeError)])
def test_timeouts_that_are_none(backends: Backends, timeout: Any, error: type[Exception]) -> None:
    for wait in (backends().wait_ready, backends().wait_terminated):
        with pytest.raises(error, match="timeout"):
            wait(timeout)
    assert backends.server.requests == []


def test_many_waiters_share_the_stream(backends: Backends) -> None:
    go_on = threading.Event()
    backends.server.on("GET", STREAM, stream(event("starting"), until(go_on), event("ready"), hang))
    backend = backends()
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(backend.wait_ready())) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert backends.server.wait_for(lambda: bool(backends.server.seen(STREAM)))
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert words(got) == ["ready"] * 20
    assert len(backends.server.seen(STREAM)) == 1
    assert len(backends.server.seen(STATUS)) == 1


def test_status_asks_and_is_remembered(backends: Backends) -> None:
    backends.server.on("GET", STATUS, [[respond(200, state("ready"))], [respond(200, state("terminating"))]])
    backend = backends()
    assert backend.status().status == "ready"
    assert backend.is_ready
    assert backend.status().status == "terminating"
    assert not backend.is_ready
    assert backends.server.seen(STREAM) == []


def test_a_status_url_with_a_query(backends: Backends) -> None:
    backends.server.on("GET", STREAM, hosted_stream(LIFE))
    backend = backends(backends.connection(status_url=f"{backends.server.url}{STATUS}?a=b#c"))
    assert backend.wait_terminated(5)
    assert [request.target for request in backends.server.requests] == [f"{STATUS}?a=b", f"{STREAM}?a=b"]


def test_a_client_of_the_users_own(backends: Backends) -> None:
    backends.server.on("GET", STREAM, hosted_stream(LIFE))
    headers = {"authorization": "Bearer planted-secret"}
    own: Any = httpx.Client(headers=headers) if backends.loop is None else httpx.AsyncClient(headers=headers)
    backend = backends(http_client=own)
    assert backend.wait_terminated(5)
    backend.close()
    assert not own.is_closed
    assert all("authorization" not in request.headers for request in backends.server.requests)
    if backends.loop is None:
        own.close()
    else:
        backends.loop.run(own.aclose())


# ── Life and death ──


PLACES: dict[str, Any] = {
    "blocked read": stream(event("ready"), hang),
    "stalled head": [hang],
    "backoff": [stream(event("ready"), reset), [reset]],
}


@pytest.mark.parametrize("place", ["stalled status", *PLACES])
def test_closing_ends_everything(backends: Backends, place: str) -> None:
    before = set(threading.enumerate())
    if place == "stalled status":
        backends.server.on("GET", STATUS, [hang])
    backends.server.on("GET", STREAM, PLACES.get(place, [hang]))
    backend = backends(backoff=Backoff(initial=60, maximum=60))
    outcomes: list[Exception] = []
    calls: list[Any] = []
    backend.on_status(calls.append, on_error=calls.append)

    def wait() -> None:
        try:
            backend.wait_terminated()
        except Exception as error:
            outcomes.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    path = STATUS if place == "stalled status" else STREAM
    assert backends.server.wait_for(lambda: bool(backends.server.seen(path)))
    assert soon(lambda: place in {"stalled status", "stalled head"} or words(calls) == ["ready"])
    began = time.monotonic()
    backend.close()
    backend.close()
    thread.join(5)
    assert not thread.is_alive()
    assert [type(error) for error in outcomes] == [RuntimeError]
    requests = len(backends.server.requests)
    assert backends.server.wait_for(lambda: backends.server.open_connections == 0)
    ours = ("jamsocket",)
    assert soon(lambda: not [t for t in threading.enumerate() if t not in before and t.name.startswith(ours)])
    assert time.monotonic() - began < AT_ONCE
    assert len(backends.server.requests) == requests, "no reconnect"
    assert len(calls) == (0 if place in {"stalled status", "stalled head"} else 1), "no error for those who closed it"


def test_nothing_can_be_asked_of_a_closed_one(backends: Backends) -> None:
    backend = backends()
    backend.close()
    for attempt in (
        backend.wait_ready,
        backend.wait_terminated,
        backend.status,
        lambda: backend.on_status(print),
        lambda: backend.on_ready(print),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            attempt()
    assert backend.url
    assert backends.server.requests == []


def test_closing_from_inside_a_callback(backends: Backends) -> None:
    backends.server.on("GET", STREAM, stream(event("starting"), event("ready"), hang))
    backend = backends()
    got: list[Any] = []

    def blocking(state: Any) -> None:
        got.append(state)
        backend.close()

    async def suspended(state: Any) -> None:
        got.append(state)
        await backend.target.aclose()

    backend.on_status(blocking if backends.kind == "blocking" else suspended)
    assert backends.server.wait_for(lambda: bool(backends.server.seen(STREAM)))
    assert backends.server.wait_for(lambda: backends.server.open_connections == 0)
    assert words(got) == ["starting"]


def test_one_that_is_dropped_goes(backends: Backends) -> None:
    backends.server.on("GET", STREAM, stream(event("ready"), hang))
    backend = backends()
    backend.wait_ready()
    backends.forget(backend)
    del backend
    gc.collect()
    assert backends.server.wait_for(lambda: backends.server.open_connections == 0)


def test_one_that_is_dropped_stays_while_somebody_listens(backends: Backends) -> None:
    go_on = threading.Event()
    backends.server.on("GET", STREAM, stream(event("ready"), until(go_on), event("terminated"), hang))
    got: list[Any] = []
    backend = backends()
    backend.on_status(got.append)
    assert soon(lambda: words(got) == ["ready"])
    backends.forget(backend)
    del backend
    gc.collect()
    go_on.set()
    assert soon(lambda: words(got) == ["ready", "terminated"])
    assert backends.server.wait_for(lambda: backends.server.open_connections == 0)


def test_one_that_was_never_finished_can_be_dropped() -> None:
    with contextlib.suppress(TypeError):
        SessionBackend(5)  # type: ignore[arg-type]
    gc.collect()


def test_as_a_context_manager(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    connection = Backends("blocking", server).connection()
    with SessionBackend(connection) as backend:
        backend.wait_ready()
    with pytest.raises(RuntimeError):
        backend.status()

    async def main() -> None:
        async with AsyncSessionBackend(connection) as backend:
            await backend.wait_ready()
        with pytest.raises(RuntimeError):
            await backend.status()

    asyncio.run(main())
    assert server.wait_for(lambda: server.open_connections == 0)


def test_a_cancelled_wait_leaves_the_stream_to_the_others(server: FaultServer) -> None:
    go_on = threading.Event()
    server.on("GET", STREAM, stream(event("starting"), until(go_on), event("ready"), hang))

    async def main() -> None:
        async with AsyncSessionBackend(Backends("blocking", server).connection()) as backend:
            other = asyncio.create_task(backend.wait_ready())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await backend.wait_ready()
            go_on.set()
            assert (await other).status == "ready"

    asyncio.run(main())
    assert len(server.seen(STREAM)) == 1


def test_one_event_loop_each(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    backend = AsyncSessionBackend(Backends("blocking", server).connection())

    async def main() -> None:
        await backend.wait_ready()
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, backend.wait_ready())
        await backend.aclose()

    asyncio.run(main())


# ── A real platform ──


@pytest.fixture(scope="module")
def platform() -> Iterator[DevServer]:
    with DevServer([sys.executable, str(ROOT / "examples" / "backend.py")], port=0, proxy_port=0) as platform:
        yield platform


def test_a_real_backend(backends: Backends, platform: DevServer) -> None:
    with Jamsocket(dev=True, port=platform.port) as jamsocket:
        connection = jamsocket.connect(user="ada")
        backend = backends(json.loads(json.dumps(connection.to_dict())))
        got: list[Any] = []
        backend.on_status(got.append)
        assert backend.wait_ready(30).status == "ready"
        answer = httpx.get(backend.url_for("strokes?since=5")).json()
        assert (answer["path"], answer["user"]) == ("/strokes?since=5", "ada")
        assert backend.status().status == "ready"
        jamsocket.terminate(connection.backend_id)
        assert backend.wait_terminated(30).termination_reason == "external"
    assert soon(lambda: words(got)[:5] + words(got)[-1:] == [*LIFE[:5], "terminated"]), words(got)


class FakeSocketIO:
    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async

    def connect(self, origin: str, *, socketio_path: str) -> Any:
        assert origin.startswith("http://localhost:")
        assert socketio_path.endswith("/socket.io")
        return asyncio.sleep(0) if self.is_async else None


MEMBERS = [name for name in vars(SessionBackend) if not name.startswith("_") and name != "close"]


@pytest.mark.parametrize("cls", [SessionBackend, AsyncSessionBackend])
@pytest.mark.parametrize("name", ["", *MEMBERS])
def test_docstrings(platform: DevServer, cls: type, name: str) -> None:
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(getattr(cls, name) if name else cls) or "")
    assert examples

    async def main() -> None:
        with Jamsocket(dev=True, port=platform.port) as jamsocket:
            connection = jamsocket.connect_ready(user="ada")
            backend: Any = cls(connection)
            if name == "is_ready":
                outcome = backend.wait_ready()
                if inspect.isawaitable(outcome):
                    await outcome
            if name == "wait_terminated":
                jamsocket.terminate(connection.backend_id)
            names: dict[str, Any] = {"backend": backend, "connection": connection, "httpx": httpx}
            names |= {cls.__name__: cls, "sio": FakeSocketIO(cls is AsyncSessionBackend)}
            checker = doctest.OutputChecker()
            for example in examples:
                printed = io.StringIO()
                code = compile(example.source, "<docstring>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                with contextlib.redirect_stdout(printed):
                    outcome = eval(code, names)
                    if inspect.iscoroutine(outcome):
                        await outcome
                if not name.startswith("on_"):  # what a listener prints comes when it comes
                    assert checker.check_output(example.want, printed.getvalue(), doctest.ELLIPSIS), example.source
            await backend.aclose() if cls is AsyncSessionBackend else backend.close()

    asyncio.run(main())
