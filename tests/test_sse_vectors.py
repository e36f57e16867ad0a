"""The decoder of server-sent events, against the rules of the WHATWG HTML standard (§9.2.5 and §9.2.6).

Every vector is decoded whole, in one-byte chunks, in two-byte chunks, and cut at every position into two.
"""

from __future__ import annotations

import itertools
import logging
import time
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from attrs import Factory, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from jamsocket.sse import EventDecoder, ServerSentEvent

BOM = b"\xef\xbb\xbf"
LINE_ENDS = [b"\n", b"\r", b"\r\n"]
KIB = 1024
MIB = 1024 * KIB


def message(data: str, id: str = "") -> ServerSentEvent:
    return ServerSentEvent("message", data, id)


def in_chunks(body: bytes, size: int) -> list[bytes]:
    return [body[begin : begin + size] for begin in range(0, len(body), size)]


def chunkings(body: bytes) -> Iterator[list[bytes]]:
    yield [body]
    yield in_chunks(body, 1)
    yield in_chunks(body, 2)
    yield [b"", *(piece for byte in in_chunks(body, 1) for piece in (byte, b""))]
    for cut in range(1, len(body)):
        yield [body[:cut], body[cut:]]


def feed(decoder: EventDecoder, chunks: Iterable[bytes]) -> list[ServerSentEvent]:
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@frozen
class Vector:
    """A body, and what it decodes to, starting with `before` as the last event id."""

    name: str
    body: bytes
    events: list[ServerSentEvent] = Factory(list)
    last_event_id: str = ""
    retry: int | None = None
    before: str = ""


