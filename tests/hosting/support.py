"""What the hosting tests share: small backends, a client of the API, and waiting without sleeping blindly."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from jamsocket.hosting import Backend, Limits, Server, Service

ROOT = Path(__file__).parents[2]
EXAMPLE = [sys.executable, str(ROOT / "examples" / "backend.py")]
# A backend with everything a proxy can meet; see there.
APP = [sys.executable, str(Path(__file__).with_name("app.py"))]

_LISTEN = """
import os, socket, signal, subprocess, sys, time
def serve():
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as server:
        while True:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 404 Not Found\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nhi")
"""


def python(code: str) -> list[str]:
    """A command that runs this code, which may call `serve()`, as fast as Python can start."""
    return [sys.executable, "-I", "-S", "-u", "-c", _LISTEN + code]


SMALL = python("serve()")
# Ends cleanly when it is asked to.
POLITE = python("signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); serve()")
# Does not end when it is asked to.
STUBBORN = python("signal.signal(signal.SIGTERM, signal.SIG_IGN); print('stubborn'); serve()")
# Never listens.
MUTE = python("print('mute'); time.sleep(600)")
# Has a child that does not end when it is asked to, and prints its id.
PARENT = python(
    "child = subprocess.Popen([sys.executable, '-I', '-S', '-c',"
    " 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)'],"
    " stdout=subprocess.PIPE)\n"
    "child.stdout.readline()\n"
    "print('child', child.pid)\n"
    "serve()"
)


async def eventually(true: Callable[[], object], timeout: float = 10.0) -> None:
    """Returns when it becomes true."""
    async with asyncio.timeout(timeout):
        while not true():  # noqa: ASYNC110 - processes set no asyncio.Event
            await asyncio.sleep(0.01)


def eventually_blocking(true: Callable[[], object], timeout: float = 10.0) -> None:
    """Returns when it becomes true."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(parent: int | None = None) -> dict[int, str]:
    """Our child processes, zombies included, and their command lines."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == (parent or os.getpid()):
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(process.name)] = f"{stat[0]} {line}"
        except OSError:
            continue
    return found


class Output:
    """Collects what backends write, and how they change."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.changes: list[str] = []

    def on_line(self, backend: Backend, line: str) -> None:
        self.lines.append(line)

    def on_status(self, backend: Backend) -> None:
        self.changes.append(backend.status.word)

    async def number(self, word: str) -> int:
        """What follows a word that a backend printed."""
        await eventually(lambda: any(line.startswith(word) for line in self.lines))
        return next(int(line.split()[1]) for line in self.lines if line.startswith(word))


class Caller:
    """A client of the API that shows the answers as they are."""

    def __init__(self, session: aiohttp.ClientSession, server: Server) -> None:
        self.session = session
        self.server = server
        self.url = server.url

    async def call(self, method: str, path: str, **kwargs: Any) -> tuple[aiohttp.ClientResponse, Any]:
        async with self.session.request(method, f"{self.url}{path}", **kwargs) as response:
            body = await response.read()
        return response, json.loads(body) if body else None

    async def connect(self, request: object = None, place: str = "-/-", expect: int = 200) -> dict[str, Any]:
        body = {} if request is None else request
        response, answer = await self.call("POST", f"/v2/service/{place}/connect", json=body)
        assert response.status == expect, answer
        return dict(answer)

    async def status(self, backend_id: str) -> dict[str, Any]:
        response, answer = await self.call("GET", f"/v2/backend/{backend_id}/status")
        assert response.status == 200, answer
        return dict(answer)

    async def terminate(self, backend_id: str, hard: bool = False) -> None:
        response, answer = await self.call("POST", f"/v2/backend/{backend_id}/terminate", json={"hard": hard})
        assert (response.status, answer) == (200, {"status": "ok"})

    async def wait(self, backend_id: str, status: str) -> dict[str, Any]:
        """The state when the backend has this status."""
        async with asyncio.timeout(20):
            async for state in self.stream(backend_id):
                if state["status"] == status:
                    return state
        raise AssertionError(f"the stream ended without {status}")

    async def states(self, backend_id: str) -> list[dict[str, Any]]:
        """All states up to the end."""
        async with asyncio.timeout(20):
            return [state async for state in self.stream(backend_id)]

    async def stream(self, backend_id: str) -> AsyncIterator[dict[str, Any]]:
        async with self.session.get(f"{self.url}/v2/backend/{backend_id}/status/stream") as response:
            assert response.status == 200
            async for line in response.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    async def ready(self, request: object = None) -> dict[str, Any]:
        """Connects and waits until the backend is ready."""
        connection = await self.connect(request)
        await self.wait(connection["backend_id"], "ready")
        return connection


@asynccontextmanager
async def serving(
    services: Sequence[str] | Service | Mapping[str, Sequence[str] | Service] = SMALL,
    *,
    limits: Limits | None = None,
    stop_grace: float = 0.0,
    **options: Any,
) -> AsyncIterator[Caller]:
    """A server on free ports, and a caller of it."""
    server = Server(services, port=0, proxy_port=0, limits=limits, stop_grace=stop_grace, **options)
    async with server, aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Caller(session, server)


async def raw(port: int, data: bytes, *, timeout: float = 10.0) -> bytes:
    """What a port answers to these bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(timeout):
            return await reader.read()
    finally:
        writer.close()
