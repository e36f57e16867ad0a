"""The quickstart: the main job on real processes, as a newcomer sees it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_quickstart_tells_the_whole_story() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "quickstart.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    first = re.fullmatch(r"connected: backend (\w+), spawned True", lines[0])
    assert first
    statuses = [line.split()[1] for line in lines if re.match(r"  \d\d:\d\d:\d\d", line)]
    assert statuses == ["scheduled", "loading", "starting", "waiting", "ready", "terminating", "terminated"]
    assert f"connected again: backend {first[1]}, spawned False" in lines
    assert any(line.startswith("  the URL answers: {") and '"user": "ada"' in line for line in lines)
    assert lines[-1] == "  the reason: external"


def test_the_scripts_are_what_the_readme_names() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in ("quickstart", "test"):
        assert f"scripts/{name} " in readme
        assert (ROOT / "scripts" / name).stat().st_mode & 0o111
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec scripts/test")
