from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="ResourceLimits")


@_attrs_define
class ResourceLimits:
    """What a backend's process may use. Everything is optional; what is left out has no limit.

    Attributes:
        cpu_period (int | Unset): The period over which `cpu_period_percent` is measured, in microseconds; without that
            it has no effect. If it is left out, 100000.
        cpu_period_percent (int | Unset): How much processor time the process may use in each period, in percent of one
            processor: 50 is half of one, 200 is two. The process waits when it has used that.
        cpu_time_limit (int | Unset): How much processor time the process may use in its whole life, in seconds. The
            process is killed when it has used that.
        memory_limit_bytes (int | Unset): How much memory the process may use, in bytes. A process that wants more is
            killed, usually with exit code 137.
        disk_limit_bytes (int | Unset): How much disk space the process may use, in bytes. Where a machine cannot
            enforce it, the backend fails to start: it goes from `starting` to `terminated`.
    """

    cpu_period: int | Unset = UNSET
    cpu_period_percent: int | Unset = UNSET
    cpu_time_limit: int | Unset = UNSET
    memory_limit_bytes: int | Unset = UNSET
    disk_limit_bytes: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        cpu_period = self.cpu_period

        cpu_period_percent = self.cpu_period_percent

        cpu_time_limit = self.cpu_time_limit

        memory_limit_bytes = self.memory_limit_bytes

        disk_limit_bytes = self.disk_limit_bytes

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if cpu_period is not UNSET:
            field_dict["cpu_period"] = cpu_period
        if cpu_period_percent is not UNSET:
            field_dict["cpu_period_percent"] = cpu_period_percent
        if cpu_time_limit is not UNSET:
            field_dict["cpu_time_limit"] = cpu_time_limit
        if memory_limit_bytes is not UNSET:
            field_dict["memory_limit_bytes"] = memory_limit_bytes
        if disk_limit_bytes is not UNSET:
            field_dict["disk_limit_bytes"] = disk_limit_bytes

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        cpu_period = d.pop("cpu_period", UNSET)

        cpu_period_percent = d.pop("cpu_period_percent", UNSET)

        cpu_time_limit = d.pop("cpu_time_limit", UNSET)

        memory_limit_bytes = d.pop("memory_limit_bytes", UNSET)

        disk_limit_bytes = d.pop("disk_limit_bytes", UNSET)

        resource_limits = cls(
            cpu_period=cpu_period,
            cpu_period_percent=cpu_period_percent,
            cpu_time_limit=cpu_time_limit,
            memory_limit_bytes=memory_limit_bytes,
            disk_limit_bytes=disk_limit_bytes,
        )

        return resource_limits
