"""JSON -> the generated models, checked: the spec's required fields are there, and everything is of its type. No I/O.

The models' own `from_dict` trusts what it is given. Optional fields that are null or of a wrong type count as absent,
and unknown fields and values are kept, so that nothing a newer server sends breaks an older client.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol, TypeVar, cast

import attrs
from jamsocket_api import models


class Model(Protocol):
    """A class that the generator made."""

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any], /) -> Any: ...


M = TypeVar("M", bound=Model)


def parse(cls: type[M], data: object) -> M:
    """The object that a JSON value describes.

    Raises:
        ValueError: if it describes none. The message says where and what is wrong, and does not repeat what was sent.
    """
    result: M = cls.from_dict(_check_object(cls, data, ""))
    return result


@attrs.frozen
class _Field:
    hint: Any
    is_required: bool


@functools.cache
def _fields(cls: type) -> dict[str, _Field]:
    hints = typing.get_type_hints(cls, localns=_all_models())
    return {
        field.name: _Field(_present(hints[field.name]), field.default is attrs.NOTHING)
        for field in attrs.fields(cls)
        if field.init
    }


@functools.cache
def _all_models() -> dict[str, Any]:
    """What the models' hints may name; each is loaded only when it is asked for."""
    return {name: getattr(models, name) for name in models.__all__}


def _present(hint: Any) -> Any:
    """The hint without None."""
    if typing.get_origin(hint) not in {typing.Union, types.UnionType}:
        return hint
    (arm,) = (arm for arm in typing.get_args(hint) if arm is not types.NoneType)
    return arm


def _check_object(cls: type, value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path or 'it'} is not a JSON object")
    checked = dict(cast("Mapping[str, Any]", value))
    for name, field in _fields(cls).items():
        try:
            checked[name] = _check(field.hint, checked.get(name), f"{path}.{name}" if path else name)
        except ValueError:
            if field.is_required:
                raise
            checked.pop(name, None)
    return checked


_WORDS = {str: "a string", int: "a whole number", bool: "true or false", datetime: "a date and time", list: "a list"}


def _check(hint: Any, value: object, path: str) -> Any:
    """The value, if it is what the hint says; a number written as 1.0 is a whole one."""
    kind = typing.get_origin(hint) or hint
    if kind is typing.Literal:
        if value in (words := typing.get_args(hint)):
            return value
        raise ValueError(f"{path} is not {' or '.join(map(repr, words))}")
    if attrs.has(kind):
        return _check_object(kind, value, path)
    if kind is list and isinstance(value, list):
        (of,) = typing.get_args(hint)
        return [_check(of, item, f"{path}[{index}]") for index, item in enumerate(cast("list[object]", value))]
    if kind is datetime and isinstance(value, str) and _is_time(value):
        return value
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if issubclass(kind, Enum):
        kind = str
    if kind not in {list, datetime} and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"{path} is not {_WORDS[kind]}")


def _is_time(text: str) -> bool:
    try:
        time = datetime.fromisoformat(text)
        _ = time.astimezone(UTC) if time.tzinfo else time  # `to_dict` will need it in UTC
    except (ValueError, OverflowError):
        return False
    return True
