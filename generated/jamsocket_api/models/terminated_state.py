from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.termination_kind import TerminationKind
from ..models.termination_reason import TerminationReason
from ..types import UNSET, Unset

T = TypeVar("T", bound="TerminatedState")


@_attrs_define
class TerminatedState:
    """The backend is gone, and its key is free. This is the last state. `termination_reason` and `termination_kind` are
    left out if nobody ended the backend: its process ended by itself, or was never started.

        Attributes:
            status (Literal['terminated']): Always `terminated`.
            time (datetime.datetime): Since when the backend is in this state.
            termination_reason (TerminationReason | Unset): Why a backend is ending, or ended. `swept`: it was idle for too
                long, or reached its lifetime limit. `external`: somebody asked for it. `keyexpired`: its machine could not
                renew the key. `lost`: its machine is gone. `startuptimeout`: it did not answer within 5 minutes.
                `internalerror`: the platform failed.
            termination_kind (TerminationKind | Unset): How a backend was ended. `soft`: its process was asked to end, even
                if it had to be killed in the end. `hard`: its process was killed at once.
            exit_error (bool | Unset): True if the process ended with an exit code other than 0, or by a signal. Left out,
                or false, if the exit code was 0 or is not known.
    """

    status: Literal["terminated"]
    time: datetime.datetime
    termination_reason: TerminationReason | Unset = UNSET
    termination_kind: TerminationKind | Unset = UNSET
    exit_error: bool | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        status = self.status

        from jamsocket_api.types import to_iso

        time = to_iso(self.time)

        termination_reason: str | Unset = UNSET
        if not isinstance(self.termination_reason, Unset):
            termination_reason = self.termination_reason.value

        termination_kind: str | Unset = UNSET
        if not isinstance(self.termination_kind, Unset):
            termination_kind = self.termination_kind.value

        exit_error = self.exit_error

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
        if termination_kind is not UNSET:
            field_dict["termination_kind"] = termination_kind
        if exit_error is not UNSET:
            field_dict["exit_error"] = exit_error

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        status = cast(Literal["terminated"], d.pop("status"))
        if status != "terminated":
            raise ValueError(f"status must match const 'terminated', got '{status}'")

        from jamsocket_api.types import to_utc

        time = to_utc(datetime.datetime.fromisoformat(d.pop("time")))

        _termination_reason = d.pop("termination_reason", UNSET)
        termination_reason: TerminationReason | Unset
        if isinstance(_termination_reason, Unset):
            termination_reason = UNSET
        else:
            termination_reason = TerminationReason(_termination_reason)

        _termination_kind = d.pop("termination_kind", UNSET)
        termination_kind: TerminationKind | Unset
        if isinstance(_termination_kind, Unset):
            termination_kind = UNSET
        else:
            termination_kind = TerminationKind(_termination_kind)

        exit_error = d.pop("exit_error", UNSET)

        terminated_state = cls(
            status=status,
            time=time,
            termination_reason=termination_reason,
            termination_kind=termination_kind,
            exit_error=exit_error,
        )

        terminated_state.additional_properties = d
        return terminated_state

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
