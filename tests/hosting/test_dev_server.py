"""DevServer: from any thread, for as long as a block lasts, and nothing is left of it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from jamsocket.hosting import (
    Backend,
    CommandNotFoundError,
    DevServer,
    DevServerError,
    PortInUseError,
    Server,
    Service,
)
from jamsocket.hosting.local import LocalEngine

from .support import EXAMPLE, PARENT, POLITE, ROOT, SMALL, STUBBORN, Output, alive, children, eventually_blocking


def dev_server(services: Any = SMALL, **options: Any) -> DevServer:
    return DevServer(services, **{"port": 0, "proxy_port": 0, "stop_grace": 0, **options})


def connect(server: DevServer, **request: Any) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}/v2/service/-/-/connect", json=request)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def status(server: DevServer, backend_id: str) -> str:
    return str(httpx.get(f"{server.url}/v2/backend/{backend_id}/status").json()["status"])


def ready(server: DevServer, **request: Any) -> dict[str, Any]:
    connection = connect(server, **request)
    eventually_blocking(lambda: status(server, connection["backend_id"]) == "ready")
    return connection


def group_of(backend: Backend) -> int:
    assert backend.process is not None
    return backend.process.pid


class Pids(Output):
    """Collects the processes of backends."""

    def __init__(self) -> None:
        super().__init__()
        self.pids: set[int] = set()

    def on_status(self, backend: Backend) -> None:
        super().on_status(backend)
        if backend.process is not None:
            self.pids.add(backend.process.pid)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    """No thread, no child, no descriptor is there after a test that was not there before."""
    gc.collect()
    before = set(threading.enumerate()), children(), len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    eventually_blocking(lambda: set(threading.enumerate()) <= before[0])
    eventually_blocking(lambda: set(children()) <= set(before[1]))
    eventually_blocking(lambda: len(os.listdir("/proc/self/fd")) <= before[2])


def test_the_main_job() -> None:
    with DevServer(EXAMPLE, port=0, proxy_port=0) as server:
        assert server.url == f"http://localhost:{server.port}"
        connection = ready(server, key="k", user="ada")
        assert connection["url"].startswith(f"http://localhost:{server.proxy_port}/")
        assert httpx.get(connection["url"] + "x?y=1").json() == {
            "backend": connection["backend_id"],
            "key": "k",
            "user": "ada",
            "path": "/x?y=1",
        }
        assert connect(server, key="k")["spawned"] is False
        assert httpx.head(connection["url"]).status_code == 200


def test_the_example_ends_cleanly() -> None:
    with dev_server(EXAMPLE, stop_grace=10) as server:
        backend = ready(server)["backend_id"]
        httpx.post(f"{server.url}/v2/backend/{backend}/terminate", json={})
        eventually_blocking(lambda: status(server, backend) == "terminated")
        info = httpx.get(f"{server.url}/v2/backend/{backend}").json()
        assert info["statuses"][-1]["exit_code"] == 0


def test_it_has_no_port_before_and_after() -> None:
    server = dev_server()
    for _ in range(2):
        for name in ("port", "proxy_port", "url"):
            with pytest.raises(DevServerError, match="not running"):
                getattr(server, name)
        server.stop()
        server.start()
        server.stop()
        server.stop()


def test_it_starts_again_but_not_twice() -> None:
    server = dev_server()
    for _ in range(2):
        server.start()
        ready(server)
        with pytest.raises(DevServerError, match="runs already"):
            server.start()
        connect(server)
        server.stop()


def test_two_in_one_process_and_from_another_thread() -> None:
    answers: list[str] = []

    def use() -> None:
        with dev_server() as server:
            answers.append(httpx.get(ready(server)["url"]).text)

    threads = [threading.Thread(target=use) for _ in range(3)]
    with dev_server() as one, dev_server() as other:
        for thread in threads:
            thread.start()
        assert one.port != other.port
        backend = ready(one, key="k")["backend_id"]
        assert httpx.get(f"{other.url}/v2/backend/{backend}/status").status_code == 404
        assert ready(other, key="k")["spawned"] is True
        for thread in threads:
            thread.join()
    assert answers == ["hi"] * 3


def test_inside_a_running_loop() -> None:
    async def main() -> int:
        with dev_server() as server:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{server.url}/auth")).status_code

    assert asyncio.run(main()) == 200


@pytest.mark.parametrize(
    ("command", "error"), [(POLITE, SystemExit), (STUBBORN, KeyboardInterrupt), (PARENT, KeyError)]
)
def test_an_exception_ends_the_backends(command: list[str], error: type[BaseException]) -> None:
    seen = Pids()

    def program() -> None:
        with dev_server(command, stop_grace=0.1, on_status=seen.on_status, on_line=seen.on_line) as server:
            ready(server)
            connect(server)  # this one is being born
            if command is PARENT:
                eventually_blocking(lambda: seen.lines)
                seen.pids.add(int(seen.lines[0].split()[1]))
            raise error

    with pytest.raises(error):
        program()
    assert seen.pids
    eventually_blocking(lambda: not any(map(alive, seen.pids)))


@pytest.mark.parametrize("which", ["port", "proxy_port"])
def test_a_port_in_use(which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"Port {port} .* {which}="), dev_server(**{which: port}):
            pass
        server = dev_server(**{which: port})
        with pytest.raises(DevServerError):
            server.start()
    server.start()  # it is free now
    assert getattr(server, which) == port
    server.stop()


def test_both_ports_the_same() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(PortInUseError), dev_server(port=port, proxy_port=port):
        pass


@pytest.mark.parametrize("command", [["/no/such/command"], ["no-such-command-anywhere"], [str(Path(__file__))]])
def test_a_command_that_does_not_exist(command: list[str]) -> None:
    with pytest.raises(CommandNotFoundError, match=command[0]), dev_server(command):
        pass
    with pytest.raises(CommandNotFoundError), dev_server(Service(SMALL, tags={"old": command})):
        pass


@pytest.mark.parametrize(
    "options",
    [
        {"services": []},
        {"services": "python x"},
        {"services": {}},
        {"services": {"-": SMALL}},
        {"services": {"a/b": SMALL}},
        {"services": Service(SMALL, watch=["no/such/path"])},
        {"services": Service(SMALL, env={"PORT": "1"})},
        {"port": -1},
        {"proxy_port": 65536},
        {"host": "no.such.host.", "token": "t"},
    ],
)
def test_other_nonsense(options: Any) -> None:
    with pytest.raises(DevServerError), DevServer(**{"services": SMALL, "port": 0, "proxy_port": 0, **options}):
        pass


def test_other_machines_need_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DevServerError, match="token="), dev_server(host="0.0.0.0"):
        pass
    monkeypatch.setenv("JAMSOCKET_TOKEN", "secret")
    with dev_server(host="0.0.0.0") as server:
        assert httpx.get(f"{server.url}/auth").status_code == 401
        assert httpx.get(f"{server.url}/auth", headers={"Authorization": "Bearer secret"}).status_code == 200
    with dev_server(host="127.0.0.1") as server:
        assert httpx.get(f"{server.url}/auth").status_code == 200


def test_a_start_that_fails_late_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("no proxy today")

    monkeypatch.setattr("jamsocket.hosting.server.serve_proxy", fail)
    with pytest.raises(RuntimeError, match="no proxy today"), dev_server():
        pass


def test_an_interrupt_while_it_stops_kills_at_once() -> None:
    seen = Pids()
    server = dev_server(STUBBORN, stop_grace=600, on_status=seen.on_status)
    server.start()
    ready(server)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        eventually_blocking(lambda: "terminating" in seen.changes)
        signal.pthread_kill(main, signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        server.stop()
    helper.join()
    assert not any(map(alive, seen.pids))


def test_an_interrupt_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    main = threading.main_thread().ident
    assert main is not None
    original = LocalEngine.start

    async def start(self: LocalEngine) -> None:
        await original(self)
        signal.pthread_kill(main, signal.SIGINT)
        await asyncio.sleep(600)

    monkeypatch.setattr(LocalEngine, "start", start)
    server = dev_server()
    with pytest.raises(KeyboardInterrupt):
        server.start()
    monkeypatch.undo()
    server.start()
    server.stop()


PROGRAM = """
import sys
from jamsocket.hosting import DevServer
import httpx
sys.path.insert(0, {root!r})
from tests.hosting.support import STUBBORN, PARENT
from tests.hosting.test_dev_server import Pids, ready
seen = Pids()
server = DevServer({command}, port=0, proxy_port=0, on_status=seen.on_status, on_line=seen.on_line)
{use}
"""


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_program_that_ends_takes_its_backends_along(number: int | None) -> None:
    """Also one that never calls stop(): None here."""
    use = "server.start(); ready(server); print(*seen.pids, flush=True)" + ("; sys.stdin.read()" if number else "")
    program = PROGRAM.format(root=str(ROOT), command="PARENT", use=use)
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    with process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert pids
        pids += children(pids[0])
        if number is not None:
            assert all(map(alive, pids))
            process.send_signal(number)
        process.wait(10)
        eventually_blocking(lambda: not any(map(alive, pids)))


def test_nothing_piles_up() -> None:
    """After thirty backends, as many descriptors, threads, tasks and ports are in use as after the first few."""
    with dev_server(POLITE, stop_grace=5) as server, httpx.Client() as client:

        def one() -> None:
            answer = client.post(f"{server.url}/v2/service/-/-/connect", json={}).json()
            eventually_blocking(lambda: client.get(answer["status_url"]).json()["status"] == "ready")
            assert client.get(answer["url"]).text == "hi"
            client.post(f"{server.url}/v2/backend/{answer['backend_id']}/terminate", json={})
            eventually_blocking(lambda: client.get(answer["status_url"]).json()["status"] == "terminated")

        def in_use() -> tuple[int, int, int, int]:
            loop = server._loop
            assert loop is not None
            return (
                len(os.listdir("/proc/self/fd")),
                # Without those of the loop's pool, which grows to a few as chance wants it, and no further.
                sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate()),
                len(asyncio.all_tasks(loop)),
                len(children()),
            )

        for _ in range(3):
            one()
        before = in_use()
        for _ in range(30):
            one()
        # Not asked twice: while it is being measured what backends use, a file more is open now and then.
        eventually_blocking(lambda: all(now <= then for now, then in zip(in_use(), before, strict=True)))


@pytest.mark.asyncio
async def test_the_asyncio_form() -> None:
    async with Server(POLITE, port=0, proxy_port=0) as server:
        with pytest.raises(DevServerError, match="runs already"):
            await server.start()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/auth")).status_code == 200
    await server.stop()
