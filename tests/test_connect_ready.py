"""`connect_ready`, for both clients: on a server that plays every turn, and on real processes."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import pytest

from jamsocket import (
    AsyncJamsocket,
    BackendTerminatedError,
    Backoff,
    ConflictError,
    ConnectRequest,
    ConnectResponse,
    Jamsocket,
    JamsocketError,
    NotFoundError,
    ServerError,
    TransportError,
    WaitTimeoutError,
)
from jamsocket.clock import Clock
from jamsocket.hosting import DevServer
from tests.support.clients import AT_ONCE, Maker
from tests.support.faults import (
    LIFE,
    FaultServer,
    Script,
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
CONNECT = "/v2/service/acme/whiteboard/connect"
FAST = Backoff(initial=0.001, maximum=0.01)


def connection(backend: str = "b1", status: str = "scheduled", *, spawned: bool | None = None) -> Script:
    return [
        respond(
            200,
            {
                "backend_id": backend,
                "spawned": status == "scheduled" if spawned is None else spawned,
                "status": status,
                "token": "planted-token",
                "url": f"http://localhost:9090/planted-token-{backend}/",
                "status_url": f"https://api.example.com/v2/backend/{backend}/status",
            },
        )
    ]


class Stage:
    """A server on which the lives of backends are scripted."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server

    def connects(self, *scripts: Script) -> None:
        self.server.on("POST", CONNECT, list(scripts))

    def backend(self, backend: str, now: str, script: Any) -> None:
        self.server.on("GET", f"/v2/backend/{backend}/status", [respond(200, state(now))])
        self.server.on("GET", f"/v2/backend/{backend}/status/stream", script)

    @property
    def connected(self) -> int:
        return len(self.server.seen(CONNECT))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def stage(server: FaultServer) -> Stage:
    stage = Stage(server)
    stage.backend("b1", "starting", stream(*(event(status) for status in LIFE[:5]), hang))
    stage.backend("b2", "starting", stream(*(event(status) for status in LIFE[:5]), hang))
    stage.connects(connection())
    return stage


class Caller:
    """`connect_ready` of either client, blocking."""

    def __init__(self, make: Maker, **options: Any) -> None:
        self.make = make
        self.face = make.to(**options) if "url" in options else make(**options)

    def __call__(self, *args: Any, **kwargs: Any) -> ConnectResponse:
        if self.make.kind == "blocking":
            made: ConnectResponse = self.face.connect_ready(*args, **kwargs)
            return made
        return self.make.loop.run(self.face.client.connect_ready(*args, **kwargs), timeout=90)


@pytest.fixture
def connect_ready(make: Maker, server: FaultServer) -> Caller:
    return Caller(make, url=server.url)


# ── The ways to a backend that is ready ──


def test_a_new_backend(connect_ready: Caller, stage: Stage) -> None:
    found = connect_ready(key="k", user="ada", auth={"a": 1}, spawn={"max_idle_seconds": 60})
    assert isinstance(found, ConnectResponse)
    assert (found.backend_id, found.spawned, found.status) == ("b1", True, "scheduled")
    request = stage.server.seen(CONNECT)[0]
    assert request.json == {"key": "k", "user": "ada", "auth": {"a": 1}, "spawn": {"max_idle_seconds": 60}}
    assert request.headers["authorization"] == "Bearer tok-planted-secret"
    assert stage.connected == 1
    assert stage.server.wait_for(lambda: stage.server.open_connections == 0), "nothing is left open"


