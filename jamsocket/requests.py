"""What `connect` accepts, checked to the leaf before anything is sent, and what it returns."""

from __future__ import annotations

import difflib
import functools
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict, cast

import attrs
from jamsocket_api.models import (
    AuthData,
    ConnectRequest,
    EnvironmentVariables,
    ExecutableConfig,
    ResourceLimits,
    SpawnConfig,
)
from jamsocket_api.models import ConnectResponse as _ConnectResponse

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""Any value that JSON can express."""


class ResourceLimitsDict(TypedDict, total=False):
    """Limits of a backend's process; `ResourceLimits` as a plain dict."""

    cpu_period: int | None
    cpu_period_percent: int | None
    cpu_time_limit: int | None
    memory_limit_bytes: int | None
    disk_limit_bytes: int | None


class ExecutableDict(TypedDict, total=False):
    """How a backend's process is run; `ExecutableConfig` as a plain dict."""

    mount: str | bool | None
    env: Mapping[str, str] | None
    resource_limits: ResourceLimitsDict | ResourceLimits | None


class SpawnDict(TypedDict, total=False):
    """How a backend is spawned if there is none for the key; `SpawnConfig` as a plain dict."""

    tag: str | None
    cluster: str | None
    lifetime_limit_seconds: int | None
    max_idle_seconds: int | None
    executable: ExecutableDict | ExecutableConfig | None


class ConnectDict(TypedDict, total=False):
    """What to connect to, and as whom; `ConnectRequest` as a plain dict."""

    key: str | None
    user: str | None
    auth: Mapping[str, JSON] | None
    spawn: bool | SpawnDict | SpawnConfig | None


@attrs.define(repr=False)
class ConnectResponse(_ConnectResponse):
    """A backend, and the URL that leads to it.

    Attributes:
        url: where the browser reaches the backend. It contains the token: whoever has it is let in.
        backend_id: the backend's id, for `status`, `status_stream` and `terminate`.
        spawned: True if this call started the backend, False if it ran already.
        status: the backend's status at the time of the call.
        token: the token in `url`.
        secret_token: a second factor that the backend may ask for, or None.
        status_url: where a browser can ask for the backend's status, without any token.
        ready_url: a page that waits for the backend and then goes to it, or None.
    """

    def to_dict(self) -> dict[str, Any]:
        """The JSON that the browser libraries expect."""
        return {name: value for name, value in _ConnectResponse.to_dict(self).items() if value is not None}

    def __repr__(self) -> str:
        # url, token, secret_token and ready_url let their bearer in.
        return f"ConnectResponse(backend_id={self.backend_id!r}, spawned={self.spawned}, status={str(self.status)!r})"


def connect_body(request: object, options: Mapping[str, object]) -> ConnectRequest:
    """The request that `connect`'s arguments describe.

    Raises:
        TypeError: for an unknown field or a value of a wrong type, at any depth.
        ValueError: for a value that JSON cannot express.
    """
    if request is not None and options:
        raise TypeError("connect takes either one mapping (or ConnectRequest) or keyword arguments, not both.")
    if request is not None and not isinstance(request, Mapping | ConnectRequest):
        raise TypeError(
            f"connect takes a mapping, a ConnectRequest or keyword arguments, not {type(request).__name__}. "
            "The key is a keyword argument: connect(key=…)."
        )
    return ConnectRequest.from_dict(_check_fields(options if request is None else request, ConnectRequest, ""))


def parse_connect_response(data: object) -> ConnectResponse:
    """The response that a JSON value describes; raises `ValueError` saying what is wrong if it describes none."""
    if not isinstance(data, Mapping):
        raise ValueError("it is not a JSON object")
    fields = cast("Mapping[str, Any]", data)
    present = {name: value for name, value in fields.items() if value is not None and value != ""}
    for name in ("backend_id", "status", "token", "url", "status_url"):
        if not isinstance(present.get(name), str):
            raise ValueError(f"{name} is not a string")
    if not isinstance(present.get("spawned"), bool):
        raise ValueError("spawned is not true or false")
    for name in ("ready_url", "secret_token"):
        if not isinstance(present.get(name, ""), str):
            raise ValueError(f"{name} is not a string")
    return ConnectResponse.from_dict(present)


def to_json(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


# ── The walker: one, over the generated classes' fields, so that a field added to the spec is known here too. ──


_MAX_DEPTH = 100

# What the fields' types are called where they are declared: there, only type checkers import them.
_NESTED = {cls.__name__: cls for cls in (AuthData, EnvironmentVariables, ExecutableConfig, ResourceLimits, SpawnConfig)}


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """The type of each field of a generated class; under "*" that of fields it does not name, if it allows any."""
    resolved = typing.get_type_hints(cls, localns=_NESTED)
    hints = {field.name: resolved[field.name] for field in attrs.fields(cls) if field.init}
    if "additional_properties" in resolved:
        hints["*"] = typing.get_args(resolved["additional_properties"])[1]
    return hints


def _check_fields(value: Any, cls: type, path: str) -> dict[str, Any]:
    hints = _hints(cls)
    named = [name for name in hints if name != "*"]
    if isinstance(value, cls):
        value = {name: getattr(value, name) for name in named} | getattr(value, "additional_properties", {})
    checked: dict[str, Any] = {}
    for name, item in value.items():
        below = f"{path}.{name}" if path else str(name)
        if isinstance(name, str) and name in named:
            if item is not None:
                checked[name] = _check(item, hints[name], below)
        elif "*" in hints:
            checked[_check_text(name, f"a name in {path}")] = _check(item, hints["*"], below)
        else:
            close = difflib.get_close_matches(str(name), named, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(named)}."
            raise TypeError(f"connect: unknown field {below!r}. {hint}")
    return checked


def _check(value: object, hint: Any, path: str) -> Any:
    is_union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    arms = [arm for arm in (typing.get_args(hint) if is_union else (hint,)) if arm is not types.NoneType]
    for arm in arms:
        if arm is Any:
            return _check_json(value, path, 0)
        if typing.get_origin(arm) is dict:
            if isinstance(value, Mapping):
                return _check_json(cast("object", value), path, 0)
        elif attrs.has(arm):
            if isinstance(value, arm | Mapping):
                return _check_fields(value, arm, path)
        elif isinstance(value, arm) and (arm is bool or not isinstance(value, bool)):
            return _check_json(value, path, 0)
    raise TypeError(f"connect: {path} must be {' or '.join(map(_describe, arms))}, not {type(value).__name__}.")


def _describe(arm: Any) -> str:
    if attrs.has(arm) or typing.get_origin(arm) is dict:
        return "a mapping"
    return {str: "a string", int: "a whole number", bool: "True or False"}.get(arm, str(arm))


def _check_json(value: object, path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"connect: {path} is nested more than {_MAX_DEPTH} deep, or contains itself.")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _check_text(value, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"connect: {path} is {value}, which JSON cannot express.")
        return value
    if isinstance(value, Mapping):
        return {
            _check_text(name, f"a name in {path}"): _check_json(item, f"{path}.{name}", depth + 1)
            for name, item in cast("Mapping[object, object]", value).items()
        }
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return [_check_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(items)]
    raise TypeError(f"connect: {path} is {type(value).__name__}, which JSON cannot express.")


def _check_text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"connect: {path} must be a string, not {type(value).__name__}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"connect: {path} contains a lone surrogate, which is not text.") from None
    return value
