"""The event-stream rules of the WHATWG HTML standard, each under every way to cut the bytes."""

from __future__ import annotations

import logging
import random
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from jamsocket.sse import EventDecoder, ServerSentEvent

BOM = "\ufeff".encode()
CHUNKINGS = 30  # random ones, for each vector


@frozen
class Outcome:
    """All that a connection leaves behind."""

    events: list[ServerSentEvent]
    last_event_id: str = ""
    retry: int | None = None


def message(data: str, id_: str = "", event: str = "message") -> ServerSentEvent:
    return ServerSentEvent(event, data, id_)


def decode(chunks: Iterable[bytes], last_event_id: str = "", **options: int) -> Outcome:
    decoder = EventDecoder(last_event_id, **options)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return Outcome(events, decoder.last_event_id, decoder.retry)


def sliced(stream: bytes, size: int) -> Iterator[bytes]:
    return (stream[begin : begin + size] for begin in range(0, len(stream), size))


def chunkings(stream: bytes) -> Iterator[list[bytes]]:
    """Whole, in ones, in twos, cut at every one and every two places, and at random, with empty chunks between."""
    yield [stream]
    yield list(sliced(stream, 1))
    yield list(sliced(stream, 2))
    yield [stream[:1], *sliced(stream[1:], 2)]
    for first in range(1, len(stream)):
        yield [stream[:first], stream[first:]]
        for second in range(first + 1, len(stream)):
            yield [stream[:first], stream[first:second], stream[second:]]
    dice = random.Random(stream)
    for _ in range(CHUNKINGS):
        cuts = sorted(dice.choices(range(len(stream) + 1), k=dice.randint(0, 12)))  # the same twice: an empty chunk
        yield [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def check(stream: bytes, expected: Outcome, last_event_id: str = "", **options: int) -> None:
    for chunks in chunkings(stream):
        assert decode(chunks, last_event_id, **options) == expected, chunks


# ── Rules: (name, stream, what it leaves) ──

LINE_ENDS = [
    ("lf", b"data:a\ndata:b\n\ndata:c\n\n", Outcome([message("a\nb"), message("c")])),
    ("cr", b"data:a\rdata:b\r\rdata:c\r\r", Outcome([message("a\nb"), message("c")])),
    ("crlf", b"data:a\r\ndata:b\r\n\r\ndata:c\r\n\r\n", Outcome([message("a\nb"), message("c")])),
    ("cr, then lf-ended", b"data:a\r\ndata:b\n\rdata:c\r\r\n", Outcome([message("a\nb"), message("c")])),
    ("lf then cr is two ends", b"data:a\n\rdata:b\r\n\n", Outcome([message("a"), message("b")])),
    ("crlf then cr", b"data:a\r\n\rdata:b\n\r\n", Outcome([message("a"), message("b")])),
    ("cr then crlf", b"data:a\r\r\ndata:b\r\r\n", Outcome([message("a"), message("b")])),
    ("blank lines between", b"\n\r\r\n\n\ndata:a\n\n\n\r\r\ndata:b\r\r", Outcome([message("a"), message("b")])),
    ("begins with crlf", b"\r\ndata:a\n\n", Outcome([message("a")])),
    # `str.splitlines` would split at each of these, and `str.strip` would drop them.
    (
        "no other line ends",
        "data:\v\f\x1c\x1d\x1e\x85\u2028\u2029.\n\n".encode(),
        Outcome([message("\v\f\x1c\x1d\x1e\x85\u2028\u2029.")]),
    ),
]

BYTE_ORDER_MARK = [
    ("at the start", BOM + b"data:a\n\n", Outcome([message("a")])),
    ("only the first", BOM + BOM + b"data:a\n\ndata:b\n\n", Outcome([message("b")])),
    ("before a comment", BOM + b":x\ndata:a\n\n", Outcome([message("a")])),
    ("before a blank line", BOM + b"\ndata:a\n\n", Outcome([message("a")])),
    ("on a later line", b"data:a\n" + BOM + b"data:b\n\n", Outcome([message("a")])),
    ("on a later event", b"data:a\n\n" + BOM + b"data:b\n\n", Outcome([message("a")])),
    ("after a line end", b"\n" + BOM + b"data:a\n\n", Outcome([])),
    ("within data", b"data:" + BOM + b"\n\n", Outcome([message("\ufeff")])),
    ("half of one", b"\xef\xbbdata:a\n\ndata:b\n\n", Outcome([message("b")])),
    ("half of one as a line", b"\xef\xbb\ndata:a\n\n", Outcome([message("a")])),
]

FIELDS = [
    ("all", b"event:e\ndata:d\nid:i\nretry:5\n\n", Outcome([message("d", "i", "e")], "i", 5)),
    ("in any order", b"retry:5\nid:i\ndata:d\nevent:e\n\n", Outcome([message("d", "i", "e")], "i", 5)),
    (
        "one space is dropped",
        b"data: a\n\ndata:  b\n\ndata:\tc \n\n",
        Outcome([message("a"), message(" b"), message("\tc ")]),
    ),
    ("a space for each line", b"data: a\ndata:  b\n\n", Outcome([message("a\n b")])),
    ("more colons", b"data:a:b\n\ndata::c\n\n", Outcome([message("a:b"), message(":c")])),
    ("unknown", b"data:a\nfoo:b\nbar\ndat:c\ndatax:d\ndata b\n\n", Outcome([message("a")])),
    ("attributes of objects", b"data:a\n__class__:b\n__dict__\n_data:x\n\n", Outcome([message("a")])),
    ("names are exact", b"Data:a\n\ndata :b\n\n data:c\n\nDATA\n\nID:1\n\ndata:d\n\n", Outcome([message("d")])),
    ("a line of spaces is a field", b"data:a\n \n\t\n  \ndata:b\n\n", Outcome([message("a\nb")])),
    ("comments", b":\n:x\n: data:no\ndata:a\n:y\ndata:b\n:\n\n:\n\n", Outcome([message("a\nb")])),
    ("only comments", b":\n\n:\n\n: keep-alive\n\n", Outcome([])),
    ("json", b'data:{"status":"ready"}\nid:ready\n\n', Outcome([message('{"status":"ready"}', "ready")], "ready")),
]

DATA = [
    # The standard's own examples.
    ("yhoo", b"data: YHOO\ndata: +2\ndata: 10\n\n", Outcome([message("YHOO\n+2\n10")])),
    ("empty", b"data\n\ndata\ndata\n\ndata:", Outcome([message(""), message("\n")])),
    (
        "empty with colon",
        b"data:\n\ndata: \n\ndata:\ndata:\ndata:\n\n",
        Outcome([message(""), message(""), message("\n\n")]),
    ),
    ("empty lines at the edges", b"data\ndata:a\ndata\n\n", Outcome([message("\na\n")])),
    ("none", b"event:e\n\ndata:a\n\n", Outcome([message("a")])),
    ("digits", b"data:0\n\n", Outcome([message("0")])),
]

EVENT_TYPE = [
    ("given", b"event: add\ndata:a\n\ndata:b\n\n", Outcome([message("a", event="add"), message("b")])),
    ("the last counts", b"event:x\ndata:a\nevent:y\n\n", Outcome([message("a", event="y")])),
    ("empty means message", b"event:\ndata:a\n\nevent\ndata:b\n\n", Outcome([message("a"), message("b")])),
    ("emptied again", b"event:x\nevent\ndata:a\n\n", Outcome([message("a")])),
    (
        "does not outlive an event without data",
        b"event:x\n\nid:1\nevent:x\n\ndata:a\n\n",
        Outcome([message("a", "1")], "1"),
    ),
]

ID = [
    ("persists", b"id:1\ndata:a\n\ndata:b\n\n", Outcome([message("a", "1"), message("b", "1")], "1")),
    ("is replaced", b"id:1\ndata:a\n\nid:2\ndata:b\n\n", Outcome([message("a", "1"), message("b", "2")], "2")),
    ("the last counts", b"id:1\nid:2\ndata:a\n\n", Outcome([message("a", "2")], "2")),
    ("empty resets", b"id:1\ndata:a\n\nid\ndata:b\n\n", Outcome([message("a", "1"), message("b")])),
    ("empty with colon resets", b"id:1\ndata:a\n\nid: \ndata:b\n\n", Outcome([message("a", "1"), message("b")])),
    ("a NUL is ignored", b"id:1\ndata:a\n\nid:2\0\ndata:b\n\n", Outcome([message("a", "1"), message("b", "1")], "1")),
    ("a NUL does not undo", b"id:1\nid:\x00\ndata:a\n\n", Outcome([message("a", "1")], "1")),
    ("without data it counts", b"id:1\n\ndata:a\n\n", Outcome([message("a", "1")], "1")),
    ("without data it resets", b"id:1\ndata:a\n\nid\n\n", Outcome([message("a", "1")])),
    ("only one space is dropped", b"id:  1 \ndata:a\n\n", Outcome([message("a", " 1 ")], " 1 ")),
    ("of many bytes", "id:ü☃𝄞\ndata:a\n\n".encode(), Outcome([message("a", "ü☃𝄞")], "ü☃𝄞")),
]

RETRY = [
    ("a number", b"retry:1500\n\n", Outcome([], retry=1500)),
    ("at once, not with its event", b"retry:1500\ndata:a", Outcome([], retry=1500)),
    ("the last counts", b"retry:1\nretry: 2\ndata:a\n\n", Outcome([message("a")], retry=2)),
    ("zero", b"retry:1\nretry:0\n\n", Outcome([], retry=0)),
    ("zeros", b"retry:1\nretry:" + b"0" * 20 + b"\n\n", Outcome([], retry=0)),
    ("leading zeros", b"retry:" + b"0" * 50 + b"7\n\n", Outcome([], retry=7)),
    ("signs", b"retry:5\nretry:-1\nretry:+1\n\n", Outcome([], retry=5)),
    ("spaces", b"retry:5\nretry:  1\nretry:1 \nretry:1 2\n\n", Outcome([], retry=5)),
    ("no number", b"retry:5\nretry\nretry:\nretry:x\nretry:1e3\nretry:1_0\n\n", Outcome([], retry=5)),
    ("no whole number", b"retry:5\nretry:0x1\nretry:1.0\nretry:1,0\nretry:000x\n\n", Outcome([], retry=5)),
    ("other digits", "retry:5\nretry:\u0661\nretry:1²\n\n".encode(), Outcome([], retry=5)),
    ("with the event that it came with", b"data:a\nretry:9\nid:1\n\n", Outcome([message("a", "1")], "1", 9)),
]

ENCODING = [
    ("two, three and four bytes", "data:ü☃𝄞\n\n".encode(), Outcome([message("ü☃𝄞")])),
    ("a lone continuation", b"data:a\x80b\n\n", Outcome([message("a\ufffdb")])),
    ("cut by a line end", b"data:a\xe2\x98\ndata:\x83b\n\n", Outcome([message("a\ufffd\n\ufffdb")])),
    ("cut by a carriage return", b"data:a\xf0\x9d\r\rdata:b\r\r", Outcome([message("a\ufffd"), message("b")])),
    ("overlong", b"data:\xc0\xaf\n\n", Outcome([message("\ufffd\ufffd")])),
    ("a surrogate", b"data:\xed\xa0\x80\n\n", Outcome([message("\ufffd\ufffd\ufffd")])),
    ("beyond the last", b"data:\xf4\x90\x80\x80\n\n", Outcome([message("\ufffd\ufffd\ufffd\ufffd")])),
    (
        "in the type and the id",
        b"event:\xff\nid:\xfe\ndata:a\n\n",
        Outcome([message("a", "\ufffd", "\ufffd")], "\ufffd"),
    ),
    ("in a name", b"\xffdata:a\ndata\xff:b\n\xff\n\ndata:c\n\n", Outcome([message("c")])),
    ("in a comment", b":\xff\xfe\ndata:a\n\n", Outcome([message("a")])),
    ("NUL in data", b"data:a\0b\n\n", Outcome([message("a\0b")])),
    ("goes on behind it", b"data:\xff\n\ndata:a\n\n", Outcome([message("\ufffd"), message("a")])),
]

CUT = [
    ("nothing at all", b"", Outcome([])),
    ("within data", b"data:a\n\nid:1\ndata:b", Outcome([message("a")])),
    ("after the line", b"data:a\n\nid:1\ndata:b\n", Outcome([message("a")])),
    ("after the line's cr", b"data:a\r\rid:1\rdata:b\r", Outcome([message("a")])),
    ("after the line's crlf", b"id:1\r\ndata:b\r\n", Outcome([])),
    ("within the id", b"id:1\ndata:a\n\nid:2", Outcome([message("a", "1")], "1")),
    ("after the id", b"id:1\ndata:a\n\nid:2\n", Outcome([message("a", "1")], "1")),
    ("within the mark", BOM[:2], Outcome([])),
    ("after a blank line", b"id:1\ndata:a\n\ndata:b\n:", Outcome([message("a", "1")], "1")),
]

VECTORS = {
    "line ends": LINE_ENDS,
    "byte order mark": BYTE_ORDER_MARK,
    "fields": FIELDS,
    "data": DATA,
    "type": EVENT_TYPE,
    "id": ID,
    "retry": RETRY,
    "encoding": ENCODING,
    "cut": CUT,
}


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(stream, expected, id=f"{rule}: {name}")
        for rule, vectors in VECTORS.items()
        for name, stream, expected in vectors
    ],
)
def test_rule(stream: bytes, expected: Outcome) -> None:
    check(stream, expected)


