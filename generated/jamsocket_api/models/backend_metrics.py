from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="BackendMetrics")


@_attrs_define
class BackendMetrics:
    """What a backend uses. `cpu_used / sys_cpu` is its part of the machine's processor time since the measurement before.

    Attributes:
        cpu_used (int): Processor time that the backend used since the measurement before, in nanoseconds.
        sys_cpu (int): Processor time that the machine had since the measurement before, in nanoseconds.
        mem_used (int): Memory that the backend uses, in bytes.
        mem_available (int): Memory that the backend may use, in bytes.
        mem_total (int | Unset): Memory that is charged to the backend, with caches, in bytes.
        mem_active (int | Unset): Memory that was used recently, in bytes.
        mem_inactive (int | Unset): Memory that was not used recently and can be reclaimed, in bytes.
        mem_unevictable (int | Unset): Memory that cannot be reclaimed, in bytes.
        mem_limit (int | Unset): The backend's memory limit, in bytes.
    """

    cpu_used: int
    sys_cpu: int
    mem_used: int
    mem_available: int
    mem_total: int | Unset = UNSET
    mem_active: int | Unset = UNSET
    mem_inactive: int | Unset = UNSET
    mem_unevictable: int | Unset = UNSET
    mem_limit: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        cpu_used = self.cpu_used

        sys_cpu = self.sys_cpu

        mem_used = self.mem_used

        mem_available = self.mem_available

        mem_total = self.mem_total

        mem_active = self.mem_active

        mem_inactive = self.mem_inactive

        mem_unevictable = self.mem_unevictable

        mem_limit = self.mem_limit

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
        if mem_total is not UNSET:
            field_dict["mem_total"] = mem_total
        if mem_active is not UNSET:
            field_dict["mem_active"] = mem_active
        if mem_inactive is not UNSET:
            field_dict["mem_inactive"] = mem_inactive
        if mem_unevictable is not UNSET:
            field_dict["mem_unevictable"] = mem_unevictable
        if mem_limit is not UNSET:
            field_dict["mem_limit"] = mem_limit

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        cpu_used = d.pop("cpu_used")

        sys_cpu = d.pop("sys_cpu")

        mem_used = d.pop("mem_used")

        mem_available = d.pop("mem_available")

        mem_total = d.pop("mem_total", UNSET)

        mem_active = d.pop("mem_active", UNSET)

        mem_inactive = d.pop("mem_inactive", UNSET)

        mem_unevictable = d.pop("mem_unevictable", UNSET)

        mem_limit = d.pop("mem_limit", UNSET)

        backend_metrics = cls(
            cpu_used=cpu_used,
            sys_cpu=sys_cpu,
            mem_used=mem_used,
            mem_available=mem_available,
            mem_total=mem_total,
            mem_active=mem_active,
            mem_inactive=mem_inactive,
            mem_unevictable=mem_unevictable,
            mem_limit=mem_limit,
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
