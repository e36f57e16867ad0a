"""What a backend writes, and what it uses, as streams: events -> lines, events -> measurements. No I/O."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from typing import Any, ClassVar, Unpack

from jamsocket_api.models import BackendMetrics

from . import event_stream
from .errors import TransportError
from .event_stream import Feed, Step, Terms
from .messages import is_header_value
from .results import parse
from .sse import ServerSentEvent

logger = logging.getLogger("jamsocket")


def follow_logs(**terms: Unpack[Terms]) -> Generator[Step, Any, None]:
    """The life of one log stream, as steps for the caller to perform; see `event_stream.follow`."""
    return event_stream.follow(_Lines(), **terms)


def follow_metrics(**terms: Unpack[Terms]) -> Generator[Step, Any, None]:
    """The life of one metrics stream, as steps for the caller to perform; see `event_stream.follow`."""
    return event_stream.follow(_Measurements(), **terms)


class _Lines(Feed[str]):
    """Each line once. Only from a line that came with an id of its own can the server be asked to go on."""

    always_resumable: ClassVar[bool] = False

    def __init__(self) -> None:
        self._count = 0
        self._last_id = ""
        self._is_resumable = True

    def read(self, event: ServerSentEvent) -> str | None:
        if event.event != "message":
            return None
        self._count += 1
        # An event without an id shows the one before.
        self._is_resumable = event.id != self._last_id and is_header_value(event.id)
        self._last_id = event.id
        return event.data

    @property
    def is_resumable(self) -> bool:
        return self._is_resumable

    def cut(self, error: TransportError) -> TransportError:
        lines = f"{self._count} line{'' if self._count == 1 else 's'}"
        return TransportError(
            f"the log stream was cut after {lines}, and others may be missing: the server gives no ids to go on from",
            method=error.method,
            url=error.url,
        )


class _Measurements(Feed[BackendMetrics]):
    """Whatever is measured from now on: those that were missed are of no use later."""

    def read(self, event: ServerSentEvent) -> BackendMetrics | None:
        if event.event != "message":
            return None
        try:
            return parse(BackendMetrics, json.loads(event.data))
        except json.JSONDecodeError:
            why = "it is not JSON"
        except RecursionError:
            why = "it is nested too deep"
        except ValueError as error:
            why = str(error)
        logger.warning("Skipped a malformed event of a metrics stream: %s", why)
        return None
