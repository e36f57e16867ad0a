"""A connect request's JSON -> a checked `ConnectCall`, or the error that says what is wrong with it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NoReturn, cast

from .engine import ConnectCall, EngineError, JSONObject, Place, SpawnSettings, not_found

RESERVED = frozenset(
    {
        "PORT",
        "SESSION_BACKEND_ID",
        "SESSION_BACKEND_KEY",
        "SESSION_BACKEND_FENCING_TOKEN",
        "SESSION_BACKEND_STATIC_TOKEN",
        "JAMSOCKET_SERVICE",
    }
)
MAX_KEY_LENGTH = 128

_LIMITS = ("cpu_period", "cpu_period_percent", "cpu_time_limit", "memory_limit_bytes", "disk_limit_bytes")


def bad_request(message: str) -> EngineError:
    return EngineError(400, "BadRequest", message)


def read_object(body: bytes) -> JSONObject:
    """The JSON object in a request's body; an empty body counts as `{}`."""
    if not body.strip():
        return {}
    try:
        data: object = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise bad_request("The body is not JSON.") from None
    if not isinstance(data, dict):
        raise bad_request("The body is not a JSON object.")
    return cast("JSONObject", data)


def connect_call(place: Place, data: JSONObject) -> ConnectCall:
    """The request, checked to the leaf."""
    if any(_has_control_characters(name) for name in (place.account, place.service, place.environment or "")):
        raise not_found("account, service or environment whose name contains a control character")
    _only(data, ("key", "user", "auth", "spawn"), "")
    key = _text(data, "key", "key")
    if key is not None and len(key) > MAX_KEY_LENGTH:
        raise bad_request(f"key has {len(key)} characters; {MAX_KEY_LENGTH} are allowed.")
    if key is not None and "\0" in key:
        raise bad_request("key contains NUL; it is passed to the backend as an environment variable.")
    user = _text(data, "user", "user")
    if user is not None and _has_control_characters(user):
        raise bad_request("user contains a control character; it is sent to the backend as a header.")
    auth = _object(data.get("auth", {}), "auth", "a JSON object")
    try:
        # ASCII: what is not comes as \\u escapes, so that it survives the header.
        user_data = json.dumps(auth, separators=(",", ":"))
    except RecursionError:
        raise bad_request("auth is nested too deeply.") from None
    return ConnectCall(place, key, user, user_data, _spawn(data.get("spawn", True)))


def spawn_call(account: str, service: str, data: JSONObject) -> ConnectCall:
    """The same from a request in the words of API v1."""
    _only(data, ("env", "grace_period_seconds", "lock", "service_environment"), "")
    environment = _text(data, "service_environment", "service_environment")
    place = Place(account, service, environment if environment not in {"", "default"} else None)
    spawn: JSONObject = {"executable": {"env": data["env"]} if "env" in data else {}}
    if "grace_period_seconds" in data:
        spawn["max_idle_seconds"] = _number(data, "grace_period_seconds", "grace_period_seconds")
    return connect_call(place, {"spawn": spawn} | ({"key": data["lock"]} if "lock" in data else {}))


def read_hard(data: JSONObject) -> bool:
    """Whether a terminate request wants a hard end."""
    _only(data, ("hard",), "")
    hard = data.get("hard", False)
    if not isinstance(hard, bool):
        raise bad_request("hard must be true or false.")
    return hard


def read_service_name(data: JSONObject) -> str:
    """The name in a request that creates a service."""
    name = _needed(data, "name")
    if name in {".", ".."} or "/" in name or _has_control_characters(name) or len(name) > MAX_KEY_LENGTH:
        raise bad_request("name cannot be a service's name: it becomes part of a URL's path.")
    return name


def read_image_tag(data: JSONObject) -> str:
    """The tag or digest in a request that chooses an image."""
    return _needed(data, "image_tag")


def _needed(data: JSONObject, name: str) -> str:
    _only(data, (name,), "")
    value = _text(data, name, name)
    if not value:
        raise bad_request(f"{name} is missing or empty.")
    return value


