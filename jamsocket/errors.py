"""The errors this SDK raises, and which response becomes which error.

JamsocketError
├── ConfigError (ValueError)         the client cannot be built from these arguments or variables
├── HTTPError                        the API answered with a status that is not a success
│   ├── BadRequestError              400
│   ├── AuthenticationError          401, 407
│   ├── PermissionDeniedError        403
│   ├── NotFoundError                404
│   ├── ConflictError                409
│   ├── RateLimitError               429
│   └── ServerError                  5xx
├── TransportError                   no answer: refused, reset, DNS, TLS
│   └── RequestTimeoutError (TimeoutError)
├── InvalidResponseError             an answer that is not what the contract says
├── BackendTerminatedError           the backend ended (or is ending) instead of getting ready
└── WaitTimeoutError (TimeoutError)  the backend was not ready in time

Arguments of a wrong type or with an unknown name are a `TypeError`, values that cannot be used (an empty id,
NaN) a `ValueError`, both before anything is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .messages import Answer, Request
from .secret import Secret

if TYPE_CHECKING:
    from jamsocket_api.models import TerminatedState

    from .backend_state import BackendState

MAX_ERROR_BODY = 64 * 1024
"""How much of an error's body is kept, in bytes."""

_MAX_MESSAGE = 500


class JamsocketError(Exception):
    """The base of every error of this SDK."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Exceptions are pickled as cls(*args), which fits none whose constructor takes keywords.
        return _restore, (type(self), self.args, self.__dict__.copy())


def _restore(cls: type[JamsocketError], args: tuple[Any, ...], attributes: dict[str, Any]) -> JamsocketError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigError(JamsocketError, ValueError):
    """The client cannot be built: an argument or an environment variable is missing or malformed.

    Attributes:
        problems: one sentence for each thing that is wrong; all of them, not only the first.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class HTTPError(JamsocketError):
    """The API answered with a status that is not a success.

    Attributes:
        code: the HTTP status, for example 404.
        reason: the status in words, for example "Not Found".
        message: what the server said is wrong; `reason` if it said nothing.
        error_code: the server's name for the error, for example "KeyHeld", or None.
        error_id: the server's id of this occurrence, worth quoting to support, or None.
        body: the response's body, at most its first 64 KiB.
        headers: the response's headers; names are case-insensitive.
        method, url: the request that was answered so.
        retry_after: how long the server asked to wait, in seconds, or None.
    """

    def __init__(self, answer: Answer, *, now: float, secret: Secret | None = None) -> None:
        self.code = answer.status
        self.reason = _without(secret, one_line(answer.reason)) or _reason(answer.status)
        self.body = answer.body[:MAX_ERROR_BODY]
        self.headers = answer.headers
        self.method = answer.method
        self.url = answer.url
        self.retry_after = retry_after(answer.headers, now)
        said = _read_error_body(self.body)
        self.message = _without(secret, said.message) or self.reason
        self.error_code = said.code
        self.error_id = said.id
        super().__init__(self._describe())

    def _describe(self) -> str:
        text = f"{self.method} {self.url}: {self.code} {self.reason}"
        if self.message != self.reason:
            text += f": {self.message}"
        details = [self.error_code, self.error_id and f"id {self.error_id}"]
        if any(details):
            text += f" ({', '.join(detail for detail in details if detail)})"
        if hint := self._hint():
            text += f". {hint}"
        return text

    def _hint(self) -> str:
        if 300 <= self.code < 400:
            return "Redirects are never followed: set api_url to the address the API really has."
        return ""


class BadRequestError(HTTPError):
    """400: the API does not accept the request as it is."""


class AuthenticationError(HTTPError):
    """401 or 407: the token is missing, wrong or no longer valid."""

    def _hint(self) -> str:
        if self.code == 407:
            return "A proxy wants credentials: check HTTPS_PROXY and HTTP_PROXY."
        return "Check the token (JAMSOCKET_TOKEN) and that it belongs to the account."


class PermissionDeniedError(HTTPError):
    """403: the token is valid, but not for this."""


class NotFoundError(HTTPError):
    """404: there is no such backend, service or account."""


class ConflictError(HTTPError):
    """409: the state of things forbids it; `error_code` says why (for example "KeyUnheldNoSpawnConfig")."""


class RateLimitError(HTTPError):
    """429: too many requests; `retry_after` says when to come back, if the server does."""


class ServerError(HTTPError):
    """5xx: the API failed."""


class TransportError(JamsocketError):
    """There was no answer: refused, reset, no such host, TLS failure.

    The cause is what the socket, the TLS layer or h11 raised; with an `http_client` or a proxy, the httpx error.

    Attributes:
        method, url: the request that got no answer.
        request_sent: False if the connection was never made, so that the server surely did not see the request.
        retryable: False if trying again cannot help, as with a certificate that is not trusted.
    """

    def __init__(
        self, message: str, *, method: str, url: str, request_sent: bool = True, retryable: bool = True
    ) -> None:
        self.method = method
        self.url = url
        self.request_sent = request_sent
        self.retryable = retryable
        super().__init__(f"{method} {url}: {message}")

    @classmethod
    def closed(cls, request: Request) -> TransportError:
        """For a request that ended because its own side closed the connection."""
        return cls("the connection was closed", method=request.method, url=request.url, retryable=False)