def test_arguments_as_those_of_connect(connect_ready: Caller, stage: Stage) -> None:
    assert connect_ready()
    assert connect_ready({"key": "k"}, timeout=10)
    assert connect_ready(ConnectRequest(key="k"), timeout=None)
    assert [request.json for request in stage.server.seen(CONNECT)] == [{}, {"key": "k"}, {"key": "k"}]


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "match"),
    [
        ((), {"kye": "k"}, TypeError, "kye"),
        (({"kye": "k"},), {}, TypeError, "kye"),
        (({"timeout": 1},), {}, TypeError, "timeout"),
        (("k",), {}, TypeError, "keyword"),
        (({"key": "k"},), {"user": "u"}, TypeError, "not both"),
        ((), {"timeout": 0}, ValueError, "timeout"),
        ((), {"timeout": "5"}, TypeError, "timeout"),
        ((), {"stall_timeout": 0}, ValueError, "stall_timeout"),
        ((), {"auth": {"a": float("nan")}}, ValueError, "nan"),
    ],
)
def test_arguments_that_are_wrong(
    connect_ready: Caller, stage: Stage, args: Any, kwargs: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        connect_ready(*args, **kwargs)
    assert stage.server.requests == []


def test_one_that_is_ready_needs_no_more(connect_ready: Caller, stage: Stage) -> None:
    stage.connects(connection(status="ready"))
    assert connect_ready(key="k").status == "ready"
    assert len(stage.server.requests) == 1


@pytest.mark.parametrize("status", ["loading", "waiting", "paused"])
def test_one_that_somebody_else_started(connect_ready: Caller, stage: Stage, status: str) -> None:
    stage.connects(connection(status=status, spawned=False))
    assert connect_ready(key="k").backend_id == "b1"
    assert stage.connected == 1


@pytest.mark.parametrize("status", ["terminating", "hard-terminating", "terminated"])
def test_a_key_held_by_a_backend_on_its_way_out(connect_ready: Caller, stage: Stage, status: str) -> None:
    go_on = threading.Event()
    stage.connects(connection("old", status), connection("b2"))
    past = [event(each) for each in LIFE[:6]]
    stage.backend("old", status, stream(*past, until(go_on), event("terminated"), hang))
    if status != "terminated":
        threading.Timer(0.3, go_on.set).start()
    found = connect_ready(key="k")
    assert (found.backend_id, found.spawned) == ("b2", True)
    assert stage.connected == 2


def test_several_on_their_way_out(connect_ready: Caller, stage: Stage) -> None:
    stage.connects(connection("o1", "terminating"), connection("o2", "terminating"), connection("b1"))
    for old in ("o1", "o2"):
        stage.backend(old, "terminating", hosted_stream(LIFE))
    assert connect_ready(key="k").backend_id == "b1"
    assert stage.connected == 3


def test_a_key_that_is_not_free_at_once(connect_ready: Caller, stage: Stage) -> None:
    old = connection("old", "terminating")
    stage.connects(old, old, old, connection("b1"))
    stage.backend("old", "terminated", hosted_stream(LIFE))
    assert connect_ready(key="k", backoff=FAST).backend_id == "b1"
    assert stage.connected == 4


def test_no_hot_loop_and_an_end(connect_ready: Caller, stage: Stage) -> None:
    stage.connects(connection("old", "terminated"))
    stage.backend("old", "terminated", hosted_stream(LIFE))
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError, match="terminated") as caught:
        connect_ready(key="k", timeout=0.5, backoff=Backoff(initial=60, maximum=60))
    assert time.monotonic() - began < AT_ONCE
    assert (caught.value.backend_id, caught.value.timeout) == ("old", 0.5)
    assert caught.value.state is not None
    assert caught.value.state.status == "terminated"
    assert stage.connected <= 4


def test_a_server_that_forgets_the_dead(connect_ready: Caller, stage: Stage) -> None:
    stage.connects(connection("old", "terminating"), connection("b1"))  # `old` has no script: 404
    assert connect_ready(key="k").backend_id == "b1"


# ── What keeps it from one ──


def test_a_backend_that_ends_while_it_starts(connect_ready: Caller, stage: Stage) -> None:
    end = event("terminated", termination_reason="startuptimeout", exit_error=True)
    stage.backend("b1", "starting", stream(*(event(each) for each in LIFE[:4]), end, hang))
    with pytest.raises(BackendTerminatedError, match="startuptimeout") as caught:
        connect_ready(key="k")
    assert caught.value.backend_id == "b1"
    assert caught.value.state.exit_error is True
    assert stage.connected == 1, "no respawning"


def test_one_that_ends_while_it_starts_after_one_that_ended(connect_ready: Caller, stage: Stage) -> None:
    stage.connects(connection("old", "terminating"), connection("b1"))
    stage.backend("old", "terminating", hosted_stream(LIFE))
    stage.backend("b1", "terminated", hosted_stream(LIFE))
    with pytest.raises(BackendTerminatedError):
        connect_ready(key="k")
    assert stage.connected == 2


def test_an_answer_of_the_api(connect_ready: Caller, stage: Stage) -> None:
    stage.connects([respond(409, {"error": {"message": "no spawn", "code": "KeyUnheldNoSpawnConfig"}})])
    with pytest.raises(ConflictError, match="no spawn"):
        connect_ready(key="k", spawn=False)
    stage.connects(connection("old", "terminating"), [respond(409)])
    stage.backend("old", "terminating", hosted_stream(LIFE))
    with pytest.raises(ConflictError):
        connect_ready(key="k", spawn=False)


