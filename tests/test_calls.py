"""connect, status and terminate over real sockets, for both clients: requests, results, retries, errors."""

from __future__ import annotations

import copy
import gzip
import json
import logging
import pickle
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import h11
import httpx
import pytest
import trustme

from jamsocket import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ConnectRequest,
    ExecutableConfig,
    HTTPError,
    InvalidResponseError,
    JamsocketError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ResourceLimits,
    ServerError,
    SpawnConfig,
    TerminatedState,
    TransportError,
)
from tests.support.clients import AT_ONCE, FakeClock, Maker
from tests.support.faults import (
    Action,
    FaultServer,
    Script,
    close,
    drip,
    endless,
    hang,
    head,
    raw,
    repeat,
    reset,
    respond,
    state,
    write,
)

CONNECT = "/v2/service/acme/whiteboard/connect"
STATUS = "/v2/backend/b1/status"
TERMINATE = "/v2/backend/b1/terminate"
CONNECTION = {
    "backend_id": "b1",
    "spawned": True,
    "status": "scheduled",
    "token": "planted-connection-token",
    "url": "https://b1.example.com/planted-connection-token/",
    "secret_token": "planted-secret-token",
    "status_url": "https://api.example.com/v2/backend/b1/status",
    "ready_url": "https://ready.example.com/planted-connection-token",
}
SECRETS = ("tok-planted-secret", "planted-connection-token", "planted-secret-token")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("POST", CONNECT, [respond(200, CONNECTION)])
        server.on("GET", STATUS, [respond(200, state("ready"))])
        server.on("POST", TERMINATE, [respond(200, {"status": "ok"})])
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(luck=1.0)


@pytest.fixture
def jamsocket(make: Maker, server: FaultServer, clock: FakeClock) -> Any:
    return make.to(server.url, clock=clock)


def slowly(data: bytes) -> Action:
    """The same bytes every 50 ms, for longer than any timeout here."""
    return repeat(write(data), 0.05)


# ── What is sent ──


def test_connect_needs_nothing(jamsocket: Any, server: FaultServer) -> None:
    connection = jamsocket.connect()
    request = server.requests[0]
    assert (request.method, request.target, request.json) == ("POST", CONNECT, {})
    assert request.headers["authorization"] == "Bearer tok-planted-secret"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("jamsocket-python/")
    assert connection.backend_id == "b1"
    assert connection.spawned is True
    assert connection.status == "scheduled"
    assert connection.url == CONNECTION["url"]
    assert connection.to_dict() == CONNECTION


EVERYTHING: dict[str, Any] = {
    "key": "my-key é 🎨",
    "user": "my-user-id",
    "auth": {"my_user_metadata": "bar", "nested": [1, 2.5, None, True, {"deep": "x"}]},
    "spawn": {
        "tag": "latest",
        "cluster": "eu",
        "lifetime_limit_seconds": 432_000,
        "max_idle_seconds": 300,
        "executable": {
            "mount": "data/x",
            "env": {"MY_ENV_VAR": "foo"},
            "resource_limits": {
                "cpu_period": 100_000,
                "cpu_period_percent": 50,
                "cpu_time_limit": 60,
                "memory_limit_bytes": 2**30,
                "disk_limit_bytes": 2**33,
            },
        },
    },
}


def test_connect_sends_everything(jamsocket: Any, server: FaultServer) -> None:
    jamsocket.connect(**EVERYTHING)
    jamsocket.connect(EVERYTHING)
    limits = ResourceLimits(**EVERYTHING["spawn"]["executable"]["resource_limits"])
    executable = ExecutableConfig.from_dict(EVERYTHING["spawn"]["executable"])
    executable.resource_limits = limits
    spawn = SpawnConfig(
        tag="latest", cluster="eu", lifetime_limit_seconds=432_000, max_idle_seconds=300, executable=executable
    )
    jamsocket.connect(**{**EVERYTHING, "spawn": spawn})
    jamsocket.connect(ConnectRequest.from_dict(EVERYTHING))
    assert [request.json for request in server.requests] == [EVERYTHING] * 4


