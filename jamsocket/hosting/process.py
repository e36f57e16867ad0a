"""One backend process: start, wait for its end, stop it with all its children, probe its port."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from .guardian import NAME

PROBE_INTERVAL = 0.1
PROBE_READ_TIMEOUT = 1.0

_LOG_LINE_LIMIT = 64 * 1024
_OUTPUT_PATIENCE = 1.0
# A carriage return that comes last may be the first half of a line end.
_LINE_END = re.compile(rb"\r?\n|\r(?!\n|\Z)")


class Guardian:
    """The process that kills what is left if this one is killed: see `guardian`.

    Args:
        mark: a text that no other server has; `variables` puts it into the environment of whatever shall be killed.
        scratch: a directory to be removed at the end, if there is one.
    """

    def __init__(self, mark: str, scratch: Path | None = None) -> None:
        self.variables = {NAME: mark}
        script = Path(__file__).with_name("guardian.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), f"{NAME}={mark}", str(scratch or "")],
            # A server inside another server's backend must leave a guardian that the outer one does not kill.
            env={name: value for name, value in os.environ.items() if name != NAME},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Lets the guardian do its work: it kills what it was not told to be gone."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        # Somebody killed it, or a process outlived every patience: nothing to be done about that.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


class Ports:
    """Free ports on this machine, none of them given out again before it is returned, by no server of this process.

    They are below the range from which the system takes ports for outgoing connections: so nobody gets one by
    chance while the backend is starting, and a probe cannot meet itself (TCP connects a socket to itself if it gets
    by chance the port that it calls).
    """

    _RANGE = range(20_000, 32_768)
    _taken: ClassVar[set[int]] = set()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def take(self) -> int:
        """A port that nobody listens on now."""
        candidates = (secrets.choice(self._RANGE) for _ in range(1000))
        with self._lock:
            for candidate in itertools.chain(candidates, itertools.repeat(0, 1000)):
                port = _free(candidate)
                if port is not None and port not in self._taken:
                    self._taken.add(port)
                    return port
        raise OSError("no free port")

    def give_back(self, port: int) -> None:
        with self._lock:
            self._taken.discard(port)


def _free(port: int) -> int | None:
    """The port (0: any) if every address of this machine can be bound to it."""
    with socket.socket() as attempt:
        try:
            attempt.bind(("", port))
        except OSError:
            return None
        number: int = attempt.getsockname()[1]
        return number


class BackendProcess:
    """A running command, leader of a process group of its own.

    Args:
        command: the program and its arguments.
        env: its whole environment.
        guardian: is told of the group.
        on_line: called with each line that the process writes, without its line end.
        directory: where it runs; None for this process's own working directory.

    Raises:
        OSError: if the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        guardian: Guardian,
        on_line: Callable[[str], None],
        directory: Path | None = None,
    ) -> None:
        self._guardian = guardian
        self._loop = asyncio.get_running_loop()
        read_end, write_end = os.pipe()
        try:
            self._popen = subprocess.Popen(
                command,
                env=dict(env),
                cwd=directory,
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
        # The dead leader still holds the group's id: until it is reaped, the group that is killed is surely ours.
        self.signal(signal.SIGKILL)
        self._guardian.remove(self.pid)
        code = self._popen.wait()
        with contextlib.suppress(asyncio.TimeoutError):
            # Whoever left the group (a daemon) may hold the pipe open for ever.
            await asyncio.wait_for(self._output, _OUTPUT_PATIENCE)
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """Sends a signal to the whole group."""
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def probe(self, host: str, port: int) -> None:
        """Returns as soon as the process answers HTTP on its port, whatever the answer."""
        while True:
            # Without the second question, a stranger that took the port first would pass for the backend. In a thread,
            # because the kernel takes milliseconds to list its sockets.
            if await _answers_http(host, port) and await asyncio.to_thread(listens, self.pid, port) is not False:
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
                # A carriage return, with which programs draw progress, ends a line: an event stream cannot hold it.
                *lines, rest = _LINE_END.split(rest + chunk)
                if len(rest) >= _LOG_LINE_LIMIT:
                    lines.append(rest)
                    rest = b""
                for line in lines:
                    on_line(line.decode("utf-8", "replace"))
            if rest:
                on_line(rest.rstrip(b"\r").decode("utf-8", "replace"))
        finally:
            transport.close()


async def _answers_http(host: str, port: int) -> bool:
    """Whether something on this port speaks HTTP."""
    loop = asyncio.get_running_loop()
    # A bare socket: while a backend starts this is done ten times a second, and a stream costs five times as much.
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
        client.setblocking(False)
        try:
            async with asyncio.timeout(PROBE_READ_TIMEOUT):
                await loop.sock_connect(client, (host, port))
                await loop.sock_sendall(client, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                # All that is there, not only the five bytes that matter: closing on unread ones would reset the
                # connection, and many a server writes an error about that.
                while len(answer) < 5 and (data := await loop.sock_recv(client, 65536)):
                    answer += data
        except (OSError, TimeoutError):
            return False
        return answer.startswith(b"HTTP/")


def listens(leader: int, port: int) -> bool | None:
    """Whether a process of this leader's group or session listens on the port.

    None if the system does not tell: it has no /proc, or the listener is another user's (a container's proxy).
    """
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    # Nearly always it is the leader itself, and nobody else has to be looked at.
    if _has_socket(Path(f"/proc/{leader}"), inodes):
        return True
    strangers: list[Path] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # The name in parentheses may hold anything; what comes after it is: state, parent, group, session.
            group, session = (process / "stat").read_text().rpartition(")")[2].split()[2:4]
        except OSError:
            continue
        if leader not in {int(group), int(session)}:
            strangers.append(process)
        elif _has_socket(process, inodes):
            return True
    # The rest is looked at only now: it is far more work.
    return False if any(_has_socket(process, inodes) for process in strangers) else None


def listening_ports(leader: int) -> set[int]:
    """The TCP ports on which processes of this leader's session listen, as far as the system tells."""
    ports: set[int] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                sockets = process.net_connections("tcp")
                ports |= {found.laddr.port for found in sockets if found.status == psutil.CONN_LISTEN}
    return ports


def _has_socket(process: Path, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):  # it is gone, or not ours to look into
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in inodes:
                    return True
    return False


def _listening_inodes(port: int) -> set[str]:
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if inodes:
            break
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
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