def test_a_backend_the_api_does_not_know(connect_ready: Caller, stage: Stage) -> None:
    stage.connects(connection("nobody"))
    with pytest.raises(NotFoundError):
        connect_ready()


def test_retries_are_those_of_connect(make: Maker, stage: Stage) -> None:
    call = Caller(make, url=stage.server.url)
    stage.connects([respond(503)], connection())
    with pytest.raises(ServerError):
        call()
    stage.connects([respond(503, retry_after="0")], connection())
    assert call(key="k").backend_id == "b1"


def test_no_answer(connect_ready: Caller, stage: Stage) -> None:
    stage.connects([reset])
    with pytest.raises(TransportError):
        connect_ready()
    stage.server.refuse()
    with pytest.raises((TransportError, WaitTimeoutError)):
        connect_ready(timeout=0.2)


PLACES = ["connect", "connect again", "status", "stream", "old status", "old stream", "lost", "retry"]


@pytest.mark.parametrize("place", PLACES)
def test_one_deadline_for_everything(connect_ready: Caller, stage: Stage, place: str) -> None:
    stalled = stream(event("starting"), hang)
    stage.backend("b1", "starting", stalled)
    if place == "connect":
        stage.connects([hang])
    elif place == "connect again":
        stage.connects(connection("old", "terminating"), [hang])
        stage.backend("old", "terminating", hosted_stream(LIFE))
    elif place == "status":
        stage.server.on("GET", "/v2/backend/b1/status", [hang])
    elif place.startswith("old"):
        stage.connects(connection("old", "terminating"))
        stage.backend("old", "terminating", stream(event("terminating"), hang))
        if place == "old status":
            stage.server.on("GET", "/v2/backend/old/status", [hang])
    elif place == "lost":
        stage.backend("b1", "starting", [stream(event("starting"), reset), [reset]])
    elif place == "retry":
        stage.connects([respond(503, retry_after="30")])
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError) as caught:
        connect_ready(key="k", timeout=0.4)
    assert 0.3 < time.monotonic() - began < AT_ONCE
    error = caught.value
    assert error.timeout == 0.4
    assert isinstance(error, TimeoutError)
    expected = {
        "connect": ("", None),
        "retry": ("", None),
        "connect again": ("old", "terminated"),
        "status": ("b1", None),
        "stream": ("b1", "starting"),
        "lost": ("b1", "starting"),
        "old status": ("old", None),
        "old stream": ("old", "terminating"),
    }[place]
    assert (error.backend_id, error.state and error.state.status) == expected
    assert "within 0.4 s" in str(error)
    assert stage.server.wait_for(lambda: stage.server.open_connections == 0)


def test_the_deadline_is_not_one_for_each_step(connect_ready: Caller, stage: Stage) -> None:
    go_on = threading.Event()
    stage.connects(connection("old", "terminating"), connection("b1"))
    stage.backend("old", "terminating", stream(until(go_on), event("terminated"), hang))
    stage.backend("b1", "starting", stream(event("starting"), hang))
    threading.Timer(1.5, go_on.set).start()
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError):
        connect_ready(key="k", timeout=2)
    assert time.monotonic() - began < 3.4, "two seconds for each would be three and a half"


@pytest.mark.parametrize("place", ["connect", "stream", "old", "pause"])
def test_closing_the_client_ends_it(make: Maker, stage: Stage, place: str) -> None:
    call = Caller(make, url=stage.server.url)
    # The real dice may show a pause of no time at all.
    client = call.face if make.kind == "blocking" else call.face.client
    client._session.clock = FakeDice()
    if place == "connect":
        stage.connects([hang])
    elif place in {"old", "pause"}:
        stage.connects(connection("old", "terminating"))
        script = hosted_stream(LIFE) if place == "pause" else stream(event("terminating"), hang)
        stage.backend("old", "terminated" if place == "pause" else "terminating", script)
    else:
        stage.backend("b1", "starting", stream(event("starting"), hang))
    outcomes: list[Exception] = []

    def run() -> None:
        try:
            call(key="k", timeout=30, backoff=Backoff(initial=60, maximum=60))
        except (RuntimeError, JamsocketError) as error:
            outcomes.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    old = "/v2/backend/old/status"
    path = {"connect": CONNECT, "stream": "/v2/backend/b1/status/stream", "old": f"{old}/stream", "pause": old}[place]
    assert stage.server.wait_for(lambda: len(stage.server.seen(path)) >= (2 if place == "pause" else 1))
    assert stage.server.wait_for(lambda: place != "pause" or stage.server.open_connections == 0)
    began = time.monotonic()
    call.face.close()
    thread.join(5)
    assert time.monotonic() - began < AT_ONCE
    assert not thread.is_alive()
    assert len(outcomes) == 1
    assert not isinstance(outcomes[0], WaitTimeoutError)