@pytest.mark.parametrize("spawn", [True, False])
@pytest.mark.parametrize("mount", [True, False, "x"])
def test_booleans_stay_booleans(jamsocket: Any, server: FaultServer, spawn: bool, mount: Any) -> None:
    jamsocket.connect(key="k", spawn=spawn)
    jamsocket.connect(key="k", spawn={"executable": {"mount": mount}})
    assert [request.json["spawn"] for request in server.requests] == [spawn, {"executable": {"mount": mount}}]


def test_none_means_absent(jamsocket: Any, server: FaultServer) -> None:
    jamsocket.connect(key=None, user=None, auth=None, spawn={"tag": None, "executable": {"env": None}})
    assert server.requests[0].json == {"spawn": {"executable": {}}}


def test_an_environment(make: Maker, server: FaultServer) -> None:
    path = "/v2/service/acme/whiteboard/staging/connect"
    server.on("POST", path, [respond(200, CONNECTION)])
    make.to(server.url, environment="staging").connect()
    assert server.requests[0].target == path


def test_a_base_path(make: Maker, server: FaultServer) -> None:
    server.on("GET", "/base" + STATUS, [respond(200, state("ready"))])
    assert make.to(server.url + "/base/").status("b1").status == "ready"


def test_names_are_percent_encoded(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url, service="a?b#c%2F é")
    with pytest.raises(NotFoundError):
        jamsocket.connect()
    assert server.requests[0].target == "/v2/service/acme/a%3Fb%23c%252F%20%C3%A9/connect"


@pytest.mark.parametrize("backend_id", ["../admin", "a/b", "a?b", "a#b", "%2e%2e", "é", "a b", "a\r\nX: y", "...", "~"])
def test_ids_are_percent_encoded(jamsocket: Any, server: FaultServer, backend_id: str) -> None:
    for call in (jamsocket.status, jamsocket.terminate, lambda b: next(jamsocket.statuses(b))):
        with pytest.raises(NotFoundError):
            call(backend_id)
    for request in server.requests:
        parts = request.target.split("/")
        assert parts[:3] == ["", "v2", "backend"]
        assert parts[4] in {"status", "terminate"}
        assert not set(parts[3]) & set("?# /")


@pytest.mark.parametrize("backend_id", ["", ".", "..", None, 5, b"x", "\ud800"])
@pytest.mark.parametrize("method", ["status", "terminate", "statuses", "status_stream", "wait_until_ready"])
def test_ids_that_are_none_are_refused(jamsocket: Any, server: FaultServer, backend_id: Any, method: str) -> None:
    arguments = [backend_id, print] if method == "status_stream" else [backend_id]
    with pytest.raises(ValueError if isinstance(backend_id, str) else TypeError, match="backend_id"):
        getattr(jamsocket, method)(*arguments)
    assert server.requests == []


def test_the_token_goes_only_where_it_is_needed(jamsocket: Any, server: FaultServer) -> None:
    jamsocket.status("b1")
    jamsocket.terminate("b1")
    assert ["authorization" in request.headers for request in server.requests] == [False, True]


def test_dev_needs_no_token(make: Maker, server: FaultServer) -> None:
    server.on("POST", "/v2/service/-/-/connect", [respond(200, {**CONNECTION, "ready_url": "", "secret_token": None})])
    connection = make(dev=True, port=server.port).connect()
    assert "authorization" not in server.requests[0].headers
    assert connection.ready_url is None
    assert connection.secret_token is None
    assert None not in connection.to_dict().values()


def test_terminating(jamsocket: Any, server: FaultServer) -> None:
    assert jamsocket.terminate("b1") is None
    assert jamsocket.terminate("b1", hard=True) is None
    assert [request.json for request in server.requests] == [{}, {"hard": True}]


def test_terminating_what_does_not_run_is_a_success(jamsocket: Any, server: FaultServer) -> None:
    error = {"message": "gone", "code": "BackendNotRunning", "status": 409, "id": "1"}
    server.on("POST", TERMINATE, [respond(409, {"error": error})])
    assert jamsocket.terminate("b1") is None
    server.on("POST", TERMINATE, [respond(409, {"error": {**error, "code": "Other"}})])
    with pytest.raises(ConflictError):
        jamsocket.terminate("b1")


