from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.auth_data import AuthData
    from ..models.spawn_config import SpawnConfig


T = TypeVar("T", bound="ConnectRequest")


@_attrs_define
class ConnectRequest:
    """Which backend to get, for whom, and how to spawn it if there is none.

    Attributes:
        key (str | Unset): What the backend is for, such as a document or a room: any text of at most 128 characters. At
            most one backend of an environment holds a key at a time; other services and environments have their own keys.
            If it is left out, a new backend is spawned.
        user (str | Unset): Who will use the connection. The backend sees it as the header `x-verified-username` of
            every request that comes through the URL. It must not contain control characters. A header holds ASCII only: a
            name with other characters is not passed on, so put such a name into `auth`.
        auth (AuthData | Unset): What else the backend shall know of the user: any JSON object. The backend sees it, as
            JSON, in the header `x-verified-user-data` of every request that comes through the URL; `{}` if it is left out.
        spawn (bool | SpawnConfig | Unset): Whether and how to spawn a backend if none holds the key: `true`, the
            default, with the service's settings; an object, with these settings; `false`, not at all, which is a conflict
            (409) if there is none. Ignored if a backend is found.
    """

    key: str | Unset = UNSET
    user: str | Unset = UNSET
    auth: AuthData | Unset = UNSET
    spawn: bool | SpawnConfig | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.spawn_config import SpawnConfig  # noqa: PLC0415

        key = self.key

        user = self.user

        auth: dict[str, Any] | Unset = UNSET
        if not isinstance(self.auth, Unset):
            auth = self.auth.to_dict()

        spawn: bool | dict[str, Any] | Unset
        if isinstance(self.spawn, Unset):
            spawn = UNSET
        elif isinstance(self.spawn, SpawnConfig):
            spawn = self.spawn.to_dict()
        else:
            spawn = self.spawn

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if key is not UNSET:
            field_dict["key"] = key
        if user is not UNSET:
            field_dict["user"] = user
        if auth is not UNSET:
            field_dict["auth"] = auth
        if spawn is not UNSET:
            field_dict["spawn"] = spawn

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.auth_data import AuthData  # noqa: PLC0415
        from ..models.spawn_config import SpawnConfig  # noqa: PLC0415

        d = dict(src_dict)
        key = d.pop("key", UNSET)

        user = d.pop("user", UNSET)

        _auth = d.pop("auth", UNSET)
        auth: AuthData | Unset
        if isinstance(_auth, Unset):
            auth = UNSET
        else:
            auth = AuthData.from_dict(_auth)

        def _parse_spawn(data: object) -> bool | SpawnConfig | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                spawn_type_1 = SpawnConfig.from_dict(data)

                return spawn_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(bool | SpawnConfig | Unset, data)

        spawn = _parse_spawn(d.pop("spawn", UNSET))

        connect_request = cls(
            key=key,
            user=user,
            auth=auth,
            spawn=spawn,
        )

        return connect_request
