"""One backend process: start, wait for its end, stop it with all its children, probe its port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PROBE_INTERVAL = 0.1
PROBE_READ_TIMEOUT = 1.0

_LOG_LINE_LIMIT = 64 * 1024


class Guardian:
    """The process that kills what is left if this one is killed: see `guardian`."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("guardian.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Lets the guardian go; it kills what it was not told to be gone."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # somebody killed it: nothing to be done about that
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


class Ports:
    """Free ports on this machine, none of them given out again before it is returned."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._taken: set[int] = set()

    def take(self) -> int:
        """A port that nobody listens on now."""
        for _ in range(1000):
            with socket.socket() as probe:
                probe.bind((self._host, 0))
                port: int = probe.getsockname()[1]
            if port not in self._taken:
                self._taken.add(port)
                return port
        raise OSError("no free port")

    def give_back(self, port: int) -> None:
        self._taken.discard(port)


class BackendProcess:
    """A running command, leader of a process group of its own.

    Args:
        command: the program and its arguments.
        env: its whole environment.
        guardian: is told of the group.
        on_line: called with each line that the process writes, without its line end.

    Raises:
        OSError: if the command cannot be started.
    """

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], guardian: Guardian, on_line: Callable[[str], None]
    ) -> None:
        self._guardian = guardian
        self._loop = asyncio.get_running_loop()
        read_end, write_end = os.pipe()
        try:
            self._popen = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self.pid = self._popen.pid
        guardian.add(self.pid)
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._watch_exit()
        self._output = asyncio.create_task(self._read_output(read_end, on_line))

    async def wait(self) -> int:
        """Waits for the process to end, ends what it started, and returns its exit code (128 + n for signal n)."""
        await asyncio.shield(self._exited)
        # The dead leader still holds the group's id: only now is it sure that the group killed is ours.
        self.signal(signal.SIGKILL)
        code = self._popen.wait()
        self._guardian.remove(self.pid)
        with contextlib.suppress(asyncio.TimeoutError):
            # Whoever left the group (a daemon) may hold the pipe open for ever.
            await asyncio.wait_for(self._output, 1.0)
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """Sends a signal to the whole group."""
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def probe(self, host: str, port: int) -> None:
        """Returns as soon as the process answers HTTP on its port, whatever the answer."""
        while True:
            if await _answers_http(host, port) and listens(self.pid, port) is not False:
                return
            await asyncio.sleep(PROBE_INTERVAL)

    def _watch_exit(self) -> None:
        """Has `_exited` set when the process is dead, without reaping it."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            threading.Thread(target=self._wait_in_thread, daemon=True, name=f"wait for {self.pid}").start()
            return

        def on_readable() -> None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
            self._set_exited()

        self._loop.add_reader(descriptor, on_readable)

    def _wait_in_thread(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._set_exited)

    def _set_exited(self) -> None:
        if not self._exited.done():
            self._exited.set_result(None)

    async def _read_output(self, descriptor: int, on_line: Callable[[str], None]) -> None:
        reader = asyncio.StreamReader(limit=_LOG_LINE_LIMIT)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await self._loop.connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb", 0))
        try:
            rest = b""
            while chunk := await reader.read(_LOG_LINE_LIMIT):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) >= _LOG_LINE_LIMIT:
                    lines.append(rest)
                    rest = b""
                for line in lines:
                    on_line(line.decode("utf-8", "replace").rstrip("\r"))
            if rest:
                on_line(rest.decode("utf-8", "replace"))
        finally:
            transport.close()


async def _answers_http(host: str, port: int) -> bool:
    """Whether something on this port speaks HTTP."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(PROBE_READ_TIMEOUT):
            return await reader.readexactly(5) == b"HTTP/"
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def listens(group: int, port: int) -> bool | None:
    """Whether a process of this group listens on the port; None where the system does not tell (no /proc)."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            # The name in parentheses may hold anything; what comes after it is: state, parent, group.
            if int((process / "stat").read_text().rpartition(")")[2].split()[2]) != group:
                continue
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in wanted:
                    return True
        except OSError:
            continue
    return False


def _listening_inodes(port: int) -> set[str]:
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def limit_resources(pid: int, limits: Mapping[str, int]) -> None:
    """Limits the processor time (in all) and the memory of a process that has just started, where that is possible.

    Processor shares and disk space would need the kernel's control groups: they are not enforced here.
    """
    wanted = {resource.RLIMIT_CPU: limits.get("cpu_time_limit"), resource.RLIMIT_AS: limits.get("memory_limit_bytes")}
    for kind, limit in wanted.items():
        if limit is not None and hasattr(resource, "prlimit"):
            with contextlib.suppress(OSError, ValueError):
                resource.prlimit(pid, kind, (limit, limit))
