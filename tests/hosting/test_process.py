"""Processes: ports, probes, exit codes, and that nothing is left of one."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from jamsocket.hosting.process import BackendProcess, Guardian, Ports, listens

from .support import MUTE, PARENT, SMALL, Output, alive, eventually, eventually_blocking, python


@pytest_asyncio.fixture
async def guardian() -> AsyncIterator[Guardian]:
    guardian = Guardian(secrets.token_hex(8))
    yield guardian
    guardian.close()


def start(
    guardian: Guardian, command: list[str], output: Output | None = None, port: int = 0, mark: str = ""
) -> BackendProcess:
    lines = (output or Output()).lines
    env = {**os.environ, **guardian.variables, "PORT": str(port), "MARK": mark}
    return BackendProcess(command, env, guardian, lines.append)


# ── Ports ──


def test_a_port_is_given_out_once() -> None:
    one, other = Ports(), Ports()  # two servers in one process
    taken = [ports.take() for _ in range(1000) for ports in (one, other)]
    assert len(set(taken)) == len(taken)
    for port in taken:
        one.give_back(port)


def test_a_port_in_use_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        used = [first.getsockname()[1], second.getsockname()[1]]
        ports = Ports()
        for _ in range(20):
            monkeypatch.setattr(Ports, "_RANGE", used)
            port = ports.take()
            assert port not in used
            ports.give_back(port)


def test_a_port_that_was_given_back_can_be_given_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = Ports()
    port = ports.take()
    monkeypatch.setattr(Ports, "_RANGE", [port])
    assert ports.take() != port
    ports.give_back(port)
    assert ports.take() == port
    ports.give_back(port)


# ── The probe ──


@pytest.mark.asyncio
async def test_the_probe_accepts_any_http_answer(guardian: Guardian) -> None:
    port = Ports().take()
    process = start(guardian, SMALL, port=port)  # it answers 404
    async with asyncio.timeout(10):
        await process.probe("127.0.0.1", port)
    assert listens(process.pid, port) is True
    process.signal(signal.SIGKILL)
    assert await process.wait() == 137


@pytest.mark.asyncio
async def test_the_probe_does_not_take_a_stranger_for_the_backend(guardian: Guardian) -> None:
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read()  # raises if the probe resets the connection
        writer.close()
        asked.set()

    stranger = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = stranger.sockets[0].getsockname()[1]
    process = start(guardian, MUTE, port=port)
    probe = asyncio.create_task(process.probe("127.0.0.1", port))
    async with asyncio.timeout(10):
        for _ in range(3):
            await asked.wait()
            asked.clear()
    assert not probe.done()
    assert listens(process.pid, port) is False
    probe.cancel()
    process.signal(signal.SIGKILL)
    await process.wait()
    stranger.close()


@pytest.mark.asyncio
async def test_a_grandchild_may_be_the_one_that_listens(guardian: Guardian) -> None:
    port = Ports().take()
    # `sh -c` with something behind it does not become the command: the listener is its child.
    shell = ["sh", "-c", f"'{sys.executable}' -m http.server --bind 127.0.0.1 $PORT; true"]
    process = start(guardian, shell, port=port)
    async with asyncio.timeout(20):
        await process.probe("127.0.0.1", port)
    process.signal(signal.SIGKILL)
    await process.wait()


@pytest.mark.asyncio
async def test_a_listener_that_says_nothing_or_something_else_is_not_ready(guardian: Guardian) -> None:
    output = Output()
    silly = python("""
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as server:
    for answer in (b"SSH-2.0", b"", b"HTT", b"HTTP/1.0 500 No"):
        client, _ = server.accept()
        with client:
            client.recv(100)
            client.sendall(answer)
        print("answered", len(answer))
    time.sleep(600)
