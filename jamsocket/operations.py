"""One endpoint, one description: arguments -> request, response -> typed result. No I/O.

The requests come from the generated client's builders and the results are its models, so the spec decides both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs
from jamsocket_api.api.backends import connect, connect_environment, get_status, stream_status, terminate
from jamsocket_api.models import TerminateRequest

from .clock import Clock
from .config import Config
from .errors import HTTPError, InvalidResponseError, http_error
from .messages import Answer, Request
from .requests import ConnectResponse, connect_body, parse_connect_response, to_json
from .states import BackendState, parse_state

T = TypeVar("T")


@attrs.frozen
class Operation(Generic[T]):
    """One call: what is sent, and what its answer means."""

    request: Request
    parse: Callable[[Answer], T]
    """Turns the answer into the result, or raises `HTTPError` or `InvalidResponseError`."""


class Operations:
    """The operations of the API, for one configuration."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock

    def connect(self, request: object, options: Mapping[str, object]) -> Operation[ConnectResponse]:
        body = connect_body(request, options)
        config = self._config
        if config.environment is None:
            arguments = connect.request_kwargs(config.account, config.service, body=body)
        else:
            arguments = connect_environment.request_kwargs(
                config.account, config.service, config.environment, body=body
            )
        # Without a key every request that arrives may spawn another backend; with one, it finds the first's.
        sent = self.request(arguments, idempotent=body.key is not None)
        return Operation(sent, self._json(parse_connect_response))

    def status(self, backend_id: str) -> Operation[BackendState]:
        arguments = get_status.request_kwargs(check_backend_id(backend_id))
        return Operation(self.request(arguments, idempotent=True), self._json(parse_state))

    def status_stream(self, backend_id: str, last_event_id: str) -> Request:
        request = self.request(stream_status.request_kwargs(check_backend_id(backend_id)), idempotent=True)
        headers = {**request.headers, "Accept": "text/event-stream", "Cache-Control": "no-store"}
        if is_header_value(last_event_id):
            headers["Last-Event-ID"] = last_event_id
        return attrs.evolve(request, headers=headers)

    def terminate(self, backend_id: str, hard: bool) -> Operation[None]:
        body = TerminateRequest(hard=True) if hard else TerminateRequest()
        arguments = terminate.request_kwargs(check_backend_id(backend_id), body=body)
        return Operation(self.request(arguments, idempotent=True), self._parse_terminated)

    def request(self, arguments: Mapping[str, Any], *, idempotent: bool) -> Request:
        """The request that a generated builder describes."""
        has_body = "json" in arguments
        return Request(
            method=arguments["method"].upper(),
            url=self._config.api_url + arguments["url"],
            content=to_json(arguments["json"]) if has_body else b"",
            headers={"Content-Type": "application/json"} if has_body else {},
            needs_token=arguments.get("extensions", {}).get("requires_security", False),
            idempotent=idempotent,
        )

    def _json(self, parse: Callable[[object], T]) -> Callable[[Answer], T]:
        def parse_answer(answer: Answer) -> T:
            self._raise_for_status(answer)
            try:
                return parse(json.loads(answer.body.decode("utf-8-sig")))
            except UnicodeDecodeError:
                problem = "its body is not UTF-8"
            except json.JSONDecodeError:
                problem = "its body is not JSON"
            except RecursionError:
                problem = "its JSON is nested too deep"
            except ValueError as error:
                problem = str(error)
            raise InvalidResponseError(problem, answer)

        return parse_answer

    def _parse_terminated(self, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            self._json(_expect_object)(answer)
            return
        error = self._error(answer)
        if error.error_code != "BackendNotRunning":
            raise error

    def _raise_for_status(self, answer: Answer) -> None:
        if not 200 <= answer.status < 300:
            raise self._error(answer)

    def _error(self, answer: Answer) -> HTTPError:
        return http_error(answer, now=self._clock.time_of_day(), secret=self._config.token)


# What can be sent and is taken: visible ASCII with blanks only inside, and not so long that a server refuses it.
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")


def is_header_value(text: str) -> bool:
    """Whether an event's id can be sent back; without it the server tells everything again, and repeats are dropped."""
    return _HEADER_VALUE.fullmatch(text) is not None


def check_backend_id(backend_id: object) -> str:
    """The id, if it can be part of a URL's path.

    Raises:
        TypeError: if it is not a string.
        ValueError: if it is empty, `.` or `..`, which would name another path.
    """
    if not isinstance(backend_id, str):
        raise TypeError(f"backend_id must be a string, not {type(backend_id).__name__}.")
    if backend_id in {"", ".", ".."}:
        raise ValueError(f"backend_id must be the id of a backend, not {backend_id!r}.")
    if len(backend_id) > 512:
        raise ValueError(f"backend_id has {len(backend_id)} characters; no id is that long.")
    try:
        backend_id.encode()
    except UnicodeEncodeError:
        raise ValueError("backend_id contains a lone surrogate, which is not text.") from None
    return backend_id


def _expect_object(data: object) -> None:
    if not isinstance(data, Mapping):
        raise ValueError("it is not a JSON object")
