"""One endpoint, one description: arguments -> request, response -> typed result. No I/O.

The requests come from the generated client's builders and the results are its models, so the spec decides both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
from jamsocket_api import models
from jamsocket_api.api import account, backends, services

from .clock import Clock
from .config import Config
from .errors import HTTPError, InvalidResponseError, http_error
from .messages import Answer, Request, is_header_value
from .states import parse_state

if TYPE_CHECKING:
    from .backend_state import BackendState
    from .requests import ConnectResponse
    from .results import Model

T = TypeVar("T")
M = TypeVar("M", bound="Model")


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
        from .requests import connect_body, parse_connect_response

        body = connect_body(request, options)
        config = self._config
        if config.environment is None:
            arguments = backends.connect.request_kwargs(config.account, config.service, body=body)
        else:
            arguments = backends.connect_environment.request_kwargs(
                config.account, config.service, config.environment, body=body
            )
        # Without a key every request that arrives may spawn another backend; with one, it finds the first's.
        sent = self.request(arguments, idempotent=body.key is not None)
        return Operation(sent, self._json(parse_connect_response))

    def status(self, backend_id: str) -> Operation[BackendState]:
        arguments = backends.get_status.request_kwargs(check_backend_id(backend_id))
        return Operation(self.request(arguments, idempotent=True), self._json(parse_state))

    def status_stream(self, backend_id: str, last_event_id: str) -> Request:
        return self._events(backends.stream_status.request_kwargs(check_backend_id(backend_id)), last_event_id)

    def log_stream(self, backend_id: str, last_event_id: str) -> Request:
        return self._events(backends.stream_logs.request_kwargs(check_backend_id(backend_id)), last_event_id)

    def metrics_stream(self, backend_id: str, last_event_id: str) -> Request:
        return self._events(backends.stream_metrics.request_kwargs(check_backend_id(backend_id)), last_event_id)

    def terminate(self, backend_id: str, hard: bool) -> Operation[None]:
        body = models.TerminateRequest(hard=True) if hard else models.TerminateRequest()
        arguments = backends.terminate.request_kwargs(check_backend_id(backend_id), body=body)
        return Operation(self.request(arguments, idempotent=True), self._parse_terminated)

    def backends(self) -> Operation[list[models.RunningBackend]]:
        arguments = backends.list_backends.request_kwargs(self._config.account)
        return self._get(arguments, lambda data: _parse(models.RunningBackendList, data).running_backends)

    def backend_info(self, backend_id: str) -> Operation[models.BackendInfo]:
        return self._get(backends.get_backend.request_kwargs(check_backend_id(backend_id)), _as(models.BackendInfo))

    def services(self) -> Operation[list[str]]:
        arguments = services.list_services.request_kwargs(self._config.account)
        return self._get(arguments, lambda data: _parse(models.ServiceList, data).services)

    def service_info(self, service: str | None) -> Operation[models.ServiceInfo]:
        return self._get(
            services.get_service.request_kwargs(self._config.account, self._service(service)), _as(models.ServiceInfo)
        )

    def images(self, service: str | None) -> Operation[list[models.Image]]:
        arguments = services.list_images.request_kwargs(self._config.account, self._service(service))
        return self._get(arguments, lambda data: _parse(models.ImageList, data).images)

    def auth_info(self) -> Operation[models.AuthInfo]:
        return self._get(account.check_auth.request_kwargs(), _as(models.AuthInfo))

    def create_service(self, name: str) -> Operation[None]:
        body = models.CreateServiceRequest(name=check_name("name", name))
        # Repeated after an answer that was lost, it would say that the name is taken: by whom, nobody could tell.
        return self._do(services.create_service.request_kwargs(self._config.account, body=body), idempotent=False)

    def delete_service(self, service: str) -> Operation[None]:
        arguments = services.delete_service.request_kwargs(self._config.account, check_name("service", service))
        # Repeated, it could delete another service: one that was created under the name in between.
        return self._do(arguments, idempotent=False)

    def use_image(self, tag: str, service: str | None, environment: str | None) -> Operation[None]:
        config = self._config
        body = models.UseImageRequest(image_tag=check_name("tag", tag, is_path=False))
        if environment is None and service is None:
            environment = config.environment
        if environment is None:
            arguments = services.use_image.request_kwargs(config.account, self._service(service), body=body)
        else:
            arguments = services.use_image_in_environment.request_kwargs(
                config.account, self._service(service), check_name("environment", environment), body=body
            )
        # It says what shall be, not what shall change: twice is the same as once.
        return self._do(arguments, idempotent=True)

    def _service(self, name: str | None) -> str:
        return self._config.service if name is None else check_name("service", name)

    def _get(self, arguments: Mapping[str, Any], read: Callable[[object], T]) -> Operation[T]:
        return Operation(self.request(arguments, idempotent=True), self._json(read))

    def _do(self, arguments: Mapping[str, Any], *, idempotent: bool) -> Operation[None]:
        return Operation(self.request(arguments, idempotent=idempotent), self._json(_expect_object))

    def _events(self, arguments: Mapping[str, Any], last_event_id: str) -> Request:
        request = self.request(arguments, idempotent=True)
        headers = {**request.headers, "Accept": "text/event-stream", "Cache-Control": "no-store"}
        if is_header_value(last_event_id):
            headers["Last-Event-ID"] = last_event_id
        return attrs.evolve(request, headers=headers)

    def request(self, arguments: Mapping[str, Any], *, idempotent: bool) -> Request:
        """The request that a generated builder describes."""
        content, headers = b"", dict[str, str]()
        if "json" in arguments:
            from .requests import to_json

            content, headers = to_json(arguments["json"]), {"Content-Type": "application/json"}
        return Request(
            method=arguments["method"].upper(),
            url=self._config.api_url + arguments["url"],
            content=content,
            headers=headers,
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


def check_backend_id(backend_id: object) -> str:
    """The id, if it can be part of a URL's path.

    Raises:
        TypeError: if it is not a string.
        ValueError: if it is empty, `.` or `..`, which would name another path.
    """
    return check_name("backend_id", backend_id, "the id of a backend")


def check_name(argument: str, value: object, what: str = "a name", *, is_path: bool = True) -> str:
    """The value of an argument, if it can be a name, and part of a URL's path; raises as `check_backend_id` does."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, not {type(value).__name__}.")
    if not value or (is_path and value in {".", ".."}):
        raise ValueError(f"{argument} must be {what}, not {value!r}.")
    if len(value) > 512:
        raise ValueError(f"{argument} has {len(value)} characters; none is that long.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{argument} contains a lone surrogate, which is not text.") from None
    return value


def _parse(cls: type[M], data: object) -> M:
    from .results import parse

    return parse(cls, data)


def _as(cls: type[M]) -> Callable[[object], M]:
    return lambda data: _parse(cls, data)


def _expect_object(data: object) -> None:
    if not isinstance(data, Mapping):
        raise ValueError("it is not a JSON object")
