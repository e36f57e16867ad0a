"""What may have happened to a backend, and the judge of what the server said of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import Any

from attrs import define, field

ORDER = ("scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated")

# How a backend ends -> each (reason, kind), and the exit codes that may come of it. A soft end is 143 if it came before
# the backend was prepared for it, 137 if the backend took no notice, none if nothing had been started yet.
SOFT, HARD = {0, 137, 143, None}, {137, None}
ENDS: dict[str, tuple[set[tuple[str | None, str | None]], set[int | None]]] = {
    "soft": ({("external", "soft")}, SOFT),
    "hard": ({("external", "hard")}, HARD),
    "soft, then hard": ({("external", "soft"), ("external", "hard")}, SOFT),
    "exit": ({(None, None)}, {0}),
    "crash": ({(None, None)}, {3}),
    "kill": ({(None, None)}, {137}),
    "early": ({(None, None)}, {4}),
    "idle": ({("swept", "soft")}, SOFT),
    "lifetime": ({("swept", "soft")}, SOFT),
}


@define
class Life:
    """One backend, as the load knows it."""

    backend_id: str
    key: str | None
    fate: str | None = None
    """How it ends; None as long as that is open."""

    fated_ms: float | None = None
    """When that was begun from outside, in epoch milliseconds."""

    states: list[dict[str, Any]] = field(factory=list)
    """What its status stream told."""

    failures: list[tuple[float, str]] = field(factory=list)
    """When a request through its URL failed, and how."""

    @property
    def is_over(self) -> bool:
        return bool(self.states) and self.states[-1]["status"] == "terminated"

    def ending_ms(self) -> float:
        """From when on its URL may fail."""
        told = [milliseconds(state["time"]) for state in self.states if ORDER.index(state["status"]) >= 5]
        return min([*told, *([] if self.fated_ms is None else [self.fated_ms])], default=float("inf"))


@define
class Judge:
    """Compares what the server said with itself and with what was done."""

    violations: list[str] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)

    def blame(self, what: str) -> None:
        self.counts["violations"] += 1
        if len(self.violations) < 50:
            self.violations.append(what)

    def judge(self, life: Life, info: dict[str, Any]) -> None:
        """One backend that has ended: `info` is the API's last word on it."""
        about = f"{life.backend_id} ({life.fate}): "
        statuses = [state["status"] for state in life.states]
        ranks = [ORDER.index(status) for status in statuses]
        times = [milliseconds(state["time"]) for state in life.states]
        if ranks != sorted(set(ranks)):
            self.blame(f"{about}a status twice or out of order: {statuses}")
        if times != sorted(set(times)):
            self.blame(f"{about}times that do not grow: {times}")
        if statuses[:1] != ["scheduled"] or statuses[-1:] != ["terminated"]:
            self.blame(f"{about}no beginning or no end: {statuses}")
        kept = [(state["status"], state["time"]) for state in info["statuses"]]
        if kept != [(state["status"], state["time"]) for state in life.states]:
            self.blame(f"{about}the stream told {statuses}, info {kept}")
        last = info["statuses"][-1]
        end = (last.get("termination_reason"), last.get("termination_kind"))
        ends, codes = ENDS[life.fate or "soft"]
        if end not in ends or last.get("exit_code") not in codes:
            self.blame(f"{about}ended by {end} with {last.get('exit_code')}: {statuses}")
        if ("hard-terminating" in statuses) != (end[1] == "hard"):
            self.blame(f"{about}{statuses} and {end}")
        for when, failure in life.failures:
            if when < life.ending_ms():
                self.blame(f"{about}{failure}, {life.ending_ms() - when:.0f} ms before its end began")
        self.counts[f"end: {life.fate}"] += 1

    def judge_keys(self, lives: Iterable[Life]) -> None:
        """No two backends ever held one key at the same time."""
        holders: defaultdict[str, list[Life]] = defaultdict(list)
        for life in lives:
            if life.key is not None and life.states:
                holders[life.key].append(life)
        for key, held in holders.items():
            held.sort(key=lambda life: milliseconds(life.states[0]["time"]))
            for one, other in pairwise(held):
                if milliseconds(one.states[-1]["time"]) > milliseconds(other.states[0]["time"]):
                    self.blame(f"{one.backend_id} and {other.backend_id} held the key {key} at the same time")


def milliseconds(time: str) -> float:
    """The API's time in epoch milliseconds."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)
