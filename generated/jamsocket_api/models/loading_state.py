from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="LoadingState")


@_attrs_define
class LoadingState:
    """The machine fetches the image. If that fails, `terminated` is next.

    Attributes:
        status (Literal['loading']): Always `loading`.
        time (datetime.datetime): Since when the backend is in this state.
    """

    status: Literal["loading"]
    time: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        status = self.status

        from jamsocket_api.types import to_iso

        time = to_iso(self.time)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "status": status,
                "time": time,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        status = cast(Literal["loading"], d.pop("status"))
        if status != "loading":
            raise ValueError(f"status must match const 'loading', got '{status}'")

        from jamsocket_api.types import to_utc

        time = to_utc(datetime.datetime.fromisoformat(d.pop("time")))

        loading_state = cls(
            status=status,
            time=time,
        )

        loading_state.additional_properties = d
        return loading_state

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