""")
    port = Ports().take()
    process = start(guardian, silly, output, port)
    async with asyncio.timeout(10):
        await process.probe("127.0.0.1", port)
    await eventually(lambda: output.lines == ["answered 7", "answered 0", "answered 3", "answered 15"])
    process.signal(signal.SIGKILL)
    await process.wait()


# ── The end ──


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.abort()", 134),
    ],
)
async def test_exit_codes(guardian: Guardian, code: str, expected: int) -> None:
    process = start(guardian, python(code))
    assert await process.wait() == expected


@pytest.mark.asyncio
async def test_the_whole_group_goes(guardian: Guardian) -> None:
    output = Output()
    process = start(guardian, PARENT, output, Ports().take())
    child = await output.number("child")
    assert alive(child)
    process.signal(signal.SIGTERM)  # the child ignores it
    assert await process.wait() == 143
    await eventually(lambda: not alive(child))


@pytest.mark.asyncio
async def test_the_exit_is_seen_without_pidfds_too(guardian: Guardian, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    process = start(guardian, python("sys.exit(7)"))
    assert await process.wait() == 7


@pytest.mark.asyncio
async def test_output_that_outlives_its_process_is_not_waited_for(guardian: Guardian) -> None:
    output = Output()
    daemon = python(
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\nprint('child', child.pid)\nos._exit(0)"
    )
    process = start(guardian, daemon, output)
    async with asyncio.timeout(5):
        assert await process.wait() == 0
    # It left the group: the guardian finds it by its mark.
    child = await output.number("child")
    assert alive(child)
    guardian.close()
    await eventually(lambda: not alive(child))


@pytest.mark.asyncio
async def test_output_comes_line_by_line(guardian: Guardian) -> None:
    output = Output()
    code = (
        "o = sys.stdout.buffer; e = sys.stderr.buffer\n"
        "o.write(b'one\\r\\n\\xff\\n\\nthree'); o.flush(); e.write(b'!\\n'); e.flush()\n"
        "o.write(b'x' * 200000 + b'\\nlast'); o.flush()"
    )
    process = start(guardian, python(code), output)
    assert await process.wait() == 0
    assert output.lines[:4] == ["one", "�", "", "three!"]
    assert output.lines[-1] == "last"
    assert "".join(output.lines[4:-1]) == "x" * 200000
    assert max(map(len, output.lines)) <= 2 * 65536


@pytest.mark.asyncio
async def test_a_command_that_cannot_start_leaves_nothing(guardian: Guardian) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for command in (["/no/such/thing"], [str(Path(__file__))]):
        with pytest.raises(OSError, match=r"No such file|Permission denied"):
            start(guardian, command)
    assert len(os.listdir("/proc/self/fd")) == before


# ── The guardian ──


def test_the_guardian_kills_what_a_killed_server_leaves(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # A server that starts a group, a process outside of it, and one that nobody is told of, and is killed then.
    server = f"""
import os, subprocess, sys
from pathlib import Path
from jamsocket.hosting.process import Guardian
guardian = Guardian("some-mark", Path({str(scratch)!r}))
env = {{**os.environ, **guardian.variables}}
plain = dict(os.environ)
told = subprocess.Popen(["sleep", "600"], env=plain, start_new_session=True)
guardian.add(told.pid)
untold = subprocess.Popen(["sleep", "600"], env=env, start_new_session=True)
gone = subprocess.Popen(["sleep", "600"], env=plain, start_new_session=True)
guardian.add(gone.pid); guardian.remove(gone.pid)
print(told.pid, untold.pid, gone.pid, flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", server], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    told, untold, gone = map(int, process.stdout.readline().split())
    try:
        assert alive(told)
        assert alive(untold)
        process.kill()
        process.wait()
        eventually_blocking(lambda: not alive(told) and not alive(untold) and not scratch.exists())
        # It was told that this one is not a backend any more.
        assert alive(gone)
    finally:
        os.kill(gone, signal.SIGKILL)
        process.stdin.close()
        process.stdout.close()
