"""Closing, cancelling, forking, interrupting: each ends what it should, at once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from jamsocket import AsyncJamsocket, AsyncStatusStream, Backoff, Jamsocket, NotFoundError, WaitTimeoutError
from tests.support.clients import AT_ONCE, Maker
from tests.support.faults import (
    FaultServer,
    comment,
    event,
    finish,
    hang,
    raw,
    repeat,
    respond,
    state,
    stream,
    until,
    write,
)

STREAM = "/v2/backend/b1/status/stream"
STATUS = "/v2/backend/b1/status"
CREDENTIALS: dict[str, Any] = {"account": "acme", "token": "t", "service": "s"}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("GET", STATUS, [respond(200, state("starting"))])
        yield server


def ended(server: FaultServer, count: int = 0) -> bool:
    return server.wait_for(lambda: server.open_connections == count)


# ── Cancelling ──


@pytest.mark.parametrize("script", [stream(event("ready"), hang), [hang], stream(hang), [respond(503)]])
def test_cancelling_at_every_step(server: FaultServer, script: Any) -> None:
    server.on("GET", STREAM, script)

    async def consume(jamsocket: AsyncJamsocket) -> None:
        async with jamsocket.statuses("b1", backoff=Backoff(initial=60, maximum=60)) as states:
            async for _ in states:
                pass

    async def main() -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
            for steps in range(25):
                task = asyncio.create_task(consume(jamsocket))
                for _ in range(steps):
                    await asyncio.sleep(0)
                for _ in range(1 + steps % 3):  # the clean-up is cancelled too
                    task.cancel()
                    await asyncio.sleep(0)
                await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.1)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main(), debug=True)
    assert ended(server)


def test_cancelling_the_closing_closes_all_the_same(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))

    async def main() -> None:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as http_client:
            jamsocket = AsyncJamsocket(**CREDENTIALS, api_url=server.url, http_client=http_client)
            for _ in range(3):
                states = jamsocket.statuses("b1")
                await anext(states)
                closing = asyncio.create_task(states.aclose())
                await asyncio.sleep(0)
                closing.cancel()
                await asyncio.gather(closing, return_exceptions=True)
                await states.aclose()
            assert (await jamsocket.status("b1")).status == "starting", "the pool has its place back"

    asyncio.run(main())
    assert ended(server)


def test_giving_up_on_anext_and_coming_back_loses_nothing(server: FaultServer) -> None:
    go_on = threading.Event()
    server.on("GET", STREAM, stream(event("starting"), until(go_on), event("ready"), hang))

    async def main() -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket, jamsocket.statuses("b1") as states:
            assert (await anext(states)).status == "starting"
            for _ in range(10):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(states), 0.05)
            go_on.set()
            assert (await asyncio.wait_for(anext(states), 2)).status == "ready"
            assert len(server.seen(STREAM)) == 1, "the same connection all the time"

    asyncio.run(main())


def test_an_answer_that_was_given_up_is_asked_for_again(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jamsocket.async_streams._ABANDONED_AFTER", 0.01)
    busy = [raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n12"), hang]
    server.on("GET", STREAM, [busy, stream(event("ready"), hang)])

    async def main() -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
            states = jamsocket.statuses("b1", backoff=Backoff(0.001, 0.01))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(states), 0.1)
            assert await asyncio.to_thread(ended, server)
            assert (await anext(states)).status == "ready"

    asyncio.run(main())


async def patient(states: AsyncStatusStream) -> object:
    """What comes of waiting for a tenth of a second."""
    try:
        return await asyncio.wait_for(anext(states, None), 0.1)
    except (TimeoutError, NotFoundError) as error:
        return error


def test_an_unknown_backend_is_found_out_also_by_who_gives_up_and_comes_back(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.3)
    server.on("GET", STREAM, stream(hang))
    server.on("GET", STATUS, [respond(404)])

    async def main() -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket, jamsocket.statuses("b1") as states:
            outcomes = [await patient(states) for _ in range(10)]
            assert any(isinstance(outcome, NotFoundError) for outcome in outcomes)

    asyncio.run(main())


def test_a_cancelled_consumer_that_never_closes_leaves_nothing(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))

    async def main() -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:

            async def consume() -> None:
                async for _ in jamsocket.statuses("b1"):
                    pass

            task = asyncio.create_task(consume())
            assert await asyncio.to_thread(server.wait_for, lambda: bool(server.seen(STREAM)))
            task.cancel()
            results = await asyncio.gather(task, return_exceptions=True)
            assert await asyncio.to_thread(ended, server), results
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main(), debug=True)


# ── Event loops ──


def test_closing_from_another_event_loop(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    jamsocket = AsyncJamsocket(**CREDENTIALS, api_url=server.url)
    got: list[str] = []

    async def consume() -> None:
        got.extend([now.status async for now in jamsocket.statuses("b1")])

    thread = threading.Thread(target=lambda: asyncio.run(consume()))
    thread.start()
    assert server.wait_for(lambda: bool(server.seen(STREAM)))
    time.sleep(0.1)
    asyncio.run(asyncio.wait_for(jamsocket.aclose(), 5))
    thread.join(5)
    assert not thread.is_alive()
    assert ended(server)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the first loop's kept connection went with its loop
def test_one_client_in_two_event_loops(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("terminated"), hang))
    jamsocket = AsyncJamsocket(**CREDENTIALS, api_url=server.url)

    async def use() -> list[str]:
        await jamsocket.status("b1")
        return [now.status async for now in jamsocket.statuses("b1")]

    assert [asyncio.run(use()) for _ in range(2)] == [["terminated"]] * 2
    asyncio.run(jamsocket.aclose())
    gc.collect()


def test_closing_the_client_from_inside_a_callback(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), event("terminating"), hang))

    async def main() -> None:
        jamsocket = AsyncJamsocket(**CREDENTIALS, api_url=server.url)
        done = asyncio.Event()
        got: list[str] = []

        async def on_status(now: Any) -> None:
            got.append(now.status)
            await jamsocket.aclose()
            done.set()

        await jamsocket.status_stream("b1", on_status)
        await asyncio.wait_for(done.wait(), 5)
        assert got == ["ready"]

    asyncio.run(main(), debug=True)
    assert ended(server)
    client = Jamsocket(**CREDENTIALS, api_url=server.url)
    got: list[str] = []
    done = threading.Event()

    def on_status(now: Any) -> None:
        got.append(now.status)
        client.close()
        done.set()

    client.status_stream("b1", on_status)
    assert done.wait(5)
    assert ended(server)
    assert got == ["ready"]


# ── Threads and signals ──


def test_a_stalled_head_of_a_later_connection_is_interrupted(make: Maker, server: FaultServer) -> None:
    server.on("GET", STREAM, [stream(event("ready"), finish), [hang]])
    states = make.to(server.url).statuses("b1", backoff=Backoff(initial=0.001, maximum=0.01))
    thread = threading.Thread(target=lambda: list(states))
    thread.start()
    assert server.wait_for(lambda: len(server.seen(STREAM)) == 2)
    began = time.monotonic()
    states.close()
    thread.join(5)
    assert time.monotonic() - began < AT_ONCE
    assert ended(server)


def test_closing_just_before_the_connection_is_there(server: FaultServer) -> None:
    server.on("GET", STREAM, [hang])
    with Jamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
        states = jamsocket.statuses("b1")
        make_connection = jamsocket._session.stream_connection

        def slowly() -> Any:
            time.sleep(0.2)
            return make_connection()

        jamsocket._session.stream_connection = slowly  # type: ignore[method-assign]
        thread = threading.Thread(target=lambda: list(states))
        thread.start()
        time.sleep(0.1)
        states.close()
        thread.join(2)
        assert not thread.is_alive()
        assert server.requests == []


@pytest.mark.parametrize("script", [stream(event("starting"), hang), [hang]])
def test_an_interrupt_ends_a_blocked_read(server: FaultServer, script: Any) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: Any) -> None:
        raise Interrupted

    server.on("GET", STREAM, script)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Jamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
            for attempt in (
                lambda: list(jamsocket.statuses("b1")),
                lambda: jamsocket.wait_until_ready("b1"),
                lambda: (script == [hang] and jamsocket.status_stream("b1", print)) or hang_on(),
            ):
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                began = time.monotonic()
                with pytest.raises(Interrupted):
                    attempt()
                assert time.monotonic() - began < AT_ONCE
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ended(server)


def hang_on() -> None:
    time.sleep(5)


def test_an_interrupted_stream_can_be_taken_up_again(server: FaultServer) -> None:
    server.on("GET", STREAM, [stream(event("starting"), hang), stream(event("starting"), event("ready"), hang)])

    def interrupt(*_: Any) -> None:
        raise InterruptedError("signal")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Jamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
            states = jamsocket.statuses("b1", backoff=Backoff(initial=0.001, maximum=0.01))
            assert next(states).status == "starting"
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            assert next(states).status == "ready", "an OSError in a read is a lost connection"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def slow_down(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    module, _, name = target.rpartition(".")
    real = getattr(importlib.import_module(module), name)

    def slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.3)
        return real(*args, **kwargs)

    monkeypatch.setattr(target, slowly)


@contextlib.contextmanager
def soon_a_signal_calls(handler: Callable[[], object]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_close_the_client_while_it_connects(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down(monkeypatch, "jamsocket.wire.connect")
    client = Jamsocket(**CREDENTIALS, api_url=server.url)
    with soon_a_signal_calls(client.close):
        assert client.status("b1").status == "starting"
    assert ended(server), "the connection is not kept for a client that is closed"


def test_a_signal_handler_may_close_the_client_while_it_makes_one_of_httpx(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    slow_down(monkeypatch, "jamsocket.httpx_wire.own_client")
    client = Jamsocket(**CREDENTIALS, api_url="http://api.test", allow_insecure_http=True)
    with soon_a_signal_calls(client.close), pytest.raises(RuntimeError, match="closed"):
        client.status("b1")
    assert server.requests == []


def test_system_exit_in_a_callback_does_not_stop_the_stream(
    server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", STREAM, stream(event("ready"), event("terminated"), hang))
    got: list[str] = []

    def on_status(now: Any) -> None:
        got.append(now.status)
        sys.exit(1)

    with Jamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
        jamsocket.status_stream("b1", on_status)
        assert ended(server)
    assert got == ["ready", "terminated"]
    assert sum(record.exc_info is not None for record in caplog.records) == 2


def test_a_question_that_fails_oddly_does_not_hang(
    make: Maker, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.1)
    server.on("GET", STREAM, stream(repeat(comment(), 0.02)))

    def hook(request: httpx.Request) -> None:
        if request.url.path.endswith("/status"):
            raise LookupError("in the user's hook")

    async def async_hook(request: httpx.Request) -> None:
        hook(request)

    hooks: dict[str, Any] = {"request": [hook if make.kind == "blocking" else async_hook]}
    http_client = make.http_client(event_hooks=hooks)
    jamsocket = make.to(server.url, http_client=http_client)
    jamsocket.status_stream("b1", lambda _: None)()
    assert ended(server)
    make.close_http_client(http_client)


# ── Deadlines ──


@pytest.mark.parametrize(
    "scripts",
    [
        [[respond(503)], [hang]],
        [[raw(b"HTTP/1.1 200 OK\r\n"), repeat(raw(b"X-A: b\r\n"), 0.1)]],
        [[raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), repeat(raw(b" "), 0.1)]],
        [[repeat(raw(b"HTTP/1.1 103 Early Hints\r\n\r\n"), 0.1)]],
    ],
)
def test_one_deadline_for_everything(make: Maker, server: FaultServer, scripts: Any) -> None:
    server.on("GET", STATUS, scripts)
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError):
        make.to(server.url).wait_until_ready("b1", timeout=0.8)
    assert 0.7 < time.monotonic() - began < AT_ONCE
    assert ended(server)


def test_closing_the_client_ends_a_wait(make: Maker, server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("starting"), hang))
    jamsocket = make.to(server.url)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            jamsocket.wait_until_ready("b1")
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert server.wait_for(lambda: bool(server.seen(STREAM)))
    time.sleep(0.1)
    jamsocket.close()
    thread.join(5)
    assert len(errors) == 1
    assert isinstance(errors[0], RuntimeError)
    assert "closed" in str(errors[0])


# ── Processes ──


def test_a_forked_child_has_connections_of_its_own(server: FaultServer) -> None:
    for number in range(8):
        server.on("GET", f"/v2/backend/c{number}/status", [respond(200, state("paused", 1, who=f"c{number}"))])
    jamsocket = Jamsocket(**CREDENTIALS, api_url=server.url)
    jamsocket.status("b1")
    states = jamsocket.statuses("b1")
    server.on("GET", STREAM, stream(event("ready"), hang))
    assert next(states).status == "ready"
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answers = [jamsocket.status(f"c{number}").to_dict()["who"] for number in range(0, 8, 2)]
            states.close()  # must not end the parent's
            os.write(write_end, json.dumps(answers).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    ours = [jamsocket.status(f"c{number}").to_dict()["who"] for number in range(1, 8, 2)]
    with os.fdopen(read_end, "rb") as pipe:
        theirs = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert ours == ["c1", "c3", "c5", "c7"]
    assert theirs == ["c0", "c2", "c4", "c6"]
    assert not ended_soon(server), "the parent's stream is still open"
    jamsocket.close()


def ended_soon(server: FaultServer) -> bool:
    return server.wait_for(lambda: server.open_connections == 0, timeout=0.2)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(
    "how",
    [
        "states = jamsocket.statuses('b1'); next(states)",
        "jamsocket.status_stream('b1', print)",
        "states = jamsocket.statuses('b1'); next(states); del jamsocket",
        "import threading; threading.Thread(target=lambda: list(jamsocket.statuses('b1')), daemon=True).start(); "
        "import time; time.sleep(0.3)",
    ],
)
def test_the_interpreter_ends_with_open_streams(server: FaultServer, how: str) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    code = f"from jamsocket import Jamsocket\njamsocket = Jamsocket(**{CREDENTIALS}, api_url={server.url!r})\n{how}\n"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert ended(server)


def test_the_interpreter_ends_with_open_asyncio_streams(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), write(b":\n\n"), hang))
    code = f"""
import asyncio
from jamsocket import AsyncJamsocket

async def main():
    jamsocket = AsyncJamsocket(**{CREDENTIALS}, api_url={server.url!r})
    states = jamsocket.statuses("b1")
    await anext(states)
    await jamsocket.status_stream("b1", lambda _: None)
    await states.aclose()

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert ended(server)
