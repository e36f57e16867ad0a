from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="UseImageRequest")


@_attrs_define
class UseImageRequest:
    """The image to use.

    Attributes:
        image_tag (str): The image's tag or digest.
    """

    image_tag: str

    def to_dict(self) -> dict[str, Any]:
        image_tag = self.image_tag

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "image_tag": image_tag,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        image_tag = d.pop("image_tag")

        use_image_request = cls(
            image_tag=image_tag,
        )

        return use_image_request