def test_the_present_state(jamsocket: Any, server: FaultServer) -> None:
    more = {"termination_reason": "swept", "termination_kind": "soft", "exit_error": True}
    server.on("GET", STATUS, [respond(200, state("terminated", **more))])
    now = jamsocket.status("b1")
    assert isinstance(now, TerminatedState)
    assert now.time.utcoffset() is not None
    assert now.to_dict() == state("terminated", **more)


# ── What is refused before anything is sent ──

REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"kye": "x"}, TypeError, "Did you mean 'key'"),
    ({"spawn": {"max_idle_second": 1}}, TypeError, r"spawn\.max_idle_second'.*max_idle_seconds"),
    ({"spawn": {"executable": {"envs": {}}}}, TypeError, r"spawn\.executable\.envs'.*'env'"),
    ({"spawn": {"executable": {"resource_limits": {"cpu": 1}}}}, TypeError, r"resource_limits\.cpu'"),
    ({"key": 5}, TypeError, "key must be a string, not int"),
    ({"key": b"x"}, TypeError, "key must be a string, not bytes"),
    ({"user": ["x"]}, TypeError, "user"),
    ({"auth": "x"}, TypeError, "auth must be a mapping"),
    ({"auth": [1]}, TypeError, "auth must be a mapping"),
    ({"auth": {"a": {"b": [1, float("nan")]}}}, ValueError, r"auth\.a\.b\[1\] is nan"),
    ({"auth": {"a": float("inf")}}, ValueError, "inf"),
    ({"auth": {"a": object()}}, TypeError, r"auth\.a is object"),
    ({"auth": {"a": {1, 2}}}, TypeError, r"auth\.a is set"),
    ({"auth": {1: "a"}}, TypeError, "a name in auth"),
    ({"auth": {"a": b"x"}}, TypeError, "bytes"),
    ({"key": "\ud800"}, ValueError, "surrogate"),
    ({"auth": {"a": "\ud800"}}, ValueError, "surrogate"),
    ({"spawn": "yes"}, TypeError, "spawn must be True or False or a mapping"),
    ({"spawn": 1}, TypeError, "spawn must be"),
    ({"spawn": {"lifetime_limit_seconds": "60"}}, TypeError, "a whole number, not str"),
    ({"spawn": {"lifetime_limit_seconds": 1.5}}, TypeError, "a whole number, not float"),
    ({"spawn": {"lifetime_limit_seconds": True}}, TypeError, "a whole number, not bool"),
    ({"spawn": {"executable": {"env": {"A": 1}}}}, TypeError, r"env\.A must be a string"),
    ({"spawn": {"executable": {"env": {"A": None}}}}, TypeError, r"env\.A must be a string"),
    ({"spawn": {"executable": {"env": {1: "a"}}}}, TypeError, "a name in spawn"),
    ({"spawn": {"executable": {"mount": 1}}}, TypeError, "True or False or a string"),
    ({"spawn": {"executable": True}}, TypeError, "executable must be a mapping"),
    ({"spawn": SpawnConfig(tag=5)}, TypeError, r"spawn\.tag"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("arguments", "error", "match"), REFUSED)
def test_what_connect_refuses(
    jamsocket: Any, server: FaultServer, arguments: dict[str, Any], error: type[Exception], match: str
) -> None:
    for attempt in (lambda: jamsocket.connect(**arguments), lambda: jamsocket.connect(arguments)):
        with pytest.raises(error, match=match):
            attempt()
    assert server.requests == []


def test_auth_that_contains_itself(jamsocket: Any) -> None:
    auth: dict[str, Any] = {}
    auth["self"] = auth
    with pytest.raises(ValueError, match="contains itself"):
        jamsocket.connect(auth=auth)


