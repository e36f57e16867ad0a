from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ErrorDetail")


@_attrs_define
class ErrorDetail:
    """What went wrong.

    Attributes:
        message (str): What went wrong, as a sentence for a person. It may change at any time.
        status (int): The HTTP status, once more.
        code (str): What went wrong, as a word for a program. Among others: `InvalidAuth`, `Forbidden`,
            `EmailNotVerified`, `NoAccountFoundForUser`, `UserNotEnabled`, `UsageLimit`, `NotFound`, `BackendNotRunning`,
            `KeyHeld`, `KeyUnheldNoSpawnConfig`, `NoClusterProvided`, `NoDroneAvailable`.
        id (str): The id of this one error, by which the platform's support can find it.
    """

    message: str
    status: int
    code: str
    id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        message = self.message

        status = self.status

        code = self.code

        id = self.id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "message": message,
                "status": status,
                "code": code,
                "id": id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        message = d.pop("message")

        status = d.pop("status")

        code = d.pop("code")

        id = d.pop("id")

        error_detail = cls(
            message=message,
            status=status,
            code=code,
            id=id,
        )

        error_detail.additional_properties = d
        return error_detail

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
