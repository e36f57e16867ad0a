"""What users install: wheel, sdist and editable, in clean environments."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest

from tests.support.faults import FaultServer, respond, state

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist; the wheel is built from the sdist, as an index would have it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("GET", "/v2/backend/b1/status", [respond(200, state("ready"))])
        yield server


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_the_wheel_holds_both_packages_typed_and_nothing_else(built: Path) -> None:
    names = zipfile.ZipFile(only(built, "*.whl")).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"jamsocket", "jamsocket_api"}
    for name in ("jamsocket/py.typed", "jamsocket_api/py.typed", "jamsocket/hosting/api.py"):
        assert name in names
    pages = ROOT / "jamsocket" / "hosting" / "static"
    assert {f"jamsocket/hosting/static/{file.name}" for file in pages.iterdir()} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("generated", "tests"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_can_be_built_from(built: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as archive:
        names = archive.getnames()
    root = names[0].partition("/")[0]
    for name in ("openapi.yaml", "generated/jamsocket_api/py.typed", "jamsocket/client.py", "README.md", "LICENSE"):
        assert f"{root}/{name}" in names


def test_the_bare_sdk_has_three_dependencies_and_what_they_bring() -> None:
    plain = [requirement for requirement in requires("jamsocket") or [] if "extra ==" not in requirement]
    needed = {re.split(r"[<>=!~; ]", requirement)[0] for requirement in plain}
    brought = {"h11", "certifi"}
    assert needed == {"httpx", "attrs", "sseclient-py"} | brought
    below = {re.split(r"[<>=!~; ]", line)[0] for name in ("httpx", "httpcore") for line in requires(name) or []}
    assert brought <= below, "they cost nothing more"


CODE = """
import importlib.util, sys
assert importlib.util.find_spec("generated") is None
import jamsocket, jamsocket_api.api.backends.connect
assert "site-packages" in jamsocket.__file__, jamsocket.__file__
with jamsocket.Jamsocket(account="a", token="t", service="s", api_url=sys.argv[1]) as client:
    print(client.status("b1").status)
try:
    import jamsocket.hosting
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_a_clean_environment(built: Path, server: FaultServer, kind: str, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    programs = tmp_path / "env" / "bin"
    install = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", only(built, kind)]
    subprocess.run(install, check=True, cwd=tmp_path)
    run = [programs / "python", "-W", "error", "-c", CODE, server.url]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    status, hint = done.stdout.splitlines()
    assert status == "ready"
    assert "pip install 'jamsocket[cli]'" in hint
    done = subprocess.run(
        [programs / "jamsocket", "--version"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert "pip install 'jamsocket[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_editable_install_is_typed_too() -> None:
    assert distribution("jamsocket").version
    code = (
        "import jamsocket, jamsocket_api, pathlib, importlib.util\n"
        "for package in (jamsocket, jamsocket_api):\n"
        "    assert pathlib.Path(package.__file__).with_name('py.typed').exists()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