def test_a_reconnect_continues_with_the_last_id() -> None:
    check(b"data:a\n\n", Outcome([message("a", "7")], "7"), last_event_id="7")
    check(b"id\ndata:a\n\n", Outcome([message("a")]), last_event_id="7")
    check(b"id:8\ndata:a\n", Outcome([], "7"), last_event_id="7")


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\n\r", b"\r\n\n", b"\r\n\r"])
def test_an_event_comes_with_the_first_byte_that_can_end_it(end: bytes) -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data:a" + end[:-1]) == []
    assert decoder.feed(end[-1:]) == [message("a")]


def test_a_line_feed_behind_a_carriage_return_belongs_to_it() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data:a\r\n\r") == [message("a")]
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata:b\r") == []
    assert decoder.feed(b"\n\n") == [message("b")]


def test_a_fed_chunk_brings_several_events() -> None:
    assert EventDecoder().feed(b"data:a\n\ndata:b\n\ndata:c\n") == [message("a"), message("b")]


def test_a_retry_of_any_length_is_a_number() -> None:
    retry = decode([b"retry:" + b"9" * 10_000 + b"\n"]).retry
    assert retry is not None
    assert retry > 10**12


# ── Any event, in any framing ──

LINE_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
ID_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6)
NOISE = st.one_of(
    LINE_TEXT.map(lambda text: f":{text}"),
    LINE_TEXT.map(lambda text: f"x{text}"),
    st.sampled_from(["", "id:a\0", "retry:no", "data-x:1", " "]).filter(bool),
)


