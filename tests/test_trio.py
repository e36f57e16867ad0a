"""`AsyncJamsocket` on trio: the same promises, over httpx, with nothing in the background."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import sniffio
import trio
import trio.testing
from jamsocket_api.api.backends import get_backend

from jamsocket import (
    AsyncJamsocket,
    AsyncLogStream,
    AsyncMetricsStream,
    AsyncSessionBackend,
    AsyncStatusStream,
    NotFoundError,
    RequestTimeoutError,
    TransportError,
    WaitTimeoutError,
    async_run,
)
from jamsocket.hosting import DevServer, Limits
from tests.support.clients import AT_ONCE, FakeClock, Maker
from tests.support.faults import (
    LIFE,
    FaultServer,
    comment,
    dev_server_stream,
    event,
    event_bytes,
    hang,
    head,
    raw,
    repeat,
    reset,
    respond,
    state,
    stream,
    until,
    write,
)
from tests.test_calls import (  # noqa: F401
    CONNECT,
    CONNECTION,
    TERMINATE,
    test_a_certificate_that_is_not_trusted,
    test_a_retry_after_beyond_a_minute_is_not_waited_for,
    test_an_error_body_is_read_in_bounded_time,
    test_broken_answers,
    test_connect_sends_everything,
    test_connect_without_a_key_is_not_tried_again_once_it_was_sent,
    test_connect_without_a_key_is_tried_again_if_it_was_not_sent,
    test_each_status_has_its_class,
    test_every_body_is_survived,
    test_no_answer,
    test_no_answer_in_time,
    test_no_redirect_is_followed,
    test_no_secret_is_shown,
    test_proxies_from_the_environment,
    test_retries_can_be_turned_off,
    test_the_wait_doubles_up_to_8_seconds,
    test_what_is_idempotent_is_tried_again,
)
from tests.test_connect_ready import (  # noqa: F401
    connect_ready,
    stage,
    test_a_backend_that_ends_while_it_starts,
    test_a_key_held_by_a_backend_on_its_way_out,
    test_a_key_that_is_not_free_at_once,
    test_a_new_backend,
    test_closing_the_client_ends_it,
    test_retries_are_those_of_connect,
)
from tests.test_life_and_death import (  # noqa: F401
    ended,
    test_closing_the_client_ends_a_wait,
)
from tests.test_secrets import everything_logged, test_no_failure_of_another_call_shows_the_token  # noqa: F401
from tests.test_streams import (  # noqa: F401
    FAST,
    STATUS,
    STREAM,
    soon,
    test_204_is_an_end_without_an_error,
    test_a_200_of_another_type,
    test_a_backend_nobody_knows,
    test_a_backend_that_ends_instead,
    test_a_closed_client_says_so,
    test_a_life_in_two_connections_on_each_server,
    test_a_restart_on_the_same_port,
    test_a_stalled_head_is_bounded_by_the_timeout,
    test_a_stream_that_is_dropped_goes,
    test_a_whole_life_on_each_server,
    test_an_event_cut_in_the_middle_comes_whole_on_the_next_connection,
    test_an_event_in_time_and_nothing_is_asked,
    test_byte_by_byte,
    test_closing_from_another_thread,
    test_every_loss_leads_to_a_reconnect,
    test_framings_and_codings,
    test_iterating_after_an_error_ends,
    test_iterating_after_the_end_ends,
    test_keep_alive_comments_are_no_stall,
    test_last_event_id_is_sent,
    test_leaving_the_with_block_closes,
    test_retryable_answers_are_tried_again,
    test_streams_do_not_wait_for_each_other,
    test_two_at_once_is_an_error,
    test_waiting_has_an_end,
    test_waiting_has_an_end_also_if_the_status_does_not_come,
)

LOGS = "/v2/backend/b1/logs/stream"
CREDENTIALS: Any = {"account": "acme", "token": "tok-planted-secret", "service": "whiteboard"}
BACKEND = [sys.executable, str(Path(__file__).parent.parent / "examples" / "backend.py")]


class TrioLoop:
    """A run of trio on a thread of its own, as `Loop` is an event loop on one."""

    def __init__(self) -> None:
        self._is_running = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), name="test run", daemon=True)
        self._thread.start()
        self._is_running.wait(10)

    async def _main(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self._over = trio.Event()
        self._is_running.set()
        await self._over.wait()

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 30.0) -> Any:
        async def bounded() -> Any:
            with trio.fail_after(timeout):
                return await coroutine

        return trio.from_thread.run(bounded, trio_token=self.token)

    def close(self) -> None:
        self.token.run_sync_soon(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


class OnTrio(Maker):
    """Makes clients that run on trio."""

    @property
    def loop(self) -> Any:
        if self._loop is None:
            self._loop = TrioLoop()  # type: ignore[assignment]
        return self._loop


@pytest.fixture
def make() -> Iterator[OnTrio]:
    maker = OnTrio("trio")
    yield maker
    maker.close()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("POST", CONNECT, [respond(200, CONNECTION)])
        server.on("GET", STATUS, [respond(200, state("starting"))])
        server.on("POST", TERMINATE, [respond(200, {"status": "ok"})])
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(luck=1.0)


@pytest.fixture
def jamsocket(make: OnTrio, server: FaultServer, request: pytest.FixtureRequest) -> Any:
    # The tests of streams have time go by.
    clock = request.getfixturevalue("clock") if "clock" in request.fixturenames else None
    return make.to(server.url, clock=clock)


def on_trio(server: FaultServer, main: Callable[[AsyncJamsocket], Awaitable[None]]) -> None:
    """Runs this with a client; nothing may be open afterwards, and nothing left to the garbage collector."""

    async def run() -> None:
        with trio.fail_after(30):
            async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
                await main(jamsocket)

    trio.run(run)
    assert ended(server)
    gc.collect()


async def happens(server: FaultServer, condition: Callable[[], bool]) -> bool:
    return await trio.to_thread.run_sync(server.wait_for, condition)


async def is_left(server: FaultServer, count: int = 0) -> bool:
    return await happens(server, lambda: server.open_connections == count)


# ── Calls ──


def test_a_head_that_drips_has_an_end(server: FaultServer) -> None:
    server.on("GET", STATUS, [raw(b"HTTP/1.1 200 OK\r\n"), repeat(raw(b"X-A: b\r\n"), 0.02)])

    async def main(_: AsyncJamsocket) -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url, timeout=0.2, max_retries=0) as jamsocket:
            with pytest.raises(RequestTimeoutError, match="no answer within 1 s"):
                await jamsocket.status("b1")

    on_trio(server, main)


@pytest.fixture(scope="module")
def platform() -> Iterator[DevServer]:
    with DevServer(BACKEND, port=0, proxy_port=0, limits=Limits(metrics_interval=0.1)) as server:
        yield server


def test_everything_once_on_a_real_platform(platform: DevServer) -> None:
    async def main() -> None:
        async with AsyncJamsocket(dev=True, port=platform.port) as jamsocket:
            connection = await jamsocket.connect_ready(key="k", user="ada", timeout=30)
            backend_id = connection.backend_id
            assert (await jamsocket.connect(key="k")).backend_id == backend_id
            assert (await jamsocket.wait_until_ready(backend_id, timeout=30)).status == "ready"
            assert (await jamsocket.status(backend_id)).status == "ready"
            assert [backend.id for backend in await jamsocket.backends()] == [backend_id]
            assert (await jamsocket.backend_info(backend_id)).key == "k"
            info = await get_backend.asyncio(backend_id, client=jamsocket.api)
            assert info.id == backend_id
            await jamsocket.create_service("notes")
            assert "notes" in await jamsocket.services()
            await jamsocket.delete_service("notes")
            assert (await jamsocket.service_info()).environments
            await jamsocket.use_image((await jamsocket.images())[0].tag)
            assert not (await jamsocket.auth_info()).is_admin
            async with jamsocket.logs(backend_id) as lines, jamsocket.metrics(backend_id) as measurements:
                assert isinstance(lines, AsyncLogStream)
                assert isinstance(measurements, AsyncMetricsStream)
                assert await anext(lines)
                assert (await anext(measurements)).mem_used is not None
            await jamsocket.terminate(backend_id)
            async with jamsocket.statuses(backend_id) as states:
                assert isinstance(states, AsyncStatusStream)
                assert (await anext(states)).status == "scheduled"
                assert [now.status async for now in states][-1] == "terminated"

    trio.run(main)


def test_connections_are_used_again(server: FaultServer) -> None:
    async def main(jamsocket: AsyncJamsocket) -> None:
        for _ in range(3):
            await jamsocket.status("b1")
        assert server.connections == 1

    on_trio(server, main)


def test_many_at_once(server: FaultServer) -> None:
    async def main(jamsocket: AsyncJamsocket) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(jamsocket.status, "b1")

    on_trio(server, main)


@pytest.mark.parametrize("script", [[hang], [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), hang]])
def test_a_cancelled_call_leaves_nothing(server: FaultServer, script: Any) -> None:
    server.on("GET", STATUS, script)

    async def main(jamsocket: AsyncJamsocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jamsocket.status, "b1")
            assert await happens(server, lambda: bool(server.requests))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await is_left(server)

    on_trio(server, main)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the first run's kept connection went with it
def test_one_client_in_two_runs_and_an_event_loop(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("terminated"), hang))
    jamsocket = AsyncJamsocket(**CREDENTIALS, api_url=server.url)

    async def use(jamsocket: AsyncJamsocket) -> list[str]:
        await jamsocket.status("b1")
        return [now.status async for now in jamsocket.statuses("b1")]

    seen = [trio.run(use, jamsocket), trio.run(use, jamsocket), asyncio.run(use(jamsocket))]
    assert seen == [["terminated"]] * 3
    gc.collect()
    assert len(jamsocket._session._transport._own) == 0, "what a run has left goes with it"
    trio.run(jamsocket.aclose)
    del jamsocket
    gc.collect()


def test_a_run_that_is_the_guest_of_an_event_loop(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), event("terminated"), hang))

    async def guest(jamsocket: AsyncJamsocket) -> list[str]:
        async with jamsocket:
            await jamsocket.status("b1")
            return [now.status async for now in jamsocket.statuses("b1")]

    async def host() -> list[str]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as ours:
            trio.lowlevel.start_guest_run(
                guest,
                AsyncJamsocket(**CREDENTIALS, api_url=server.url),
                run_sync_soon_threadsafe=loop.call_soon_threadsafe,
                done_callback=done.set_result,
            )
            assert [now.status async for now in ours.statuses("b1")] == ["ready", "terminated"]
            return (await done).unwrap()

    assert asyncio.run(host()) == ["ready", "terminated"]
    assert ended(server)


def test_an_http_client_of_ones_own(server: FaultServer) -> None:
    used: list[str] = []

    async def note(request: httpx.Request) -> None:
        used.append(request.url.path)

    server.on("GET", STREAM, stream(event("ready"), hang))

    async def main() -> None:
        async with (
            httpx.AsyncClient(event_hooks={"request": [note]}) as http_client,
            AsyncJamsocket(**CREDENTIALS, api_url=server.url, http_client=http_client) as jamsocket,
            jamsocket.statuses("b1") as states,
        ):
            await jamsocket.status("b1")
            assert (await anext(states)).status == "ready"

    trio.run(main)
    assert used == [STATUS, STREAM]
    assert ended(server)


class SlowlyClosed(httpx.AsyncBaseTransport, httpx.AsyncByteStream):
    """A transport whose streams say one thing and take their time to close."""

    def __init__(self) -> None:
        self.is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield event_bytes("ready")
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.is_closed = True


def test_a_transport_of_ones_own_that_closes_slowly() -> None:
    async def main() -> None:
        transport = SlowlyClosed()
        async with (
            httpx.AsyncClient(transport=transport) as http_client,
            AsyncJamsocket(**CREDENTIALS, http_client=http_client) as jamsocket,
        ):
            states = jamsocket.statuses("b1")
            assert (await anext(states)).status == "ready"
            with trio.move_on_after(0.02):
                await anext(states)
            assert transport.is_closed, "though whoever waited was cancelled"

    trio.run(main)


# ── Streams ──


@pytest.mark.parametrize("silence", [[hang], [repeat(comment(), 0.05)]])
def test_a_server_that_is_silent_about_an_unknown_backend(
    server: FaultServer, silence: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.1)
    server.on("GET", STREAM, stream(*silence))
    server.on("GET", STATUS, [respond(404)])

    async def main(jamsocket: AsyncJamsocket) -> None:
        with pytest.raises(NotFoundError):
            await anext(jamsocket.statuses("b1"))
        assert len(server.seen(STATUS)) == 1
        assert await is_left(server, 1), "the stream's connection is gone; that of the question is kept"

    on_trio(server, main)


@pytest.mark.parametrize("kind", ["at once", "later"])
def test_an_answer_that_ends_the_stream(server: FaultServer, kind: str) -> None:
    server.on("GET", STREAM, [*([stream(event("ready"), reset)] if kind == "later" else []), [respond(404)]])

    async def main(jamsocket: AsyncJamsocket) -> None:
        states = jamsocket.statuses("b1", backoff=FAST)
        if kind == "later":
            assert (await anext(states)).status == "ready"
        with pytest.raises(NotFoundError):
            await anext(states)
        assert await anext(states, None) is None, "after an error it is over"

    on_trio(server, main)


@pytest.mark.parametrize("answer", [[respond(500)], [hang], [reset]])
def test_any_other_answer_to_the_question_is_ignored(
    server: FaultServer, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.02)
    is_asked = threading.Event()
    server.on("GET", STREAM, stream(until(is_asked), event("terminated"), hang))
    server.on("GET", STATUS, [lambda _: is_asked.set(), *answer])

    async def main(jamsocket: AsyncJamsocket) -> None:
        async with jamsocket.statuses("b1") as states:
            assert [now.status async for now in states] == ["terminated"], "and holds up nothing"

    on_trio(server, main)


PLACES: dict[str, Any] = {
    "head": [hang],
    "past": stream(hang),
    "read": stream(event("ready"), hang),
    "coded": stream(event("ready"), hang, gzip=True),
    "answer": [raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n12"), hang],
}


TELLING = {"read", "coded"}


@asynccontextmanager
async def waiting(
    jamsocket: AsyncJamsocket, server: FaultServer, told: int = 1
) -> AsyncIterator[tuple[AsyncStatusStream, list[str]]]:
    """A stream, and what a task got that waits in it for more than it is told; cancelled at the end."""
    states = jamsocket.statuses("b1", backoff=FAST)
    got: list[str] = []

    async def consume() -> None:
        while (now := await anext(states, None)) is not None:
            got.append(now.status)
        got.append("end")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        assert await happens(server, lambda: bool(server.seen(STREAM)))
        await trio.sleep(0.02)  # for whatever the place is
        assert await trio.to_thread.run_sync(soon, lambda: len(got) == told)
        yield states, got
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("place", PLACES)
def test_cancelling_leaves_nothing_and_whoever_comes_back_misses_nothing(server: FaultServer, place: str) -> None:
    server.on("GET", STREAM, [PLACES[place], dev_server_stream(LIFE)])

    async def main(jamsocket: AsyncJamsocket) -> None:
        async with waiting(jamsocket, server, place in TELLING) as (states, got):
            pass
        assert await is_left(server), "also if nobody closes the stream"
        got += [now.status async for now in states]
        expected = LIFE[LIFE.index("ready") :] if place in TELLING else LIFE
        assert got == expected, "each once"

    on_trio(server, main)


@pytest.mark.parametrize("place", PLACES)
def test_closing_from_another_task(server: FaultServer, place: str) -> None:
    server.on("GET", STREAM, PLACES[place])

    async def main(jamsocket: AsyncJamsocket) -> None:
        async with waiting(jamsocket, server, place in TELLING) as (states, got):
            await states.aclose()
            await states.aclose()
            with trio.fail_after(AT_ONCE):
                while got[-1:] != ["end"]:
                    await trio.testing.wait_all_tasks_blocked()
            assert await is_left(server)

    on_trio(server, main)


def test_closing_the_client_ends_all_streams_though_it_is_cancelled(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))

    async def main(jamsocket: AsyncJamsocket) -> None:
        quiet = [jamsocket.statuses("b1") for _ in range(3)]
        for states in quiet:
            await anext(states)
        async with waiting(jamsocket, server) as (_, got):
            await jamsocket.status("b1")
            with trio.CancelScope() as scope:
                scope.cancel()
                await jamsocket.aclose()
            assert await is_left(server)
            assert await trio.to_thread.run_sync(soon, lambda: got == ["ready", "end"])

    on_trio(server, main)


def test_closing_from_another_run(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))

    async def main(jamsocket: AsyncJamsocket) -> None:
        async with waiting(jamsocket, server) as (_, got):
            await trio.to_thread.run_sync(trio.run, jamsocket.aclose)
            assert await is_left(server)
            assert await trio.to_thread.run_sync(soon, lambda: got == ["ready", "end"])

    on_trio(server, main)


def test_closing_an_idle_stream_from_another_run(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))

    async def main(jamsocket: AsyncJamsocket) -> None:
        states = jamsocket.statuses("b1")
        await anext(states)
        await trio.to_thread.run_sync(trio.run, states.aclose)
        assert await is_left(server)
        with pytest.raises(StopAsyncIteration):
            await anext(states)

    on_trio(server, main)


def test_closing_on_trio_what_an_event_loop_has_open(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))

    async def main() -> None:
        jamsocket = AsyncJamsocket(**CREDENTIALS, api_url=server.url)
        states = jamsocket.statuses("b1")
        await anext(states)
        await jamsocket.status_stream("b1", print)
        await asyncio.to_thread(trio.run, jamsocket.aclose)
        assert await asyncio.to_thread(server.wait_for, lambda: server.open_connections == 0)
        await jamsocket.aclose()

    asyncio.run(main())


def test_closing_on_an_event_loop_what_a_run_waits_for(
    server: FaultServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("POST", CONNECT, [respond(200, {**CONNECTION, "spawned": False, "status": "terminating"})])
    server.on("GET", STATUS, [respond(404)])
    server.on("GET", STREAM, [respond(404)])
    asleep = threading.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await trio.sleep_forever()

    async def main() -> None:
        jamsocket = AsyncJamsocket(**CREDENTIALS, api_url=server.url)
        jamsocket._session.clock = clock  # type: ignore[misc]
        monkeypatch.setattr(clock, "sleep", sleep)

        def close() -> None:
            asleep.wait(5)
            asyncio.run(jamsocket.aclose())

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, close)
                with pytest.raises(RuntimeError, match="is closed"):
                    await jamsocket.connect_ready(key="k", timeout=None)
        await jamsocket.aclose()

    trio.run(main)


def test_an_interrupt_comes_alone(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on("GET", STREAM, stream(hang))
    monkeypatch.setattr("jamsocket.status_stream.SILENCE", 0.01)

    async def interrupt(backend_id: str) -> None:
        raise KeyboardInterrupt

    async def main(jamsocket: AsyncJamsocket) -> None:
        monkeypatch.setattr(jamsocket._session, "ask_status", interrupt)
        with pytest.raises(KeyboardInterrupt):
            await anext(jamsocket.statuses("b1"))

    on_trio(server, main)


# Nothing can end a generator that never waits, except the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)], ids=["asyncio", "trio"])
def test_leaving_a_stream_that_always_has_more(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield event_bytes("ready")
            while True:
                yield b": more\n\n"

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless())

    async def main() -> None:
        http_client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        jamsocket = AsyncJamsocket(**CREDENTIALS, http_client=http_client)
        async with http_client, jamsocket, jamsocket.statuses("b1") as states:
            assert (await anext(states)).status == "ready"

    run(main())


def test_an_event_loop_in_a_task_of_trio_is_an_event_loop() -> None:
    """As with trio-asyncio, which says so to sniffio."""

    async def main() -> None:
        assert async_run.trio_run() is trio.lowlevel.current_trio_token()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sniffio.thread_local, "name", "asyncio")
            assert async_run.trio_run() is None

    trio.run(main)


def test_a_cancelled_sleep_goes_on_where_it_was(server: FaultServer, clock: FakeClock) -> None:
    server.on("GET", STREAM, [[respond(503)], stream(event("ready"), hang)])

    async def main(jamsocket: AsyncJamsocket) -> None:
        jamsocket._session.clock = clock  # type: ignore[misc]
        asleep = trio.Event()

        async def sleep(seconds: float) -> None:
            clock.slept.append(seconds)
            clock.now += 0.25
            if not asleep.is_set():
                asleep.set()
                await trio.sleep_forever()

        clock.sleep = sleep  # type: ignore[method-assign]
        async with jamsocket.statuses("b1") as states:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(anext, states))
                await asleep.wait()
                nursery.cancel_scope.cancel()
            assert (await anext(states)).status == "ready"
        assert clock.slept == [0.5, 0.25]

    on_trio(server, main)


def test_a_status_that_comes_with_the_cancellation_is_not_lost(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("starting"), hang))

    async def main(jamsocket: AsyncJamsocket) -> None:
        async with jamsocket.statuses("b1") as states:
            with trio.CancelScope() as scope:
                # As late as can be: the state is decoded, and the nursery within `anext` is about to end.
                unwatch = states._unwatch
                states._unwatch = lambda: (unwatch(), scope.cancel())  # type: ignore[method-assign,assignment]
                got = await anext(states)
                states._unwatch = unwatch  # type: ignore[method-assign]
                await trio.lowlevel.checkpoint()
            assert scope.cancelled_caught
            assert got.status == "starting"

    on_trio(server, main)


def test_lines_that_may_be_missing_after_a_cancellation_are_told(server: FaultServer) -> None:
    server.on("GET", LOGS, [head(), write(b"data: one\n\n"), hang])

    async def main(jamsocket: AsyncJamsocket) -> None:
        async with jamsocket.logs("b1") as lines:
            assert await anext(lines) == "one"
            with trio.move_on_after(0.05):
                await anext(lines)
            with pytest.raises(TransportError, match="may be missing"):
                await anext(lines)

    on_trio(server, main)


def test_one_deadline_for_everything(server: FaultServer) -> None:
    server.on("GET", STATUS, [raw(b"HTTP/1.1 200 OK\r\n"), repeat(raw(b"X-A: b\r\n"), 0.05)])

    async def main(jamsocket: AsyncJamsocket) -> None:
        for wait in (jamsocket.wait_until_ready, lambda _, timeout: jamsocket.connect_ready(timeout=timeout)):
            with pytest.raises(WaitTimeoutError):
                await wait("b1", timeout=0.3)
            assert await is_left(server)
            server.on("POST", CONNECT, [hang])

    on_trio(server, main)


# ── What needs a task in the background ──


def test_callbacks_are_refused_with_what_to_do_instead(server: FaultServer) -> None:
    async def main(jamsocket: AsyncJamsocket) -> None:
        with pytest.raises(RuntimeError, match=r"nursery.*async for state in jamsocket\.statuses"):
            await jamsocket.status_stream("b1", print)
        async with AsyncSessionBackend(CONNECTION | {"status_url": f"{server.url}{STATUS}"}) as backend:
            assert (await backend.status()).status == "starting"
            for attempt in (lambda: backend.on_status(print), lambda: backend.on_ready(print)):
                with pytest.raises(RuntimeError, match="in a thread"):
                    attempt()
            for wait in (backend.wait_ready, backend.wait_terminated):
                with pytest.raises(RuntimeError, match="in a thread"):
                    await wait()

    on_trio(server, main)
    assert [request.path for request in server.requests] == [STATUS]


def test_a_stream_belongs_to_what_it_was_made_on(server: FaultServer) -> None:
    async def use(states: AsyncStatusStream) -> None:
        with pytest.raises(RuntimeError, match="trio"):
            await anext(states)
        await states.aclose()

    async def main(jamsocket: AsyncJamsocket) -> None:
        await trio.to_thread.run_sync(asyncio.run, use(jamsocket.statuses("b1")))
        await use(await trio.to_thread.run_sync(jamsocket.statuses, "b1"))

    on_trio(server, main)


def test_a_folder_of_that_name_is_not_trio(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", ModuleType("trio"))
    monkeypatch.delitem(sys.modules, "trio.lowlevel")

    async def main() -> None:
        async with AsyncJamsocket(**CREDENTIALS, api_url=server.url) as jamsocket:
            assert (await jamsocket.status("b1")).status == "starting"

    asyncio.run(main())


# ── Processes ──

DROPPED = """
import trio
from jamsocket import AsyncJamsocket

