from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="TerminateRequest")


@_attrs_define
class TerminateRequest:
    """How to end a backend.

    Attributes:
        hard (bool | Unset): True to kill the process at once; false, the default, to ask it to end.
    """

    hard: bool | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        hard = self.hard

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if hard is not UNSET:
            field_dict["hard"] = hard

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        hard = d.pop("hard", UNSET)

        terminate_request = cls(
            hard=hard,
        )

        return terminate_request
