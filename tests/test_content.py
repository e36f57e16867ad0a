"""Content codings, undone piece by piece: whole, in one-byte and two-byte chunks, and cut at every position."""

from __future__ import annotations

import gzip
import itertools
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jamsocket.content import ContentError, Decompressor

KIB = 1024
MIB = 1024 * KIB
PIECE = 64 * KIB

TEXT = b'data: {"state": "ready"}\n\n' * 5 + bytes(range(256))
NOISE = random.Random(0).randbytes(300 * KIB)
ENCODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}

both = pytest.mark.parametrize("coding", ["gzip", "deflate"])
all_codings = pytest.mark.parametrize("coding", ["gzip", "deflate", "identity"])


def encode(coding: str, data: bytes) -> bytes:
    return ENCODERS[coding](data) if coding in ENCODERS else data


def bomb(coding: str, size: int) -> bytes:
    """Zeros, without ever holding them."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS + (16 if coding == "gzip" else 0))
    return b"".join([*(deflate.compress(bytes(MIB)) for _ in range(size // MIB)), deflate.flush()])


def in_chunks(body: bytes, size: int) -> list[bytes]:
    return [body[begin : begin + size] for begin in range(0, len(body), size)]


def chunkings(body: bytes) -> Iterator[list[bytes]]:
    yield [body]
    yield in_chunks(body, 1)
    yield in_chunks(body, 2)
    yield [b"", *(piece for byte in in_chunks(body, 1) for piece in (byte, b""))]
    for cut in range(1, len(body)):
        yield [body[:cut], body[cut:]]


def decode(coding: str, chunks: Iterable[bytes]) -> bytes:
    decompressor = Decompressor(coding)
    pieces = [piece for chunk in chunks for piece in decompressor.feed(chunk)]
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces)


@all_codings
def test_any_chunks(coding: str) -> None:
    for chunks in chunkings(encode(coding, TEXT)):
        assert decode(coding, chunks) == TEXT


@all_codings
def test_an_empty_body(coding: str) -> None:
    assert decode(coding, []) == b""
    assert decode(coding, [b""]) == b""
    assert decode(coding, [encode(coding, b"")]) == b""


@pytest.mark.parametrize("level", range(10))
@both
def test_levels(coding: str, level: int) -> None:
    body = gzip.compress(NOISE, level) if coding == "gzip" else zlib.compress(NOISE, level)
    for size in [100, 16 * KIB, len(body)]:
        assert decode(coding, in_chunks(body, size)) == NOISE


def test_a_gzip_header_with_everything() -> None:
    """Extra field, file name, comment and header checksum."""
    header = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x03\x00abc" + b"name\0" + b"comment\0"
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    for chunks in chunkings(header + gzip.compress(TEXT)[10:]):
        assert decode("gzip", chunks) == TEXT


@both
def test_what_is_flushed_is_given_at_once(coding: str) -> None:
    """A stream of events: each is there when its chunk is, not when the body ends."""
    deflate = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if coding == "gzip" else 0))
    decompressor = Decompressor(coding)
    for number in range(100):
        text = b"data: %d\n\n" % number
        chunk = deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decompressor.feed(chunk)) == text


@all_codings
@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1, 5 * PIECE])
def test_pieces_are_bounded(coding: str, size: int) -> None:
    """`decode` looks at each piece's size; here at the sizes where the last piece is just full, or just not."""
    for data in [bytes(size), NOISE[:size].ljust(size, b"x")]:
        assert decode(coding, [encode(coding, data)]) == data


