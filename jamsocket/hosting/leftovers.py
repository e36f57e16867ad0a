"""What a killed server has left, if its guardian was killed too: the next server that starts here clears it away.

Each server has a mark that says which process it is. Its backends carry the mark in their environment, its temporary
directory in a file. Whatever carries the mark of a process that is no more belongs to nobody; whatever carries that of
one that lives is not touched, and neither is what a guardian still takes care of. All of it needs /proc.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .guardian import NAME

logger = logging.getLogger("jamsocket.hosting")

_OWNER = "owner"
_PREFIX = "jamsocket-"
_PROC = Path("/proc")
_ROUNDS = 100


def new_mark() -> str:
    """A text that no other server has: which process this is, in which namespace of which machine, and a number."""
    return f"{os.getpid()}-{_started(os.getpid())}-{_machine()}-{secrets.token_hex(8)}"


def make_scratch(mark: str) -> Path:
    """A temporary directory that belongs to the server with this mark."""
    scratch = Path(tempfile.mkdtemp(prefix=_PREFIX))
    (scratch / _OWNER).write_text(mark)
    return scratch


def clear_away() -> None:
    """Ends the processes and removes the directories of servers that are no more, and says so in the log."""
    marks = {mark for mark, _ in _directories()} | {mark for mark, _ in _processes()}
    for mark in filter(is_abandoned, marks):
        ended: set[int] = set()
        # Again and again: what is killed may have started something in between.
        for _ in range(_ROUNDS):
            found = {process for other, process in _processes() if other == mark} - ended
            ended |= {process for process in found if _end(process, mark)}
            if not found:
                break
        removed = [directory for other, directory in _directories() if other == mark]
        for directory in removed:
            shutil.rmtree(directory, ignore_errors=True)
        if ended or removed:  # a guardian may just have finished
            logger.warning(
                "A server that was killed (process %s) had left something. Gone now are: processes %d, directories %d.",
                *(mark.partition("-")[0], len(ended), len(removed)),
            )


def is_abandoned(mark: str) -> bool:
    """Whether the server with this mark, and its guardian, are surely no more."""
    pid, _, rest = mark.partition("-")
    started, _, rest = rest.partition("-")
    if not (pid.isdecimal() and started.isdecimal()) or rest.rpartition("-")[0] != _machine():
        return False  # of another machine, a container, or another version of this program
    if _started(int(pid)) == started:
        return False
    guardian = f"{NAME}={mark}".encode()
    return not any(guardian in _read(process, "cmdline") for process in _PROC.glob("[0-9]*"))


def _processes() -> Iterator[tuple[str, int]]:
    """The processes of this user that carry a mark."""
    for process in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            mark = _mark_of(process)
            if mark and process.stat().st_uid == os.getuid():
                yield mark, int(process.name)


def _directories() -> Iterator[tuple[str, Path]]:
    """The temporary directories of this user that carry a mark."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            # Anybody may put something into the directory for temporary files, also a link to something of ours.
            if not directory.is_symlink() and directory.stat().st_uid == os.getuid():
                yield (directory / _OWNER).read_text(), directory


def _mark_of(process: Path) -> str | None:
    for variable in _read(process, "environ"):
        name, _, value = variable.partition(b"=")
        if name == NAME.encode():
            return value.decode("utf-8", "replace")
    return None


def _end(pid: int, mark: str) -> bool:
    """Kills a process, if it is still the one with this mark."""
    with contextlib.suppress(OSError):
        # What the descriptor stands for cannot become another process under our hands, as a number can.
        descriptor = os.pidfd_open(pid)
        try:
            if _mark_of(_PROC / str(pid)) == mark:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                return True
        finally:
            os.close(descriptor)
    return False


def _read(process: Path, file: str) -> list[bytes]:
    with contextlib.suppress(OSError):
        return (process / file).read_bytes().split(b"\0")
    return []


def _started(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks; None if it is no more."""
    with contextlib.suppress(OSError):
        # The name in parentheses may hold anything; what comes after it begins with the state.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else fields[19]
    return None


def _machine() -> str:
    """Tells apart where process numbers mean different processes: machines, their boots, and containers."""
    with contextlib.suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()[:8]
        return f"{boot}.{os.stat(_PROC / 'self/ns/pid').st_ino}"
    return ""