VECTORS = [
    # The byte order mark.
    Vector("bom at the start", BOM + b"data: a\n\n", [message("a")]),
    Vector("bom and nothing else", BOM),
    Vector("bom before a blank line", BOM + b"\n\ndata: a\n\n", [message("a")]),
    Vector("bom before a CR and an LF", BOM + b"\r\ndata: a\r\n\r\n", [message("a")]),
    Vector("bom before a comment", BOM + b":hi\ndata: a\n\n", [message("a")]),
    Vector("only the first of two boms", BOM + BOM + b"data: a\ndata: b\n\n", [message("b")]),
    Vector("bom on the second line", b"data: a\n" + BOM + b"data: b\n\n", [message("a")]),
    Vector("bom on the second line after a blank", b"\n" + BOM + b"data: a\n\n"),
    Vector("bom before a later event", b"data: a\n\n" + BOM + b"data: b\n\n", [message("a")]),
    Vector("bom within data", b"data: " + BOM + b"a\n\n", [message("\ufeffa")]),
    Vector("bom within data, no space", BOM + b"data:" + BOM + b"\n\n", [message("\ufeff")]),
    Vector("one byte of a bom", b"\xefdata: a\ndata: b\n\n", [message("b")]),
    Vector("two bytes of a bom", b"\xef\xbbdata: a\ndata: b\n\n", [message("b")]),
    Vector("two bytes of a bom, then a line end", b"\xef\xbb\ndata: b\n\n", [message("b")]),
    Vector("a bom of utf-16", b"\xff\xfedata: a\ndata: b\n\n", [message("b")]),
    # Line ends.
    Vector("LF", b"data: a\n\ndata: b\n\n", [message("a"), message("b")]),
    Vector("CR", b"data: a\r\rdata: b\r\r", [message("a"), message("b")]),
    Vector("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", [message("a"), message("b")]),
    Vector("CRLF once is not a blank line", b"data: a\r\ndata: b\r\n\r\n", [message("a\nb")]),
    Vector("LF then CR is a blank line", b"data: a\n\rdata: b\n\n", [message("a"), message("b")]),
    Vector("LF, CRLF", b"data: a\n\r\ndata: b\n\r\n", [message("a"), message("b")]),
    Vector("CRLF, LF", b"data: a\r\n\ndata: b\r\n\n", [message("a"), message("b")]),
    Vector("CRLF, CR", b"data: a\r\n\rdata: b\r\n\r", [message("a"), message("b")]),
    Vector("CR, CRLF", b"data: a\r\r\ndata: b\r\r\n", [message("a"), message("b")]),
    Vector("mixed", b"data: a\rdata: b\ndata: c\r\ndata: d\n\r", [message("a\nb\nc\nd")]),
    Vector("many blank lines", b"\n\r\r\n\n\ndata: a\n\n\r\r\n\r\n\n", [message("a")]),
    Vector("the CR finishes the event, not the LF", b"data: a\n\r", [message("a")]),
    Vector("an unfinished CRLF at the end", b"data: a\r"),
    *(
        Vector(
            f"line feeds that are not line ends: {char!r}",
            f"data: a{char}data: b{char}{char}\n\n".encode(),
            [message(f"a{char}data: b{char}{char}")],
        )
        for char in "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    ),
    # Ids.
    Vector("id", b"id: 1\ndata: a\n\n", [message("a", "1")], "1"),
    Vector("id behind the data", b"data: a\nid: 1\n\n", [message("a", "1")], "1"),
    Vector(
        "id persists",
        b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n",
        [*map(message, "abc", "112")],
        last_event_id="2",
    ),
    Vector("id is reset, with a colon", b"id: 1\ndata: a\n\nid:\ndata: b\n\n", [message("a", "1"), message("b")]),
    Vector("id is reset, with a space", b"id: 1\ndata: a\n\nid: \ndata: b\n\n", [message("a", "1"), message("b")]),
    Vector("id is reset, no colon", b"id: 1\ndata: a\n\nid\ndata: b\n\n", [message("a", "1"), message("b")]),
    Vector("id is reset without data", b"id: 1\ndata: a\n\nid\n\n", [message("a", "1")]),
    Vector("id is reset, then persists", b"id\n\ndata: a\n\n", [message("a")], before="9"),
    Vector("id with a NUL at its end", b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", [*map(message, "ab", "11")], "1"),
    Vector("id with a NUL at its start", b"id: \x002\ndata: b\n\n", [message("b", "1")], "1", before="1"),
    Vector("id that is a NUL", b"id:\0\ndata: b\n\n", [message("b", "1")], "1", before="1"),
    Vector("id with a NUL after a valid one", b"id: 1\nid: 2\0\ndata: a\n\n", [message("a", "1")], "1"),
    Vector("id with a NUL, without data", b"id: 2\0\n\n", [], "1", before="1"),
    Vector("NUL in data and event", b"event: a\0\ndata: b\0\n\n", [ServerSentEvent("a\0", "b\0", "")]),
    Vector("the last of two ids", b"id: 1\nid: 2\ndata: a\n\n", [message("a", "2")], "2"),
    Vector("an empty id after another", b"id: 1\nid\ndata: a\n\n", [message("a")], before="9"),
    Vector("id without data", b"id: 1\n\n", [], "1"),
    Vector("id and event without data", b"id: 1\nevent: e\n\n", [], "1"),
    Vector("id without data counts for later events", b"id: 1\n\ndata: a\n\n", [message("a", "1")], "1"),
    Vector("id is not trimmed", b"id:  1 \ndata: a\n\n", [message("a", " 1 ")], " 1 "),
    Vector("id that is not ASCII", "id: é€😀\ndata: a\n\n".encode(), [message("a", "é€😀")], "é€😀"),
    Vector("id with colons", b"id: a:b: c\n\n", [], "a:b: c"),
    Vector("id of the connection before", b"data: a\n\n", [message("a", "7")], "7", before="7"),
    # Retry.
    Vector("retry", b"retry: 1500\n\n", retry=1500),
    Vector("retry without a blank line", b"retry: 1500\n", retry=1500),
    Vector("retry, no line end", b"retry: 1500"),
    Vector("retry of zero", b"retry: 0\n", retry=0),
    Vector("retry with zeros", b"retry:00\nretry: 0010\n", retry=10),
    Vector("retry without space", b"retry:7\n", retry=7),
    Vector("the last retry", b"retry: 1\nretry: 2\n\nretry: 3\ndata: a\n\n", [message("a")], retry=3),
    *(
        Vector(f"retry {value!r}", b"retry: 5\nretry:" + value + b"\n\n", retry=5)
        for value in [
            b"",
            b" ",
            b"  7",
            b" 7 ",
            b" -7",
            b" +7",
            b" 7.0",
            b" 7e3",
            b" 0x7",
            b" 1_000",
            b" 7s",
            b" a",
            b"\t7",
            b" 7\0",
            b" \xd9\xa7",
            b" \xc2\xb2",
            b" 7\xff",
        ]
    ),
    Vector("retry without colon", b"retry: 5\nretry\n\n", retry=5),
    Vector("retry does not end an event", b"data: a\nretry: 5\ndata: b\n\n", [message("a\nb")], retry=5),
    # Comments.
    Vector("comments", b": hi\n:\n::\n:data: x\ndata: a\n: hi\ndata: b\n\n:\n\n", [message("a\nb")]),
    Vector("only comments", b":\n\n: a\n\n:id: 1\n\n:retry: 1\n\n"),
    Vector("a space before the colon is no comment", b" : hi\ndata: a\n\n", [message("a")]),
    Vector("an unfinished comment", b"data: a\n\n: hi", [message("a")]),
    # Colons and spaces.
    Vector("no space", b"data:a\n\n", [message("a")]),
    Vector("one space", b"data: a\n\n", [message("a")]),
    Vector("only one space is removed", b"data:  a \n\n", [message(" a ")]),
    Vector("a tab is not removed", b"data:\ta\n\n", [message("\ta")]),
    Vector("a no-break space is not removed", "data:\xa0a\n\n".encode(), [message("\xa0a")]),
    Vector("a space is data", b"data:  \n\n", [message(" ")]),
    Vector("colons in data", b"data:::a: b:\n\n", [message("::a: b:")]),
    Vector("a space behind the second colon", b"data:: a\n\n", [message(": a")]),
    Vector("spaces in event", b"event:  e \ndata: a\n\n", [ServerSentEvent(" e ", "a", "")]),
    # Fields.
    Vector("data alone", b"data\n\n", [message("")]),
    Vector("data: alone", b"data:\n\n", [message("")]),
    Vector("data: and a space alone", b"data: \n\n", [message("")]),
    Vector("data twice", b"data\ndata\n\n", [message("\n")]),
    Vector("data thrice", b"data:\ndata\ndata: \n\n", [message("\n\n")]),
    Vector("the standard's example of both", b"data\n\ndata\ndata\n\ndata:", [message(""), message("\n")]),
    Vector("multi-line data", b"data: YHOO\ndata: +2\ndata: 10\n\n", [message("YHOO\n+2\n10")]),
    Vector("multi-line data with blanks", b"data\ndata: a\ndata:\ndata: b\ndata\n\n", [message("\na\n\nb\n")]),
    Vector(
        "data with fields between",
        b"data: a\nid: 1\nx\ndata: b\nevent: e\n\n",
        [ServerSentEvent("e", "a\nb", "1")],
        "1",
    ),
    Vector("event", b"event: e\ndata: a\n\ndata: b\n\n", [ServerSentEvent("e", "a", ""), message("b")]),
    Vector("event behind the data", b"data: a\nevent: e\n\n", [ServerSentEvent("e", "a", "")]),
    Vector("the last of two events", b"event: e\nevent: f\ndata: a\n\n", [ServerSentEvent("f", "a", "")]),
    Vector(
        "event: is message", b"event:\ndata: a\n\nevent\ndata: b\n\nevent: \ndata\n\n", [*map(message, ["a", "b", ""])]
    ),
    Vector("event: after another", b"event: e\nevent:\ndata: a\n\n", [message("a")]),
    Vector("event without data", b"event: e\n\ndata: a\n\n", [message("a")]),
    Vector("event without data, at the end", b"event: e\n\n"),
    *(
        Vector(f"unknown field {name!r}", name + b": x\ndata: a\n" + name + b"\n\n" + name + b"\n\n", [message("a")])
        for name in [
            b"foo",
            b"DATA",
            b"Data",
            b"ID",
            b"Event",
            b"Retry",
            b"data ",
            b" data",
            b"da ta",
            b"data\t",
            b"\tdata",
            b"datas",
            b"dat",
            b"id ",
            b" id",
            b"ids",
            b"event ",
            b" event",
            b"events",
            b"retry ",
            b" retry",
            b"data\0",
            b"\0data",
            b"__class__",
            b"__dict__",
            b"_logger",
            b"d\xc3\xa4ta",
            b"data\xff",
            b"data\xef\xbb\xbf",
            b" ",
            b"{",
        ]
    ),
    Vector("a space at the name's start", b" id: 1\n retry: 1\n event: e\n data: x\n\n"),
    Vector("a space at the name's end", b"id : 1\nretry : 1\nevent : e\ndata : x\n\n"),
    Vector("a line of spaces is not blank", b"data: a\n \ndata: b\n\n", [message("a\nb")]),
    # UTF-8.
    Vector("UTF-8", "event: ü€\ndata: é€😀\n\n".encode(), [ServerSentEvent("ü€", "é€😀", "")]),
    Vector("invalid bytes", b"data: a\xffb\xfe\n\n", [message("a\ufffdb\ufffd")]),
    Vector("invalid bytes do not end the stream", b"data: \xff\n\ndata: b\n\n", [message("\ufffd"), message("b")]),
    Vector("a continuation alone", b"data: \x80\xbf\n\n", [message("\ufffd\ufffd")]),
    Vector("a sequence cut by the line's end", b"data: \xe2\x82\ndata: \xac\n\n", [message("\ufffd\n\ufffd")]),
    Vector("a sequence cut by a CR", b"data: \xf0\x9f\x98\r\r", [message("\ufffd")]),
    Vector("a sequence cut by a letter", b"data: \xf0\x9f\x98x\n\n", [message("\ufffdx")]),
    Vector("overlong", b"data: \xc0\xaf\n\n", [message("\ufffd\ufffd")]),
    Vector("an overlong line end", b"data: a\xc0\x8a\n\n", [message("a\ufffd\ufffd")]),
    Vector("a surrogate", b"data: \xed\xa0\x80\n\n", [message("\ufffd" * 3)]),
    Vector("beyond Unicode", b"data: \xf4\x90\x80\x80\n\n", [message("\ufffd" * 4)]),
    Vector(
        "invalid bytes in id and event",
        b"id: \xff\nevent: \xc3\ndata\n\n",
        [ServerSentEvent("\ufffd", "", "\ufffd")],
        "\ufffd",
    ),
    Vector("an invalid NUL in an id", b"id: 1\xc0\x80\n\n", [], "1\ufffd\ufffd"),
    Vector("invalid bytes in a comment", b":\xff\xfe\ndata: a\n\n", [message("a")]),
    # The end.
    Vector("nothing", b""),
    Vector("unfinished: no line end", b"data: a\n\ndata: b", [message("a")]),
    Vector("unfinished: no blank line", b"data: a\n\ndata: b\n", [message("a")]),
    Vector("unfinished: CRLF", b"data: a\r\n\r\ndata: b\r\n", [message("a")]),
    Vector("unfinished: its id", b"id: 1\ndata: a\n\nid: 2\ndata: b\n", [message("a", "1")], "1"),
    Vector("unfinished: only an id", b"id: 2\n", [], "1", before="1"),
    Vector("unfinished: only an id, no line end", b"id: 2", [], "1", before="1"),
    Vector("unfinished: an empty id", b"id\n", [], "1", before="1"),
    Vector("unfinished: retry counts", b"data: a\nretry: 5\n", retry=5),
    # Several rules at once: two of the standard's examples.
    Vector(
        "the standard's example of ids",
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
        [message("first event", "1"), message("second event")],
    ),
    Vector(
        "the standard's example of types",
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
        [
            ServerSentEvent("add", "73857293", ""),
            ServerSentEvent("remove", "2153", ""),
            ServerSentEvent("add", "113411", ""),
        ],
    ),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vector(vector: Vector) -> None:
    for chunks in chunkings(vector.body):
        decoder = EventDecoder(vector.before)
        got = feed(decoder, chunks), decoder.last_event_id, decoder.retry
        assert got == (vector.events, vector.last_event_id, vector.retry), chunks


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vector_with_carriage_returns(vector: Vector) -> None:
    """The same with every LF of the body a CR, or a CRLF."""
    if b"\r" in vector.body:
        return
    for line_end in [b"\r", b"\r\n"]:
        for chunks in chunkings(vector.body.replace(b"\n", line_end)):
            decoder = EventDecoder(vector.before)
            got = feed(decoder, chunks), decoder.last_event_id, decoder.retry
            assert got == (vector.events, vector.last_event_id, vector.retry), chunks


def test_an_event_comes_with_the_chunk_that_finishes_it() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\r\n") == []
    assert decoder.feed(b"\r") == [message("a")]
    assert decoder.feed(b"\ndata: b\n") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: c\n\ndata: d") == [message("b"), message("c")]


def test_the_id_moves_with_the_blank_line_only() -> None:
    decoder = EventDecoder("1")
    decoder.feed(b"id: 2\ndata: a\n")
    assert decoder.last_event_id == "1"
    decoder.feed(b"\n")
    assert decoder.last_event_id == "2"


def test_retry_counts_with_its_line() -> None:
    decoder = EventDecoder()
    decoder.feed(b"retry: 5")
    assert decoder.retry is None
    decoder.feed(b"0\n")
    assert decoder.retry == 50


@pytest.mark.parametrize("digits", [b"9" * 20, b"9" * 5000, b"0" * 5000 + b"9" * 5000], ids=len)
def test_an_absurd_retry_is_a_long_time(digits: bytes) -> None:
    """Digits only: it is legal, and longer than what Python makes an int of."""
    decoder = EventDecoder()
    assert decoder.feed(b"retry: " + digits + b"\ndata: a\n\n") == [message("a")]
    assert decoder.retry is not None
    assert decoder.retry > 10**12


@pytest.mark.parametrize("split", range(1, 5))
def test_decoders_in_sequence(split: int) -> None:
    """What one connection leaves unfinished is forgotten; the next goes on with its id, and may start with a mark."""
    head = b"id: 1\ndata: a\n\ndata: b\n\nid: 3\ndata: lost\n"
    tail = b"data: c\n\nid: 2\ndata: d\n\nid\ndata: e\n\n"
    first = EventDecoder()
    assert feed(first, in_chunks(BOM + head, split)) == [message("a", "1"), message("b", "1")]
    second = EventDecoder(first.last_event_id)
    assert second.last_event_id == "1"
    assert second.retry is None
    assert feed(second, in_chunks(BOM + tail, split)) == [message("c", "1"), message("d", "2"), message("e")]
    third = EventDecoder(second.last_event_id)
    assert feed(third, in_chunks(b"\ndata: f\n\n", split)) == [message("f")]


# Oversize events.

LIMIT = 100
OVERSIZE = {
    "one line": b"data: " + b"x" * 2 * LIMIT + b"\n\n",
    "a line without a colon": b"x" * 2 * LIMIT + b"\n\n",
    "many lines": b"data: x\n" * LIMIT + b"\n",
    "many empty lines": b"data\n" * LIMIT + b"\n",
    "many unknown lines": b"x\n" * LIMIT + b"\n",
    "many ids": b"id\n" * LIMIT + b"data\n\n",
    "a large id": b"id: " + b"x" * LIMIT + b"\ndata: a\n\n",
    "a large event": b"data: a\nevent: " + b"x" * LIMIT + b"\n\n",
    "comments within": (b"data: " + b"x" * 10 + b"\n:" + b"y" * 10 + b"\n") * (LIMIT // 10) + b"\n",
    "fields behind": b"data: " + b"x" * LIMIT + b"\nevent: e\ndata: b\n: c\ndata: d\n\n",
    "a line that begins like a comment behind": b"data: " + b"x" * LIMIT + b"\n:\n\n",
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.name == "jamsocket" and record.levelno == logging.WARNING for record in caplog.records)
    texts = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return texts


@pytest.mark.parametrize("line_end", LINE_ENDS, ids=repr)
@pytest.mark.parametrize("body", OVERSIZE.values(), ids=OVERSIZE)
def test_oversize(body: bytes, line_end: bytes, caplog: pytest.LogCaptureFixture) -> None:
    whole = b"id: 1\ndata: a\n\n" + body + b"data: b\n\n" + body + body + b"\nevent: e\ndata: c\n\n"
    for chunks in chunkings(whole.replace(b"\n", line_end)):
        decoder = EventDecoder(max_event_bytes=LIMIT)
        events = feed(decoder, chunks)
        assert [(event.event, event.data) for event in events] == [("message", "a"), ("message", "b"), ("e", "c")]
        texts = warnings(caplog)
        assert len(texts) == 3
        assert all(str(LIMIT) in text and "xx" not in text for text in texts)


def test_oversize_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    for chunks in chunkings(BOM + b"data: " + b"x" * LIMIT + b"\n\ndata: a\n\n"):
        assert feed(EventDecoder(max_event_bytes=LIMIT), chunks) == [message("a")]
        assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("lines", [1, 2, 5])
def test_the_limit_is_exact(lines: int, caplog: pytest.LogCaptureFixture) -> None:
    """An event of the limit's size is delivered, however it is cut; its last line end may or may not count."""
    line = b"data: " + b"x" * (LIMIT // lines - len("data: \n"))
    body = b"\n".join([line] * lines)
    assert LIMIT - lines <= len(body) < LIMIT
    fits = body + b"x" * (LIMIT - 1 - len(body)) + b"\n\n"
    for chunks in chunkings(fits):
        assert len(feed(EventDecoder(max_event_bytes=LIMIT), chunks)) == 1
    assert warnings(caplog) == []
    for chunks in chunkings(body + b"x" * (LIMIT + 1 - len(body)) + b"\n\n"):
        assert feed(EventDecoder(max_event_bytes=LIMIT), chunks) == []
        assert len(warnings(caplog)) == 1


def test_comments_and_blank_lines_are_never_too_large(caplog: pytest.LogCaptureFixture) -> None:
    body = b"data: a\n:" + b"x" * 3 * LIMIT + b"\n" + b": ping\n" * LIMIT + b"data: b\n\n" + b"\n:\n\n" * LIMIT
    for size in [1, 2, 3, 7, LIMIT, len(body)]:
        assert feed(EventDecoder(max_event_bytes=LIMIT), in_chunks(body, size)) == [message("a\nb")]
    assert warnings(caplog) == []


def test_many_events_are_not_one_large_event(caplog: pytest.LogCaptureFixture) -> None:
    body = b"data: a\nx\n\nx\n\nid: 1\n\n" * LIMIT
    for size in [1, 2, 3, 7, LIMIT, len(body)]:
        assert len(feed(EventDecoder(max_event_bytes=LIMIT), in_chunks(body, size))) == LIMIT
    assert warnings(caplog) == []


def test_the_default_limit(caplog: pytest.LogCaptureFixture) -> None:
    fits, too_large = b"x" * (MIB - 100), b"x" * MIB
    body = b"data: " + fits + b"\n\ndata: " + too_large + b"\n\ndata: a\n\n"
    for size in [1000, 64 * KIB, len(body)]:
        assert feed(EventDecoder(), in_chunks(body, size)) == [message(fits.decode()), message("a")]
        assert len(warnings(caplog)) == 1


# Memory and time.


ENDLESS = {
    "a line of data": (b"data: ", b"x", 1),
    "a comment": (b":", b"x", 0),
    "a comment within an event": (b"data: a\n:", b"x", 0),
    "a field's name": (b"", b"x", 1),
    "NULs": (b"id: ", b"\0", 1),
    "lines of data": (b"", b"data: 0123456789\n", 1),
    "empty lines of data": (b"", b"data\n", 1),
    "lines of comments": (b"", b":\n", 0),
    "unknown lines": (b"", b"x\n", 1),
    "ids": (b"", b"id: 1\n", 1),
    "retries": (b"", b"retry: 1\n", 1),
    "blank lines": (b"", b"\n", 0),
    "carriage returns": (b"", b"\r", 0),
}


@pytest.mark.parametrize(("head", "unit", "skipped"), ENDLESS.values(), ids=ENDLESS)
def test_memory_is_bounded(head: bytes, unit: bytes, skipped: int, caplog: pytest.LogCaptureFixture) -> None:
    """64 MiB of one line in chunks of 64 KiB; 1.5 MiB where it is many lines, each of which takes its time."""
    chunk = unit * (64 * KIB // len(unit))
    count = 1024 if len(unit) == 1 and unit.strip() else 24
    decoder = EventDecoder()
    tracemalloc.start()
    try:
        assert decoder.feed(head) == []
        for _ in range(count):
            assert decoder.feed(chunk) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
    assert [event.data for event in decoder.feed(b"\n\ndata: b\n\n")][-1:] == ["b"]
    assert len(warnings(caplog)) == skipped


def test_memory_of_an_event_of_many_lines_is_bounded() -> None:
    """The most lines that fit into one event: it is delivered, at a cost that is a small multiple of its size."""
    lines = (MIB - 1) // len("data\n")
    chunk = b"data\n" * lines + b"\n"
    tracemalloc.start()
    try:
        events = feed(EventDecoder(), in_chunks(chunk, 64 * KIB))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert events == [message("\n" * (lines - 1))]
    assert peak < 16 * MIB


SLOW = {
    "many lines": (b"data: x\n" * (MIB // 8 - 2) + b"\n", 1),
    "many empty lines": (b"data\n" * (MIB // 5 - 2) + b"\n", 1),
    "zeros that are not a number": (b"retry: " + b"0" * (MIB - 100) + b"x\n\n", 0),
    "digits that are not a number": (b"retry: " + b"1" * (MIB - 100) + b"x\n\n", 0),
    "zeros that are a number": (b"retry: " + b"0" * (MIB - 100) + b"\n\n", 0),
    "colons": (b"data" + b":" * (MIB - 100) + b"\n\n", 1),
    "spaces": (b"id:" + b" " * (MIB - 100) + b"\n\n", 0),
}


@pytest.mark.parametrize(("body", "count"), SLOW.values(), ids=SLOW)
def test_an_event_takes_linear_time(body: bytes, count: int) -> None:
    """First a 64th of the largest event, so that a cost that grows with the square fails instead of hanging."""
    middle = len(body) // 2
    for part, limit in [(64, 0.5), (1, 10.0)]:
        kept = middle // part // 40 * 40  # whole lines
        shorter = body[:kept] + body[-(kept + 1) :] if part > 1 else body
        began = time.perf_counter()
        assert len(feed(EventDecoder(), in_chunks(shorter, 64 * KIB))) == count
        assert time.perf_counter() - began < limit


def test_tiny_chunks_of_a_large_event_take_linear_time() -> None:
    body = b"data: " + b"x" * (MIB - 100) + b"\n\n"
    began = time.perf_counter()
    assert len(feed(EventDecoder(), in_chunks(body, 1))) == 1
    assert time.perf_counter() - began < 20


# Logs.


def test_nothing_of_the_content_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not of what is delivered, nor of what is ignored or too large, by us or by the parser below."""
    body = (
        b"id: secret\nevent: secret\ndata: secret\nretry: 4711\nsecret: secret\nsecret\n: secret\n\n"
        b"data: secret \xff\nid: secret\0\nretry: secret\n\n"
        b"id: secret\n\nevent: secret\n\ndata: secret" + b"x" * LIMIT + b"\n\ndata: secret\n"
    )
    for name in [None, "sseclient", "jamsocket", "jamsocket.sse"]:
        caplog.set_level(logging.DEBUG, logger=name)
    loggers = [logging.getLogger(name) for name in ["sseclient", "jamsocket", "jamsocket.sse"]]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    try:
        for chunks in chunkings(body):
            assert len(feed(EventDecoder("secret", max_event_bytes=LIMIT), chunks)) == 2
    finally:
        for logger in loggers:
            logger.removeHandler(caplog.handler)
    assert {record.name for record in caplog.records} == {"jamsocket"}
    for record in caplog.records:
        assert "secret" not in repr(record.__dict__)
        assert "4711" not in repr(record.__dict__)


# Properties.


@frozen
class Model:
    """The standard's algorithm, read aloud: of a whole body, which is decoded first and cut into lines then."""

    events: list[ServerSentEvent]
    last_event_id: str
    retry: int | None


def reference(body: bytes, last_event_id: str = "") -> Model:
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    events: list[ServerSentEvent] = []
    retry: int | None = None
    id_buffer, data, event_type = last_event_id, "", ""
    for line in lines:
        if not line:
            last_event_id = id_buffer
            if data:
                events.append(ServerSentEvent(event_type or "message", data.removesuffix("\n"), last_event_id))
            data = event_type = ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event_type = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            id_buffer = value
        elif name == "retry" and value and all(char in "0123456789" for char in value):
            retry = int(value)
    return Model(events, last_event_id, retry)


def cut(body: bytes, positions: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(position % (len(body) + 1) for position in positions), len(body)]
    return [body[begin:end] for begin, end in itertools.pairwise(bounds)]


POSITIONS = st.lists(st.integers(0, 1 << 16), max_size=20)
TOKENS = [
    *(
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b": ",
        b" ",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"\0",
        BOM,
        b"x",
        b"12",
        b"0",
    ),
    *(
        b"data: a\n",
        b"id: 7\n",
        b"event: e\n",
        b"\xef",
        b"\xbb",
        b"\xbf",
        b"\xe2\x82\xac",
        b"\xe2\x82",
        b"\xff",
        b"\xc2\x85",
    ),
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=60).map(b"".join), POSITIONS, st.sampled_from(["", "1"]))
def test_any_bytes_decode_as_the_standard_says(body: bytes, positions: list[int], before: str) -> None:
    decoder = EventDecoder(before)
    events = feed(decoder, cut(body, positions))
    assert Model(events, decoder.last_event_id, decoder.retry) == reference(body, before)


@settings(deadline=None)
@given(st.binary(max_size=200), POSITIONS)
def test_random_bytes_decode_as_the_standard_says(body: bytes, positions: list[int]) -> None:
    decoder = EventDecoder()
    events = feed(decoder, cut(body, positions))
    assert Model(events, decoder.last_event_id, decoder.retry) == reference(body)


LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20)
NOISE = st.sampled_from(
    [b"", b":", b": ping", b":data: x", b"x", b"x: y", b"data : z", b" id: q", b"ID: q", b"id: a\0b"]
)


@frozen
class Sent:
    """An event to encode; an id of None stands for: the server sends none."""

    event: str
    lines: list[str]
    id: str | None


SENT = st.builds(Sent, LINE, st.lists(LINE, min_size=1, max_size=5), st.none() | LINE.filter(lambda id: "\0" not in id))


@st.composite
def encoded(draw: st.DrawFn, sent: list[Sent]) -> bytes:
    """The events in any of the ways in which a server may write them."""

    def end() -> bytes:
        # A lone CR swallows an LF of the next line end; what comes behind a CR therefore never begins with one.
        last_is_cr = bool(parts) and parts[-1].endswith(b"\r")
        return draw(st.sampled_from(LINE_ENDS[1:] if last_is_cr else LINE_ENDS))

    def put(line: bytes) -> None:
        parts.append(line + (end() if not line else draw(st.sampled_from(LINE_ENDS))))

    def field(name: bytes, value: str) -> bytes:
        plain = [] if value.startswith(" ") else [name + b":" + value.encode()]
        bare = [] if value else [name]
        return draw(st.sampled_from([name + b": " + value.encode(), *plain, *bare]))

    parts: list[bytes] = [draw(st.sampled_from([b"", BOM]))]
    for event in sent:
        if draw(st.booleans()):
            put(b"")
        data = [field(b"data", line) for line in event.lines]
        others = [] if event.event in ("", "message") and draw(st.booleans()) else [field(b"event", event.event)]
        if event.id is not None:
            others.append(field(b"id", event.id))
        for line in others:
            data.insert(draw(st.integers(0, len(data))), line)
        for line in data:
            noise = draw(NOISE)
            if noise:
                put(noise)
            put(line)
        put(b"")
    parts.append(draw(st.sampled_from([b"", b"data: unfinished", b"id: unfinished\n", b"event: x\r", b":"])))
    return b"".join(parts)


@settings(deadline=None)
@given(st.data(), st.lists(SENT, max_size=5), POSITIONS, LINE)
def test_round_trip(data: st.DataObject, sent: list[Sent], positions: list[int], before: str) -> None:
    """Whatever the framing, and wherever it is cut: the same events come out."""
    expected: list[ServerSentEvent] = []
    last = before
    for event in sent:
        last = last if event.id is None else event.id
        expected.append(ServerSentEvent(event.event or "message", "\n".join(event.lines), last))
    body = data.draw(encoded(sent))
    for chunks in [cut(body, positions), [body], in_chunks(body, 1)]:
        decoder = EventDecoder(before)
        assert feed(decoder, chunks) == expected
        assert decoder.last_event_id == last