def _spawn(data: object) -> SpawnSettings | None:
    if isinstance(data, bool):
        return SpawnSettings() if data else None
    spawn = _object(data, "spawn", "true, false or a JSON object")
    _only(spawn, ("tag", "cluster", "lifetime_limit_seconds", "max_idle_seconds", "executable"), "spawn.")
    _text(spawn, "cluster", "spawn.cluster")  # there is only one: this machine
    executable = _object(spawn.get("executable", {}), "spawn.executable", "a JSON object")
    _only(executable, ("mount", "env", "resource_limits"), "spawn.executable.")
    limits = _object(executable.get("resource_limits", {}), "spawn.executable.resource_limits", "a JSON object")
    _only(limits, _LIMITS, "spawn.executable.resource_limits.")
    numbers = {name: _number(limits, name, f"spawn.executable.resource_limits.{name}") for name in _LIMITS}
    if (numbers["cpu_period_percent"] or 0) > 255:
        raise bad_request("spawn.executable.resource_limits.cpu_period_percent must be at most 255.")
    idle = _number(spawn, "max_idle_seconds", "spawn.max_idle_seconds")
    return SpawnSettings(
        tag=_text(spawn, "tag", "spawn.tag"),
        lifetime_limit_seconds=_number(spawn, "lifetime_limit_seconds", "spawn.lifetime_limit_seconds"),
        max_idle_seconds=300 if idle is None else idle,
        env=_env(executable),
        mount=_mount(executable),
        resource_limits={name: number for name, number in numbers.items() if number is not None},
    )


def _env(executable: JSONObject) -> dict[str, str]:
    env = _object(executable.get("env", {}), "spawn.executable.env", "a JSON object")
    for name, value in env.items():
        where = f"spawn.executable.env.{name}"
        if name in RESERVED:
            raise bad_request(f"{where}: the name is reserved.")
        if not name or "=" in name or "\0" in name:
            raise bad_request(f"{where} is not the name of a variable.")
        if not isinstance(value, str) or "\0" in value:
            raise bad_request(f"{where} must be a string (without NUL).")
        _encodable(value, where)
        _encodable(name, where)
    return cast("dict[str, str]", env)


def _mount(executable: JSONObject) -> str | bool | None:
    mount = executable.get("mount")
    if mount is None and "mount" not in executable:
        return None
    if isinstance(mount, bool):
        return mount
    if not isinstance(mount, str):
        raise bad_request("spawn.executable.mount must be true, false or a string.")
    path = PurePosixPath(mount)
    if not mount.strip("/.") or path.is_absolute() or ".." in path.parts or "\0" in mount or len(mount) > 1000:
        raise bad_request("spawn.executable.mount must be a relative path without '..'.")
    _encodable(mount, "spawn.executable.mount")
    return mount


def _only(data: JSONObject, known: tuple[str, ...], where: str) -> None:
    for name in data:
        if name not in known:
            raise bad_request(f"Unknown field {where}{name}. There are: {', '.join(known)}.")


def _object(value: object, where: str, what: str) -> JSONObject:
    if not isinstance(value, Mapping):
        raise bad_request(f"{where} must be {what}.")
    return cast("JSONObject", value)


def _text(data: JSONObject, name: str, where: str) -> str | None:
    if name not in data:
        return None
    value: Any = data[name]
    if not isinstance(value, str):
        raise bad_request(f"{where} must be a string.")
    _encodable(value, where)
    return value


def _number(data: JSONObject, name: str, where: str) -> int | None:
    if name not in data:
        return None
    value: Any = data[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has only one kind of number: 1.0 is 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad_request(f"{where} must be a whole number, 0 or more.")
    if value >= 2**53:
        raise bad_request(f"{where} is too large.")
    return value


def _has_control_characters(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity as numbers; JSON has no such thing.
    raise ValueError(name)


def _encodable(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_request(f"{where} contains a lone surrogate, which is not text.") from None
