"""The event-stream rules of the WHATWG HTML standard, a second time: short, slow, of the whole body at once.

It shares no line and no idea with `jamsocket.sse`, so that a misreading would have to be made twice. The paragraphs of
the standard (§9.2.6, "Interpreting an event stream") are quoted where they are carried out.
"""

from __future__ import annotations

import re

from attrs import define, field

RETRY_DIGITS = 15
"""Our own limit: what a longer number says beyond is thousands of years."""


@define
class Stream:
    """What one connection leaves behind."""

    last_event_id: str = ""
    retry: int | None = None
    events: list[tuple[str, str, str]] = field(factory=list)


def interpret(body: bytes, last_event_id: str = "", max_event_bytes: int | None = None) -> Stream:
    """The events of a whole body as (type, data, id); those larger than the limit, which is ours, are left out."""
    stream = Stream(last_event_id)
    # "Streams must be decoded using the UTF-8 decode algorithm", which strips one byte order mark, if any.
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    raw = body.removeprefix(b"\xef\xbb\xbf")
    # "Lines must be separated by either CRLF, a single LF, or a single CR." What follows the last end is unfinished.
    *lines, _ = re.split("\r\n|\n|\r", text)
    *sizes, _ = map(len, re.split(rb"\r\n|\n|\r", raw))
    data, event_type, id_buffer = "", "", stream.last_event_id
    size, skipped = 0, False
    for line, bytes_ in zip(lines, sizes, strict=True):
        # "If the line is empty (a blank line): dispatch the event."
        if line == "":
            if skipped:
                id_buffer = stream.last_event_id
            else:
                # "Set the last event ID string of the event source to the value of the last event ID buffer."
                stream.last_event_id = id_buffer
                # "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty
                # string and return."
                if data:
                    # "If the data buffer's last character is a LF, then remove the last character."
                    stream.events.append((event_type or "message", data[:-1], stream.last_event_id))
            data, event_type, size, skipped = "", "", 0, False
            continue
        # "If the line starts with a colon: ignore the line."
        if line[0] == ":":
            continue
        if max_event_bytes is not None and size + bytes_ > max_event_bytes:
            skipped = True
        size += bytes_ + 1
        if skipped:
            continue
        # "Collect the characters on the line before the first colon, and let field be that string. [...] If value
        # starts with a space, remove it." Without a colon, the whole line is the field's name.
        name, _, value = line.partition(":")
        if value[:1] == " ":
            value = value[1:]
        if name == "event":
            event_type = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            id_buffer = value
        elif name == "retry" and value and set(value) <= set("0123456789"):
            stream.retry = int(value.lstrip("0")[:RETRY_DIGITS] or "0")
    # "Once the end of the file is reached, any pending data must be discarded."
    return stream
