from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="EnvironmentInfo")


@_attrs_define
class EnvironmentInfo:
    """An environment of a service.

    Attributes:
        name (str): The environment's name.
        image_tag (str): The tag of the image that its backends run.
        cluster (str): The cluster that its backends run on.
        created_at (datetime.datetime): When it was created.
        last_spawned_at (datetime.datetime | None | Unset): When a backend of it was last spawned. Null if there was
            none.
    """

    name: str
    image_tag: str
    cluster: str
    created_at: datetime.datetime
    last_spawned_at: datetime.datetime | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        image_tag = self.image_tag

        cluster = self.cluster

        from jamsocket_api.types import to_iso

        created_at = to_iso(self.created_at)

        last_spawned_at: None | str | Unset
        if isinstance(self.last_spawned_at, Unset):
            last_spawned_at = UNSET
        elif isinstance(self.last_spawned_at, datetime.datetime):
            from jamsocket_api.types import to_iso

            last_spawned_at = to_iso(self.last_spawned_at)
        else:
            last_spawned_at = self.last_spawned_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "image_tag": image_tag,
                "cluster": cluster,
                "created_at": created_at,
            }
        )
        if last_spawned_at is not UNSET:
            field_dict["last_spawned_at"] = last_spawned_at

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name")

        image_tag = d.pop("image_tag")

        cluster = d.pop("cluster")

        from jamsocket_api.types import to_utc

        created_at = to_utc(datetime.datetime.fromisoformat(d.pop("created_at")))

        def _parse_last_spawned_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                from jamsocket_api.types import to_utc

                last_spawned_at_type_0 = to_utc(datetime.datetime.fromisoformat(data))

                return last_spawned_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        last_spawned_at = _parse_last_spawned_at(d.pop("last_spawned_at", UNSET))

        environment_info = cls(
            name=name,
            image_tag=image_tag,
            cluster=cluster,
            created_at=created_at,
            last_spawned_at=last_spawned_at,
        )

        environment_info.additional_properties = d
        return environment_info

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