@pytest.mark.parametrize("positional", ["my-key", 5, ["x"]])
def test_the_key_is_no_positional_argument(jamsocket: Any, positional: Any) -> None:
    with pytest.raises(TypeError, match="connect"):
        jamsocket.connect(positional)
    with pytest.raises(TypeError, match="not both"):
        jamsocket.connect({"key": "x"}, user="y")


# ── Retries ──


def play(server: FaultServer, method: str, path: str, *scripts: Script) -> None:
    server.on(method, path, list(scripts))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_is_idempotent_is_tried_again(jamsocket: Any, server: FaultServer, clock: FakeClock, status: int) -> None:
    play(server, "GET", STATUS, [respond(status)], [reset], [respond(200, state("ready"))])
    assert jamsocket.status("b1").status == "ready"
    assert clock.slept == [0.5, 1.0]
    play(server, "POST", TERMINATE, [respond(status)], [close], [respond(200, {})])
    jamsocket.terminate("b1")
    play(server, "POST", CONNECT, [respond(status)], [close], [respond(200, CONNECTION)])
    jamsocket.connect(key="k")
    assert len(server.requests) == 9


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 418, 501, 505, 302])
def test_what_is_final_is_not(jamsocket: Any, server: FaultServer, status: int) -> None:
    play(server, "GET", STATUS, [respond(status)])
    with pytest.raises(HTTPError) as caught:
        jamsocket.status("b1")
    assert caught.value.code == status
    assert len(server.requests) == 1


def test_connect_without_a_key_is_not_tried_again_once_it_was_sent(jamsocket: Any, server: FaultServer) -> None:
    for script in ([respond(503)], [reset], [close], [head(200, content_type="application/json"), close]):
        before = len(server.requests)
        play(server, "POST", CONNECT, script)
        with pytest.raises((ServerError, TransportError)) as caught:
            jamsocket.connect()
        assert getattr(caught.value, "request_sent", True)
        assert len(server.requests) == before + 1
    play(server, "POST", CONNECT, [respond(429)], [respond(200, CONNECTION)])
    jamsocket.connect()


def test_connect_without_a_key_is_tried_again_if_it_was_not_sent(
    make: Maker, server: FaultServer, clock: FakeClock
) -> None:
    jamsocket = make.to(server.url, clock=clock)
    server.refuse()
    with pytest.raises(TransportError) as caught:
        jamsocket.connect()
    assert not caught.value.request_sent
    assert clock.slept == [0.5, 1.0]


def test_retries_can_be_turned_off(make: Maker, server: FaultServer) -> None:
    play(server, "GET", STATUS, [respond(503)])
    with pytest.raises(ServerError):
        make.to(server.url, max_retries=0).status("b1")
    assert len(server.requests) == 1


def test_the_wait_doubles_up_to_8_seconds(make: Maker, server: FaultServer, clock: FakeClock) -> None:
    play(server, "GET", STATUS, [respond(503)])
    with pytest.raises(ServerError):
        make.to(server.url, clock=clock, max_retries=7).status("b1")
    assert clock.slept == [0.5, 1, 2, 4, 8, 8, 8]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("1.5", 1.5), ("Fri, 15 Jan 2027 08:00:09 GMT", 9), ("Fri, 01 Jan 2027 00:00:00 GMT", 0)],
)
def test_retry_after_is_honoured(
    jamsocket: Any, server: FaultServer, clock: FakeClock, value: str, seconds: float
) -> None:
    play(server, "GET", STATUS, [respond(503, retry_after=value)], [respond(200, state("ready"))])
    clock.luck = 0.0
    jamsocket.status("b1")
    assert clock.slept == [seconds]


def test_a_retry_after_beyond_a_minute_is_not_waited_for(jamsocket: Any, server: FaultServer, clock: FakeClock) -> None:
    play(server, "GET", STATUS, [respond(429, retry_after="61")])
    with pytest.raises(RateLimitError) as caught:
        jamsocket.status("b1")
    assert caught.value.retry_after == 61
    assert clock.slept == []


