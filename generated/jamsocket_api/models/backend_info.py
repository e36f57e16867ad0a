from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.backend_info_state import BackendInfoState


T = TypeVar("T", bound="BackendInfo")


@_attrs_define
class BackendInfo:
    """All that is known of a backend.

    Attributes:
        id (str): The backend's id.
        created_at (datetime.datetime): When it was scheduled.
        service_name (str): The service that it belongs to.
        cluster_name (str): The cluster that it runs on.
        account_name (str): The account that it belongs to.
        statuses (list[BackendInfoState]): All states that it has had, the oldest first. Each is later than the one
            before.
        image_digest (str): The digest of the image that it runs.
        key (None | str | Unset): The key that it holds, or held until it was terminated. Null if it was spawned without
            one.
        environment_name (None | str | Unset): The environment that it belongs to.
        max_mem_bytes (int | None | Unset): The most memory that it has used so far, in bytes. Null if that is not
            known.
    """

    id: str
    created_at: datetime.datetime
    service_name: str
    cluster_name: str
    account_name: str
    statuses: list[BackendInfoState]
    image_digest: str
    key: None | str | Unset = UNSET
    environment_name: None | str | Unset = UNSET
    max_mem_bytes: int | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        from jamsocket_api.types import to_iso

        created_at = to_iso(self.created_at)

        service_name = self.service_name

        cluster_name = self.cluster_name

        account_name = self.account_name

        statuses = []
        for statuses_item_data in self.statuses:
            statuses_item = statuses_item_data.to_dict()
            statuses.append(statuses_item)

        image_digest = self.image_digest

        key: None | str | Unset
        if isinstance(self.key, Unset):
            key = UNSET
        else:
            key = self.key

        environment_name: None | str | Unset
        if isinstance(self.environment_name, Unset):
            environment_name = UNSET
        else:
            environment_name = self.environment_name

        max_mem_bytes: int | None | Unset
        if isinstance(self.max_mem_bytes, Unset):
            max_mem_bytes = UNSET
        else:
            max_mem_bytes = self.max_mem_bytes

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "created_at": created_at,
                "service_name": service_name,
                "cluster_name": cluster_name,
                "account_name": account_name,
                "statuses": statuses,
                "image_digest": image_digest,
            }
        )
        if key is not UNSET:
            field_dict["key"] = key
        if environment_name is not UNSET:
            field_dict["environment_name"] = environment_name
        if max_mem_bytes is not UNSET:
            field_dict["max_mem_bytes"] = max_mem_bytes

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.backend_info_state import BackendInfoState  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        from jamsocket_api.types import to_utc

        created_at = to_utc(datetime.datetime.fromisoformat(d.pop("created_at")))

        service_name = d.pop("service_name")

        cluster_name = d.pop("cluster_name")

        account_name = d.pop("account_name")

        statuses = []
        _statuses = d.pop("statuses")
        for statuses_item_data in _statuses:
            statuses_item = BackendInfoState.from_dict(statuses_item_data)

            statuses.append(statuses_item)

        image_digest = d.pop("image_digest")

        def _parse_key(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        key = _parse_key(d.pop("key", UNSET))

        def _parse_environment_name(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        environment_name = _parse_environment_name(d.pop("environment_name", UNSET))

        def _parse_max_mem_bytes(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_mem_bytes = _parse_max_mem_bytes(d.pop("max_mem_bytes", UNSET))

        backend_info = cls(
            id=id,
            created_at=created_at,
            service_name=service_name,
            cluster_name=cluster_name,
            account_name=account_name,
            statuses=statuses,
            image_digest=image_digest,
            key=key,
            environment_name=environment_name,
            max_mem_bytes=max_mem_bytes,
        )

        backend_info.additional_properties = d
        return backend_info

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
