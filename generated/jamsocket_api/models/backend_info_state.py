from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.backend_status import BackendStatus
from ..models.termination_kind import TerminationKind
from ..models.termination_reason import TerminationReason
from ..types import UNSET, Unset

T = TypeVar("T", bound="BackendInfoState")


@_attrs_define
class BackendInfoState:
    """One state in a backend's history; it tells more than the public status.

    Attributes:
        status (BackendStatus): The stations of a backend's life, in this order; any of them may be skipped, and only
            `terminated` is final.
            Scheduled: a machine is chosen. Loading: the image is fetched. Starting: the process is started. Waiting: it
            does not answer yet. Ready: it answers. Terminating: it was asked to end. Hard-terminating: it is killed.
            Terminated: it is gone, and its key free.
        time (datetime.datetime): Since when.
        termination_reason (TerminationReason | Unset): Why a backend ended. Swept: it was idle too long, or reached its
            lifetime limit. External: someone asked for
            it. Keyexpired: its machine could not renew the key. Lost: its machine is gone. Startuptimeout: it did not
            answer in time. Internalerror: the platform failed.
        termination_kind (TerminationKind | Unset): Whether the process was asked to end (soft) or killed (hard).
        exit_code (int | None | Unset): How the process ended; 128 plus the signal's number if a signal ended it.
        last_status (BackendStatus | Unset): The stations of a backend's life, in this order; any of them may be
            skipped, and only `terminated` is final.
            Scheduled: a machine is chosen. Loading: the image is fetched. Starting: the process is started. Waiting: it
            does not answer yet. Ready: it answers. Terminating: it was asked to end. Hard-terminating: it is killed.
            Terminated: it is gone, and its key free.
    """

    status: BackendStatus
    time: datetime.datetime
    termination_reason: TerminationReason | Unset = UNSET
    termination_kind: TerminationKind | Unset = UNSET
    exit_code: int | None | Unset = UNSET
    last_status: BackendStatus | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        status = self.status.value

        from ..types import to_iso

        time = to_iso(self.time)

        termination_reason: str | Unset = UNSET
        if not isinstance(self.termination_reason, Unset):
            termination_reason = self.termination_reason.value

        termination_kind: str | Unset = UNSET
        if not isinstance(self.termination_kind, Unset):
            termination_kind = self.termination_kind.value

        exit_code: int | None | Unset
        if isinstance(self.exit_code, Unset):
            exit_code = UNSET
        else:
            exit_code = self.exit_code

        last_status: str | Unset = UNSET
        if not isinstance(self.last_status, Unset):
            last_status = self.last_status.value

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
        if exit_code is not UNSET:
            field_dict["exit_code"] = exit_code
        if last_status is not UNSET:
            field_dict["last_status"] = last_status

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        status = BackendStatus(d.pop("status"))

        from ..types import to_utc

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

        def _parse_exit_code(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        exit_code = _parse_exit_code(d.pop("exit_code", UNSET))

        _last_status = d.pop("last_status", UNSET)
        last_status: BackendStatus | Unset
        if isinstance(_last_status, Unset):
            last_status = UNSET
        else:
            last_status = BackendStatus(_last_status)

        backend_info_state = cls(
            status=status,
            time=time,
            termination_reason=termination_reason,
            termination_kind=termination_kind,
            exit_code=exit_code,
            last_status=last_status,
        )

        backend_info_state.additional_properties = d
        return backend_info_state

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
