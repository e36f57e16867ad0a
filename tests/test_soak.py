"""The soak's short form: random faults for both clients, judged by an oracle. Longer: `scripts/soak MINUTES`."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.soak.run import Oracle, Sample, Use
from tests.soak.truth import GONE, TERMINATED, Truth

ROOT = Path(__file__).parent.parent
SECONDS = float(os.environ.get("JAMSOCKET_SOAK_SECONDS", "20"))  # here: no test sees a variable of ours


def test_a_short_soak() -> None:
    # In a process of its own: what it uses is measured.
    seed = random.randrange(1_000_000)
    done = subprocess.run(
        [str(ROOT / "scripts" / "soak"), str(SECONDS / 60), "--seed", str(seed), "--streams", "40"],
        capture_output=True,
        text=True,
        timeout=SECONDS + 180,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, f"run it again: scripts/soak {SECONDS / 60:g} --seed {seed} --streams 40"
    assert "verdict: passed, 0 violations" in done.stdout
    assert done.stderr == ""


# ── Who watches the watchmen ──


def life(fate: str) -> Truth:
    return next(
        truth for truth in (Truth.of(1, f"b{number}") for number in range(1000)) if truth.fate == fate and truth.history
    )


def test_a_life_follows_from_the_seed() -> None:
    assert Truth.of(1, "b1") == Truth.of(1, "b1")
    assert Truth.of(1, "b1") != Truth.of(2, "b1")


def test_the_oracle_accepts_the_truth() -> None:
    oracle, truth = Oracle(1), life(TERMINATED)
    oracle.judge(truth, truth.statuses, "iterate", None, cut_short=False)
    oracle.judge(truth, truth.statuses[:2], "leave", None, cut_short=True)
    assert oracle.violations == []


@pytest.mark.parametrize("what", ["lost", "doubled", "swapped", "invented", "cut short", "an error", "a missing error"])
def test_the_oracle_sees_what_is_wrong(what: str) -> None:
    oracle, truth = Oracle(1), life(GONE if what == "a missing error" else TERMINATED)
    told = truth.statuses
    wrong = {
        "lost": told[1:],
        "doubled": [told[0], *told],
        "swapped": [told[1], told[0], *told[2:]],
        "invented": ["invented", *told],
        "cut short": told[:-1],
    }
    error = LookupError("x") if what == "an error" else None
    oracle.judge(truth, wrong.get(what, told), "iterate", error, cut_short=False)
    assert len(oracle.violations) == 1


def test_growth_is_seen() -> None:
    def verdicts(sample: Sample, grown: Sample) -> set[str]:
        use = Use([*[sample] * 60, *[grown] * 60])
        return {name for name, _, second, limit in use.table() if second > limit}

    usual = Sample(50.0, 60_000, 60, 60, 90, 1.0, 400)
    assert verdicts(usual, usual) == set()
    assert verdicts(usual, Sample(70.0, 90_000, 160, 160, 290, 4.0, 400)) == {
        "memory (RSS), MiB",
        "Python objects",
        "descriptors",
        "threads",
        "tasks",
        "CPU for a status, ms",
    }