@pytest.mark.parametrize("value", ["soon", "-5", "", "1e9", "99999999999999", "Fri, 99 Jan 2027"])
def test_a_retry_after_that_is_none(jamsocket: Any, server: FaultServer, clock: FakeClock, value: str) -> None:
    play(server, "GET", STATUS, [respond(503, retry_after=value)], [respond(200, state("ready"))])
    jamsocket.status("b1")
    assert clock.slept == [0.5]


def test_no_redirect_is_followed(make: Maker, server: FaultServer) -> None:
    with FaultServer() as other:
        http_client = make.http_client(follow_redirects=True, auth=("user", "password"))
        jamsocket = make.to(server.url, http_client=http_client)
        for status in (301, 302, 303, 307, 308):
            play(server, "POST", CONNECT, [respond(status, location=other.url + "/elsewhere")])
            with pytest.raises(HTTPError, match="Redirects are never followed") as caught:
                jamsocket.connect(key="k")
            assert caught.value.code == status
        assert other.requests == []
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer tok-planted-secret"}
        make.close_http_client(http_client)


# ── Errors ──

CLASSES = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    407: AuthenticationError,
    409: ConflictError,
    410: HTTPError,
    429: RateLimitError,
    500: ServerError,
    503: ServerError,
    599: ServerError,
}


@pytest.mark.parametrize("status", CLASSES)
def test_each_status_has_its_class(make: Maker, server: FaultServer, status: int) -> None:
    body = {"error": {"message": "it is so", "status": status, "code": "SomeCode", "id": "id-1"}}
    play(server, "GET", STATUS, [respond(status, body, x_extra="1")])
    with pytest.raises(HTTPError) as caught:
        make.to(server.url, max_retries=0).status("b1")
    error = caught.value
    assert type(error) is CLASSES[status]
    assert (error.code, error.message, error.error_code, error.error_id) == (status, "it is so", "SomeCode", "id-1")
    assert (error.method, error.url) == ("GET", server.url + STATUS)
    assert error.headers["X-Extra"] == "1"
    assert json.loads(error.body) == body
    assert "it is so" in str(error)
    assert "SomeCode" in str(error)


BODIES: dict[str, tuple[bytes, str, str | None]] = {
    "empty": (b"", "Conflict", None),
    "html": (b"<html><body>Bad gateway</body></html>", "Conflict", None),
    "text": (b"no such thing\n", "no such thing", None),
    "other json": (b'{"detail": [1, 2]}', "Conflict", None),
    "json list": (b"[1, 2]", "[1, 2]", None),
    "error is text": (b'{"error": "just text"}', "just text", None),
    "error is null": (b'{"error": null}', "Conflict", None),
    "odd types": (b'{"error": {"message": 5, "code": [], "id": {}}}', "Conflict", None),
    "the engine's": (b'{"id":"x","kind":"KeyHeld","message":"Lock is held."}', "Lock is held.", "KeyHeld"),
    "the dev server's": (
        b'HTTPError: Failed to spawn backend: 409 Conflict - {"id":"x","kind":"KeyHeld","message":"Lock is held."}',
        "Lock is held.",
        "KeyHeld",
    ),
    "broken utf-8": (b"\xff\xfe caf\xe9", "�� caf�", None),
    "control characters": (b"a\x1b[31mb\r\nc\x00d", "a [31mb c d", None),
    "nested": (b'{"error":' * 100_000, "{" + '"error":{' * 55 + '"err…', None),
    "nul": (b"\0" * 10, "Conflict", None),
}


@pytest.mark.parametrize("name", BODIES)
def test_every_body_is_survived(jamsocket: Any, server: FaultServer, name: str) -> None:
    body, message, code = BODIES[name]
    play(server, "GET", STATUS, [respond(409, body)])
    with pytest.raises(ConflictError) as caught:
        jamsocket.status("b1")
    error = caught.value
    assert error.error_code == code
    assert error.body == body[: 64 * 1024]
    if name != "nested":
        assert error.message == message
    assert len(str(error)) < 1000


