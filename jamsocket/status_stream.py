"""The status stream: events -> each state exactly once, up to `terminated`; who waits for `ready`. No I/O."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from typing import Any, ClassVar, Unpack

from jamsocket_api.models import HardTerminatingState, ReadyState, TerminatedState, TerminatingState

from . import event_stream
from .backend_state import BackendState, UnknownState
from .errors import BackendTerminatedError, JamsocketError, WaitTimeoutError
from .event_stream import Feed, Step, Terms
from .sse import ServerSentEvent
from .states import MalformedStateError, parse_state, rank

logger = logging.getLogger("jamsocket")

SILENCE = 2.0
"""Seconds without an event after which the server is asked whether it knows the backend at all."""

_MAX_UNKNOWN_STATUSES = 1000


def follow(**terms: Unpack[Terms]) -> Generator[Step, Any, None]:
    """The life of one status stream, as steps for the caller to perform; see `event_stream.follow`."""
    return event_stream.follow(_Statuses(), **terms)


class _Statuses(Feed[BackendState]):
    """Every connection tells all states from the first on; the caller sees each once."""

    ends_with_response: ClassVar[bool] = False  # only `terminated` is the end, and after it some servers never end

    def __init__(self) -> None:
        self.silence = SILENCE
        self._history = _History()
        self._is_over = False

    def read(self, event: ServerSentEvent) -> BackendState | None:
        state = _read_state(event)
        if state is None or not self._history.is_new(state):
            return None
        self._is_over = isinstance(state, TerminatedState)
        return state

    @property
    def is_over(self) -> bool:
        return self._is_over


# One for all: an empty set of its own would be a large part of a stream.
_NONE: frozenset[str] = frozenset()


class _History:
    """Which states the caller has seen."""

    def __init__(self) -> None:
        self._rank = -1
        self._unknown = _NONE

    def is_new(self, state: BackendState) -> bool:
        """Whether the caller should see this state; remembers it."""
        if isinstance(state, UnknownState):
            if state.raw_status in self._unknown or len(self._unknown) >= _MAX_UNKNOWN_STATUSES:
                return False
            self._unknown |= {state.raw_status}
            return True
        if rank(state) <= self._rank:
            return False
        self._rank = rank(state)
        return True


class Readiness:
    """Judges the states of a backend that is hoped to become ready."""

    def __init__(self, backend_id: str, timeout: float | None) -> None:
        self._backend_id = backend_id
        self._timeout = timeout
        self._last: BackendState | None = None
        self._leaving = False

    def judge(self, state: BackendState) -> ReadyState | None:
        """The state, if it means that the backend is ready; None if that is still open.

        Raises:
            BackendTerminatedError: if the backend ended.
        """
        if self._last is None or rank(state) >= rank(self._last):
            self._last = state
        if isinstance(state, TerminatedState):
            raise BackendTerminatedError(self._backend_id, state)
        if isinstance(state, TerminatingState | HardTerminatingState):
            # A stream replays the past: a `ready` that comes after this one is from before it.
            self._leaving = True
        return state if isinstance(state, ReadyState) and not self._leaving else None

    def timed_out(self) -> WaitTimeoutError:
        """The error for a wait that took too long."""
        return WaitTimeoutError(self._backend_id, self._timeout or 0.0, self._last)

    def ended(self) -> JamsocketError:
        """The error for a stream that ended before anything was decided."""
        seen = f" after {self._last.status!r}" if self._last else ""
        return JamsocketError(f"The API ended the status stream of backend {self._backend_id}{seen}.")


def _read_state(event: ServerSentEvent) -> BackendState | None:
    """The state in an event, or None, with a line in the log, if there is none."""
    if event.event != "message":
        return None
    try:
        return parse_state(json.loads(event.data))
    except (ValueError, RecursionError) as error:
        why = error if isinstance(error, MalformedStateError) else "it is not JSON"
        logger.warning("Skipped a malformed event of a status stream: %s", why)
        return None
