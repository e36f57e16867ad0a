"""JSON -> the state of a backend: one of the eight, or the unknown one. Each class is loaded when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from jamsocket_api import models

if TYPE_CHECKING:
    from .backend_state import BackendState


# In the order of a backend's life: a backend only ever moves on, and may skip any of them.
_LIFECYCLE = {
    "scheduled": "ScheduledState",
    "loading": "LoadingState",
    "starting": "StartingState",
    "waiting": "WaitingState",
    "ready": "ReadyState",
    "terminating": "TerminatingState",
    "hard-terminating": "HardTerminatingState",
    "terminated": "TerminatedState",
}
_RANKS = {status: number for number, status in enumerate(_LIFECYCLE)}


class MalformedStateError(ValueError):
    """A JSON value that is no state. Its message does not repeat what was sent."""


def rank(state: BackendState) -> int:
    """How far along its life a backend in this state is; -1 if that is unknown."""
    return _RANKS.get(state.status, -1)


def parse_state(data: object) -> BackendState:
    """The state that a JSON value describes.

    Optional fields that are null or of a wrong type count as absent, so that nothing a newer server sends breaks an
    older client.

    Raises:
        MalformedStateError: if it describes none.
    """
    if not isinstance(data, Mapping):
        raise MalformedStateError("it is not a JSON object")
    fields = cast("Mapping[str, Any]", data)
    present = {name: value for name, value in fields.items() if value is not None}
    status = present.get("status")
    if not isinstance(status, str):
        raise MalformedStateError("its status is not a string")
    known = _LIFECYCLE.get(status)
    time = _time(present.get("time"))
    if known is None:
        from .backend_state import UnknownState

        return UnknownState(
            raw_status=status,
            time=time,
            termination_reason=_optional(present, "termination_reason", str, models.TerminationReason),
            termination_kind=_optional(present, "termination_kind", str, models.TerminationKind),
            exit_error=_optional(present, "exit_error", bool, bool),
            data=present,
        )
    if time is None:
        raise MalformedStateError(f"its time is not a date and time (status {status})")
    for name, kind in _OPTIONAL.items():
        if name in present and not isinstance(present[name], kind):
            del present[name]
    state: BackendState = getattr(models, known).from_dict(present)
    return state


_OPTIONAL: dict[str, type] = {"termination_reason": str, "termination_kind": str, "exit_error": bool}


def _optional(data: Mapping[str, Any], name: str, kind: type, make: Any) -> Any:
    value = data.get(name)
    return make(value) if isinstance(value, kind) else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:  # outside of the calendar in UTC, where to_dict() would need it
        return None
