from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="BackendMetrics")


@_attrs_define
class BackendMetrics:
    """What a backend used since the measurement before.

    Attributes:
        cpu_used (int): Processor time that the backend used, in nanoseconds.
        sys_cpu (int): Processor time that the machine had, in nanoseconds; `cpu_used` is a part of it.
        mem_used (int): Memory in use, in bytes.
        mem_available (int): Memory that it may still take, in bytes.
    """

    cpu_used: int
    sys_cpu: int
    mem_used: int
    mem_available: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        cpu_used = self.cpu_used

        sys_cpu = self.sys_cpu

        mem_used = self.mem_used

        mem_available = self.mem_available

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "cpu_used": cpu_used,
                "sys_cpu": sys_cpu,
                "mem_used": mem_used,
                "mem_available": mem_available,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        cpu_used = d.pop("cpu_used")

        sys_cpu = d.pop("sys_cpu")

        mem_used = d.pop("mem_used")

        mem_available = d.pop("mem_available")

        backend_metrics = cls(
            cpu_used=cpu_used,
            sys_cpu=sys_cpu,
            mem_used=mem_used,
            mem_available=mem_available,
        )

        backend_metrics.additional_properties = d
        return backend_metrics

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