def test_a_huge_error_body_is_cut(jamsocket: Any, server: FaultServer) -> None:
    play(server, "GET", STATUS, [respond(404, b"x" * 1_000_000)])
    with pytest.raises(NotFoundError) as caught:
        jamsocket.status("b1")
    assert caught.value.body == b"x" * 65536
    play(server, "GET", STATUS, [head(404, content_type="text/plain"), endless(b"y" * 1000)])
    with pytest.raises(NotFoundError) as caught:
        jamsocket.status("b1")
    assert caught.value.body == b"y" * 65536


def test_an_error_body_is_read_in_bounded_time(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url, timeout=0.2)
    for script in (
        [head(404, content_type="text/plain"), drip(b"z" * 20), hang],
        [
            head(404, content_type="text/plain"),
            slowly(b"z"),
        ],
        [raw(b"HTTP/1.1 404 Not Found\r\ncontent-length: 100\r\n\r\nzzz"), close],
    ):
        play(server, "GET", STATUS, script)
        began = time.monotonic()
        with pytest.raises(NotFoundError) as caught:
            jamsocket.status("b1")
        assert time.monotonic() - began < AT_ONCE
        assert caught.value.body.startswith(b"zz")


def test_a_compressed_error_body(jamsocket: Any, server: FaultServer) -> None:
    play(server, "GET", STATUS, [respond(404, gzip.compress(b"no b1"), content_encoding="gzip")])
    with pytest.raises(NotFoundError, match="no b1"):
        jamsocket.status("b1")


def test_a_decompression_bomb_is_harmless(jamsocket: Any, server: FaultServer) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 200_000_000))
    play(server, "GET", STATUS, [respond(200, gzip.decompress(bomb), content_encoding="gzip")])
    with pytest.raises(InvalidResponseError, match="larger than"):
        jamsocket.status("b1")
    play(server, "GET", STATUS, [respond(404, gzip.decompress(bomb), content_encoding="gzip")])
    with pytest.raises(NotFoundError):
        jamsocket.status("b1")


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "html": b"<html>Log in to the wifi</html>",
    "not utf-8": b'{"status":"\xff"}',
    "not json": b"{",
    "null": b"null",
    "list": b"[]",
    "other": b'{"ok":true}',
    "wrong status": b'{"status":5,"time":"2026-01-02T03:04:05.678Z"}',
    "no time": b'{"status":"ready"}',
    "bad time": b'{"status":"ready","time":"yesterday"}',
    "nested": b"[" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers(jamsocket: Any, server: FaultServer, name: str) -> None:
    body = BROKEN[name]
    play(server, "GET", STATUS, [respond(200, body)])
    with pytest.raises(InvalidResponseError) as caught:
        jamsocket.status("b1")
    assert caught.value.body == body[:65536]
    assert str(server.port) in str(caught.value)
    play(server, "POST", CONNECT, [respond(200, body)])
    with pytest.raises(InvalidResponseError):
        jamsocket.connect()


@pytest.mark.parametrize("field", ["backend_id", "spawned", "status", "token", "url", "status_url"])
@pytest.mark.parametrize("value", [None, 5, [], "yes", ""])
def test_a_connect_response_with_a_broken_field(jamsocket: Any, server: FaultServer, field: str, value: Any) -> None:
    if value == "yes" and field != "spawned":
        return
    play(server, "POST", CONNECT, [respond(200, {**CONNECTION, field: value})])
    with pytest.raises(InvalidResponseError, match=field) as caught:
        jamsocket.connect()
    assert "planted" not in str(caught.value)
    assert "planted" not in repr(caught.value)


def test_a_newer_server_breaks_nothing(jamsocket: Any, server: FaultServer) -> None:
    newer = {**CONNECTION, "status": "warming", "region": {"name": "eu"}, "nothing": None}
    play(server, "POST", CONNECT, [respond(201, newer)])
    connection = jamsocket.connect()
    assert connection.status == "warming"
    assert connection["region"] == {"name": "eu"}
    assert connection.to_dict() == {**CONNECTION, "status": "warming", "region": {"name": "eu"}}
    play(server, "GET", STATUS, [respond(200, state("terminated", termination_reason="bored", exit_error="yes"))])
    now = jamsocket.status("b1")
    assert now.termination_reason == "bored"
    assert str(now.termination_reason) == "bored"
    assert now.exit_error is None


