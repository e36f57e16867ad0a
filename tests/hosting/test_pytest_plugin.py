"""The pytest plugin, in test runs of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from .support import EXAMPLE, POLITE

TESTS = """
import os
import pytest
from jamsocket import AsyncJamsocket, Jamsocket, NotFoundError

ended = []

def test_a_platform_in_one_line(jamsocket):
    connection = jamsocket.connect_ready(key="a")
    assert jamsocket.status(connection.backend_id).status == "ready"
    ended.append(connection.backend_id)
    with Jamsocket.from_env() as application:
        assert application.connect(key="a").backend_id == connection.backend_id

def test_no_backend_outlives_its_test(jamsocket, jamsocket_server):
    assert jamsocket.status(ended[0]).status == "terminated"
    assert jamsocket.connect(key="a").backend_id != ended[0]
    assert os.environ["JAMSOCKET_DEV_PORT"] == str(jamsocket_server.port)

def test_nothing_stays_in_the_environment():
    assert "JAMSOCKET_DEV" not in os.environ
"""
OVERRIDE = f"""
import pytest
@pytest.fixture(scope="session")
def jamsocket_services():
    return {POLITE!r}
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-W",
        "error",
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def write(folder: Path, pyproject: str, **files: str) -> None:
    (folder / "pyproject.toml").write_text(pyproject)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_configured_by_pyproject(tmp_path: Path) -> None:
    write(tmp_path, f"[tool.pytest.ini_options]\n[tool.jamsocket]\ncommand = {EXAMPLE!r}\n", test_app=TESTS)
    result = run(tmp_path)
    assert result.stdout.splitlines()[-1].startswith("3 passed"), result.stdout


def test_configured_by_a_fixture(tmp_path: Path) -> None:
    write(tmp_path, "[tool.pytest.ini_options]\n", test_app=TESTS, conftest=OVERRIDE)
    result = run(tmp_path)
    assert result.stdout.splitlines()[-1].startswith("3 passed"), result.stdout


def test_not_configured(tmp_path: Path) -> None:
    write(tmp_path, "[tool.pytest.ini_options]\n", test_app="def test_it(jamsocket): pass")
    result = run(tmp_path)
    assert result.returncode == 1
    assert "no backend is configured" in result.stdout
    assert "Traceback" not in result.stdout


def test_it_costs_nothing_until_it_is_used(tmp_path: Path) -> None:
    write(
        tmp_path,
        "[tool.pytest.ini_options]\n",
        test_app="import sys\ndef test_it(): assert not {'aiohttp', 'jamsocket.hosting', 'typer'} & set(sys.modules)",
    )
    assert run(tmp_path).returncode == 0


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "hosting.md").read_text()
    example = next(
        block for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "def test_" in block
    )
    write(tmp_path, f"[tool.pytest.ini_options]\n[tool.jamsocket]\ncommand = {EXAMPLE!r}\n", test_app=example)
    result = run(tmp_path)
    assert result.stdout.splitlines()[-1].startswith("1 passed"), result.stdout
