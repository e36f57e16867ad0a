"""One input of the fuzzer: what must hold of any bytes that a server may send.

The first four bytes choose how the rest is served and cut; the rest is the body. `tests/fuzz/test_corpus.py` replays
the corpus through the same function, without the fuzzer.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from datetime import datetime

from jamsocket.backend_state import UnknownState
from jamsocket.content import ContentError, Decompressor
from jamsocket.sse import MAX_EVENT_BYTES, EventDecoder, ServerSentEvent
from jamsocket.states import MalformedStateError, parse_state
from tests.fuzz.reference import interpret

LIMITS = [MAX_EVENT_BYTES, MAX_EVENT_BYTES, 40, 9]
LAST_IDS = ["", "", "7", "ü"]
PIECE = 64 * 1024
MAX_INFLATED = 1 << 18


class Disagreement(AssertionError):
    """Something that must hold does not."""


def check(data: bytes) -> None:
    """Raises if anything is wrong with how this input is decoded."""
    if len(data) < 4:
        return
    coding, choice, seed, level = data[0] % 4, data[1], data[2], data[3] % 10
    body = data[4:]
    if coding == 3:  # whatever the bytes are, they are said to be compressed
        body = _check_corrupt(body, seed)
    elif coding:
        compressor = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS + (16 if coding == 1 else 0))
        _check_compressed(["", "gzip", "deflate"][coding], compressor.compress(body) + compressor.flush(), body, seed)
    _check_stream(body, seed, LIMITS[choice % 4], LAST_IDS[choice // 4 % 4])


def chunkings(body: bytes, seed: int) -> Iterator[list[bytes]]:
    """In ones and in twos, then in random pieces, with empty ones between."""
    if len(body) <= 4096:
        yield [body[i : i + 1] for i in range(len(body))]
        yield [body[:1], *(body[i : i + 2] for i in range(1, len(body), 2))]
    dice = random.Random(seed)
    for _ in range(2):
        cuts = sorted(dice.choices(range(len(body) + 1), k=dice.randint(1, 8)))
        yield [body[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


Outcome = tuple[list[ServerSentEvent], str, int | None]


def decode(chunks: list[bytes], limit: int, last_event_id: str) -> Outcome:
    decoder = EventDecoder(last_event_id, max_event_bytes=limit)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events, decoder.last_event_id, decoder.retry


def _check_stream(body: bytes, seed: int, limit: int, last_event_id: str) -> None:
    whole = decode([body], limit, last_event_id)
    for chunks in chunkings(body, seed):
        _agree("chunks", decode(chunks, limit, last_event_id), whole)
    model = interpret(body, last_event_id, limit)
    events, last_id, retry = whole
    _agree("the standard's events", [(event.event, event.data, event.id) for event in events], model.events)
    _agree("the standard's last id", last_id, model.last_event_id)
    _agree("the standard's retry", retry, model.retry)
    for event in events:
        _check_state(event.data)


def _check_state(data: str) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        state = parse_state(value)
    except MalformedStateError as error:
        if len(str(error)) > 200:
            raise Disagreement(f"a long message: {error}") from None
        return
    if isinstance(state, UnknownState):
        _agree("an unknown state's JSON", state.to_dict()["status"], value["status"])
        return
    if state.time.tzinfo is None:
        raise Disagreement(f"a naive time: {state.time}")
    try:
        state.time.astimezone(tz=None)
    except (OverflowError, ValueError):
        return  # known: test_hostile.py, "a time at the edge of the calendar"
    if state.time.year in {1, 9999}:
        return
    again = parse_state(json.loads(json.dumps(state.to_dict())))
    _agree("a state's JSON", (again.status, again.time), (state.status, state.time))
    if not isinstance(again.time, datetime):
        raise Disagreement("no time")


def _check_compressed(coding: str, compressed: bytes, body: bytes, seed: int) -> None:
    for chunks in ([compressed], *chunkings(compressed, seed)):
        decompressor = Decompressor(coding)
        pieces = [piece for chunk in chunks for piece in decompressor.feed(chunk)]
        if any(not 0 < len(piece) <= PIECE for piece in pieces):
            raise Disagreement(f"pieces of {[len(piece) for piece in pieces]} bytes")
        _agree(f"{coding} body", b"".join(pieces), body)
        _agree(f"{coding} is complete", decompressor.is_complete, True)


def _check_corrupt(compressed: bytes, seed: int) -> bytes:
    """Whatever comes out of bytes that may be no compressed data at all."""
    whole, whole_failed, whole_complete = _inflate([compressed])
    for chunks in chunkings(compressed, seed):
        pieces, failed, complete = _inflate(chunks)
        if len(whole) >= MAX_INFLATED or len(pieces) >= MAX_INFLATED:
            break
        _agree("whether corrupt data is refused", failed, whole_failed)
        if failed:
            # How much comes out before the error depends on the cuts; what comes out does not.
            longer, shorter = sorted([pieces, whole], key=len, reverse=True)
            _agree("what comes before an error", longer[: len(shorter)], shorter)
        else:
            _agree("inflated", (pieces, complete), (whole, whole_complete))
    return whole[:4096]


def _inflate(chunks: list[bytes]) -> tuple[bytes, bool, bool]:
    decompressor = Decompressor("gzip")
    out = bytearray()
    try:
        for chunk in chunks:
            for piece in decompressor.feed(chunk):
                out += piece
                if len(out) >= MAX_INFLATED:
                    return bytes(out), False, False
    except ContentError:
        return bytes(out), True, False
    return bytes(out), False, decompressor.is_complete


def _agree(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise Disagreement(f"{what}: {got!r:.500} is not {expected!r:.500}")
