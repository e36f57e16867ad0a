"""`jamsocket dev` in a terminal, which here is a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .support import POLITE, eventually_blocking, python

JAMSOCKET = [sys.executable, "-m", "jamsocket.cli"]
COLOURFUL = python("print('\\x1b[31mred\\x1b[0m and [bold]plain[/bold]'); serve()")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A terminal in which the server runs."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.raw = ""
        env = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
        self.process = subprocess.Popen(
            [*JAMSOCKET, "dev", "--port", "0", "--proxy-port", "0", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**env, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path)},
            # A session whose terminal this is, so that its keys reach the server.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            self.raw += data.decode("utf-8", "replace")
            if not data:
                return

    @property
    def text(self) -> str:
        """All that was shown, without what steers the terminal."""
        return _CONTROL.sub("", self.raw)

    def see(self, pattern: str) -> re.Match[str]:
        """Waits until the terminal shows this."""
        eventually_blocking(lambda: re.search(pattern, self.text))
        found = re.search(pattern, self.text)
        assert found is not None
        return found

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def connect(self, **request: object) -> str:
        api = self.see(r"API: +(\S+)")[1]
        return str(httpx.post(f"{api}/v2/service/-/-/connect", json=request).json()["backend_id"])

    @property
    def settings(self) -> list[object]:
        return list(termios.tcgetattr(self._slave))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        self._reader.join()
        os.close(self._master)


@contextmanager
def terminal(*arguments: str, folder: Path) -> Iterator[Terminal]:
    opened = Terminal(list(arguments), folder)
    try:
        yield opened
    finally:
        opened.close()


def test_lines_table_and_keys(tmp_path: Path) -> None:
    with terminal("--", *COLOURFUL, folder=tmp_path) as screen:
        screen.see("No backend is running")
        assert screen.settings != screen.before  # keys come one by one
        backend = screen.connect(key="my-document")
        # Its colours are kept, its brackets are no mark-up of ours.
        screen.see(rf"{backend} \| red and \[bold\]plain\[/bold\]")
        assert "\x1b[31mred" in screen.raw
        screen.see(rf"{backend} +- +my-document +ready +\d+ s +0 +\d+ % +\d+ MiB")
        screen.press("t")
        screen.see("Ending 1 backend…")
        screen.see(rf"{backend}  terminated \(external\)")
        shown = len(screen.text)
        screen.press("t")
        eventually_blocking(lambda: "No backend is running" in screen.text[shown:])
        screen.press("\x03")
        assert screen.process.wait(10) == 130
        assert screen.settings == screen.before


def test_the_terminal_is_left_as_it_was(tmp_path: Path) -> None:
    with terminal("--", *POLITE, folder=tmp_path) as screen:
        screen.see("No backend is running")
        screen.process.send_signal(signal.SIGTERM)
        assert screen.process.wait(10) == 143
        assert screen.settings == screen.before


def test_more_backends_than_fit(tmp_path: Path) -> None:
    with terminal("--", *POLITE, folder=tmp_path) as screen:
        for _ in range(20):
            screen.connect()
        screen.see("… and 5 more")


def test_no_colours_if_nobody_wants_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    result = subprocess.Popen(
        [*JAMSOCKET, "dev", "--port", "0", "--proxy-port", "0", "--", *COLOURFUL],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    with result:
        assert result.stdout
        assert result.stdout.readline().startswith("API:  ")
        result.terminate()
        assert "\x1b" not in result.stdout.read()


def test_configured_services(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "pyproject.toml").write_text(
        f"""
        [tool.jamsocket]
        watch = ["code.py"]
        [tool.jamsocket.services.board]
        command = [{", ".join(map(_toml, [*POLITE[:-1], _saying_who(POLITE[-1])]))}]
        env = {{ NAME = "the board" }}
        """
    )
    inner = tmp_path / "inner"
    inner.mkdir()
    with terminal("--env", "NAME=no, the flag", folder=inner) as screen:
        screen.see(r"Service board: .*, watching .*code\.py")
        backend = screen.connect()
        port = screen.see(rf"{backend} \| I am no, the flag (\d+)")[1]
        assert 20_000 <= int(port) < 32_768
        (tmp_path / "code.py").write_text("2")
        screen.see("The code of board has changed. Backends that run the old one and end now: 1.")
        screen.see(rf"{backend}  terminated \(external\)")


def _saying_who(code: str) -> str:
    return code.replace("signal.signal", "print('I am', os.environ['NAME'], $PORT); signal.signal", 1)


def _toml(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
