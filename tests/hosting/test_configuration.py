"""`[tool.jamsocket]` in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jamsocket.hosting import DevServerError, Service
from jamsocket.hosting.configuration import Configuration, find, read

WHOLE = """
[tool.jamsocket]
host = "127.0.0.1"
port = 8081
proxy-port = 9091
data-dir = "data"
allowed-hosts = ["dev.example.com"]
public-url = "https://b.example.com"
public-api-url = "https://api.example.com"
watch = ["shared"]
env = { LEVEL = "debug", NAME = "all" }

[tool.jamsocket.services.whiteboard]
command = "python -m board --title 'My board'"
env = { NAME = "board" }
watch = ["board.py"]
static-tokens = true

[tool.jamsocket.services.chess]
command = ["python", "chess.py"]
tags = { old = ["python", "old chess.py"], older = "python older.py" }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def test_everything(tmp_path: Path) -> None:
    configuration = read(write(tmp_path, WHOLE))
    shared = tmp_path / "shared"
    assert configuration == Configuration(
        services={
            "whiteboard": Service(
                ["python", "-m", "board", "--title", "My board"],
                env={"LEVEL": "debug", "NAME": "board"},
                watch=[shared, tmp_path / "board.py"],
                static_tokens=True,
                directory=tmp_path,
            ),
            "chess": Service(
                ["python", "chess.py"],
                tags={"old": ["python", "old chess.py"], "older": ["python", "older.py"]},
                env={"LEVEL": "debug", "NAME": "all"},
                watch=[shared],
                directory=tmp_path,
            ),
        },
        host="127.0.0.1",
        port=8081,
        proxy_port=9091,
        data_dir=tmp_path / "data",
        allowed_hosts=("dev.example.com",),
        public_url="https://b.example.com",
        public_api_url="https://api.example.com",
        watch=(shared,),
        env={"LEVEL": "debug", "NAME": "all"},
    )
    assert list(dict(configuration.services or {})) == ["whiteboard", "chess"]  # the first is also `-`


def test_one_command_stands_for_every_name(tmp_path: Path) -> None:
    configuration = read(write(tmp_path, '[tool.jamsocket]\ncommand = "python backend.py"\nenv = { A = "1" }\n'))
    assert configuration.services == Service(["python", "backend.py"], env={"A": "1"}, directory=tmp_path)


def test_the_nearest_one_that_says_something(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find(deep) is None
    outer = write(tmp_path, "[tool.jamsocket]\nport = 1\n")
    write(deep, "[project]\nname = 'other'\n")
    assert find(deep) == outer
    inner = write(deep.parent, "[tool.jamsocket]\n")
    assert find(deep) == inner
    assert read(write(deep, "")) == Configuration()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[tool.jamsocket", "cannot be read"),
        ("tool.jamsocket = 1", "tool.jamsocket must be a table"),
        ("[tool.jamsocket]\nprot = 1", "tool.jamsocket.prot is unknown"),
        ("[tool.jamsocket]\nport = '1'", "port must be a whole number"),
        ("[tool.jamsocket]\nport = true", "port must be a whole number"),
        ("[tool.jamsocket]\nhost = 1", "host must be a string"),
        ("[tool.jamsocket]\nwatch = 'src'", "watch must be a list of strings"),
        ("[tool.jamsocket]\nenv = { A = 1 }", "env.A must be a string"),
        ("[tool.jamsocket]\ncommand = ''", "command is empty"),
        ('[tool.jamsocket]\ncommand = "\'"', "command cannot be split"),
        ("[tool.jamsocket]\ncommand = [1]", "command must be a list of strings"),
        ("[tool.jamsocket]\ncommand = 'x'\n[tool.jamsocket.services.a]\ncommand = 'x'", "not both"),
        ("[tool.jamsocket.services]", "services is empty"),
        ("[tool.jamsocket.services.a]", "services.a.command is missing"),
        ("[tool.jamsocket.services.a]\ncomand = 'x'", "services.a.comand is unknown. There are: command"),
        ("[tool.jamsocket.services.a]\ncommand = 'x'\nport = 1", "services.a.port is unknown"),
        ("[tool.jamsocket.services.a]\ncommand = 'x'\nstatic-tokens = 1", "services.a.static-tokens must be true"),
        ("[tool.jamsocket.services.a]\ncommand = 'x'\ntags = { t = [] }", "services.a.tags.t is empty"),
        ("[tool.jamsocket.services]\na = 'x'", "services.a must be a table"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DevServerError) as caught:
        read(path)
    assert named in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_documentation(tmp_path: Path, number: int) -> None:
    page = (Path(__file__).parents[2] / "docs" / "hosting.md").read_text()
    example = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[number]
    assert read(write(tmp_path, example)).services