class FakeDice(Clock):
    def random(self) -> float:
        return 1.0


def test_cancelling_leaves_nothing(stage: Stage) -> None:
    stage.backend("b1", "starting", stream(event("starting"), hang))

    async def main() -> None:
        account: dict[str, Any] = {"account": "acme", "token": "t", "service": "whiteboard"}
        async with AsyncJamsocket(**account, api_url=stage.server.url) as jamsocket:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await jamsocket.connect_ready(key="k")

    asyncio.run(main())
    assert stage.server.wait_for(lambda: stage.server.open_connections == 0)


# ── Real processes ──

SLOW = """
import http.server, os, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["SESSION_BACKEND_ID"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
    do_HEAD = do_GET
    def log_message(self, *_): pass
def leave(*_):
    time.sleep(float(os.environ.get("SLOWNESS", "0")))
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
if os.environ.get("BROKEN"):
    sys.exit(3)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    program = tmp_path_factory.mktemp("slow") / "backend.py"
    program.write_text(SLOW)
    with DevServer([sys.executable, str(program)], port=0, proxy_port=0) as platform:
        yield platform


def test_many_callers_while_a_slow_backend_holds_the_key(make: Maker, platform: DevServer) -> None:
    key = f"slow-{make.kind}"
    spawn: Any = {"executable": {"env": {"SLOWNESS": "1.5"}}}
    with Jamsocket(dev=True, port=platform.port) as plain:
        old = plain.connect_ready(key=key, spawn=spawn)
        plain.terminate(old.backend_id)
        assert plain.status(old.backend_id).status == "terminating"
        held = plain.connect(key=key)
        assert (held.backend_id, held.status) == (old.backend_id, "terminating")
        callers = [Caller(make, dev=True, port=platform.port) for _ in range(4)]
        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(lambda number: callers[number % 4](key=key, spawn=spawn, timeout=60), range(12)))
        assert {each.backend_id for each in found} & {old.backend_id} == set()
        assert len({each.backend_id for each in found}) == 1
        assert [each.spawned for each in found].count(True) == 1
        assert len({each.url for each in found}) == 12, "a token for each"
        for each in found:
            assert httpx.get(each.url, timeout=10).text == each.backend_id
        assert plain.status(old.backend_id).status == "terminated"
        plain.terminate(found[0].backend_id, hard=True)


def test_a_broken_program(make: Maker, platform: DevServer) -> None:
    call = Caller(make, dev=True, port=platform.port)
    with pytest.raises(BackendTerminatedError) as caught:
        call(key=f"broken-{make.kind}", spawn={"executable": {"env": {"BROKEN": "1"}}}, timeout=60)
    assert caught.value.state.exit_error is True


def test_a_backend_killed_again_and_again(make: Maker, platform: DevServer) -> None:
    call = Caller(make, dev=True, port=platform.port)
    seen: set[str] = set()
    with Jamsocket(dev=True, port=platform.port) as plain:
        for _ in range(3):
            found = call(key=f"again-{make.kind}", timeout=60)
            assert found.backend_id not in seen
            seen.add(found.backend_id)
            assert httpx.get(found.url, timeout=10).text == found.backend_id
            plain.terminate(found.backend_id)


@pytest.mark.parametrize("cls", [Jamsocket, AsyncJamsocket])
def test_the_docstring(platform: DevServer, cls: Any) -> None:
    async def main() -> None:
        names: dict[str, Any] = {"jamsocket": cls(dev=True, port=platform.port)}
        for example in doctest.DocTestParser().get_examples(inspect.getdoc(cls.connect_ready) or ""):
            printed = io.StringIO()
            code = compile(example.source, "<docstring>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with redirect_stdout(printed):
                outcome = eval(code, names)
                if inspect.iscoroutine(outcome):
                    await outcome
            assert printed.getvalue() == example.want
        client = names["jamsocket"]
        await client.aclose() if cls is AsyncJamsocket else client.close()

    asyncio.run(main())
