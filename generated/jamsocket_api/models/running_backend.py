from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.backend_info_state import BackendInfoState


T = TypeVar("T", bound="RunningBackend")


@_attrs_define
class RunningBackend:
    """A backend that is not terminated.

    Attributes:
        id (str): The backend's id.
        created_at (datetime.datetime): When it was scheduled.
        service_name (str): The service that it belongs to.
        cluster_name (str): The cluster that it runs on.
        account_name (str): The account that it belongs to.
        status (BackendInfoState): A state of a backend, as its history has it: with more about its end than
            `BackendState`, and the exit code instead of `exit_error`.
        key (None | str | Unset): The key that it holds. Null if it was spawned without one.
    """

    id: str
    created_at: datetime.datetime
    service_name: str
    cluster_name: str
    account_name: str
    status: BackendInfoState
    key: None | str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        from jamsocket_api.types import to_iso

        created_at = to_iso(self.created_at)

        service_name = self.service_name

        cluster_name = self.cluster_name

        account_name = self.account_name

        status = self.status.to_dict()

        key: None | str | Unset
        if isinstance(self.key, Unset):
            key = UNSET
        else:
            key = self.key

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "created_at": created_at,
                "service_name": service_name,
                "cluster_name": cluster_name,
                "account_name": account_name,
                "status": status,
            }
        )
        if key is not UNSET:
            field_dict["key"] = key

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

        status = BackendInfoState.from_dict(d.pop("status"))

        def _parse_key(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        key = _parse_key(d.pop("key", UNSET))

        running_backend = cls(
            id=id,
            created_at=created_at,
            service_name=service_name,
            cluster_name=cluster_name,
            account_name=account_name,
            status=status,
            key=key,
        )

        running_backend.additional_properties = d
        return running_backend

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
