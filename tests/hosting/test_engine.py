"""LocalEngine: keys, limits, ends and what is remembered. Clocks are ours; processes are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jamsocket.hosting.engine import ConnectCall, Connected, EngineError, Place, SpawnSettings
from jamsocket.hosting.local import Limits, LocalEngine
from jamsocket.hosting.services import Service

from .support import MUTE, PARENT, POLITE, SMALL, STUBBORN, Output, alive, eventually, python

pytestmark = pytest.mark.asyncio

PLACE = Place("acme", "whiteboard")


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Run:
    """An engine, its clock, its output, and short words for what tests do."""

    def __init__(self, engine: LocalEngine, clock: Clock, output: Output) -> None:
        self.engine = engine
        self.clock = clock
        self.output = output

    async def connect(self, key: str | None = None, **settings: Any) -> Connected:
        return await self.engine.connect(ConnectCall(PLACE, key, None, "{}", SpawnSettings(**settings)))

    async def states(self, backend_id: str) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            return [state async for state in await self.engine.statuses(backend_id)]

    async def until(self, backend_id: str, status: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            async for state in await self.engine.statuses(backend_id):
                if state["status"] == status:
                    return state
        raise AssertionError(f"it ended without {status}")

    async def ends(self, backend_id: str) -> list[str]:
        """Statuses up to the end, then what the last state says of it."""
        states = await self.states(backend_id)
        last = states[-1]
        why = [str(last[name]) for name in ("termination_reason", "termination_kind", "exit_error") if name in last]
        return [state["status"] for state in states] + why

    def sweep(self, seconds: float) -> None:
        """So much later, the sweep comes by."""
        self.clock.time += seconds
        self.engine.sweep()


@asynccontextmanager
async def running(
    command: Sequence[str] = SMALL, *, limits: Limits | None = None, grace: float = 0, **options: Any
) -> AsyncIterator[Run]:
    clock, output = Clock(), Output()
    engine = LocalEngine(
        Service(command),
        host="127.0.0.1",
        public_url="http://localhost:9090",
        limits=limits,
        monotonic=clock,
        **{"on_line": output.on_line, "on_status": output.on_status, **options},
    )
    await engine.start()
    try:
        yield Run(engine, clock, output)
    finally:
        await engine.stop(grace)


BORN = ["scheduled", "loading", "starting", "waiting"]


# ── Keys ──


async def test_exactly_one_of_many_spawns() -> None:
    async with running() as run:
        for number in range(3):
            answers = await asyncio.gather(*(run.connect(f"key {number}") for _ in range(50)))
            assert len({answer.backend_id for answer in answers}) == 1
            assert [answer.spawned for answer in answers].count(True) == 1
            assert len({answer.token for answer in answers}) == 50
        assert len(await run.engine.running("acme")) == 3


async def test_without_a_key_each_spawns() -> None:
    async with running() as run:
        answers = await asyncio.gather(*(run.connect() for _ in range(5)))
        assert len({answer.backend_id for answer in answers}) == 5
        assert all(answer.spawned for answer in answers)


async def test_a_key_is_held_until_the_end() -> None:
    async with running(STUBBORN) as run:
        first = await run.connect("k")
        await run.until(first.backend_id, "ready")
        await run.engine.terminate(first.backend_id, hard=False)
        again = await run.connect("k")
        assert (again.backend_id, again.spawned, again.status) == (first.backend_id, False, "terminating")
        await run.engine.terminate(first.backend_id, hard=True)
        assert (await run.connect("k")).status == "hard-terminating"
        await run.until(first.backend_id, "terminated")
        fresh = await run.connect("k")
        assert (fresh.spawned, fresh.status) == (True, "scheduled")
        assert fresh.backend_id != first.backend_id


async def test_the_spawn_settings_of_who_finds_a_backend_are_ignored() -> None:
    async with running(POLITE) as run:
        first = await run.connect("k", max_idle_seconds=1000)
        await run.connect("k", max_idle_seconds=0, env={"A": "b"})
        await run.until(first.backend_id, "ready")
        run.sweep(999)
        assert (await run.engine.status(first.backend_id))["status"] == "ready"


# ── The ways to end ──


async def test_it_ends_by_itself() -> None:
    for code, end in (("sys.exit(0)", []), ("sys.exit(3)", ["True"])):
        async with running(python(code)) as run:
            backend = (await run.connect()).backend_id
            assert await run.ends(backend) == [*BORN, "terminated", *end]


async def test_a_command_that_cannot_start(tmp_path: Path) -> None:
    async with running([str(tmp_path / "nothing")]) as run:
        backend = (await run.connect("k")).backend_id
        assert await run.ends(backend) == ["scheduled", "loading", "starting", "terminated"]
        assert "could not be started" in run.output.lines[0]
        assert (await run.connect("k")).spawned


async def test_soft_clean_and_by_the_signal_and_after_the_grace() -> None:
    for command, end in ((POLITE, []), (SMALL, ["True"]), (STUBBORN, ["True"])):
        async with running(command, limits=Limits(grace=0.2)) as run:
            backend = (await run.connect()).backend_id
            await run.until(backend, "ready")
            await run.engine.terminate(backend, hard=False)
            expected = [*BORN, "ready", "terminating", "terminated", "external", "soft", *end]
            assert await run.ends(backend) == expected
            info = await run.engine.info(backend)
            assert info["statuses"][-1]["exit_code"] == {POLITE[-1]: 0, SMALL[-1]: 143, STUBBORN[-1]: 137}[command[-1]]


async def test_hard_and_soft_then_hard() -> None:
    async with running(STUBBORN) as run:
        backend = (await run.connect()).backend_id
        await run.until(backend, "ready")
        await run.engine.terminate(backend, hard=True)
        await run.engine.terminate(backend, hard=False)  # too late, and no error
        expected = [*BORN, "ready", "hard-terminating", "terminated", "external", "hard", "True"]
        assert await run.ends(backend) == expected
        with pytest.raises(EngineError) as caught:
            await run.engine.terminate(backend, hard=True)
        assert (caught.value.status, caught.value.code) == (409, "BackendNotRunning")

        backend = (await run.connect()).backend_id
        await run.until(backend, "ready")
        await run.engine.terminate(backend, hard=False)
        await run.engine.terminate(backend, hard=True)
        expected = [*BORN, "ready", "terminating", "hard-terminating", "terminated", "external", "hard", "True"]
        assert await run.ends(backend) == expected


async def test_terminated_before_anything_was_started() -> None:
    async with running() as run:
        backend = (await run.connect("k")).backend_id
        await run.engine.terminate(backend, hard=False)  # still in the same turn of the loop
        assert await run.ends(backend) == ["scheduled", "terminating", "terminated", "external", "soft"]
        assert run.output.lines == []
        assert (await run.connect("k")).spawned


async def test_terminated_while_it_starts() -> None:
    async with running(MUTE) as run:
        for hard, kind in ((False, "soft"), (True, "hard")):
            backend = (await run.connect()).backend_id
            await run.until(backend, "waiting")
            await run.engine.terminate(backend, hard=hard)
            status = "hard-terminating" if hard else "terminating"
            assert await run.ends(backend) == [*BORN, status, "terminated", "external", kind, "True"]


async def test_it_does_not_listen_in_time() -> None:
    async with running(MUTE, limits=Limits(startup=0.2)) as run:
        backend = (await run.connect()).backend_id
        end = ["hard-terminating", "terminated", "startuptimeout", "hard", "True"]
        assert await run.ends(backend) == [*BORN, *end]
        assert "PORT" in run.output.lines[-1]


async def test_the_startup_limit_does_not_make_a_soft_end_hard() -> None:
    silent = python("signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on'); time.sleep(600)")
    async with running(silent, limits=Limits(startup=0.3, grace=0.6)) as run:
        backend = (await run.connect()).backend_id
        await eventually(lambda: "on" in run.output.lines)
        await run.engine.terminate(backend, hard=False)
        assert await run.ends(backend) == [*BORN, "terminating", "terminated", "external", "soft", "True"]


async def test_a_probe_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("broken probe")

    monkeypatch.setattr("jamsocket.hosting.process.BackendProcess.probe", fail)
    async with running() as run:
        backend = (await run.connect()).backend_id
        end = ["hard-terminating", "terminated", "internalerror", "hard", "True"]
        assert await run.ends(backend) == [*BORN, *end]
    assert "could not be probed" in caplog.text


# ── Sweeps ──


async def test_idle() -> None:
    async with running(POLITE) as run:
        backend = (await run.connect()).backend_id
        await run.until(backend, "ready")
        run.sweep(300)  # the default, to the second
        assert (await run.engine.status(backend))["status"] == "ready"
        run.sweep(0.1)
        assert await run.ends(backend) == [*BORN, "ready", "terminating", "terminated", "swept", "soft"]


async def test_a_connection_keeps_a_backend_busy_as_long_as_it_is_open() -> None:
    async with running(POLITE) as run:
        connection = await run.connect(max_idle_seconds=10)
        await run.until(connection.backend_id, "ready")
        token = run.engine.admit(connection.token)
        assert token is not None
        with run.engine.activity(token.backend), run.engine.activity(token.backend):
            run.sweep(1000)
        run.sweep(10)
        assert (await run.engine.status(connection.backend_id))["status"] == "ready"
        run.sweep(1)
        assert (await run.engine.status(connection.backend_id))["status"] == "terminating"


async def test_lifetime_counts_from_the_start_whatever_is_open() -> None:
    async with running(POLITE) as run:
        connection = await run.connect(lifetime_limit_seconds=10)
        await run.until(connection.backend_id, "ready")
        token = run.engine.admit(connection.token)
        assert token is not None
        with run.engine.activity(token.backend):
            run.sweep(10)
            assert (await run.engine.status(connection.backend_id))["status"] == "ready"
            run.sweep(0.1)
        assert await run.ends(connection.backend_id) == [
            *BORN,
            "ready",
            "terminating",
            "terminated",
            "swept",
            "soft",
        ]


async def test_a_backend_can_be_swept_before_it_is_ready() -> None:
    async with running(MUTE) as run:
        backend = (await run.connect(max_idle_seconds=0)).backend_id
        await run.until(backend, "waiting")
        run.sweep(0.1)
        assert await run.ends(backend) == [*BORN, "terminating", "terminated", "swept", "soft", "True"]


async def test_the_sweep_comes_by_itself() -> None:
    async with running(POLITE, limits=Limits(sweep_interval=0.02)) as run:
        backend = (await run.connect(max_idle_seconds=5)).backend_id
        await run.until(backend, "ready")
        run.clock.time += 6
        assert (await run.ends(backend))[-2:] == ["swept", "soft"]


async def test_tokens_that_nobody_used_expire() -> None:
    async with running() as run:
        used, unused = await run.connect("k", max_idle_seconds=10**6), await run.connect("k")
        assert run.engine.admit(used.token) is not None
        run.sweep(3601)
        assert run.engine.admit(unused.token) is None
        assert run.engine.admit(used.token) is not None
        await run.engine.terminate(used.backend_id, hard=True)
        await run.until(used.backend_id, "terminated")
        assert run.engine.admit(used.token) is None


# ── What a backend gets ──


def write(path: Path, text: str) -> None:
    path.write_text(text)  # fails if the directory is not there


def read(path: str) -> str:
    return Path(path).read_text()


def exists(path: str) -> bool:
    return Path(path).exists()


SHOW = python("print('env', {k: v for k, v in os.environ.items() if not k.startswith('_')}); serve()")


async def environment(run: Run, backend_id: str) -> dict[str, str]:
    await run.until(backend_id, "ready")
    line = next(line for line in reversed(run.output.lines) if line.startswith("env"))
    found: dict[str, str] = eval(line[4:])
    return found


async def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "1")
    monkeypatch.setenv("SESSION_BACKEND_STATIC_TOKEN", "of somebody else")
    async with running(SHOW) as run:
        backend = (await run.connect("my kéy", env={"A": "b", "OUTER": "2"})).backend_id
        env = await environment(run, backend)
        assert env["SESSION_BACKEND_ID"] == backend
        assert env["SESSION_BACKEND_KEY"] == "my kéy"
        assert env["JAMSOCKET_SERVICE"] == "whiteboard"
        assert 0 < int(env["PORT"]) < 65536
        assert (env["A"], env["OUTER"]) == ("b", "2")
        assert not {"SESSION_BACKEND_STATIC_TOKEN", "JAMSOCKET_MOUNT"} & set(env)

        other = (await run.connect()).backend_id
        again = await environment(run, other)
        assert again["SESSION_BACKEND_KEY"].startswith("lk-")
        assert int(again["SESSION_BACKEND_FENCING_TOKEN"]) > int(env["SESSION_BACKEND_FENCING_TOKEN"])
        assert again["PORT"] != env["PORT"]


async def test_mounts(tmp_path: Path) -> None:
    async with running(SHOW, data_dir=tmp_path) as run:

        async def mount(key: str | None, mount: str | bool | None) -> Path | None:
            backend = (await run.connect(key, mount=mount)).backend_id
            path = (await environment(run, backend)).get("JAMSOCKET_MOUNT")
            if path is not None:
                write(Path(path) / "file", backend)
            await run.engine.terminate(backend, hard=True)
            await run.until(backend, "terminated")
            return None if path is None else Path(path)

        assert await mount("k", None) is None
        assert await mount("k", False) is None
        first = await mount("../../k", True)
        assert first is not None
        assert first.is_relative_to(tmp_path)
        assert (first / "file").exists()  # it is the key's, not the backend's
        assert await mount("../../k", True) == first
        assert await mount("other", True) != first
        named = await mount("k", "some/path")
        assert named is not None
        assert named.parts[-2:] == ("some", "path")
        assert await mount(None, "some/path") == named
        private = await mount(None, True)
        assert private is not None
        assert not private.exists()


async def test_temporary_mounts_go_with_the_engine() -> None:
    async with running(SHOW) as run:
        backend = (await run.connect("k", mount=True)).backend_id
        path = (await environment(run, backend))["JAMSOCKET_MOUNT"]
        write(Path(path) / "file", "mine")
    assert not exists(path)


async def test_limits_are_set() -> None:
    async with running() as run:
        backend = await run.connect(resource_limits={"cpu_time_limit": 100, "memory_limit_bytes": 2**33})
        await run.until(backend.backend_id, "ready")
        process = next(iter(run.engine._running())).process
        assert process is not None
        limits = read(f"/proc/{process.pid}/limits")
        assert [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max cpu time")] == [
            ["100", "100"]
        ]
        assert str(2**33) in limits


# ── Memory, callbacks, stopping ──


async def test_only_so_many_ended_backends_are_remembered() -> None:
    async with running(["/no/such/command"], limits=Limits(remembered=3)) as run:
        ids: list[str] = []
        for _ in range(5):
            backend = (await run.connect()).backend_id
            await run.until(backend, "terminated")
            ids.append(backend)
        for forgotten in ids[:2]:
            with pytest.raises(EngineError, match=forgotten):
                await run.engine.status(forgotten)
        for remembered in ids[2:]:
            assert (await run.engine.status(remembered))["status"] == "terminated"
        assert run.engine._tokens == {}
        assert run.engine._keys == {}


async def test_callbacks_that_raise_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise BrokenPipeError("nobody reads")

    async with running(python("print('hello'); serve()"), on_line=broken, on_status=broken) as run:
        backend = (await run.connect()).backend_id
        await run.until(backend, "ready")
        await run.engine.terminate(backend, hard=False)
        assert (await run.ends(backend))[-3:] == ["external", "soft", "True"]
    assert "on_line failed" in caplog.text
    assert "on_status failed" in caplog.text


@pytest.mark.parametrize("command", [POLITE, STUBBORN, PARENT, MUTE])
async def test_stop_leaves_nothing(command: list[str]) -> None:
    async with running(command) as run:
        backends = [(await run.connect()).backend_id for _ in range(3)]
        await run.until(backends[0], "waiting" if command is MUTE else "ready")
        pids = [backend.process.pid for backend in run.engine._running() if backend.process]
        if command is PARENT:
            pids.append(await run.output.number("child"))
        assert len(pids) >= 3
    await eventually(lambda: not any(map(alive, pids)))
    for backend in backends:
        assert (await run.engine.status(backend))["status"] == "terminated"


async def test_stop_gives_a_grace_and_keeps_the_kind() -> None:
    async with running(POLITE, grace=10) as run:
        backend = (await run.connect()).backend_id
        await run.until(backend, "ready")
    assert (await run.ends(backend))[-2:] == ["external", "soft"]  # and no exit_error: it had its time

    async with running(STUBBORN, grace=0.1) as run:
        backend = (await run.connect()).backend_id
        await run.until(backend, "ready")
    assert (await run.ends(backend))[-4:] == ["terminated", "external", "soft", "True"]


async def test_stop_while_backends_are_being_born() -> None:
    async with running() as run:
        backends = [(await run.connect()).backend_id for _ in range(10)]
        await asyncio.sleep(0)
        backends += [(await run.connect()).backend_id for _ in range(10)]
    for backend in backends:
        assert (await run.engine.status(backend))["status"] == "terminated"


async def test_nothing_new_while_it_stops() -> None:
    async with running(STUBBORN, grace=0.3) as run:
        backend = (await run.connect("k")).backend_id
        await run.until(backend, "ready")
        stopping = asyncio.create_task(run.engine.stop(0.3))
        await run.until(backend, "terminating")
        with pytest.raises(EngineError) as caught:
            await run.connect("other")
        assert caught.value.status == 503
        assert (await run.connect("k")).status == "terminating"
        await stopping


async def test_a_stop_can_be_hurried() -> None:
    async with running(STUBBORN) as run:
        backend = (await run.connect()).backend_id
        await run.until(backend, "ready")
        stopping = asyncio.create_task(run.engine.stop(600))
        await run.until(backend, "terminating")
        run.engine.hurry()
        async with asyncio.timeout(10):
            await stopping
        assert (await run.engine.status(backend))["status"] == "terminated"


async def test_the_ports_of_running_backends_differ_and_come_back() -> None:
    async with running() as run:
        for _ in range(20):
            await run.connect()
        ports = [backend.port for backend in run.engine._running()]
        assert len(set(ports)) == 20
        assert set(ports) <= run.engine._ports._taken
    assert not set(ports) & run.engine._ports._taken
