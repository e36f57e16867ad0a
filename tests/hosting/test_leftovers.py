"""A server and its guardian are killed: the next server clears away what they left, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jamsocket.hosting import DevServer, leftovers
from jamsocket.hosting.guardian import NAME

from .support import PARENT, POLITE, alive, children, eventually_blocking

# A server whose only backend has a child, and a directory; it prints all that it has.
PROGRAM = f"""
import sys, httpx
from jamsocket.hosting import DevServer
lines = []
with DevServer({PARENT!r}, port=0, proxy_port=0, on_line=lambda _, line: lines.append(line)) as server:
    body = {{"spawn": {{"executable": {{"mount": True}}}}}}
    backend = httpx.post(server.url + "/v2/service/-/-/connect", json=body).json()
    httpx.get(backend["url"])
    engine = server._server._engine
    pid = engine.backends[0].process.pid
    print(pid, lines[0].split()[1], engine._guardian._process.pid, engine._scratch, flush=True)
    sys.stdin.read()
"""


class Other:
    """A server in a process of its own."""

    def __init__(self, prefix: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        backend, child, guardian, scratch = self.process.stdout.readline().split()
        self.backends = [int(backend), int(child)]
        self.guardian = int(guardian)
        self.scratch = Path(scratch.decode())

    def is_whole(self) -> bool:
        return all(map(alive, self.backends)) and self.scratch.is_dir()

    def is_gone(self) -> bool:
        return not any(map(alive, self.backends)) and not self.scratch.exists()

    def kill(self) -> None:
        """First the guardian, so that nobody is left to clean up."""
        os.kill(self.guardian, signal.SIGKILL)
        eventually_blocking(lambda: not alive(self.guardian))
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()


@pytest.fixture
def other() -> Iterator[Other]:
    other = Other()
    yield other
    other.close()
    leftovers.clear_away()


def server() -> DevServer:
    return DevServer(POLITE, port=0, proxy_port=0)


def test_the_next_server_clears_away_what_a_killed_one_left(other: Other, caplog: pytest.LogCaptureFixture) -> None:
    other.kill()
    assert other.is_whole()
    with server():
        eventually_blocking(other.is_gone)
    [record] = caplog.records
    assert f"(process {other.process.pid})" in record.getMessage()
    assert record.getMessage().endswith("processes 2, directories 1.")


def test_a_dead_server_that_nobody_has_buried_is_dead(other: Other) -> None:
    os.kill(other.guardian, signal.SIGKILL)
    other.process.kill()
    eventually_blocking(lambda: not alive(other.process.pid))
    assert other.process.pid in children()  # a zombie
    with server():
        eventually_blocking(other.is_gone)


def test_the_command_says_so(other: Other) -> None:
    other.kill()
    command = [sys.executable, "-m", "jamsocket.cli", "dev", "--port", "0", "--proxy-port", "0", "--", *POLITE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert f"A server that was killed (process {other.process.pid}) had left something." in stderr
    assert other.is_gone()


def test_a_server_that_lives_keeps_what_it_has(other: Other, caplog: pytest.LogCaptureFixture) -> None:
    with server() as ours:
        mine = httpx.post(f"{ours.url}/v2/service/-/-/connect").json()
        assert httpx.get(mine["url"]).text == "hi"
        leftovers.clear_away()
        with server():
            assert httpx.get(mine["url"]).text == "hi"
            assert other.is_whole()
    # Not even if its guardian is no more.
    os.kill(other.guardian, signal.SIGKILL)
    leftovers.clear_away()
    assert other.is_whole()
    assert caplog.records == []


def test_what_a_guardian_still_cares_for_is_left_to_it(other: Other, caplog: pytest.LogCaptureFixture) -> None:
    os.kill(other.guardian, signal.SIGSTOP)
    other.process.kill()
    other.process.wait()
    leftovers.clear_away()
    assert other.is_whole()
    os.kill(other.guardian, signal.SIGCONT)
    eventually_blocking(other.is_gone)
    assert caplog.records == []


@pytest.mark.parametrize("change", ["machine", "not ours", "started"])
def test_marks_that_say_nothing_of_this_machine(change: str) -> None:
    pid, started, machine, number = leftovers.new_mark().split("-")
    gone = "999999999"  # more than the kernel gives out
    assert leftovers.is_abandoned(f"{gone}-{started}-{machine}-{number}")
    mark = {
        "machine": f"{gone}-{started}-other.1-{number}",
        "not ours": "some-mark",
        "started": f"{pid}-{started}-{machine}-{number}",
    }[change]
    assert not leftovers.is_abandoned(mark)


def test_a_number_that_another_process_has_now() -> None:
    pid, started, machine, number = leftovers.new_mark().split("-")
    assert leftovers.is_abandoned(f"{pid}-{int(started) - 1}-{machine}-{number}")


def test_only_directories_that_are_truly_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, *rest = leftovers.new_mark().split("-")
    mark = "-".join(["999999999", *rest])
    temporary, precious = tmp_path / "tmp", tmp_path / "precious"
    temporary.mkdir()
    precious.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    left = leftovers.make_scratch(mark)
    (precious / "owner").write_text(mark)
    (temporary / "jamsocket-link").symlink_to(precious)
    unmarked, other = temporary / "jamsocket-unmarked", temporary / "other"
    for directory in (unmarked, other):
        directory.mkdir()
    (other / "owner").write_text(mark)
    leftovers.clear_away()
    assert not left.exists()
    assert all(path.exists() for path in (precious / "owner", unmarked, other / "owner"))


def test_a_process_that_is_another_now_is_not_killed() -> None:
    mark = leftovers.new_mark()
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, NAME: mark})
    try:
        eventually_blocking(lambda: leftovers._mark_of(Path(f"/proc/{process.pid}")) == mark)
        assert not leftovers._end(process.pid, "another mark")
        assert alive(process.pid)
        assert leftovers._end(process.pid, mark)
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    assert not leftovers._end(process.pid, mark)
