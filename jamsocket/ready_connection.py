"""`connect_ready`: how a key held by a dying backend becomes a connection that works. No I/O, no clock.

`find_ready` decides and performs nothing: it yields steps and is sent their results, or thrown their errors.

    Connect ──► Await(ready) ──► done
      ▲  │
      │  └ on its way out: Await(its end) ─┐
      └──────────── Sleep ◄────────────────┘
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from attrs import frozen
from jamsocket_api.models import BackendStatus

from .clock import Clock
from .errors import NotFoundError, WaitTimeoutError
from .requests import ConnectResponse
from .retry import Backoff, Sleep
from .status_stream import Readiness
from .timeline import Departure, timed_out

_LEAVING = {BackendStatus.TERMINATING, BackendStatus.HARD_TERMINATING, BackendStatus.TERMINATED}


@frozen
class Connect:
    """Step: connect; the result is a `ConnectResponse`."""

    timed_out: Callable[[], WaitTimeoutError]
    """The error to raise if the time runs out meanwhile."""


@frozen
class Await:
    """Step: follow the backend until the watcher has what it waits for, which is the result."""

    backend_id: str
    watcher: Readiness | Departure


Step: TypeAlias = Connect | Await | Sleep


def find_ready(
    *, timeout: float | None, give_up_at: float | None, backoff: Backoff, clock: Clock
) -> Generator[Step, Any, ConnectResponse]:
    """The connection to a backend that is ready, as steps for the caller to perform until `give_up_at` (monotonic).

    Raises what keeps it from one.
    """
    departure: Departure | None = None
    holder = ""
    gone: set[str] = set()
    failures = 0

    def no_backend() -> WaitTimeoutError:
        if departure is None:
            return timed_out("gave no backend", "", timeout, None)
        return timed_out("was not followed by another", holder, timeout, departure.last)

    while True:
        connection: ConnectResponse = yield Connect(no_backend)
        holder = connection.backend_id
        if connection.status == BackendStatus.READY:
            return connection
        if connection.status not in _LEAVING:
            # Whoever started it: if it ends now, the next one would too. No respawning in a loop.
            yield Await(holder, Readiness(holder, timeout))
            return connection
        departure = Departure(holder, timeout)
        # The official dev server forgets a backend as soon as it is gone.
        with contextlib.suppress(NotFoundError):
            yield Await(holder, departure)
        if holder in gone:
            # Its end is known to the stream, but not yet to whoever keeps the keys.
            wait = clock.random() * backoff.ceiling(failures)
            failures += 1
            yield Sleep(wait if give_up_at is None else max(0.0, min(wait, give_up_at - clock.monotonic())))
        gone.add(holder)
        if give_up_at is not None and clock.monotonic() >= give_up_at:
            raise no_backend()