@frozen
class Sent:
    """An event as a server means it; `id` None is none, "" a reset."""

    data: list[str] | None
    event: str
    id: str | None


SENT = st.builds(Sent, st.none() | st.lists(LINE_TEXT, min_size=1, max_size=4), LINE_TEXT, st.none() | ID_TEXT)


def field(draw: st.DrawFn, name: str, value: str) -> str:
    """One field in one of its legal forms."""
    if not value and draw(st.booleans()):
        return name
    return f"{name}:{'' if not value.startswith(' ') and draw(st.booleans()) else ' '}{value}"


@st.composite
def framed(draw: st.DrawFn, sent: list[Sent]) -> bytes:
    """These events on the wire, in a framing of the server's choice."""

    def end() -> str:
        return draw(st.sampled_from(["\n", "\r", "\r\n"]))

    stream = draw(st.sampled_from(["", "\ufeff"]))
    for event in sent:
        lines = [field(draw, "data", line) for line in event.data or []]
        for name, value in (("event", event.event or None), ("id", event.id)):
            if value is not None:
                lines.insert(draw(st.integers(0, len(lines))), field(draw, name, value))
        for noise in draw(st.lists(NOISE, max_size=2)):
            lines.insert(draw(st.integers(0, len(lines))), noise)
        for line in [*lines, ""]:
            # An LF behind a CR would be one line end with it.
            stream += line + (end() if line or not stream.endswith("\r") else draw(st.sampled_from(["\r", "\r\n"])))
    return stream.encode()


