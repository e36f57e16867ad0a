from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.environment_info import EnvironmentInfo


T = TypeVar("T", bound="ServiceInfo")


@_attrs_define
class ServiceInfo:
    """A service, with its environments.

    Attributes:
        name (str): The service's name.
        account_name (str): The account that it belongs to.
        created_at (datetime.datetime): When it was created.
        image_name (str): The name under which images of the service are uploaded, without a tag.
        environments (list[EnvironmentInfo]): Its environments; there is always at least one.
        last_spawned_at (datetime.datetime | None | Unset): When a backend of it was last spawned. Null if there was
            none.
        last_image_upload_time (datetime.datetime | None | Unset): When an image was last uploaded. Null if there is
            none.
        last_image_digest (None | str | Unset): The digest of the image that was last uploaded. Null if there is none.
    """

    name: str
    account_name: str
    created_at: datetime.datetime
    image_name: str
    environments: list[EnvironmentInfo]
    last_spawned_at: datetime.datetime | None | Unset = UNSET
    last_image_upload_time: datetime.datetime | None | Unset = UNSET
    last_image_digest: None | str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        account_name = self.account_name

        from jamsocket_api.types import to_iso

        created_at = to_iso(self.created_at)

        image_name = self.image_name

        environments = []
        for environments_item_data in self.environments:
            environments_item = environments_item_data.to_dict()
            environments.append(environments_item)

        last_spawned_at: None | str | Unset
        if isinstance(self.last_spawned_at, Unset):
            last_spawned_at = UNSET
        elif isinstance(self.last_spawned_at, datetime.datetime):
            from jamsocket_api.types import to_iso

            last_spawned_at = to_iso(self.last_spawned_at)
        else:
            last_spawned_at = self.last_spawned_at

        last_image_upload_time: None | str | Unset
        if isinstance(self.last_image_upload_time, Unset):
            last_image_upload_time = UNSET
        elif isinstance(self.last_image_upload_time, datetime.datetime):
            from jamsocket_api.types import to_iso

            last_image_upload_time = to_iso(self.last_image_upload_time)
        else:
            last_image_upload_time = self.last_image_upload_time

        last_image_digest: None | str | Unset
        if isinstance(self.last_image_digest, Unset):
            last_image_digest = UNSET
        else:
            last_image_digest = self.last_image_digest

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "account_name": account_name,
                "created_at": created_at,
                "image_name": image_name,
                "environments": environments,
            }
        )
        if last_spawned_at is not UNSET:
            field_dict["last_spawned_at"] = last_spawned_at
        if last_image_upload_time is not UNSET:
            field_dict["last_image_upload_time"] = last_image_upload_time
        if last_image_digest is not UNSET:
            field_dict["last_image_digest"] = last_image_digest

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.environment_info import EnvironmentInfo  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

        account_name = d.pop("account_name")

        from jamsocket_api.types import to_utc

        created_at = to_utc(datetime.datetime.fromisoformat(d.pop("created_at")))

        image_name = d.pop("image_name")

        environments = []
        _environments = d.pop("environments")
        for environments_item_data in _environments:
            environments_item = EnvironmentInfo.from_dict(environments_item_data)

            environments.append(environments_item)

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

        def _parse_last_image_upload_time(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                from jamsocket_api.types import to_utc

                last_image_upload_time_type_0 = to_utc(datetime.datetime.fromisoformat(data))

                return last_image_upload_time_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        last_image_upload_time = _parse_last_image_upload_time(d.pop("last_image_upload_time", UNSET))

        def _parse_last_image_digest(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        last_image_digest = _parse_last_image_digest(d.pop("last_image_digest", UNSET))

        service_info = cls(
            name=name,
            account_name=account_name,
            created_at=created_at,
            image_name=image_name,
            environments=environments,
            last_spawned_at=last_spawned_at,
            last_image_upload_time=last_image_upload_time,
            last_image_digest=last_image_digest,
        )

        service_info.additional_properties = d
        return service_info

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
