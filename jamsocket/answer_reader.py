"""A response's body, collected: bounded in size, in time and in what decompression may make of it. No I/O."""

from __future__ import annotations

from .clock import Clock
from .content import ContentError, Decompressor
from .errors import MAX_ERROR_BODY, InvalidResponseError, RequestTimeoutError
from .messages import Answer, Head

MAX_BODY = 16 * 1024 * 1024
"""The largest successful answer that is read, in bytes; the API's own are a few hundred."""


class AnswerReader:
    """Collects the body of one response.

    An error's body is cut at 64 KiB and may be incomplete, because the status already says what happened. A success
    has to be whole.
    """

    def __init__(self, head: Head, timeout: float, clock: Clock) -> None:
        self._head = head
        self._timeout = timeout
        self._clock = clock
        self._deadline = clock.monotonic() + timeout
        self._limit = MAX_BODY if head.is_success else MAX_ERROR_BODY
        self._body = bytearray()
        self._problem = ""
        self._is_late = False
        self._decompressor: Decompressor | None = None
        try:
            self._decompressor = Decompressor(head.content_coding)
        except ContentError as error:
            self._problem = str(error)

    @property
    def time_left(self) -> float:
        """Seconds until the body should be whole."""
        return self._deadline - self._clock.monotonic()

    def feed(self, chunk: bytes | None) -> bool:
        """Takes a chunk, or None for the end; True if no more is wanted."""
        if self._decompressor is None or chunk is None:
            return True
        try:
            for piece in self._decompressor.feed(chunk):
                self._body += piece
                if len(self._body) > self._limit:
                    del self._body[self._limit :]
                    self._problem = f"it is larger than {self._limit} bytes"
                    return True
        except ContentError as error:
            self._problem = str(error)
            return True
        self._is_late = self._clock.monotonic() > self._deadline
        return self._is_late

    @property
    def must_be_whole(self) -> bool:
        """Whether a connection that fails before the body's end makes the answer useless."""
        return self._head.is_success

    def answer(self) -> Answer:
        """The response with what was collected; raises for a success that is not usable."""
        answer = self._head.answer(bytes(self._body))
        if self._head.is_success:
            if self._problem:
                raise InvalidResponseError(self._problem, answer)
            if self._is_late:
                message = f"the answer was not complete after {self._timeout:g} s"
                raise RequestTimeoutError(message, method=answer.method, url=answer.url)
            if self._decompressor is not None and not self._decompressor.is_complete:
                raise InvalidResponseError("its compressed body is cut short", answer)
        return answer
