"""Ends what a killed server leaves behind: a tiny process beside it, run as a script by `process.Guardian`.

It reads `+ID` and `-ID` lines, one for each process group that starts and ends. When the server is gone, however it
went, its end of the pipe closes, and the guardian kills the groups that are left.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
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


if __name__ == "__main__":
    main()
