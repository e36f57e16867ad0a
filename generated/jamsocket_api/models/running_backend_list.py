from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.running_backend import RunningBackend


T = TypeVar("T", bound="RunningBackendList")


@_attrs_define
class RunningBackendList:
    """An account's running backends.

    Attributes:
        running_backends (list[RunningBackend]): The backends, in no particular order.
    """

    running_backends: list[RunningBackend]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        running_backends = []
        for running_backends_item_data in self.running_backends:
            running_backends_item = running_backends_item_data.to_dict()
            running_backends.append(running_backends_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "running_backends": running_backends,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.running_backend import RunningBackend  # noqa: PLC0415

        d = dict(src_dict)
        running_backends = []
        _running_backends = d.pop("running_backends")
        for running_backends_item_data in _running_backends:
            running_backends_item = RunningBackend.from_dict(running_backends_item_data)

            running_backends.append(running_backends_item)

        running_backend_list = cls(
            running_backends=running_backends,
        )

        running_backend_list.additional_properties = d
        return running_backend_list

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
