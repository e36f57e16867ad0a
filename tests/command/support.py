"""Running the `jamsocket` command as people run it: a process of its own, with an environment of the test's making."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

JAMSOCKET = [sys.executable, "-m", "jamsocket.cli"]
ROOT = Path(__file__).parents[2]


@frozen
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """Runs commands in one environment: a home of its own, and no variable of the machine's."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.environ = environ

    def env(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAMSOCKET_", "COLUMNS"))}
        return {**kept, "HOME": str(self.home), "TERM": "xterm", **self.environ, **more}

    def __call__(self, *arguments: str, stdin: str = "", **environ: str) -> Done:
        done = subprocess.run(
            [*JAMSOCKET, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.env(**environ),
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([*JAMSOCKET, *arguments], text=True, env=self.env(), **options)

    def in_terminal(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """The exit code, and all that a terminal would have shown."""
        ours, theirs = pty.openpty()
        shown = b""
        with subprocess.Popen(
            [*JAMSOCKET, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=self.env(**environ)
        ) as process:
            os.close(theirs)
            try:
                while piece := os.read(ours, 65536):
                    shown += piece
            except OSError:  # the other end is closed: Linux's way to say so
                pass
            code = process.wait(60)
        os.close(ours)
        return code, shown.decode()

    def log_in(self, text: str) -> Path:
        """Writes the official CLI's login file."""
        path = self.home / ".jamsocket" / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path
