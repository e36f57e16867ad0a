from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.termination_reason import TerminationReason
from ..types import UNSET, Unset

T = TypeVar("T", bound="HardTerminatingState")


@_attrs_define
class HardTerminatingState:
    """The process is being killed, with SIGKILL. The hosted service always sends `termination_reason`; clients must
    survive its absence.

        Attributes:
            status (Literal['hard-terminating']): Always `hard-terminating`.
            time (datetime.datetime): Since when the backend is in this state.
            termination_reason (TerminationReason | Unset): Why a backend is ending, or ended. `swept`: it was idle for too
                long, or reached its lifetime limit. `external`: somebody asked for it. `keyexpired`: its machine could not
                renew the key. `lost`: its machine is gone. `startuptimeout`: it did not answer within 5 minutes.
                `internalerror`: the platform failed.
    """

    status: Literal["hard-terminating"]
    time: datetime.datetime
    termination_reason: TerminationReason | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        status = self.status

        from jamsocket_api.types import to_iso

        time = to_iso(self.time)

        termination_reason: str | Unset = UNSET
        if not isinstance(self.termination_reason, Unset):
            termination_reason = self.termination_reason.value

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "status": status,
                "time": time,
            }
        )
        if termination_reason is not UNSET:
            field_dict["termination_reason"] = termination_reason

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        status = cast(Literal["hard-terminating"], d.pop("status"))
        if status != "hard-terminating":
            raise ValueError(f"status must match const 'hard-terminating', got '{status}'")

        from jamsocket_api.types import to_utc

        time = to_utc(datetime.datetime.fromisoformat(d.pop("time")))

        _termination_reason = d.pop("termination_reason", UNSET)
        termination_reason: TerminationReason | Unset
        if isinstance(_termination_reason, Unset):
            termination_reason = UNSET
        else:
            termination_reason = TerminationReason(_termination_reason)

        hard_terminating_state = cls(
            status=status,
            time=time,
            termination_reason=termination_reason,
        )

        hard_terminating_state.additional_properties = d
        return hard_terminating_state

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
