"""Kills what a killed server leaves behind: a tiny process beside it, run as a script by `process.Guardian`.

If it is killed too, `leftovers` does its work later.

It reads `+ID` and `-ID` lines, one for each process group that starts and ends. When the server is gone, however it
went, its end of the pipe closes. Then the guardian kills the groups that are left, and whatever else carries the
server's mark in its environment: a process that left its group, or one that was started in the very moment in which
the server was killed. At last it removes the server's temporary directory.

A process of its own, because nothing inside the server survives SIGKILL, and because the kernel's own means
(PR_SET_PDEATHSIG) follows the thread that forked instead of the process, and does not reach grandchildren.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

NAME = "JAMSOCKET_DEV_SERVER"
"""The variable that holds a server's mark."""

_ROUNDS = 100
_PAUSE = 0.02


def main() -> None:
    mark, scratch = sys.argv[1:]
    # The signals that end the server (Ctrl-C goes to the whole terminal) must not end the guardian before it.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line.startswith("+") else groups.discard
        change(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    # Again and again: what is killed may have started something in between.
    for _ in range(_ROUNDS):
        if not kill_marked(mark.encode()):
            break
        time.sleep(_PAUSE)
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)


def kill_marked(mark: bytes) -> bool:
    """Kills each process that has `NAME=value` in its environment; whether there was one. Needs /proc."""
    found = False
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
                found = True
    return found


if __name__ == "__main__":
    main()
