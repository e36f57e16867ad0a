"""What may be tried again, and after how long. No clock and no sleep: the caller performs the steps."""

from __future__ import annotations

from collections.abc import Generator

from attrs import frozen

from .clock import Clock
from .errors import TransportError, retry_after
from .messages import Answer

MAX_SECONDS = 1e8
"""The longest wait that may be asked for, in seconds: three years; some clocks cannot count much further."""

DEFAULT_STALL_TIMEOUT = 45.0
"""Seconds without a single byte after which a stream's connection counts as dead: three missed keep-alives."""

RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_RETRY_AFTER = 60.0
"""The longest wait, in seconds, that a server may ask for with `Retry-After`."""


def check_seconds(name: str, value: object) -> float:
    """The value, if it is a number of seconds that can be waited; raises `TypeError` or `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}.")
    if not 0 < value <= MAX_SECONDS:  # NaN is refused too
        raise ValueError(f"{name} must be a number of seconds above 0 and up to {MAX_SECONDS:g}, not {value!r:.50}.")
    return float(value)


@frozen
class Backoff:
    """How long to wait between attempts: a random part of a ceiling that doubles with each failure.

    Args:
        initial: the first ceiling, in seconds.
        maximum: the largest ceiling, in seconds.

    Raises:
        TypeError, ValueError: if a value is not a positive number, or maximum is less than initial.

    Example:
        >>> Backoff(initial=0.5, maximum=30.0).ceiling(3)
        4.0
    """

    initial: float = 0.5
    maximum: float = 30.0

    def __attrs_post_init__(self) -> None:
        check_seconds("initial", self.initial)
        check_seconds("maximum", self.maximum)
        if self.maximum < self.initial:
            raise ValueError(f"maximum ({self.maximum:g} s) must not be less than initial ({self.initial:g} s).")

    def ceiling(self, failures: int) -> float:
        """The longest random wait, in seconds, after this many failures before the present one."""
        # 2**64 is beyond any ceiling, and still a float: the exponent must not grow for ever.
        return min(self.maximum, self.initial * 2.0 ** min(failures, 64))


REQUEST_BACKOFF = Backoff(initial=0.5, maximum=8.0)


@frozen
class Send:
    """Step: send the request; the result is an `Answer` or a `TransportError`."""


@frozen
class Sleep:
    """Step: wait this many seconds."""

    seconds: float


def attempts(
    *, idempotent: bool, max_retries: int, clock: Clock
) -> Generator[Send | Sleep, Answer | TransportError | None, Answer]:
    """The attempts of one call, as steps for the caller to perform.

    Returns the answer that counts, which is a success or any other status for the caller to judge; raises the
    `TransportError` of the last attempt if there was none.
    """
    failures = 0
    while True:
        outcome = yield Send()
        assert outcome is not None
        wait = None
        if failures < max_retries:
            wait = wait_before_retry(outcome, idempotent=idempotent, failures=failures, clock=clock)
        if wait is None:
            if isinstance(outcome, TransportError):
                raise outcome
            return outcome
        failures += 1
        yield Sleep(wait)


def wait_before_retry(
    outcome: Answer | TransportError,
    *,
    idempotent: bool,
    failures: int,
    clock: Clock,
    backoff: Backoff = REQUEST_BACKOFF,
) -> float | None:
    """Seconds to wait before trying again, or None if this outcome is final."""
    floor = 0.0
    if isinstance(outcome, TransportError):
        if not outcome.retryable or (outcome.request_sent and not idempotent):
            return None
    else:
        # A rate limit is refused before anything runs, so even a spawn may be repeated after it.
        if outcome.status not in RETRYABLE_STATUSES or not (idempotent or outcome.status == 429):
            return None
        floor = retry_after(outcome.headers, clock.time_of_day()) or 0.0
        if floor > MAX_RETRY_AFTER:
            return None
    return floor + clock.random() * backoff.ceiling(failures)
