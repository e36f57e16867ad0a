"""What really happened to each backend. Server and oracle work it out from the seed alone, so they need not talk."""

from __future__ import annotations

import random
from typing import Any

from attrs import frozen

from tests.support.faults import LIFE, state

UNKNOWN = ("paused", "migrating", "snapshotting", "Ünbekannt 🦜")

TERMINATED, GONE, NO_CONTENT, FORGOTTEN = "terminated", "gone", "no content", "forgotten"


@frozen
class Truth:
    """One backend's life.

    `history` holds its states as JSON, `moments` when each happens, in seconds after its first request. `fate` is how
    its stream ends: by `terminated`, or else, after what there is of the history, by a 410, by a 204, or by silence
    and a 404 for whoever asks for its status.
    """

    backend_id: str
    history: list[dict[str, Any]]
    moments: list[float]
    fate: str

    @classmethod
    def of(cls, seed: int, backend_id: str) -> Truth:
        dice = random.Random(f"{seed}/{backend_id}")
        statuses = [status for status in LIFE[:-1] if dice.random() < 0.85]
        for status in dice.sample(UNKNOWN, dice.choice([0, 0, 0, 1, 1, 2, 3])):
            statuses.insert(dice.randrange(len(statuses) + 1), status)
        fate = dice.choices([TERMINATED, GONE, NO_CONTENT, FORGOTTEN], [85, 5, 5, 5])[0]
        if fate == TERMINATED:
            statuses.append("terminated")
        lasts = dice.choice([0.0, 1.0, 2.0, 4.0])
        moments = sorted(dice.random() * lasts for _ in statuses)
        return cls(backend_id, [state(status, n) for n, status in enumerate(statuses)], moments, fate)

    @property
    def statuses(self) -> list[str]:
        return [now["status"] for now in self.history]
