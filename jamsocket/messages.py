"""HTTP requests and responses as plain data. Their bodies and headers may hold tokens, so no repr shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from ._version import __version__

STANDARD_HEADERS: Mapping[str, str] = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"jamsocket-python/{__version__}",
}
"""What every request says of itself, unless it says something else."""


@frozen
class Request:
    """One request, without its token: the transport adds that, to the requests that need it."""

    method: str
    url: str
    content: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    needs_token: bool = False
    idempotent: bool = False


@frozen
class Answer:
    """One complete response."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    reason: str = ""


@frozen
class Head:
    """A response whose body is still to be read."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    reason: str = ""
    content_coding: str = ""

    def answer(self, body: bytes = b"") -> Answer:
        """The whole response, once its body is known."""
        return Answer(self.method, self.url, self.status, self.headers, body, self.reason)

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_event_stream(self) -> bool:
        return self.status == 200 and self.media_type == "text/event-stream"


# What can be sent and is taken: visible ASCII with blanks only inside, and not so long that a server refuses it.
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")


def is_header_value(text: str) -> bool:
    """Whether an event's id can be sent back; without it the server tells everything again, and repeats are dropped."""
    return _HEADER_VALUE.fullmatch(text) is not None