class RequestTimeoutError(TransportError, TimeoutError):
    """The API did not answer within `timeout`."""


class InvalidResponseError(JamsocketError):
    """The API answered with success, but not with what the contract says.

    Attributes:
        body: the response's body, at most its first 64 KiB. It may hold tokens.
        method, url: the request that was answered so.
    """

    def __init__(self, problem: str, answer: Answer) -> None:
        self.body = answer.body[:MAX_ERROR_BODY]
        self.method = answer.method
        self.url = answer.url
        super().__init__(
            f"{answer.method} {answer.url}: the answer ({answer.status}) is not what the API promises: {problem}. "
            "Does api_url lead to the Jamsocket API?"
        )


class BackendTerminatedError(JamsocketError):
    """The backend ended instead of getting ready; connect again to get another.

    Attributes:
        state: its last state, a `TerminatedState` with the reason, where the platform gives one.
        backend_id: the backend.
    """

    def __init__(self, backend_id: str, state: TerminatedState) -> None:
        self.backend_id = backend_id
        self.state = state
        reason = one_line(state.termination_reason or "")
        super().__init__(
            f"Backend {one_line(backend_id)} is terminated ({reason or 'no reason given'}"
            f"{', its process exited with an error' if state.exit_error else ''}). Connect again to get another."
        )


class WaitTimeoutError(JamsocketError, TimeoutError):
    """The backend was not ready in time. It may still become so: nothing was stopped.

    Attributes:
        backend_id: the backend.
        timeout: how long was waited, in seconds.
        state: the last state that was seen, or None.
    """

    def __init__(self, backend_id: str, timeout: float, state: BackendState | None) -> None:
        self.backend_id = backend_id
        self.timeout = timeout
        self.state = state
        seen = f"its last status was {state.status!r}" if state else "no status was seen"
        super().__init__(f"Backend {one_line(backend_id)} was not ready within {timeout:g} s; {seen}.")


_BY_STATUS: dict[int, type[HTTPError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    407: AuthenticationError,
    409: ConflictError,
    429: RateLimitError,
}


def http_error(answer: Answer, *, now: float, secret: Secret | None = None) -> HTTPError:
    """The error for a response that is not a success; `now` is the time of day in epoch seconds.

    Where the server's words repeat the secret, they are shown without it.
    """
    cls = ServerError if answer.status >= 500 else _BY_STATUS.get(answer.status, HTTPError)
    return cls(answer, now=now, secret=secret)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait according to `Retry-After` (seconds or a date), or None if it is absent or unreadable."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    if not value:
        return None
    from email.utils import parsedate_to_datetime  # here, because few answers have one, and it brings much along

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _reason(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown status"


class _Said(NamedTuple):
    message: str = ""
    code: str | None = None
    id: str | None = None


def _read_error_body(body: bytes) -> _Said:
    """What an error body says, in any of the three forms that servers send, or in none of them.

    The hosted service: ``{"error": {"message", "status", "code", "id"}}``. The engine:
    ``{"id", "kind", "message"}``. The official dev server: plain text that ends with the engine's JSON.
    """
    text = body.decode("utf-8", "replace").strip()
    start = text.find("{")
    found: object = None
    if start >= 0:
        try:
            found = json.loads(text[start:])
        except (ValueError, RecursionError):
            found = None
    if isinstance(found, dict):
        whole = cast("dict[str, object]", found)
        envelope = whole.get("error", whole)
        if isinstance(envelope, dict):
            fields = cast("dict[str, object]", envelope)
            message, code, id_ = (_line(fields.get(name)) for name in ("message", "code", "id"))
            return _Said(message or "", code or _line(fields.get("kind")), id_)
        if isinstance(envelope, str):
            return _Said(_line(envelope) or "")
        return _Said()
    # An HTML page says nothing that a log line should repeat.
    return _Said() if text.startswith("<") else _Said(_line(text) or "")


def _without(secret: Secret | None, text: str) -> str:
    """Many an API says "Invalid token: …", and many an application logs the error."""
    # A token of a few characters is none; what it happens to occur in must stay legible.
    if secret is None or len(secret.reveal()) < 8:
        return text
    return text.replace(secret.reveal(), "…")


def one_line(text: str) -> str:
    """What a server said, as one printable line of bounded length."""
    return _line(text) or ""


def _line(value: object) -> str | None:
    """One printable line of bounded length from what a server sent, or None if that is not text."""
    if not isinstance(value, str):
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in value[: 4 * _MAX_MESSAGE]).split())
    return line if len(line) <= _MAX_MESSAGE else line[:_MAX_MESSAGE] + "…"
