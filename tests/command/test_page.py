"""docs/command.md, run as it stands, in one shell."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

from jamsocket.command.calling import EXIT_CODES
from jamsocket.hosting import DevServer, Limits
from tests.hosting.support import EXAMPLE

from .support import ROOT, Shell

PAGE = (ROOT / "docs" / "command.md").read_text()
END = "\x1e"


def examples() -> list[tuple[str, str]]:
    """Each command, and what the page says it writes."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        lines = block.splitlines(keepends=True)
        while lines:
            command, *lines = lines
            assert command.startswith("$ "), command
            wanted = list(takewhile(lambda line: not line.startswith("$ "), lines))
            lines = lines[len(wanted) :]
            found.append((command[2:], "".join(wanted)))
    return found


def pattern(wanted: str) -> str:
    """What a page's output matches: … stands for anything in a line, alone in a line for any lines."""
    lines = wanted.splitlines(keepends=True)
    return "".join("(?:.*\n)*?" if line == "…\n" else ".*".join(map(re.escape, line.split("…"))) for line in lines)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_examples(tmp_path: Path) -> None:
    limits = Limits(metrics_interval=0.1)
    with DevServer({"whiteboard": EXAMPLE}, port=0, proxy_port=0, limits=limits) as server:
        shell = Shell(tmp_path, JAMSOCKET_DEV_PORT=str(server.port))
        path = f"{Path(sys.executable).parent}:{shell.env()['PATH']}"
        # What decides `$?` for an example is the example before it.
        script = "code=0\n" + "".join(
            f"(exit $code)\n{command.rstrip()}\ncode=$?; printf '{END}'\n" for command, _ in examples()
        )
        done = subprocess.run(
            ["bash", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=shell.env(PATH=path),
            timeout=120,
            check=False,
        )
    *outputs, rest = done.stdout.split(END)
    assert rest == ""
    assert len(outputs) == len(examples()) > 20
    for (command, wanted), got in zip(examples(), outputs, strict=True):
        whole = got.rstrip("\n") + "\n" if got else got  # not every program ends its last line
        assert re.fullmatch(pattern(wanted), whole), f"{command}\n{got}"


@pytest.mark.parametrize(
    ("wanted", "got", "match"),
    [
        ("a …\n", "a b\n", True),
        ("…\nb\n", "x\ny\nb\n", True),
        ("a\n", "b\n", False),
        ("a …\n", "a b\nc\n", False),
    ],
)
def test_the_judge(wanted: str, got: str, match: bool) -> None:
    assert bool(re.fullmatch(pattern(wanted), got)) == match


def test_the_page_and_the_help_agree(tmp_path: Path) -> None:
    shell = Shell(tmp_path, COLUMNS="200")
    codes = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert codes == re.findall(r"(?:: |; )(\d+) ", EXIT_CODES)
    shown = shell("connect", "--help").out
    for option in re.findall(r"^\| `(--[\w-]+)`", PAGE, re.MULTILINE):
        assert option in shown
    rows = [line for line in PAGE.partition("## ")[0].splitlines() if line.startswith("|")]
    told = {words.split()[0] for words in re.findall(r"`([a-z][^`]*)`", "".join(rows))}
    listed = [shell(*group, "--help").out for group in ((), ("services",))]
    commands, of_services = (set(re.findall(r"^│ ([a-z][\w-]+) ", each, re.MULTILINE)) for each in listed)
    assert told == (commands | of_services) - {"dev", "list"}
