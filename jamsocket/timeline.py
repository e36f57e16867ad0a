"""What is known of one backend, and what those who wait for something make of it. No I/O, no clock, no lock."""

from __future__ import annotations

from typing import Protocol, TypeVar

from jamsocket_api.models import HardTerminatingState, ReadyState, TerminatedState, TerminatingState

from .backend_state import BackendState, UnknownState
from .errors import BackendTerminatedError, JamsocketError, WaitTimeoutError
from .states import rank

S_co = TypeVar("S_co", covariant=True)


class Watcher(Protocol[S_co]):
    """Judges the states of a backend, one after another, until what is waited for is there."""

    def judge(self, state: BackendState) -> S_co | None:
        """What was waited for, or None if that is still open; raises if it can no longer come."""
        ...

    def timed_out(self) -> WaitTimeoutError:
        """The error for a wait that took too long."""
        ...

    def ended(self) -> JamsocketError:
        """The error for a stream that ended before anything was decided."""
        ...


class Departure:
    """The `Watcher` that waits for a backend's end."""

    def __init__(self, backend_id: str, timeout: float | None) -> None:
        self._backend_id = backend_id
        self._timeout = timeout
        self.last: BackendState | None = None

    def judge(self, state: BackendState) -> TerminatedState | None:
        if self.last is None or rank(state) >= rank(self.last):
            self.last = state
        return state if isinstance(state, TerminatedState) else None

    def timed_out(self) -> WaitTimeoutError:
        return timed_out("had not terminated", self._backend_id, self._timeout, self.last)

    def ended(self) -> JamsocketError:
        return stream_ended(self._backend_id, self.last)


def timed_out(what: str, backend_id: str, timeout: float | None, last: BackendState | None) -> WaitTimeoutError:
    """A `WaitTimeoutError` that says what did not happen in time; an empty id means that there is no backend yet."""
    error = WaitTimeoutError(backend_id, timeout or 0.0, last)
    subject = f"Backend {backend_id}" if backend_id else "The API"
    seen = f"its last status was {last.status!r}" if last else "no status was seen"
    error.args = (f"{subject} {what} within {error.timeout:g} s" + (f"; {seen}." if backend_id else "."),)
    return error


def stream_ended(backend_id: str, last: BackendState | None) -> JamsocketError:
    """The error for a stream that ended before the backend did."""
    seen = f" after {last.status!r}" if last else ""
    return JamsocketError(f"The API ended the status stream of backend {backend_id}{seen}.")


# ── One stream, many listeners ──


class Timeline:
    """All that is known of one backend, for any number of listeners and waiters."""

    def __init__(self, backend_id: str, status: str) -> None:
        self.backend_id = backend_id
        self.states: list[BackendState] = []
        """What the stream delivered: each state once, in order. It only grows."""
        self.latest: BackendState | None = None
        """The furthest state that is known, from whichever source."""
        self.ready: ReadyState | None = None
        """The `ready` state, if the backend was in it when we learnt of it; a replayed past does not count."""
        self.error: Exception | None = None
        """What ended the last stream before the backend's end."""
        self._first_status = status

    def begin(self) -> None:
        """A stream is about to be opened, perhaps after one that failed: what was true by then may have changed."""
        self.error = None
        self.ready = None

    def learn(self, state: BackendState) -> None:
        """Takes note of the answer to `status`: a state that holds now."""
        if self.latest is None or rank(state) >= rank(self.latest):
            self.latest = state
            if isinstance(state, ReadyState) and self.ready is None:
                self.ready = state

    def deliver(self, state: BackendState) -> None:
        """Takes a state from the stream; one that an earlier stream delivered is dropped."""
        if isinstance(state, UnknownState):
            is_new = all(state.raw_status != getattr(seen, "raw_status", None) for seen in self.states)
        else:
            is_new = all(rank(state) > rank(seen) for seen in self.states)
        if is_new:
            self.states.append(state)
            self.learn(state)

    def end(self, error: Exception | None) -> None:
        """The stream is over."""
        if not self.is_complete:
            self.error = error or stream_ended(self.backend_id, self.latest)

    @property
    def is_complete(self) -> bool:
        """Whether the stream has delivered the last state there is."""
        return bool(self.states) and isinstance(self.states[-1], TerminatedState)

    @property
    def is_over(self) -> bool:
        """Whether a status was seen that says that the backend is gone."""
        return isinstance(self.latest, TerminatedState)

    @property
    def status(self) -> str:
        """The furthest status that is known; before anything was asked, the one in the connect response."""
        return self._first_status if self.latest is None else self.latest.status


class Listener(Protocol[S_co]):
    """What one listener, or one wait, takes from a timeline. It is made when the listener comes."""

    def take(self) -> S_co | None:
        """The next state for it, or None if there is none yet.

        Raises:
            StopListening: if there will be no more.
            JamsocketError: if what it hopes for can no longer come.
        """
        ...


class Wait(Listener[S_co], Protocol[S_co]):
    """A `Listener` for one state, with a limit on the time."""

    def timed_out(self, timeout: float) -> WaitTimeoutError:
        """The error for a wait that took too long."""
        ...


class StopListening(Exception):
    """There is nothing more to come, and nothing went wrong."""


class AllStates(Listener[BackendState]):
    """Every state, from the first on."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._taken = 0

    def take(self) -> BackendState | None:
        timeline = self._timeline
        if self._taken < len(timeline.states):
            self._taken += 1
            return timeline.states[self._taken - 1]
        if timeline.is_complete:
            raise StopListening
        if timeline.error is not None:
            raise timeline.error
        return None


class UntilReady(Wait[ReadyState]):
    """The `ready` state, once; not for whoever comes when the backend is known to be on its way out."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._is_late = is_leaving(timeline.latest)
        self._is_told = False

    def take(self) -> ReadyState | None:
        timeline = self._timeline
        if self._is_told:
            raise StopListening
        if timeline.ready is not None and not self._is_late:
            self._is_told = True
            return timeline.ready
        if isinstance(timeline.latest, TerminatedState):
            raise BackendTerminatedError(timeline.backend_id, timeline.latest)
        if timeline.error is not None:
            raise timeline.error
        return None

    def timed_out(self, timeout: float) -> WaitTimeoutError:
        return WaitTimeoutError(self._timeline.backend_id, timeout, self._timeline.latest)


class UntilTerminated(Wait[TerminatedState]):
    """The `terminated` state."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def take(self) -> TerminatedState | None:
        if isinstance(self._timeline.latest, TerminatedState):
            return self._timeline.latest
        if self._timeline.error is not None:
            raise self._timeline.error
        return None

    def timed_out(self, timeout: float) -> WaitTimeoutError:
        return timed_out("had not terminated", self._timeline.backend_id, timeout, self._timeline.latest)


def is_leaving(state: BackendState | None) -> bool:
    """Whether a backend in this state is on its way out, or gone."""
    return isinstance(state, TerminatingState | HardTerminatingState | TerminatedState)


def is_worth_a_log_line(error: Exception) -> bool:
    """Whether an error that no listener asked for should be logged: a backend that ends is nothing unusual."""
    return not isinstance(error, BackendTerminatedError)
