from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.environment_variables import EnvironmentVariables
    from ..models.resource_limits import ResourceLimits


T = TypeVar("T", bound="ExecutableConfig")


@_attrs_define
class ExecutableConfig:
    """How a backend's process is run. Everything is optional.

    Attributes:
        mount (bool | str | Unset): A directory for the process that outlives the backend: `true`, one for each key; a
            string, the one with this relative path, without `..`; `false`, none. If it is left out, none. In a container it
            is `/plane-data`; a development server without containers gives its path in the variable `JAMSOCKET_MOUNT`.
        env (EnvironmentVariables | Unset): Environment variables of the process. The names PORT, SESSION_BACKEND_ID,
            SESSION_BACKEND_KEY, SESSION_BACKEND_FENCING_TOKEN, SESSION_BACKEND_STATIC_TOKEN and JAMSOCKET_SERVICE are
            reserved; setting one is a bad request (400).
        resource_limits (ResourceLimits | Unset): What a backend's process may use. Everything is optional; what is left
            out has no limit.
    """

    mount: bool | str | Unset = UNSET
    env: EnvironmentVariables | Unset = UNSET
    resource_limits: ResourceLimits | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        mount: bool | str | Unset
        if isinstance(self.mount, Unset):
            mount = UNSET
        else:
            mount = self.mount

        env: dict[str, Any] | Unset = UNSET
        if not isinstance(self.env, Unset):
            env = self.env.to_dict()

        resource_limits: dict[str, Any] | Unset = UNSET
        if not isinstance(self.resource_limits, Unset):
            resource_limits = self.resource_limits.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if mount is not UNSET:
            field_dict["mount"] = mount
        if env is not UNSET:
            field_dict["env"] = env
        if resource_limits is not UNSET:
            field_dict["resource_limits"] = resource_limits

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.environment_variables import EnvironmentVariables  # noqa: PLC0415
        from ..models.resource_limits import ResourceLimits  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_mount(data: object) -> bool | str | Unset:
            if isinstance(data, Unset):
                return data
            return cast(bool | str | Unset, data)

        mount = _parse_mount(d.pop("mount", UNSET))

        _env = d.pop("env", UNSET)
        env: EnvironmentVariables | Unset
        if isinstance(_env, Unset):
            env = UNSET
        else:
            env = EnvironmentVariables.from_dict(_env)

        _resource_limits = d.pop("resource_limits", UNSET)
        resource_limits: ResourceLimits | Unset
        if isinstance(_resource_limits, Unset):
            resource_limits = UNSET
        else:
            resource_limits = ResourceLimits.from_dict(_resource_limits)

        executable_config = cls(
            mount=mount,
            env=env,
            resource_limits=resource_limits,
        )

        return executable_config
