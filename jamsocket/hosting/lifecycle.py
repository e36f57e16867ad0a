"""The life of one backend as a state machine. No clock: the time of each step is passed in.

    scheduled ─► loading ─► starting ─► waiting ─► ready ─► terminating ─► hard-terminating ─► terminated

A backend only ever moves to the right and may skip any station; only `terminated` is final.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Literal, TypeAlias

from attrs import define, field, frozen

Reason: TypeAlias = Literal["swept", "external", "keyexpired", "lost", "startuptimeout", "internalerror"]
Kind: TypeAlias = Literal["soft", "hard"]


class Status(IntEnum):
    """The stations in their order."""

    SCHEDULED = 10
    LOADING = 20
    STARTING = 30
    WAITING = 40
    READY = 50
    TERMINATING = 60
    HARD_TERMINATING = 65
    TERMINATED = 70

    @property
    def word(self) -> str:
        """As the API spells it."""
        return self.name.lower().replace("_", "-")


@frozen
class Entry:
    """One station in a backend's history."""

    status: Status
    time_ms: int
    reason: Reason | None = None
    kind: Kind | None = None
    exit_code: int | None = None
    last_status: Status | None = None

    def public(self) -> dict[str, Any]:
        """What anybody may know: the state as `status` and its stream send it. Nothing in it is null."""
        state: dict[str, Any] = {"status": self.status.word, "time": iso(self.time_ms)}
        if self.reason is not None:
            state["termination_reason"] = self.reason
        if self.status is Status.TERMINATED:
            if self.kind is not None:
                state["termination_kind"] = self.kind
            if self.exit_code:
                state["exit_error"] = True
        return state

    def detailed(self) -> dict[str, Any]:
        """What the account may know: the state as `backend info` sends it."""
        state: dict[str, Any] = {"status": self.status.word, "time": iso(self.time_ms)}
        if self.reason is not None:
            state["termination_reason"] = self.reason
        if self.kind is not None:
            state["termination_kind"] = self.kind
        if self.exit_code is not None:
            state["exit_code"] = self.exit_code
        if self.last_status is not None:
            state["last_status"] = self.last_status.word
        return state


@define
class Lifecycle:
    """The history of one backend: each station at most once, in order, at strictly increasing times."""

    history: list[Entry] = field(factory=list[Entry])

    @property
    def status(self) -> Status | None:
        """The present station; None before the first."""
        return self.history[-1].status if self.history else None

    @property
    def is_leaving(self) -> bool:
        """Whether it was asked to end, or has ended."""
        return bool(self.history) and self.history[-1].status >= Status.TERMINATING

    @property
    def was_ready(self) -> bool:
        """Whether it is ready, or was before its end began."""
        return any(entry.status is Status.READY for entry in self.history)

    @property
    def is_terminated(self) -> bool:
        """Whether it is gone."""
        return self.status is Status.TERMINATED

    def advance(self, status: Status, now_ms: int) -> bool:
        """Moves on to a station before `terminating`; False, and no effect, if that would be a step back."""
        if status >= Status.TERMINATING:
            raise ValueError("the end has steps of its own")
        return self._append(Entry(status, self._time(now_ms)))

    def terminate(self, reason: Reason, kind: Kind, now_ms: int) -> bool:
        """Begins the end, or makes a soft one hard; False, and no effect, if it is that far already."""
        status = Status.HARD_TERMINATING if kind == "hard" else Status.TERMINATING
        return self._append(Entry(status, self._time(now_ms), reason, kind, last_status=self._last_status()))

    def exited(self, exit_code: int | None, now_ms: int) -> bool:
        """The process is gone, or never was (None): the end. False, and no effect, if it had ended already."""
        last = self.history[-1] if self.history else None
        reason = last.reason if last else None
        kind = last.kind if last else None
        time = self._time(now_ms)
        return self._append(Entry(Status.TERMINATED, time, reason, kind, exit_code, self._last_status()))

    def _append(self, entry: Entry) -> bool:
        if self.history and entry.status <= self.history[-1].status:
            return False
        self.history.append(entry)
        return True

    def _time(self, now_ms: int) -> int:
        # Clients sort by time, to the millisecond: two stations must not share one.
        return max(now_ms, self.history[-1].time_ms + 1) if self.history else now_ms

    def _last_status(self) -> Status | None:
        alive = [entry.status for entry in self.history if entry.status < Status.TERMINATING]
        return alive[-1] if alive else None


def iso(time_ms: int) -> str:
    """A time as the API writes it: UTC, milliseconds, Z."""
    time = datetime.fromtimestamp(time_ms / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
