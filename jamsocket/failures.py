"""No answer: refused, reset, no such host, TLS, too late, not HTTP. Which of our errors that is, and what it says."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TypeVar

from .errors import RequestTimeoutError, TransportError, one_line
from .messages import Request

E = TypeVar("E", bound=BaseException)


class Phase(StrEnum):
    """How far a request had got, in the words for one that got no further."""

    POOL = "no free connection in the http_client's pool"
    CONNECT = "no connection"
    WRITE = "the request could not be sent"
    READ = "no answer"


def no_answer(
    error: Exception,
    request: Request,
    *,
    phase: Phase,
    timeout: float | None,
    is_late: bool,
    is_sent: bool,
    retryable: bool = True,
) -> TransportError:
    """Our error for what a socket, or a library above it, raised.

    `timeout` is the limit that was set, in seconds, and `is_late` whether it was passed.
    """
    if is_late:
        within = "in time" if timeout is None else f"within {timeout:g} s"
        return RequestTimeoutError(
            f"{phase} {within}", method=request.method, url=request.url, request_sent=is_sent, retryable=retryable
        )
    what = one_line(str(error)) or type(error).__name__
    message = f"no answer ({what})"
    if _is_untrusted(error):
        message = f"the server's certificate is not trusted ({what}). Set SSL_CERT_FILE if it is signed by your own CA"
        retryable = False
    return TransportError(message, method=request.method, url=request.url, request_sent=is_sent, retryable=retryable)


def _is_untrusted(error: BaseException | None) -> bool:
    ssl = sys.modules.get("ssl")  # if nobody has loaded it, it has raised nothing
    while ssl is not None and error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def without_traceback(error: E) -> E:
    """The same error without the frames it came through: their local variables hold headers, so the token."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
