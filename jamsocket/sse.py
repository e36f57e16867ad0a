"""Bytes -> server-sent events, by the rules of the WHATWG HTML standard. No I/O.

sseclient-py parses the fields of each event. Alone it gets these wrong, so it is only fed whole blocks that are clean:

* line ends: CRs that are mixed with LFs, or cut between two chunks, neither end a block nor start one;
* the byte order mark becomes a part of the first field's name;
* invalid UTF-8 raises, and ends the stream;
* an `id` with a NUL counts, so does a `retry` that is not a number, and `retry` waits for its event;
* an event without data is forgotten with its `id`;
* an unfinished event at the end is delivered;
* a field's name is looked up among an object's attributes;
* memory is not bounded, and an event's cost grows with the square of its number of lines;
* events' types and ids are logged.
"""

from __future__ import annotations

import logging
import re
from collections import deque

from attrs import frozen
from sseclient import Event, SSEClient

logger = logging.getLogger("jamsocket")
# The parser below logs here, because that is where its class lives: what a server sends is nobody's to log.
logging.getLogger(__name__).addFilter(lambda _: False)

MAX_EVENT_BYTES = 1 << 20
"""The largest event that is delivered, in bytes."""

_BOM = b"\xef\xbb\xbf"
_FIELD = re.compile(rb"(data|event|id|retry)(?::|$)")
_RETRY = re.compile(rb"retry: ?([0-9]+)$")
_RETRY_DIGITS = 15  # a longer number is cut: it is thousands of years either way


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
        self._start: bytes | None = b""  # of the stream, while it may still become a byte order mark
        self._ended_with_cr = False
        self._fields: _Fields | None = None
        self._line = bytearray()  # the line that is not finished
        self._clear_event()

    def _clear_event(self) -> None:
        self._data = bytearray()  # the `data` lines, each with its LF
        self._event = b""  # the last `event` line
        self._id = b""  # the last valid `id` line
        self._size = 0
        self._is_oversized = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that this chunk finishes."""
        if self._start is not None:
            chunk = self._without_bom(self._start + chunk)
        if self._ended_with_cr and chunk:
            # The line end was acted on when its CR came; an LF behind it belongs to it.
            chunk = chunk.removeprefix(b"\n")
            self._ended_with_cr = False
        if not chunk:
            return []
        self._ended_with_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[ServerSentEvent] = []
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
            self._add(chunk[begin:end])
            event = self._end_line()
            if event is not None:
                events.append(event)
            begin = end + 1
        self._fields = None  # most streams say nothing for a long time
        self._add(chunk[begin:])
        return events

    def _without_bom(self, start: bytes) -> bytes:
        """What may be decoded of the stream's start: nothing, while it could be the first bytes of a mark."""
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BOM)

    def _add(self, piece: bytes) -> None:
        """A part of a line. Of a line that nobody will read one byte is kept: it tells it from a blank one."""
        if not piece:
            return
        self._line += piece
        is_comment = self._line.startswith(b":")
        if not is_comment and self._size + len(self._line) > self._max_event_bytes:
            self._is_oversized = True
            self._data.clear()
        if is_comment or self._is_oversized:
            del self._line[1:]

    def _end_line(self) -> ServerSentEvent | None:
        if not self._line:
            return self._end_event()
        line = bytes(self._line)
        self._line.clear()
        if self._is_oversized or line == b":":
            return None
        self._size += len(line) + 1
        field = _FIELD.match(line)
        match field and field[1]:
            case b"data":
                self._data += line + b"\n"
            case b"event":
                self._event = line
            case b"id" if b"\0" not in line:
                self._id = line
            case b"retry":
                if number := _RETRY.match(line):
                    self.retry = int(number[1].lstrip(b"0")[:_RETRY_DIGITS] or b"0")
            case _:
                pass
        return None

    def _end_event(self) -> ServerSentEvent | None:
        data, event, id_, is_oversized = self._data, self._event, self._id, self._is_oversized
        if not self._size and not is_oversized:
            return None
        self._clear_event()
        if is_oversized:
            logger.warning("Skipped a server-sent event of more than %d bytes", self._max_event_bytes)
            return None
        if not data and not id_:
            return None
        # Without data nothing is dispatched, but the id counts; sseclient-py tells it only with some data.
        *earlier, last = bytes(data or b"data\n").splitlines()
        if self._fields is None:
            self._fields = _Fields()
        # Each `data` line in a block of its own, because of the square; the other fields go with the last.
        texts = [self._fields.of(line).data for line in earlier]
        whole = self._fields.of(b"\n".join(line for line in (event, id_, last) if line))
        if whole.id is not None:
            self.last_event_id = whole.id
        if not data:
            return None
        return ServerSentEvent(whole.event, "\n".join([*texts, whole.data]), self.last_event_id)


class _Parser(SSEClient):
    """sseclient-py, logging under our name instead of its own."""


class _Fields:
    """The fields of blocks. One parser for many of them: each new one looks up its logger, a third of its work."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._events = _Parser(iter(self._blocks.popleft, None)).events()

    def of(self, block: bytes) -> Event:
        """The event that a block with data is."""
        self._blocks.append(_utf_8(block) + b"\n\n")
        return next(self._events)


def _utf_8(text: bytes) -> bytes:
    """Valid UTF-8: what is not becomes U+FFFD."""
    return text.decode("utf-8", "replace").encode()