@both
def test_a_bomb_is_given_piece_by_piece(coding: str) -> None:
    """256 MiB in one chunk: never more than a little of it in memory, whether all of it is read or only its start."""
    body = bomb(coding, 256 * MIB)
    assert len(body) < MIB
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in Decompressor(coding).feed(body)]
        pieces = Decompressor(coding).feed(body)
        assert next(pieces) == bytes(PIECE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 256 * MIB
    assert max(sizes) <= PIECE
    assert peak < 8 * MIB


@pytest.mark.parametrize(
    ("name", "coding"),
    [
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        (" gzip ", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, identity", "gzip"),
        (",gzip,,", "gzip"),
        ("deflate", "deflate"),
        ("DEFLATE", "deflate"),
        ("", "identity"),
        (" ", "identity"),
        (",", "identity"),
        ("identity", "identity"),
        ("Identity, identity", "identity"),
    ],
)
def test_names(name: str, coding: str) -> None:
    assert decode(name, [encode(coding, TEXT)]) == TEXT


@pytest.mark.parametrize(
    "name", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "br, gzip", "deflate, gzip", "gzip;q=1", "utf-8", "*"]
)
def test_an_unknown_coding(name: str) -> None:
    with pytest.raises(ContentError, match="content encoding") as caught:
        Decompressor(name)
    assert name in str(caught.value)


def test_the_name_of_an_unknown_coding_is_cut_and_escaped() -> None:
    with pytest.raises(ContentError) as caught:
        Decompressor("x\n\x1b[31m" * 1000)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


CORRUPT = {
    "plain text": lambda body: TEXT,
    "its first byte": lambda body: b"\0" + body[1:],
    "its second byte": lambda body: body[:1] + b"\xff" + body[2:],
    "a block of a type that does not exist": lambda body: (body[:10] if body[0] == 0x1F else body[:2]) + b"\x07" + body,
    "its checksum": lambda body: body[:-8] + bytes(byte ^ 0xFF for byte in body[-8:]),
}


@pytest.mark.parametrize("corrupt", CORRUPT.values(), ids=CORRUPT)
@both
def test_corrupt_data(coding: str, corrupt: Callable[[bytes], bytes]) -> None:
    body = corrupt(encode(coding, TEXT))
    for chunks in chunkings(body):
        with pytest.raises(ContentError, match="content encoding") as caught:
            decode(coding, chunks)
        assert caught.value.__cause__ is None
        assert "ready" not in str(caught.value)


def test_corrupt_length() -> None:
    body = gzip.compress(TEXT)
    for chunks in chunkings(body[:-4] + b"\0\0\0\0"):
        with pytest.raises(ContentError):
            decode("gzip", chunks)


@both
def test_no_byte_may_be_wrong(coding: str) -> None:
    """With a byte changed, the body is refused, or (in a header's field that says nothing) still the same."""
    body = encode(coding, TEXT)
    for position in range(len(body)):
        for mask in [0x01, 0x80, 0xFF]:
            changed = body[:position] + bytes([body[position] ^ mask]) + body[position + 1 :]
            try:
                got = decode(coding, [changed])
            except ContentError:
                continue
            # A changed length may make it wait for more, as at a cut body: then what came is not all of it.
            assert got == TEXT or TEXT.startswith(got[: len(got) // 2])


@both
def test_what_comes_before_the_corruption_is_given(coding: str) -> None:
    deflate = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if coding == "gzip" else 0))
    decompressor = Decompressor(coding)
    assert b"".join(decompressor.feed(deflate.compress(TEXT) + deflate.flush(zlib.Z_SYNC_FLUSH))) == TEXT
    with pytest.raises(ContentError):
        list(decompressor.feed(b"\x07\xff\xff"))


@both
def test_a_truncated_body_gives_what_there_is(coding: str) -> None:
    """A cut is the connection's error to report, not the coding's: of a stream every flushed event counts."""
    body = encode(coding, TEXT)
    for end in range(len(body)):
        for chunks in [[body[:end]], in_chunks(body[:end], 1)]:
            assert TEXT.startswith(decode(coding, chunks))
    assert decode(coding, [body[:2]]) == b""


@both
def test_nothing_behind_the_end_is_data(coding: str) -> None:
    """Padding behind the end: refused or ignored, but never taken for data."""
    body = encode(coding, TEXT) + bytes(20)
    for chunks in chunkings(body):
        try:
            assert decode(coding, chunks) == TEXT
        except ContentError:
            continue


@both
def test_memory_behind_the_end_is_bounded(coding: str) -> None:
    """A body that goes on for 64 MiB behind its compressed data."""
    decompressor = Decompressor(coding)
    chunk = b"x" * PIECE
    tracemalloc.start()
    try:
        assert b"".join(decompressor.feed(encode(coding, TEXT))) == TEXT
        for _ in range(1024):
            try:
                assert list(decompressor.feed(chunk)) == []
            except ContentError:
                break  # to refuse it is just as good
            assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_members() -> None:
    """RFC 1952 §2.2: a gzip body may be several, one behind the other; no part of it may vanish without an error."""
    for chunks in chunkings(gzip.compress(TEXT) + gzip.compress(b"second")):
        assert decode("gzip", chunks) == TEXT + b"second"


@settings(deadline=None)
@given(
    st.sampled_from(["gzip", "deflate", "identity"]),
    st.lists(st.binary(max_size=300), max_size=10),
    st.lists(st.integers(0, 1 << 16), max_size=20),
    st.integers(0, 9),
    st.sampled_from([zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]),
)
def test_round_trip(coding: str, parts: list[bytes], positions: list[int], level: int, flush: int) -> None:
    data = body = b"".join(parts)
    if coding != "identity":
        deflate = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS + (16 if coding == "gzip" else 0))
        body = b"".join([*(deflate.compress(part) + deflate.flush(flush) for part in parts), deflate.flush()])
    bounds = [0, *sorted(position % (len(body) + 1) for position in positions), len(body)]
    assert decode(coding, [body[begin:end] for begin, end in itertools.pairwise(bounds)]) == data
