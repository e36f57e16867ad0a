"""Backends, services, images and the account, over real sockets for both clients."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from jamsocket import (
    AuthenticationError,
    AuthInfo,
    BackendInfo,
    ConflictError,
    Image,
    InvalidResponseError,
    NotFoundError,
    RunningBackend,
    ServerError,
    ServiceInfo,
    TransportError,
)
from tests.support.clients import FakeClock, Maker
from tests.support.faults import FaultServer, Script, close, reset, respond

WHEN = "2026-01-02T03:04:05.678Z"
STATE = {"status": "ready", "time": WHEN}
END = {
    **STATE,
    "status": "terminated",
    "termination_reason": "external",
    "termination_kind": "soft",
    "exit_code": 0,
    "last_status": "ready",
}
PLACE = {
    "id": "b1",
    "created_at": WHEN,
    "service_name": "whiteboard",
    "cluster_name": "localhost",
    "account_name": "acme",
}
RUNNING = {**PLACE, "status": STATE, "key": "k"}
BACKEND = {**PLACE, "statuses": [STATE, END], "image_digest": "sha256:0", "key": None, "max_mem_bytes": 5}
ENVIRONMENT = {"name": "default", "image_tag": "latest", "cluster": "localhost", "created_at": WHEN}
SERVICE = {
    "name": "whiteboard",
    "account_name": "acme",
    "created_at": WHEN,
    "last_spawned_at": WHEN,
    "last_image_digest": None,
    "image_name": "acme/whiteboard",
    "environments": [ENVIRONMENT],
}
IMAGE = {"repository": "acme/whiteboard", "digest": "sha256:0", "tag": "latest", "upload_time": WHEN}
AUTH = {"status": "ok", "accounts": ["acme"], "is_admin": False}
OK = {"status": "ok"}

# (method of ours, its arguments, HTTP method, path, a right answer)
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], str, str, dict[str, Any]]] = {
    "backends": ((), {}, "GET", "/v2/account/acme/backends", {"running_backends": [RUNNING]}),
    "backend_info": (("b1",), {}, "GET", "/v2/backend/b1", BACKEND),
    "services": ((), {}, "GET", "/v2/account/acme/services", {"services": ["whiteboard", "notes"]}),
    "service_info": ((), {}, "GET", "/v2/service/acme/whiteboard", SERVICE),
    "images": ((), {}, "GET", "/v2/service/acme/whiteboard/images", {"images": [IMAGE]}),
    "auth_info": ((), {}, "GET", "/auth", AUTH),
    "create_service": (("notes",), {}, "POST", "/v2/account/acme/service", OK),
    "delete_service": (("notes",), {}, "POST", "/v2/service/acme/notes/delete", OK),
    "use_image": (("v2",), {}, "POST", "/v2/service/acme/whiteboard/update", OK),
}
READS = [name for name, call in CALLS.items() if call[2] == "GET"]
WRITES = [name for name in CALLS if name not in READS]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        for _, _, method, path, answer in CALLS.values():
            server.on(method, path, [respond(200, answer)])
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(luck=1.0)


@pytest.fixture
def jamsocket(make: Maker, server: FaultServer, clock: FakeClock) -> Any:
    return make.to(server.url, clock=clock)


def call(jamsocket: Any, name: str) -> Any:
    arguments, options, *_ = CALLS[name]
    return getattr(jamsocket, name)(*arguments, **options)


def play(server: FaultServer, name: str, *scripts: Script) -> None:
    _, _, method, path, _ = CALLS[name]
    server.on(method, path, list(scripts))


def test_results(jamsocket: Any) -> None:
    (running,) = jamsocket.backends()
    assert isinstance(running, RunningBackend)
    assert (running.id, running.key, running.status.status) == ("b1", "k", "ready")
    backend = jamsocket.backend_info("b1")
    assert isinstance(backend, BackendInfo)
    assert (backend.key, backend.environment_name, backend.max_mem_bytes) == (None, None, 5)
    assert backend.created_at == datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    assert [state.status for state in backend.statuses] == ["ready", "terminated"]
    assert (backend.statuses[0].exit_code, backend.statuses[1].exit_code) == (None, 0)
    assert jamsocket.services() == ["whiteboard", "notes"]
    service = jamsocket.service_info()
    assert isinstance(service, ServiceInfo)
    assert (service.last_image_upload_time, service.environments[0].image_tag) == (None, "latest")
    (image,) = jamsocket.images()
    assert isinstance(image, Image)
    assert image.tag == "latest"
    auth = jamsocket.auth_info()
    assert isinstance(auth, AuthInfo)
    assert auth.accounts == ["acme"]
    for name in WRITES:
        assert call(jamsocket, name) is None


@pytest.mark.parametrize("name", CALLS)
def test_requests(jamsocket: Any, server: FaultServer, name: str) -> None:
    call(jamsocket, name)
    (request,) = server.requests
    assert (request.method, request.target) == CALLS[name][2:4]
    assert request.headers["authorization"] == "Bearer tok-planted-secret"
    bodies = {"create_service": {"name": "notes"}, "use_image": {"image_tag": "v2"}}
    assert (request.json if request.body else None) == bodies.get(name)


def test_another_service_and_environment(make: Maker, server: FaultServer) -> None:
    jamsocket = make.to(server.url, environment="staging")
    paths = {
        "/v2/service/acme/notes": lambda: jamsocket.service_info("notes"),
        "/v2/service/acme/notes/images": lambda: jamsocket.images("notes"),
        "/v2/service/acme/whiteboard/staging/update": lambda: jamsocket.use_image("v2"),
        "/v2/service/acme/notes/update": lambda: jamsocket.use_image("v2", service="notes"),
        "/v2/service/acme/notes/blue/update": lambda: jamsocket.use_image("v2", service="notes", environment="blue"),
        "/v2/service/acme/whiteboard/blue/update": lambda: jamsocket.use_image("v2", environment="blue"),
    }
    for ask in paths.values():
        with pytest.raises(NotFoundError):
            ask()
    assert [request.target for request in server.requests] == list(paths)


def test_on_a_development_server(make: Maker, server: FaultServer) -> None:
    server.on("GET", "/v2/account/-/backends", [respond(200, {"running_backends": []})])
    server.on("GET", "/v2/service/-/-", [respond(200, SERVICE)])
    jamsocket = make(dev=True, port=server.port)
    assert jamsocket.backends() == []
    assert jamsocket.service_info().name == "whiteboard"
    assert not any("authorization" in request.headers for request in server.requests)


# ── Names ──


@pytest.mark.parametrize("name", ["a/b", "../x", "a?b#c", "%2e%2e", "é b", "..."])
def test_names_are_percent_encoded(jamsocket: Any, server: FaultServer, name: str) -> None:
    for ask in (
        lambda: jamsocket.backend_info(name),
        lambda: jamsocket.service_info(name),
        lambda: jamsocket.images(name),
        lambda: jamsocket.delete_service(name),
        lambda: jamsocket.use_image("v2", service=name, environment=name),
        lambda: next(jamsocket.logs(name)),
        lambda: next(jamsocket.metrics(name)),
    ):
        with pytest.raises(NotFoundError):
            ask()
    for request in server.requests:
        parts = request.target.split("/")
        assert parts[:2] == ["", "v2"]
        assert not set(request.target) & set("?# ")
        assert ".." not in parts
    assert [request.target.count("/") for request in server.requests] == [3, 4, 5, 5, 6, 5, 5]
    jamsocket.create_service(name)
    assert server.requests[-1].json == {"name": name}


@pytest.mark.parametrize("name", ["", ".", "..", 5, b"x", "\ud800", "x" * 513])
def test_names_that_are_none_are_refused(jamsocket: Any, server: FaultServer, name: Any) -> None:
    for argument, ask in (
        ("backend_id", lambda: jamsocket.backend_info(name)),
        ("backend_id", lambda: jamsocket.logs(name)),
        ("backend_id", lambda: jamsocket.metrics(name)),
        ("service", lambda: jamsocket.service_info(name)),
        ("service", lambda: jamsocket.images(name)),
        ("service", lambda: jamsocket.delete_service(name)),
        ("service", lambda: jamsocket.use_image("v2", service=name)),
        ("environment", lambda: jamsocket.use_image("v2", environment=name)),
        ("name", lambda: jamsocket.create_service(name)),
    ):
        with pytest.raises(ValueError if isinstance(name, str) else TypeError, match=argument):
            ask()
    for tag in ("", 5, None):
        with pytest.raises((TypeError, ValueError), match="tag"):
            jamsocket.use_image(tag)
    with pytest.raises(TypeError, match="service must be a string"):
        jamsocket.delete_service(None)
    assert server.requests == []


# ── Retries and errors ──


@pytest.mark.parametrize("name", [*READS, "use_image"])
@pytest.mark.parametrize("failure", [respond(503), respond(429), reset])
def test_what_may_run_twice_is_tried_again(jamsocket: Any, server: FaultServer, name: str, failure: Any) -> None:
    play(server, name, [failure], [close], [respond(200, CALLS[name][4])])
    call(jamsocket, name)
    assert len(server.requests) == 3


@pytest.mark.parametrize("name", ["create_service", "delete_service"])
def test_what_may_not_is_tried_again_only_if_it_never_ran(
    jamsocket: Any, server: FaultServer, clock: FakeClock, name: str
) -> None:
    play(server, name, [respond(503)])
    with pytest.raises(ServerError):
        call(jamsocket, name)
    play(server, name, [reset])
    with pytest.raises(TransportError) as caught:
        call(jamsocket, name)
    assert caught.value.request_sent
    assert len(server.requests) == 2
    play(server, name, [respond(429)], [respond(200, OK, connection="close")])
    call(jamsocket, name)
    assert len(server.requests) == 4
    server.refuse()
    clock.slept.clear()
    with pytest.raises(TransportError) as refused:
        call(jamsocket, name)
    assert not refused.value.request_sent
    assert len(clock.slept) == 2, "nobody was there: tried again"


@pytest.mark.parametrize("name", CALLS)
def test_errors(jamsocket: Any, server: FaultServer, name: str) -> None:
    for status, kind in ((401, AuthenticationError), (404, NotFoundError), (409, ConflictError)):
        play(server, name, [respond(status, {"error": {"message": "tok-planted-secret!", "code": "Why"}})])
        with pytest.raises(kind) as caught:
            call(jamsocket, name)
        assert caught.value.error_code == "Why"
        assert "tok-planted-secret" not in str(caught.value)


# ── What a server may answer ──


def without(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != name}


WRONG: list[tuple[str, Any, str]] = [
    *((name, b"<html>", "not JSON") for name in CALLS),
    *((name, b"[]", "not a JSON object") for name in CALLS),
    *((name, b"\xff", "not UTF-8") for name in CALLS),
    *((name, b"[" * 100_000, "nested too deep") for name in CALLS),
    ("backends", {}, "running_backends is not a list"),
    ("backends", {"running_backends": {}}, "running_backends is not a list"),
    ("backends", {"running_backends": [RUNNING, 5]}, r"running_backends\[1\] is not a JSON object"),
    ("backends", {"running_backends": [without(RUNNING, "status")]}, r"running_backends\[0\]\.status is not"),
    (
        "backends",
        {"running_backends": [{**RUNNING, "status": {"status": 5, "time": WHEN}}]},
        "status is not a string",
    ),
    ("backend_info", without(BACKEND, "id"), "id is not a string"),
    ("backend_info", {**BACKEND, "id": 5}, "id is not a string"),
    ("backend_info", {**BACKEND, "id": None}, "id is not a string"),
    ("backend_info", {**BACKEND, "created_at": "yesterday"}, "created_at is not a date and time"),
    ("backend_info", {**BACKEND, "created_at": 1767323045678}, "created_at is not a date and time"),
    ("backend_info", {**BACKEND, "statuses": None}, "statuses is not a list"),
    ("service_info", {**SERVICE, "environments": [{}]}, r"environments\[0\]\.name is not a string"),
    ("services", {"services": ["a", None]}, r"services\[1\] is not a string"),
    ("images", {"images": [without(IMAGE, "digest")]}, r"images\[0\]\.digest is not a string"),
    ("auth_info", {**AUTH, "is_admin": 1}, "is_admin is not true or false"),
    ("auth_info", {**AUTH, "status": "planted-value"}, "status is not 'ok'"),
]


@pytest.mark.parametrize(("name", "answer", "match"), WRONG)
def test_an_answer_that_is_not_what_the_api_promises(
    jamsocket: Any, server: FaultServer, name: str, answer: Any, match: str
) -> None:
    play(server, name, [respond(200, answer)])
    with pytest.raises(InvalidResponseError, match=match) as caught:
        call(jamsocket, name)
    assert "planted" not in str(caught.value)


def test_what_a_newer_server_sends_comes_through(jamsocket: Any, server: FaultServer) -> None:
    state = {**END, "status": "paused", "termination_reason": "bored", "termination_kind": "gentle", "mood": "fine"}
    play(server, "backend_info", [respond(200, {**BACKEND, "statuses": [state], "region": {"name": "eu"}})])
    backend = jamsocket.backend_info("b1")
    assert backend["region"] == {"name": "eu"}
    (paused,) = backend.statuses
    assert (paused.status, paused.termination_reason, paused.termination_kind) == ("paused", "bored", "gentle")
    assert paused["mood"] == "fine"
    assert backend.to_dict()["statuses"] == [state]


@pytest.mark.parametrize("value", [None, {}, [5], "", "soon", True, 1e400])
def test_an_optional_field_that_is_nothing_counts_as_absent(jamsocket: Any, server: FaultServer, value: Any) -> None:
    play(server, "service_info", [respond(200, {**SERVICE, "last_spawned_at": value})])
    assert jamsocket.service_info().last_spawned_at is None
    states = [{**STATE, "exit_code": value, "last_status": 5, "termination_reason": None}]
    play(server, "backend_info", [respond(200, {**BACKEND, "statuses": states, "max_mem_bytes": value, "key": 5})])
    backend = jamsocket.backend_info("b1")
    assert (backend.max_mem_bytes, backend.key, backend.statuses[0].exit_code) == (None, None, None)
    assert backend.statuses[0].last_status is None
