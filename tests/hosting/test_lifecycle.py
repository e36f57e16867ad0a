"""The state machine: every row of the termination table, and what no order of events can break."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jamsocket.hosting.lifecycle import Kind, Lifecycle, Reason, Status, iso

Step = Callable[[Lifecycle, int], bool]

ALIVE = [Status.SCHEDULED, Status.LOADING, Status.STARTING, Status.WAITING, Status.READY]
REASONS: list[Reason] = ["swept", "external", "keyexpired", "lost", "startuptimeout", "internalerror"]


def advance(status: Status) -> Step:
    return lambda life, now: life.advance(status, now)


def terminate(reason: Reason, kind: Kind) -> Step:
    return lambda life, now: life.terminate(reason, kind, now)


def exited(code: int | None) -> Step:
    return lambda life, now: life.exited(code, now)


steps = st.one_of(
    st.sampled_from(ALIVE).map(advance),
    st.builds(terminate, st.sampled_from(REASONS), st.sampled_from(["soft", "hard"])),
    st.sampled_from([None, 0, 1, 137, 143]).map(exited),
)


@given(st.lists(st.tuples(steps, st.integers(0, 10_000))))
def test_it_only_moves_forward(story: list[tuple[Step, int]]) -> None:
    life = Lifecycle()
    for step, now in story:  # the clock may jump, backwards too
        before = list(life.history)
        moved = step(life, now)
        assert life.history[: len(before)] == before
        assert len(life.history) == len(before) + moved

    statuses = [entry.status for entry in life.history]
    assert statuses == sorted(set(statuses))
    times = [entry.time_ms for entry in life.history]
    assert all(earlier < later for earlier, later in pairwise(times))
    assert life.is_terminated == (Status.TERMINATED in statuses)
    assert life.was_ready == (Status.READY in statuses)
    for entry in life.history:
        public = entry.public()
        assert None not in public.values()
        assert list(public)[:2] == ["status", "time"]
        assert public.get("exit_error") in {None, True}
        if entry.status in {Status.TERMINATING, Status.HARD_TERMINATING}:
            assert set(public) == {"status", "time", "termination_reason"}
        elif entry.status is not Status.TERMINATED:
            assert set(public) == {"status", "time"}


def story(*events: Step) -> list[dict[str, Any]]:
    life = Lifecycle()
    for status in ALIVE:
        assert life.advance(status, 0)
    for event in events:
        assert event(life, 0)
    return [{**entry.public(), "time": None} for entry in life.history[len(ALIVE) :]]


def state(status: str, **more: Any) -> dict[str, Any]:
    names = {"reason": "termination_reason", "kind": "termination_kind", "error": "exit_error"}
    return {"status": status, "time": None, **{names[name]: value for name, value in more.items()}}


@pytest.mark.parametrize(
    ("events", "states"),
    [
        pytest.param([exited(0)], [state("terminated")], id="own exit 0"),
        pytest.param([exited(3)], [state("terminated", error=True)], id="own exit n"),
        pytest.param(
            [terminate("external", "soft"), exited(0)],
            [state("terminating", reason="external"), state("terminated", reason="external", kind="soft")],
            id="soft, clean",
        ),
        pytest.param(
            [terminate("external", "soft"), exited(143)],
            [state("terminating", reason="external"), state("terminated", reason="external", kind="soft", error=True)],
            id="soft, by the signal",
        ),
        pytest.param(
            [terminate("external", "hard"), exited(137)],
            [
                state("hard-terminating", reason="external"),
                state("terminated", reason="external", kind="hard", error=True),
            ],
            id="hard",
        ),
        pytest.param(
            [terminate("swept", "soft"), terminate("external", "hard"), exited(137)],
            [
                state("terminating", reason="swept"),
                state("hard-terminating", reason="external"),
                state("terminated", reason="external", kind="hard", error=True),
            ],
            id="soft then hard",
        ),
        pytest.param(
            [terminate("swept", "soft"), exited(0)],
            [state("terminating", reason="swept"), state("terminated", reason="swept", kind="soft")],
            id="idle or lifetime",
        ),
        pytest.param(
            [terminate("startuptimeout", "hard"), exited(137)],
            [
                state("hard-terminating", reason="startuptimeout"),
                state("terminated", reason="startuptimeout", kind="hard", error=True),
            ],
            id="startup timeout",
        ),
        pytest.param([exited(None)], [state("terminated")], id="cannot start"),
    ],
)
def test_each_way_to_end(events: list[Step], states: list[dict[str, Any]]) -> None:
    assert story(*events) == states


def test_what_the_account_may_know() -> None:
    life = Lifecycle()
    life.advance(Status.READY, 1)
    life.terminate("external", "soft", 2)
    life.exited(0, 3)

    assert [entry.detailed() for entry in life.history] == [
        {"status": "ready", "time": iso(1)},
        {
            "status": "terminating",
            "time": iso(2),
            "termination_reason": "external",
            "termination_kind": "soft",
            "last_status": "ready",
        },
        {
            "status": "terminated",
            "time": iso(3),
            "termination_reason": "external",
            "termination_kind": "soft",
            "exit_code": 0,
            "last_status": "ready",
        },
    ]


def test_the_end_has_steps_of_its_own() -> None:
    with pytest.raises(ValueError, match="steps of its own"):
        Lifecycle().advance(Status.TERMINATED, 0)


def test_times_look_like_those_of_the_platform() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_767_323_045_678) == "2026-01-02T03:04:05.678Z"
