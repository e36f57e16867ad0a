"""Contains some shared types for properties"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from datetime import datetime, timezone
from types import NoneType
from typing import IO, TYPE_CHECKING, BinaryIO, Generic, TypeVar

from attrs import define

if TYPE_CHECKING:
    from http import HTTPStatus


# What is absent is None. This spelling, and no other, satisfies both mypy and pyright.
Unset = NoneType  # type: ignore[nonetype-type]
UNSET = None


def to_utc(time: datetime) -> datetime:
    """An aware time; one without an offset counts as UTC."""
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def to_iso(time: datetime) -> str:
    """As the API writes times: UTC, milliseconds (more digits only if they say something), Z."""
    time = to_utc(time).astimezone(timezone.utc)
    text = time.isoformat(timespec="microseconds" if time.microsecond % 1000 else "milliseconds")
    return text.removesuffix("+00:00") + "Z"


# The types that `httpx.Client(files=)` can accept, copied from that library.
FileContent = IO[bytes] | bytes | str
FileTypes = (
    # (filename, file (or bytes), content_type)
    tuple[str | None, FileContent, str | None]
    # (filename, file (or bytes), content_type, headers)
    | tuple[str | None, FileContent, str | None, Mapping[str, str]]
)
RequestFiles = list[tuple[str, FileTypes]]


@define
class File:
    """Contains information for file uploads"""

    payload: BinaryIO
    file_name: str | None = None
    mime_type: str | None = None

    def to_tuple(self) -> FileTypes:
        """Return a tuple representation that httpx will accept for multipart/form-data"""
        return self.file_name, self.payload, self.mime_type


T = TypeVar("T")


@define
class Response(Generic[T]):
    """A response from an endpoint"""

    status_code: HTTPStatus
    content: bytes
    headers: MutableMapping[str, str]
    parsed: T


__all__ = ["UNSET", "File", "FileTypes", "RequestFiles", "Response", "Unset", "to_iso", "to_utc"]
