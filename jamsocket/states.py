"""The state of a backend: the eight states, the unknown one, and how JSON becomes one of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, cast

from attrs import field, frozen
from jamsocket_api.models import (
    HardTerminatingState,
    LoadingState,
    ReadyState,
    ScheduledState,
    StartingState,
    TerminatedState,
    TerminatingState,
    TerminationKind,
    TerminationReason,
    WaitingState,
)


@frozen
class UnknownState:
    """A state that this version of the SDK does not know, sent by a newer server.

    Attributes:
        status: always "unknown".
        raw_status: the server's word for it.
        time: since when the backend is in this state, if the server said so in the usual form.
        termination_reason, termination_kind, exit_error: as on the other states, or None.
    """

    raw_status: str
    time: datetime | None = None
    termination_reason: TerminationReason | None = None
    termination_kind: TerminationKind | None = None
    exit_error: bool | None = None
    _data: dict[str, Any] = field(factory=dict[str, Any], repr=False, alias="data")
    status: Literal["unknown"] = field(default="unknown", init=False)

    def to_dict(self) -> dict[str, Any]:
        """All that the server sent, as JSON."""
        return copy.deepcopy(self._data)


BackendState: TypeAlias = (
    ScheduledState
    | LoadingState
    | StartingState
    | WaitingState
    | ReadyState
    | TerminatingState
    | HardTerminatingState
    | TerminatedState
    | UnknownState
)
"""One state of a backend. `match state` and `match state.status` tell them apart, for type checkers too."""

_KnownState: TypeAlias = (
    ScheduledState
    | LoadingState
    | StartingState
    | WaitingState
    | ReadyState
    | TerminatingState
    | HardTerminatingState
    | TerminatedState
)

# In the order of a backend's life: a backend only ever moves on, and may skip any of them.
_LIFECYCLE: dict[str, type[_KnownState]] = {
    "scheduled": ScheduledState,
    "loading": LoadingState,
    "starting": StartingState,
    "waiting": WaitingState,
    "ready": ReadyState,
    "terminating": TerminatingState,
    "hard-terminating": HardTerminatingState,
    "terminated": TerminatedState,
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
        return UnknownState(
            raw_status=status,
            time=time,
            termination_reason=_optional(present, "termination_reason", str, TerminationReason),
            termination_kind=_optional(present, "termination_kind", str, TerminationKind),
            exit_error=_optional(present, "exit_error", bool, bool),
            data=present,
        )
    if time is None:
        raise MalformedStateError(f"its time is not a date and time (status {status})")
    for name, kind in _OPTIONAL.items():
        if name in present and not isinstance(present[name], kind):
            del present[name]
    return known.from_dict(present)


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
