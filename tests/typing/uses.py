"""A user's file, for mypy --strict and pyright strict: right uses must pass, each wrong use must be an error.

A line that must be rejected ends with `# WRONG`.
"""

from __future__ import annotations

from typing import assert_never, assert_type

import httpx

from jamsocket import (
    AsyncJamsocket,
    AsyncLogStream,
    AsyncSessionBackend,
    AuthInfo,
    BackendInfo,
    BackendMetrics,
    BackendState,
    Backoff,
    ConnectDict,
    ConnectRequest,
    ConnectResponse,
    HardTerminatingState,
    Image,
    Jamsocket,
    LoadingState,
    LogStream,
    MetricsStream,
    ReadyState,
    RunningBackend,
    ScheduledState,
    ServiceInfo,
    SessionBackend,
    SpawnConfig,
    StartingState,
    StatusStream,
    TerminatedState,
    TerminatingState,
    TerminationReason,
    UnknownState,
    WaitingState,
)

# ── The constructor ──

Jamsocket(account="acme", token="t", service="whiteboard")
Jamsocket(account="acme", token="t", service="whiteboard", environment="staging", api_url="https://x")
Jamsocket(dev=True)
Jamsocket(dev=True, port=8081, timeout=3, max_retries=0, http_client=httpx.Client())
AsyncJamsocket(dev=True, http_client=httpx.AsyncClient())
Jamsocket.from_env()
Jamsocket.from_env({"JAMSOCKET_DEV": "1"}, timeout=1)
Jamsocket()  # WRONG
Jamsocket(account="acme", service="whiteboard")  # WRONG
Jamsocket(dev=True, token="t")  # WRONG
Jamsocket(account="acme", token="t", service="whiteboard", port=1)  # WRONG
Jamsocket(dev=True, http_client=httpx.AsyncClient())  # WRONG
AsyncJamsocket(dev=True, http_client=httpx.Client())  # WRONG


# ── connect ──


def connect(jamsocket: Jamsocket) -> None:
    assert_type(jamsocket.connect(), ConnectResponse)
    jamsocket.connect(
        key="my-key",
        spawn={"lifetime_limit_seconds": 432_000, "executable": {"env": {"A": "b"}, "mount": True}},
        user="my-user-id",
        auth={"my_user_metadata": "bar", "list": [1, None, {"x": 1.5}]},
    )
    jamsocket.connect(spawn=SpawnConfig(max_idle_seconds=60))
    jamsocket.connect(spawn=False, key=None)
    jamsocket.connect(ConnectRequest(key="k"))
    options: ConnectDict = {"key": "k", "spawn": {"executable": {"resource_limits": {"cpu_period_percent": 50}}}}
    jamsocket.connect(options)
    jamsocket.connect(**options)
    roles: dict[str, str] = {"a": "b"}
    jamsocket.connect(auth=roles)
    jamsocket.connect("my-key")  # WRONG
    jamsocket.connect(kye="my-key")  # WRONG
    jamsocket.connect(key=5)  # WRONG
    jamsocket.connect(spawn={"max_idle_second": 1})  # WRONG
    jamsocket.connect(spawn={"executable": {"envs": {}}})  # WRONG
    jamsocket.connect(spawn={"executable": {"env": {"A": 1}}})  # WRONG
    jamsocket.connect(spawn={"executable": {"resource_limits": {"cpu": 1}}})  # WRONG
    jamsocket.connect(spawn="yes")  # WRONG
    jamsocket.connect(auth={"a": object()})  # WRONG
    jamsocket.connect(auth=[1])  # WRONG
    jamsocket.connect({"kye": "x"})  # WRONG
    options = {"key": "k", "spwan": True}  # WRONG


def connect_ready(jamsocket: Jamsocket) -> None:
    assert_type(jamsocket.connect_ready(), ConnectResponse)
    jamsocket.connect_ready(key="k", spawn={"max_idle_seconds": 1}, timeout=None, stall_timeout=3, backoff=Backoff())
    jamsocket.connect_ready({"key": "k"}, timeout=5)
    jamsocket.connect_ready(ConnectRequest(key="k"))
    options: ConnectDict = {"key": "k"}
    jamsocket.connect_ready(options)
    jamsocket.connect_ready(**options, timeout=5)
    jamsocket.connect_ready("my-key")  # WRONG
    jamsocket.connect_ready(kye="my-key")  # WRONG
    jamsocket.connect_ready({"kye": "my-key"})  # WRONG
    jamsocket.connect_ready({"timeout": 5})  # WRONG
    jamsocket.connect_ready(spawn={"max_idle_second": 1})  # WRONG
    jamsocket.connect_ready(timeuot=5)  # WRONG
    jamsocket.connect_ready(timeout="5")  # WRONG
    jamsocket.connect(timeout=5)  # WRONG


# ── States ──


def by_class(state: BackendState) -> str:
    match state:
        case TerminatedState(termination_reason=reason):
            assert_type(reason, TerminationReason | None)
            return "over"
        case TerminatingState() | HardTerminatingState():
            return "leaving"
        case ReadyState():
            return "ready"
        case ScheduledState() | LoadingState() | StartingState() | WaitingState():
            return "coming"
        case UnknownState(raw_status=word):
            assert_type(word, str)
            return word
        case _:
            assert_never(state)


def by_status(state: BackendState) -> None:
    if state.status == "terminated":
        assert_type(state, TerminatedState)
        assert_type(state.exit_error, bool | None)
    elif state.status == "unknown":
        assert_type(state, UnknownState)
    elif state.status == "ready":
        assert_type(state, ReadyState)
        print(state.termination_reason)  # WRONG
    if state.status == "redy":  # WRONG
        pass


