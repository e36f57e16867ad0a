"""`BackendState`: what a state can be. Apart from `states`, because it names all the classes, and few are needed."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any, Literal, TypeAlias

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
