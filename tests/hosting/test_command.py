"""The `jamsocket` command, run as people run it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from jamsocket import __version__

from .support import EXAMPLE, PARENT, STUBBORN, alive, children, eventually_blocking

JAMSOCKET = [sys.executable, "-m", "jamsocket.cli"]


class Command:
    """A running `jamsocket dev`, and what it has written."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def find(self, pattern: str) -> str:
        """The first group of the first line that matches, as soon as there is one."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        eventually_blocking(found)
        match = found()
        assert match is not None
        return match[1]

    @property
    def api(self) -> str:
        return self.find(r"API: +(\S+)")

    def ready(self) -> dict[str, str]:
        answer: dict[str, str] = httpx.post(f"{self.api}/v2/service/-/-/connect", json={"key": "k"}).json()
        self.find(rf"({answer['backend_id']})  ready")
        return answer


@contextmanager
def dev(command: list[str]) -> Iterator[Command]:
    process = subprocess.Popen(
        [*JAMSOCKET, "dev", "--port", "0", "--proxy-port", "0", "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As a shell does it: Ctrl-C reaches the server's group, and it alone.
        start_new_session=True,
    )
    running = Command(process)
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        running.reader.join()
        assert process.stdout
        process.stdout.close()


def test_dev() -> None:
    with dev(EXAMPLE) as running:
        connection = running.ready()
        backend = connection["backend_id"]
        assert httpx.get(connection["url"]).json()["backend"] == backend
        running.find(rf"({backend}) \| listening on port \d+")
        assert running.find(r"(http://localhost:\d+)/…") in connection["url"]
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(10) == 130
        running.reader.join()
        assert running.lines[-1] == f"{backend}  terminated (external), exit code 0"
        assert "Traceback" not in "\n".join(running.lines)


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (PARENT, signal.SIGINT, 130),
        (PARENT, signal.SIGTERM, 143),
        (PARENT, signal.SIGHUP, 129),
        (PARENT, signal.SIGKILL, -9),
        (STUBBORN, signal.SIGTERM, 143),
    ],
)
def test_no_child_survives(command: list[str], number: int, code: int) -> None:
    with dev(command) as running:
        running.ready()
        mine = children(running.process.pid)
        assert any("guardian" in line for line in mine.values())
        pids = [*mine, *(grandchild for child in mine for grandchild in children(child))]
        assert len(pids) == (3 if command is PARENT else 2)
        running.process.send_signal(number)
        assert running.process.wait(10) == code
        eventually_blocking(lambda: not any(map(alive, pids)))


def test_a_signal_right_at_the_start() -> None:
    for delay in ("import jamsocket", "0"):
        with dev([sys.executable, "-c", delay]) as running:
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(10) in {143, -15}


def test_the_output_may_end_before_the_server() -> None:
    """`jamsocket dev | head -1`: the server serves on."""
    process = subprocess.Popen(
        [*JAMSOCKET, "dev", "--port", "0", "--proxy-port", "0", "--", *EXAMPLE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    with process:
        url = process.stdout.readline().split()[1]
        while "Ctrl-C" not in process.stdout.readline():
            pass
        process.stdout.close()
        connection = httpx.post(f"{url}/v2/service/-/-/connect", json={}).json()
        assert httpx.get(connection["url"]).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in {143, 1}


def run(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **options}
    return subprocess.run([*JAMSOCKET, *arguments], capture_output=True, text=True, timeout=30, env=env, check=False)


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("dev", "--port", str(port), "--proxy-port", "0", "--", *EXAMPLE)
    assert result.returncode == 1
    assert f"Port {port}" in result.stderr
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_command_that_does_not_exist() -> None:
    result = run("dev", "--port", "0", "--proxy-port", "0", "--", "no-such-command")
    assert result.returncode == 1
    assert "no-such-command" in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_command() -> None:
    result = run("dev")
    assert result.returncode == 2
    assert "command" in result.stderr.lower()


def test_version_and_help() -> None:
    assert run("--version").stdout == f"jamsocket {__version__}\n"
    assert "dev" in run("--help").stdout
    assert "--proxy-port" in run("dev", "--help", TERM="dumb", COLUMNS="200").stdout


@pytest.mark.parametrize("missing", ["typer", "aiohttp", "psutil", "rich", "watchfiles"])
def test_without_the_extra(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from jamsocket.cli import main; main()"
    arguments = ["dev", "--", "python"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'jamsocket[cli]'" in result.stderr
    assert result.stderr.count("\n") == 1
