"""Type checkers on a user's file: right uses pass, each wrong one is rejected, by mypy and by pyright."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USES = ROOT / "tests" / "typing" / "uses.py"
WRONG = {number for number, line in enumerate(USES.read_text().splitlines(), 1) if line.endswith("# WRONG")}


def mypy() -> set[int]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--show-error-codes"]
    # Installed, as a user has it; a cache of its own, as the settings differ from the project's.
    command += ["--config-file", "", "--cache-dir", str(ROOT / ".cache" / "mypy-uses"), str(USES)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=USES.parent, check=False)
    assert done.stderr == ""
    return {int(line) for line in re.findall(r"^\S*uses\.py:(\d+): error", done.stdout, re.MULTILINE)}


def pyright(tmp_path: Path) -> set[int]:
    copy = tmp_path / USES.name  # outside the project, where a user's files are
    copy.write_text(USES.read_text())
    config = {"typeCheckingMode": "strict", "pythonVersion": "3.11"}
    # They say of uses that are wrong on purpose that something in them is not used.
    config |= {"reportUnusedVariable": False, "reportUnusedExpression": False, "reportUnusedCoroutine": False}
    config |= {"reportUnnecessaryTypeIgnoreComment": False, "enableTypeIgnoreComments": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--project",
        str(tmp_path),
        "--pythonpath",
        sys.executable,
    ]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env |= {"PYRIGHT_PYTHON_CACHE_DIR": str(ROOT / ".cache" / "pyright"), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {item["range"]["start"]["line"] + 1 for item in found if item["severity"] == "error"}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_users_file(checker: str, tmp_path: Path) -> None:
    rejected = mypy() if checker == "mypy" else pyright(tmp_path)
    assert rejected - WRONG == set(), "right uses that are rejected"
    assert WRONG - rejected == set(), "wrong uses that pass"
