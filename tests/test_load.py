"""The load's short form: many backends at once, judged by an oracle. Longer: `scripts/load SECONDS`."""

from __future__ import annotations

import copy
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.load.run import judge_memory
from tests.load.truth import Judge, Life

ROOT = Path(__file__).parent.parent
SECONDS = float(os.environ.get("JAMSOCKET_LOAD_SECONDS", "15"))  # here: no test sees a variable of ours


def test_a_short_load() -> None:
    # In a process of its own: what it leaves is counted.
    arguments = [f"{SECONDS:g}", "--backends", "40", "--seed", str(random.randrange(1_000_000))]
    done = subprocess.run(
        [str(ROOT / "scripts" / "load"), *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS + 300,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, f"run it again: scripts/load {' '.join(arguments)}"
    assert "verdict: passed, 0 violations" in done.stdout
    assert done.stderr == ""


# ── Who watches the watchmen ──


def state(status: str, second: int, **more: Any) -> dict[str, Any]:
    return {"status": status, "time": f"2026-01-01T00:00:{second:02}.000Z", **more}


END = {"termination_reason": "external", "termination_kind": "soft"}


def life(backend_id: str = "b", key: str | None = "k", start: int = 0) -> tuple[Life, dict[str, Any]]:
    """One that was ended softly, and what info says of it."""
    states = [
        state("scheduled", start),
        state("waiting", start + 1),
        state("ready", start + 2),
        state("terminating", start + 3, termination_reason="external"),
        state("terminated", start + 4, **END),
    ]
    info = {"statuses": [*copy.deepcopy(states[:-1]), {**states[-1], "exit_code": 0}]}
    return Life(backend_id, key, "soft", states=states), info


def violations(told: Life, info: dict[str, Any]) -> list[str]:
    judge = Judge()
    judge.judge(told, info)
    return judge.violations


def test_the_judge_accepts_the_truth() -> None:
    told, info = life()
    told.failures.append((1767225603_000.0, "410 after its end had begun"))
    assert violations(told, info) == []


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("lost", "the stream told"),
        ("doubled", "a status twice"),
        ("swapped", "out of order"),
        ("same time", "times that do not grow"),
        ("no end", "no beginning or no end"),
        ("exit code", "ended by"),
        ("reason", "ended by"),
        ("hard without a word", "'hard'"),
        ("failed early", "1000 ms before its end began"),
    ],
)
def test_the_judge_sees_what_is_wrong(what: str, words: str) -> None:
    told, info = life()
    match what:
        case "lost":
            del told.states[1]
        case "doubled":
            told.states.insert(1, told.states[0])
        case "swapped":
            told.states[1], told.states[2] = told.states[2], told.states[1]
        case "same time":
            told.states[1]["time"] = told.states[0]["time"]
        case "no end":
            told.states.pop()
        case "exit code":
            info["statuses"][-1]["exit_code"] = 3
        case "reason":
            info["statuses"][-1]["termination_reason"] = "swept"
        case "hard without a word":
            told.fate = "soft, then hard"
            info["statuses"][-1]["termination_kind"] = "hard"
        case _:
            told.failures.append((1767225602_000.0, "get: 502"))
    assert any(words in violation for violation in violations(told, info)), violations(told, info)


def test_two_holders_of_one_key_are_seen() -> None:
    judge = Judge()
    judge.judge_keys([life("a", start=0)[0], life("b", start=5)[0], life("c", None)[0], life("d", "other")[0]])
    assert judge.violations == []
    judge.judge_keys([life("a", start=0)[0], life("b", start=3)[0]])
    assert len(judge.violations) == 1


def test_growth_is_seen() -> None:
    judge = Judge()
    judge_memory(judge, [20.0, 60.0, *[80.0] * 20, *[81.0] * 20])
    assert judge.violations == []
    judge_memory(judge, [float(size) for size in range(50, 100)])
    assert len(judge.violations) == 1