NO_ANSWER: dict[str, Script] = {
    "reset": [reset],
    "closed": [close],
    "half a head": [raw(b"HTTP/1.1 200 OK\r\nconte"), close],
    "half a body": [raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"), close],
    "broken chunk": [raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), close],
    "not http": [raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), close],
    "endless head": [raw(b"HTTP/1.1 200 OK\r\n"), endless(b"x-a: " + b"b" * 1000 + b"\r\n")],
    "lying length": [raw(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}"), close],
}


@pytest.mark.parametrize("name", NO_ANSWER)
def test_no_answer(make: Maker, server: FaultServer, name: str) -> None:
    play(server, "GET", STATUS, NO_ANSWER[name])
    with pytest.raises(TransportError) as caught:
        make.to(server.url, max_retries=0).status("b1")
    error = caught.value
    assert isinstance(error.__cause__, OSError | h11.RemoteProtocolError | httpx.HTTPError)
    assert (error.method, error.url) == ("GET", server.url + STATUS)
    assert error.request_sent


@pytest.mark.parametrize(
    "script",
    [
        [hang],
        [head(200, content_type="application/json"), hang],
        [
            head(200, content_type="application/json"),
            slowly(b" "),
        ],
    ],
)
def test_no_answer_in_time(make: Maker, server: FaultServer, script: Script) -> None:
    play(server, "GET", STATUS, script)
    began = time.monotonic()
    with pytest.raises(RequestTimeoutError, match=r"0\.2 s") as caught:
        make.to(server.url, max_retries=0, timeout=0.2).status("b1")
    assert time.monotonic() - began < AT_ONCE
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, TransportError)


def test_a_certificate_that_is_not_trusted(make: Maker, clock: FakeClock) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer(tls=context) as server:
        with pytest.raises(TransportError, match="not trusted") as caught:
            make.to(server.url, clock=clock).status("b1")
        assert not caught.value.retryable
        assert clock.slept == []


