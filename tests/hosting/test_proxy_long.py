"""What goes through a connection URL for long, or in quantity: memory stays flat, whoever leaves is missed, the idle
limit knows who is there."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from jamsocket.hosting import Backend

from .support import APP, MUTE, Caller, Output, eventually, raw, serving

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024
SIZE = 200 * MIB
BLOCK = b"x" * 65536


# ── Memory ──


class Apart:
    """A server in a process of its own, and a connection URL of a backend that is ready."""

    def __init__(self, pid: int, url: str) -> None:
        self.url = url
        self._process = Path("/proc") / str(pid)

    def forget_peak(self) -> None:
        (self._process / "clear_refs").write_text("5")

    def peak(self) -> int:
        """The most memory that it has used since, in bytes."""
        found = re.search(r"VmHWM:\s+(\d+) kB", (self._process / "status").read_text())
        assert found
        return int(found[1]) * 1024


@pytest_asyncio.fixture
async def apart() -> AsyncIterator[Apart]:
    command = ["dev", "--port", "0", "--proxy-port", "0", "--", *APP]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jamsocket.cli", *command, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while not (found := re.search(rb"http://localhost:\d+", await process.stdout.readline())):
                pass
            async with session.post(f"{found[0].decode()}/v2/service/-/-/connect", json={}) as response:
                url = (await response.json())["url"]
            async with session.get(url) as response:
                assert response.status == 200
        drain = asyncio.create_task(process.stdout.read())
        yield Apart(process.pid, url)
        process.terminate()
        await drain
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def blocks() -> AsyncIterator[bytes]:
    for _ in range(SIZE // len(BLOCK)):
        yield BLOCK


@pytest.mark.parametrize("way", ["up", "down", "both at once", "up and slowly down"])
async def test_memory_is_flat_over_200_mib(apart: Apart, way: str) -> None:
    async with asyncio.timeout(120), aiohttp.ClientSession(read_bufsize=65536) as session:
        for part in ("warm up", "count"):
            if part == "count":
                apart.forget_peak()
                before = apart.peak()
            if way == "up":
                request = session.post(f"{apart.url}digest", data=blocks())
            elif way == "down":
                request = session.get(f"{apart.url}big?size={SIZE}")
            else:
                request = session.post(f"{apart.url}echo", data=blocks())
            size = 0
            async with request as response:
                assert response.status == 200
                if way == "up":
                    assert (await response.json())["size"] == SIZE
                else:
                    async for chunk in response.content.iter_any():
                        size += len(chunk)
                        if way == "up and slowly down" and size < MIB:
                            await asyncio.sleep(0.02)  # meanwhile everything before us fills up
                        if part == "warm up" and size > 8 * MIB:
                            break
            assert way == "up" or part == "warm up" or size == SIZE
    assert apart.peak() - before < 24 * MIB


async def test_a_websocket_that_nobody_reads_piles_nothing_up(apart: Apart) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{apart.url}ws", max_msg_size=0) as socket:
        apart.forget_peak()
        before, sent = apart.peak(), 0
        # The echo comes back, and we do not look at it: at some point all of them stand still.
        try:
            async with asyncio.timeout(3):
                while sent < SIZE:
                    await socket.send_bytes(BLOCK)
                    sent += len(BLOCK)
        except TimeoutError:
            pass
        assert sent < SIZE
        assert apart.peak() - before < 24 * MIB


async def test_a_held_request_holds_no_body() -> None:
    """A backend that is not ready yet has nobody to read; what the client sends stays where it is."""
    async with serving(MUTE) as api:
        connection = await api.connect()
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                yield BLOCK
                sent += len(BLOCK)

        upload = asyncio.create_task(api.session.post(connection["url"], data=endless()))
        await asyncio.sleep(0)
        last = -1
        while last != sent or not sent:
            last = sent
            await asyncio.sleep(0.3)
        assert sent < 16 * MIB
        await api.terminate(connection["backend_id"], hard=True)
        with contextlib.suppress(aiohttp.ClientError):  # the answer may be lost: we were still sending
            assert (await upload).status == 410


# ── Who leaves ──


async def test_a_client_that_leaves_in_the_middle_of_an_upload() -> None:
    output = Output()
    async with serving(APP, on_line=output.on_line) as api:
        connection = await api.ready()
        reader, writer = await asyncio.open_connection("127.0.0.1", api.server.proxy_port)
        head = f"POST /{connection['token']}/swallow HTTP/1.1\r\nHost: localhost:{api.server.proxy_port}\r\n"
        writer.write(head.encode() + b"Content-Length: 1000000\r\n\r\n" + BLOCK)
        await eventually(lambda: "swallowed" in output.lines)
        assert backend_of(api, connection["backend_id"]).connections == 1
        writer.transport.abort()
        await eventually(lambda: "swallow ended" in output.lines)
        await eventually(lambda: backend_of(api, connection["backend_id"]).connections == 0)
        assert await reader.read() == b""


def backend_of(api: Caller, backend_id: str) -> Backend:
    engine = api.server._engine
    assert engine is not None
    return engine._backends[backend_id]


# ── Who counts as being there ──


@pytest.mark.parametrize("how", ["a long answer", "an answer that does not come", "an upload", "a WebSocket", "held"])
async def test_what_counts_as_a_connection(how: str) -> None:
    """As long as something is open, the idle limit waits; then it begins."""
    async with serving(MUTE if how == "held" else APP) as api, aiohttp.ClientSession() as session:
        connection = await api.connect()
        backend, engine, url = backend_of(api, connection["backend_id"]), api.server._engine, connection["url"]
        assert engine is not None
        later, go_on = 0.0, asyncio.Event()
        engine._monotonic = lambda: time.monotonic() + later

        async def body() -> AsyncIterator[bytes]:
            yield b"x"
            await go_on.wait()

        async def use() -> None:
            if how == "a long answer":
                async with session.get(f"{url}drip") as response:
                    await response.content.readany()
                    await go_on.wait()
                    response.close()
            elif how == "an upload":
                async with session.post(f"{url}digest", data=body()) as response:
                    assert response.status == 200
            elif how == "a WebSocket":
                async with session.ws_connect(f"{url}ws"):
                    await go_on.wait()
            else:
                await session.get(f"{url}hang")

        task = asyncio.create_task(use())
        await eventually(lambda: backend.connections == 1)
        await api.wait(backend.id, "waiting" if how == "held" else "ready")
        later += 1000
        engine.sweep()
        assert not backend.life.is_leaving
        go_on.set()
        if how in {"an answer that does not come", "held"}:
            task.cancel()
        await asyncio.wait([task])
        await eventually(lambda: backend.connections == 0)
        later += 299
        engine.sweep()
        assert not backend.life.is_leaving
        later += 2
        engine.sweep()
        assert backend.life.history[-1].reason == "swept"


# ── Bytes that pass untouched ──


async def test_a_compressed_body_arrives_as_it_was_sent() -> None:
    async with serving(APP) as api:
        url = (await api.ready())["url"]
        packed = gzip.compress(b"hello" * 1000)
        async with api.session.post(f"{url}echo", data=packed, headers={"Content-Encoding": "identity"}) as response:
            assert await response.read() == packed
        # The backend, which unpacks, sees the right length and the right hash of what was packed.
        async with api.session.post(f"{url}digest", data=packed, headers={"Content-Encoding": "gzip"}) as response:
            assert (await response.json())["size"] == 5000
        # What claims to be compressed and is not, is the backend's business.
        async with api.session.post(f"{url}digest", data=b"no", headers={"Content-Encoding": "gzip"}) as response:
            assert response.status == 500
            assert "x-plane-backend-id" in response.headers


async def test_an_old_client_gets_an_answer_without_chunks() -> None:
    async with serving(APP) as api:
        connection = await api.ready()
        port = api.server.proxy_port
        head = f"POST /{connection['token']}/echo HTTP/1.0\r\nHost: localhost:{port}\r\nContent-Length: 4\r\n\r\n"
        answer = await raw(port, head.encode() + b"body")
        top, _, body = answer.partition(b"\r\n\r\n")
        assert b" 200 " in top.splitlines()[0]
        assert b"transfer-encoding" not in top.lower()
        assert body == b"body"


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X-A: b\r\n c: d\r\n",
        "X-A: b\0c\r\n",
        "x-verified-username\t: mallory\r\n",
    ],
)
async def test_what_two_readers_could_read_differently_is_refused(lines: str) -> None:
    """Or else a second request, which nobody checked, could be hidden in the body of the first."""
    output = Output()
    async with serving(APP, on_line=output.on_line) as api:
        connection = await api.ready()
        port = api.server.proxy_port
        head = (
            f"POST /{connection['token']}/seen HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{lines}\r\n"
        )
        hidden = b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\nx-verified-username: mallory\r\n\r\n"
        answer = await raw(port, head.encode() + hidden)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), answer
        assert answer.count(b"HTTP/1.") == 1
