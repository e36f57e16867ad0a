from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.executable_config import ExecutableConfig


T = TypeVar("T", bound="SpawnConfig")


@_attrs_define
class SpawnConfig:
    """How a backend is spawned. Everything is optional.

    Attributes:
        tag (str | Unset): The image to run, by tag or digest; of several images with this tag, the newest. If it is
            left out, the environment's image.
        cluster (str | Unset): The cluster to run on. If it is left out, the environment's cluster.
        lifetime_limit_seconds (int | Unset): How long the backend may live, in seconds from its scheduling; then it is
            ended softly, with the reason `swept`, at most about 5 seconds late. If it is left out, there is no limit.
        max_idle_seconds (int | Unset): How long the backend may be without connections, in seconds; then it is ended
            softly, with the reason `swept`, at most about 12 seconds late. An open WebSocket is a connection all the time,
            any other request only until its response begins. The time counts from the scheduling, so a small value can end
            a backend that is not ready yet. If it is left out, 300.
        executable (ExecutableConfig | Unset): How a backend's process is run. Everything is optional.
    """

    tag: str | Unset = UNSET
    cluster: str | Unset = UNSET
    lifetime_limit_seconds: int | Unset = UNSET
    max_idle_seconds: int | Unset = UNSET
    executable: ExecutableConfig | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        tag = self.tag

        cluster = self.cluster

        lifetime_limit_seconds = self.lifetime_limit_seconds

        max_idle_seconds = self.max_idle_seconds

        executable: dict[str, Any] | Unset = UNSET
        if not isinstance(self.executable, Unset):
            executable = self.executable.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if tag is not UNSET:
            field_dict["tag"] = tag
        if cluster is not UNSET:
            field_dict["cluster"] = cluster
        if lifetime_limit_seconds is not UNSET:
            field_dict["lifetime_limit_seconds"] = lifetime_limit_seconds
        if max_idle_seconds is not UNSET:
            field_dict["max_idle_seconds"] = max_idle_seconds
        if executable is not UNSET:
            field_dict["executable"] = executable

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.executable_config import ExecutableConfig  # noqa: PLC0415

        d = dict(src_dict)
        tag = d.pop("tag", UNSET)

        cluster = d.pop("cluster", UNSET)

        lifetime_limit_seconds = d.pop("lifetime_limit_seconds", UNSET)

        max_idle_seconds = d.pop("max_idle_seconds", UNSET)

        _executable = d.pop("executable", UNSET)
        executable: ExecutableConfig | Unset
        if isinstance(_executable, Unset):
            executable = UNSET
        else:
            executable = ExecutableConfig.from_dict(_executable)

        spawn_config = cls(
            tag=tag,
            cluster=cluster,
            lifetime_limit_seconds=lifetime_limit_seconds,
            max_idle_seconds=max_idle_seconds,
            executable=executable,
        )

        return spawn_config