def test_a_certificate_of_ones_own(make: Maker, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with FaultServer(tls=context) as server:
        server.on("GET", STATUS, [respond(200, state("ready"))])
        server.on("GET", STATUS + "/stream", [head(), lambda c: c.write(b"data:x\n\n"), hang])
        jamsocket = make.to(server.url)
        assert jamsocket.status("b1").status == "ready"
        states = jamsocket.statuses("b1")
        thread = threading.Thread(target=lambda: list(states))
        thread.start()
        assert server.wait_for(lambda: bool(server.seen(STATUS + "/stream")))
        time.sleep(0.1)
        began = time.monotonic()
        states.close()
        thread.join(5)
        assert not thread.is_alive()
        assert time.monotonic() - began < AT_ONCE


def all_errors(jamsocket: Any, server: FaultServer) -> Iterator[JamsocketError]:
    for script in ([respond(404, b"x")], [respond(429, retry_after="61")], [respond(200, b"{")], [reset]):
        play(server, "POST", CONNECT, script)
        with pytest.raises(JamsocketError) as caught:
            jamsocket.connect()
        yield caught.value
    play(server, "GET", STATUS, [respond(200, state("terminated", termination_reason="swept"))])
    with pytest.raises(JamsocketError) as caught:
        jamsocket.wait_until_ready("b1")
    yield caught.value
    play(server, "GET", STATUS, [hang])
    with pytest.raises(JamsocketError) as caught:
        jamsocket.wait_until_ready("b1", timeout=0.05)
    yield caught.value


def test_every_error_can_be_pickled_and_copied(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url)
    for error in all_errors(jamsocket, server):
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(twin) is type(error)
            assert str(twin) == str(error)
            assert twin.__dict__.keys() == error.__dict__.keys()


# ── Secrets ──


def test_no_secret_is_shown(make: Maker, server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    jamsocket = make.to(server.url, max_retries=0)
    shown = [repr(jamsocket)]
    connection = jamsocket.connect(key="k")
    shown += [repr(connection), str(connection), repr([connection])]
    scripts: list[Script] = [
        [respond(401)],
        [respond(200, {**CONNECTION, "spawned": "yes"})],
        [reset],
        [raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + json.dumps(CONNECTION).encode()[:50]), close],
        [respond(200, json.dumps(CONNECTION)[:-1])],
    ]
    for script in scripts:
        play(server, "POST", CONNECT, script)
        try:
            jamsocket.connect(key="k")
        except JamsocketError as error:
            shown += [repr(error), str(error), *traceback.format_exception(error)]
            frames = traceback.TracebackException.from_exception(error, capture_locals=True)
            shown += list(frames.format())
            if not isinstance(error, InvalidResponseError):
                shown.append(pickle.dumps(error).decode("latin-1"))
        else:
            pytest.fail("it should have raised")
    shown.append(caplog.text)
    for text in shown:
        for secret in SECRETS:
            assert secret not in text


# ── The user's httpx client, proxies, mocks ──


def test_a_mock_transport(make: Maker) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/stream"):
            lines = "".join(f"data:{json.dumps(state(status))}\n\n" for status in ("ready", "terminated"))
            return httpx.Response(200, text=lines, headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json=CONNECTION if request.method == "POST" else state("ready"))

    http_client = make.http_client(transport=httpx.MockTransport(handle))
    jamsocket = make(account="a", token="t", service="s", http_client=http_client)
    assert jamsocket.connect().backend_id == "b1"
    assert jamsocket.status("b1").status == "ready"
    assert [s.status for s in jamsocket.statuses("b1")] == ["ready", "terminated"]
    make.close_http_client(http_client)


def test_an_http_client_of_the_wrong_kind(make: Maker) -> None:
    wrong: Any = httpx.AsyncClient() if make.kind == "blocking" else httpx.Client()
    with pytest.raises(TypeError, match="http_client must be an httpx"):
        make.cls(dev=True, http_client=wrong)


def test_proxies_from_the_environment(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as proxy:
        url = "http://api.test/v2/backend/b1/status"
        proxy._scripts["GET", url] = [[respond(200, state("ready"))]]
        proxy._scripts["GET", url + "/stream"] = [[respond(204)]]
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        jamsocket = make.to("http://api.test", allow_insecure_http=True)
        assert jamsocket.status("b1").status == "ready"
        assert list(jamsocket.statuses("b1")) == []
        assert [request.target for request in proxy.requests] == [url, url + "/stream"]


def test_a_loopback_address_is_reached_without_a_proxy(jamsocket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert jamsocket.status("b1").status == "ready"


def test_a_proxy_that_is_none(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://user:pw-secret@x")
    jamsocket = make.to("http://api.test", allow_insecure_http=True)
    with pytest.raises(ValueError, match="HTTP_PROXY") as caught:
        jamsocket.status("b1")
    assert "pw-secret" not in str(caught.value)


def test_cookies_are_not_kept(jamsocket: Any, server: FaultServer) -> None:
    play(server, "GET", STATUS, [respond(200, state("ready"), set_cookie="a=b; Path=/")])
    jamsocket.status("b1")
    jamsocket.status("b1")
    assert "cookie" not in server.requests[1].headers


def test_a_client_is_shared_by_threads(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url)
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.extend(str(jamsocket.status("b1").status) for _ in range(10)))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == ["ready"] * 100


def test_a_token_of_one_letter_garbles_no_error(make: Maker, server: FaultServer) -> None:
    error = {"message": "not running", "code": "BackendNotRunning", "status": 409, "id": "t"}
    server.on("POST", TERMINATE, [respond(409, {"error": error})])
    make.to(server.url, token="t").terminate("b1")
    server.on("POST", TERMINATE, [respond(409, {"error": {**error, "code": "Other"}})])
    with pytest.raises(ConflictError, match="not running") as caught:
        make.to(server.url, token="t").terminate("b1")
    assert json.loads(caught.value.body)["error"]["message"] == "not running"