def by_word(state: BackendState) -> None:
    match state.status:
        case "terminating" | "hard-terminating":
            print(state.time)
        case _:
            pass


# ── Streams and the rest ──


def follow(jamsocket: Jamsocket, backend_id: str) -> None:
    assert_type(jamsocket.status(backend_id), BackendState)
    states = jamsocket.statuses(backend_id, stall_timeout=3)
    assert_type(states, StatusStream)
    with states:
        for state in states:
            assert_type(state, BackendState)
    unsubscribe = jamsocket.status_stream(backend_id, print, on_error=print)
    assert_type(unsubscribe(), None)
    assert_type(jamsocket.wait_until_ready(backend_id, timeout=None), ReadyState)
    assert_type(jamsocket.terminate(backend_id, hard=True), None)
    jamsocket.status(5)  # WRONG
    jamsocket.terminate(backend_id, True)  # WRONG
    jamsocket.status_stream(backend_id)  # WRONG


async def follow_async(jamsocket: AsyncJamsocket, backend_id: str) -> None:
    async def on_status(state: BackendState) -> None:
        print(state)

    assert_type(await jamsocket.connect(), ConnectResponse)
    assert_type(await jamsocket.status(backend_id), BackendState)
    async with jamsocket.statuses(backend_id) as states:
        async for state in states:
            assert_type(state, BackendState)
    unsubscribe = await jamsocket.status_stream(backend_id, on_status)
    unsubscribe()
    await jamsocket.status_stream(backend_id, print)
    assert_type(await jamsocket.wait_until_ready(backend_id), ReadyState)
    await jamsocket.connect(kye="x")  # WRONG
    print([*jamsocket.statuses(backend_id)])  # WRONG


# ── Logs, metrics, services ──


def account(jamsocket: Jamsocket, backend_id: str) -> None:
    assert_type(jamsocket.backends(), list[RunningBackend])
    info = jamsocket.backend_info(backend_id)
    assert_type(info, BackendInfo)
    assert_type(info.key, str | None)
    assert_type(info.statuses[0].exit_code, int | None)
    with jamsocket.logs(backend_id, stall_timeout=3, backoff=Backoff()) as lines:
        assert_type(lines, LogStream)
        for line in lines:
            assert_type(line, str)
    with jamsocket.metrics(backend_id) as measurements:
        assert_type(measurements, MetricsStream)
        assert_type(next(measurements), BackendMetrics)
    assert_type(jamsocket.services(), list[str])
    assert_type(jamsocket.service_info(), ServiceInfo)
    assert_type(jamsocket.images("notes"), list[Image])
    assert_type(jamsocket.auth_info(), AuthInfo)
    assert_type(jamsocket.create_service("notes"), None)
    jamsocket.use_image("v2", service="notes", environment="staging")
    jamsocket.delete_service("notes")
    jamsocket.delete_service()  # WRONG
    jamsocket.use_image("v2", "notes")  # WRONG
    jamsocket.logs(backend_id, follow=True)  # WRONG
    jamsocket.backends("acme")  # WRONG


async def account_async(jamsocket: AsyncJamsocket, backend_id: str) -> None:
    assert_type(await jamsocket.backends(), list[RunningBackend])
    async with jamsocket.logs(backend_id) as lines:
        assert_type(lines, AsyncLogStream)
        async for line in lines:
            assert_type(line, str)
    async for measured in jamsocket.metrics(backend_id):
        assert_type(measured, BackendMetrics)
    assert_type(await jamsocket.service_info("notes"), ServiceInfo)
    jamsocket.backends().sort()  # WRONG
    print([*jamsocket.logs(backend_id)])  # WRONG


# ── SessionBackend ──


def session_backend(connection: ConnectResponse, message: dict[str, object]) -> None:
    SessionBackend(message)
    SessionBackend('{"url": "…"}', timeout=3, max_retries=0, http_client=httpx.Client(), stall_timeout=9)
    with SessionBackend(connection) as backend:
        assert_type(backend, SessionBackend)
        assert_type(backend.is_ready, bool)
        assert_type(backend.url_for("a"), str)
        assert_type(backend.socketio.origin, str)
        unsubscribe = backend.on_status(print)
        assert_type(unsubscribe(), None)
        backend.on_ready(lambda ready: print(assert_type(ready, ReadyState)), on_error=print)
        assert_type(backend.wait_ready(), ReadyState)
        assert_type(backend.wait_terminated(timeout=None), TerminatedState)
        assert_type(backend.status(), BackendState)
    SessionBackend(5)  # WRONG
    SessionBackend(connection, http_client=httpx.AsyncClient())  # WRONG
    SessionBackend(connection, "token")  # WRONG
    backend.on_status()  # WRONG
    backend.wait_ready(timeout="5")  # WRONG


async def session_backend_async(connection: ConnectResponse) -> None:
    async def on_ready(state: ReadyState) -> None:
        print(state)

    async with AsyncSessionBackend(connection, http_client=httpx.AsyncClient()) as backend:
        assert_type(backend, AsyncSessionBackend)
        backend.on_ready(on_ready)
        backend.on_status(print)()
        assert_type(await backend.wait_ready(), ReadyState)
        assert_type(await backend.wait_terminated(), TerminatedState)
        assert_type(await backend.status(), BackendState)
        print(backend.wait_ready().status)  # WRONG
        backend.on_status(on_ready)  # WRONG


async def connect_ready_async(jamsocket: AsyncJamsocket) -> None:
    assert_type(await jamsocket.connect_ready(key="k", timeout=5), ConnectResponse)
    await jamsocket.connect_ready(kye="k")  # WRONG
