"""Content codings (gzip, deflate) undone piece by piece, so that a small body cannot become a huge one in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_PIECE = 64 * 1024


class ContentError(ValueError):
    """The body is not in the coding that its header names, or in one that was never asked for."""


class Decompressor:
    """Undoes a `Content-Encoding`; takes chunks as they come and gives pieces of at most 64 KiB.

    Raises:
        ContentError: for a coding other than gzip, deflate or identity, or when the bytes are not in it.
    """

    def __init__(self, coding: str) -> None:
        names = [name.strip().lower() for name in coding.split(",") if name.strip().lower() not in {"", "identity"}]
        is_known = names in (["gzip"], ["x-gzip"], ["deflate"])
        self._inflate = _inflate() if is_known else None
        if names and not is_known:
            raise ContentError(f"its content encoding {coding[:50]!r} was not asked for")

    @property
    def is_complete(self) -> bool:
        """Whether the body may end here."""
        return self._inflate is None or self._inflate.eof

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The pieces that this chunk completes."""
        if self._inflate is None:
            for start in range(0, len(chunk), _PIECE):
                yield chunk[start : start + _PIECE]
            return
        while True:
            if self._inflate.eof and chunk:
                self._inflate = _inflate()  # a body may be several compressed ones in a row
            try:
                piece = self._inflate.decompress(chunk, _PIECE)
            except zlib.error:
                raise ContentError("its bytes are not in the content encoding that its header names") from None
            chunk = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                yield piece
            # A full piece may have more behind it even when all input is consumed.
            if not chunk and len(piece) < _PIECE:
                return


def _inflate() -> zlib._Decompress:  # pyright: ignore[reportPrivateUsage]
    # 32 makes zlib find out by itself whether a gzip or a zlib header stands before the data.
    return zlib.decompressobj(zlib.MAX_WBITS | 32)
