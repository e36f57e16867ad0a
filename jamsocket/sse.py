"""Bytes -> server-sent events, by the rules of the WHATWG HTML standard. No I/O.

sseclient-py parses the fields of each event. It gets only whole blocks that are clean: valid UTF-8, LF line ends, no
byte order mark, no comments, no unknown fields and no invalid values.
"""

from __future__ import annotations

import logging
import re

from attrs import frozen
from sseclient import SSEClient

logger = logging.getLogger("jamsocket")

MAX_EVENT_BYTES = 1 << 20
"""The largest event that is delivered, in bytes."""

_BOM = b"\xef\xbb\xbf"
_FIELD = re.compile(rb"(data|event|id|retry)(?::|$)")
_RETRY = re.compile(rb"retry: ?[0-9]{1,15}$")


@frozen
class ServerSentEvent:
    """One event: its type ("message" unless the server named another), its data, and the last id so far."""

    event: str
    data: str
    id: str


class EventDecoder:
    """Decodes one connection's body, fed in chunks of any size.

    Nothing is flushed at the end: an event that is not finished when the connection ends is not an event.

    Args:
        last_event_id: the last id of the connection before this one.
        max_event_bytes: the largest event that is delivered; a larger one is skipped, with a line in the log.

    Attributes:
        last_event_id: what `Last-Event-ID` should say when reconnecting; "" if the server gave no id.
        retry: how long the server wants its clients to wait before reconnecting, in milliseconds, or None.

    Example:
        >>> EventDecoder().feed(b"data: hello" + bytes([10, 10]))
        [ServerSentEvent(event='message', data='hello', id='')]
    """

    def __init__(self, last_event_id: str = "", *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self._max_event_bytes = max_event_bytes
        self._is_first_line = True
        self._ended_with_cr = False
        self._line: list[bytes] = []  # the pieces of the line that is not finished
        self._line_size = 0
        self._block: list[bytes] = []  # the finished lines of the event that is not
        self._block_size = 0
        self._is_oversized = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that this chunk finishes."""
        if self._ended_with_cr and chunk:
            # The line end was acted on when its CR came; an LF behind it belongs to it.
            chunk = chunk.removeprefix(b"\n")
            self._ended_with_cr = False
        if not chunk:
            return []
        self._ended_with_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = chunk.split(b"\n")
        self._add(first)
        events: list[ServerSentEvent] = []
        for piece in others:
            event = self._end_line()
            if event is not None:
                events.append(event)
            self._add(piece)
        return events

    def _add(self, piece: bytes) -> None:
        """A part of a line."""
        self._line_size += len(piece)
        if self._block_size + self._line_size > self._max_event_bytes:
            self._is_oversized = True
            self._block.clear()
            self._line.clear()
        elif piece and not self._is_oversized:
            self._line.append(piece)

    def _end_line(self) -> ServerSentEvent | None:
        line, size = b"".join(self._line), self._line_size
        self._line.clear()
        self._line_size = 0
        if self._is_first_line:
            self._is_first_line = False
            if line.startswith(_BOM):
                line = line[len(_BOM) :]
                size -= len(_BOM)
        if size == 0:
            return self._end_block()
        if not self._is_oversized and _means_something(line):
            self._block.append(line)
            self._block_size += size + 1
        return None

    def _end_block(self) -> ServerSentEvent | None:
        lines, self._block, self._block_size = self._block, [], 0
        if self._is_oversized:
            self._is_oversized = False
            logger.warning("Skipped a server-sent event of more than %d bytes", self._max_event_bytes)
            return None
        if not lines:
            return None
        has_data = any(line.startswith(b"data") for line in lines)
        if not has_data:
            lines.append(b"data")  # sseclient-py forgets the id and retry of an event without data
        block = b"\n".join(lines).decode("utf-8", "replace").encode() + b"\n\n"
        parsed = next(SSEClient(iter((block,))).events())
        if parsed.id is not None:
            self.last_event_id = parsed.id
        if parsed.retry is not None:
            self.retry = int(parsed.retry)
        return ServerSentEvent(parsed.event, parsed.data, self.last_event_id) if has_data else None


def _means_something(line: bytes) -> bool:
    """Whether a line is a known field with a valid value."""
    field = _FIELD.match(line)
    if field is None:
        return False
    if field[1] == b"id":
        return b"\0" not in line
    return field[1] != b"retry" or _RETRY.match(line) is not None