@st.composite
def cut(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    return [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(data=st.data(), sent=st.lists(SENT, max_size=5))
def test_what_is_sent_is_what_is_decoded(data: st.DataObject, sent: list[Sent]) -> None:
    expected: list[ServerSentEvent] = []
    last = ""
    for event in sent:
        last = last if event.id is None else event.id
        if event.data is not None:
            expected.append(message("\n".join(event.data), last, event.event or "message"))
    stream = data.draw(framed(sent))
    assert decode(data.draw(cut(stream))) == Outcome(expected, last)


WORDS = [b"data", b"id", b":", b" ", b"\r", b"\n", b"\0", b"\xff", b"a", BOM, b"retry", b"1", "☃".encode()]
STREAM = st.lists(st.sampled_from(WORDS) | st.binary(max_size=3), max_size=30).map(b"".join)


@given(data=st.data(), stream=STREAM)
def test_any_bytes_decode_the_same_however_they_are_cut(data: st.DataObject, stream: bytes) -> None:
    whole = decode([stream], max_event_bytes=20)
    assert decode(data.draw(cut(stream)), max_event_bytes=20) == whole
    assert decode(sliced(stream, 1), max_event_bytes=20) == whole


# ── Events that are too large ──

SKIPPED = "Skipped a server-sent event of more than 16 bytes"


@pytest.mark.parametrize(
    "large",
    [
        b"data:" + b"x" * 12 + b"\n\n",  # one line
        b"data:x\n" * 3 + b"\n",  # many lines
        b"id:2\ndata:x\ndata:yz\n\n",  # its id is skipped with it
        b"id:2\ndata:a\ndata:\n\n",  # only with its line ends
        b"event:" + b"x" * 12 + b"\ndata:y\n\n",
        b"data:x\nunknown:" + b"x" * 12 + b"\n\n",
        b"data:" + b"x" * 1000 + b"\n:\n" + b"data:y\n" * 100 + b"id:3\n\n",
        b"data:" + b"x" * 12 + b"\r\n\r\n",
    ],
)
def test_a_large_event_is_skipped(large: bytes, caplog: pytest.LogCaptureFixture) -> None:
    stream = b"id:1\ndata:a\n\n" + large + b"data:b\n\n"
    expected = Outcome([message("a", "1"), message("b", "1")], "1")
    for chunks in [[stream], list(sliced(stream, 1)), list(sliced(stream, 2)), list(sliced(stream, 7))]:
        caplog.clear()
        assert decode(chunks, max_event_bytes=16) == expected
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("WARNING", SKIPPED)]


def test_the_largest_event_is_delivered(caplog: pytest.LogCaptureFixture) -> None:
    check(b"data:" + b"x" * 11 + b"\n\n", Outcome([message("x" * 11)]), max_event_bytes=16)
    check(b"id:1\ndata:a\ndata:\n\n", Outcome([message("a\n", "1")], "1"), max_event_bytes=17)
    check(BOM + b"data:" + b"x" * 11 + b"\r\n\r\n", Outcome([message("x" * 11)]), max_event_bytes=16)
    assert not caplog.records


def test_the_default_is_a_mebibyte(caplog: pytest.LogCaptureFixture) -> None:
    largest = b"data:" + b"x" * ((1 << 20) - 5) + b"\n\n"
    assert len(decode(sliced(largest, 4096)).events) == 1
    assert decode(sliced(b"data:x" + largest[5:], 4096)).events == []
    assert len(caplog.records) == 1


def test_comments_are_no_part_of_an_event(caplog: pytest.LogCaptureFixture) -> None:
    stream = b"data:a\n" + b": keep-alive\n" * 10 + b":" + b"x" * 100 + b"\ndata:b\n\n"
    for chunks in [[stream], list(sliced(stream, 1)), list(sliced(stream, 3))]:
        assert decode(chunks, max_event_bytes=16) == Outcome([message("a\nb")])
    assert not caplog.records


def test_an_event_that_never_ends_is_not_logged_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    decode([b"data:" + b"x" * 100, *[b"x\n"] * 100], max_event_bytes=16)
    assert not caplog.records  # it is not skipped before it is over


# ── Cost ──


@pytest.mark.parametrize("stream", [b"data:x\n", b"x", b"data", b":", b"id:1\n", b"\xff", b"event:", b"data\n"])
@pytest.mark.parametrize("size", [1, 64])
def test_memory_is_bounded(stream: bytes, size: int) -> None:
    decoder = EventDecoder(max_event_bytes=10_000)
    chunk = (stream * size)[: max(size, len(stream))]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100_000 // size):
            decoder.feed(chunk)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now - before < 25_000
    assert peak - before < 40_000


class CountingLine(bytearray):
    """Counts the bytes that are moved into and looked for in a line."""

    moved = 0

    def __iadd__(self, other: bytes) -> CountingLine:  # type: ignore[override, misc]
        CountingLine.moved += len(other)
        return super().__iadd__(other)

    def __bytes__(self) -> bytes:
        CountingLine.moved += len(self)
        return bytes(bytearray(self))


def test_a_byte_is_moved_a_constant_number_of_times() -> None:
    decoder = EventDecoder()
    decoder._line = CountingLine()
    CountingLine.moved = 0
    stream = b"data:" + b"x" * 50_000 + b"\n\n"
    for chunk in sliced(stream, 1):
        decoder.feed(chunk)
    assert CountingLine.moved <= 3 * len(stream)


def test_the_parser_sees_each_byte_of_many_lines_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """sseclient-py alone copies all lines so far for each further line."""
    from jamsocket import sse

    fed: list[int] = []

    class Counting(sse._Parser):
        def __init__(self, source: Iterator[bytes]) -> None:
            super().__init__(self._counted(source))

        def _counted(self, source: Iterator[bytes]) -> Iterator[bytes]:
            for block in source:
                fed.append(len(block))
                assert block.count(b"data") == 1
                yield block

    monkeypatch.setattr(sse, "_Parser", Counting)
    stream = b"data:x\n" * 5_000 + b"id:1\n\n"
    assert decode([stream]) == Outcome([message("\n".join("x" * 5_000), "1")], "1")
    assert sum(fed) <= 2 * len(stream)


@pytest.mark.parametrize(
    "stream",
    [
        b"retry:" + b"0" * 1_000_000 + b"x\n\n",
        b"data\n" * 200_000 + b"\n",
        b"id\n" * 300_000 + b"\n",
        b"\r" * 1_000_000,
    ],
    ids=["zeros that are no number", "lines without data", "ids", "line ends"],
)
def test_the_worst_megabyte_is_decoded(stream: bytes) -> None:
    """No time is compared: a regular expression that grows with the square would hang here."""
    assert len(decode([stream]).events) == stream.startswith(b"data")


# ── Logs ──


def test_nothing_of_the_stream_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("jamsocket", "jamsocket.sse", "sseclient"):
        caplog.set_level(logging.DEBUG, name)
    secret = b"s3cret"
    for field_ in (b"data:", b"event:", b"id:", b"retry:", b":", b"x:", b""):
        for more in (b"data:x\n\n", b"\n\n", b"data:" + b"x" * 60 + b"\n\n"):
            decode([field_ + secret + b"\n" + more], max_event_bytes=60)
            decode([field_ + secret + b"\xff\n" + more], last_event_id=secret.decode(), max_event_bytes=60)
    assert caplog.records  # of large events
    assert {record.name for record in caplog.records} == {"jamsocket"}
    assert "s3cret" not in caplog.text


MIB = 1 << 20
WORST = {
    "many lines": (b"data: x\n" * (MIB // 8 - 2) + b"\n", 1),
    "many empty lines": (b"data\n" * (MIB // 5 - 2) + b"\n", 1),
    "zeros that are not a number": (b"retry: " + b"0" * (MIB - 100) + b"x\n\n", 0),
    "digits that are not a number": (b"retry: " + b"1" * (MIB - 100) + b"x\n\n", 0),
    "zeros that are a number": (b"retry: " + b"0" * (MIB - 100) + b"\n\n", 0),
    "colons": (b"data" + b":" * (MIB - 100) + b"\n\n", 1),
    "spaces": (b"id:" + b" " * (MIB - 100) + b"\n\n", 0),
}


@pytest.mark.parametrize(("body", "count"), WORST.values(), ids=WORST)
def test_the_worst_events_take_linear_time(body: bytes, count: int) -> None:
    """Nothing is timed: at this size, a cost that grows with the square takes hours."""
    assert len(EventDecoder().feed(body)) == count
