from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Image")


@_attrs_define
class Image:
    """An image that backends of a service can run.

    Attributes:
        repository (str): The name under which it was uploaded, without a tag.
        digest (str): Its digest, which names exactly this image.
        tag (str): Its tag. Several images may have the same; the newest of them counts.
        upload_time (datetime.datetime): When it was uploaded.
    """

    repository: str
    digest: str
    tag: str
    upload_time: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        repository = self.repository

        digest = self.digest

        tag = self.tag

        from jamsocket_api.types import to_iso

        upload_time = to_iso(self.upload_time)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "repository": repository,
                "digest": digest,
                "tag": tag,
                "upload_time": upload_time,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        repository = d.pop("repository")

        digest = d.pop("digest")

        tag = d.pop("tag")

        from jamsocket_api.types import to_utc

        upload_time = to_utc(datetime.datetime.fromisoformat(d.pop("upload_time")))

        image = cls(
            repository=repository,
            digest=digest,
            tag=tag,
            upload_time=upload_time,
        )

        image.additional_properties = d
        return image

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