jamsocket = AsyncJamsocket(**{credentials}, api_url={url!r})

async def main():
    async for state in jamsocket.statuses("b1"):
        return

for _ in range(20):
    trio.run(main)
"""


def test_a_run_that_ends_with_a_stream_dropped_ends_well(server: FaultServer) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    code = DROPPED.format(credentials=CREDENTIALS, url=server.url)
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


LEFT_OPEN = """
import trio
import trio.testing
from jamsocket import AsyncJamsocket

async def main():
    async with AsyncJamsocket(**{credentials}, api_url={url!r}) as jamsocket:
        await jamsocket.status("b1")
        async for state in jamsocket.statuses("b1"):
            break
        states = jamsocket.statuses("b1")
        await anext(states)
        async with jamsocket.statuses("b1") as closed:
            await anext(closed)
        async for state in jamsocket.statuses("b1"):
            return

trio.run(main)
"""

ONLY_ASYNCIO = """
import asyncio, sys
from jamsocket import AsyncJamsocket

async def main():
    async with AsyncJamsocket(**{credentials}, api_url={url!r}) as jamsocket:
        await jamsocket.status("b1")
        async with jamsocket.statuses("b1") as states:
            await anext(states)

asyncio.run(main())
assert not {{"trio", "anyio", "sniffio", "httpx", "jamsocket.trio_streams"}} & set(sys.modules), sys.modules
"""


@pytest.mark.parametrize("code", [LEFT_OPEN, ONLY_ASYNCIO])
def test_a_program_ends_without_a_warning(server: FaultServer, code: str) -> None:
    server.on("GET", STREAM, stream(event("ready"), hang))
    code = code.format(credentials=CREDENTIALS, url=server.url)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ended(server)
