from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.backend_status import BackendStatus
from ..models.termination_kind import TerminationKind
from ..models.termination_reason import TerminationReason
from ..types import UNSET, Unset

T = TypeVar("T", bound="BackendInfoState")


@_attrs_define
class BackendInfoState:
    """A state of a backend, as its history has it: with more about its end than `BackendState`, and the exit code instead
    of `exit_error`.

        Attributes:
            status (BackendStatus): A status in a backend's life. Backends go through them in this order and may skip any;
                `terminated` is the only one that is final. `scheduled`: a machine is chosen. `loading`: the machine fetches the
                image. `starting`: the process is being started. `waiting`: the process runs, but does not answer yet. `ready`:
                it answers. `terminating`: it was asked to end. `hard-terminating`: it is being killed. `terminated`: it is
                gone, and its key is free.
            time (datetime.datetime): Since when the backend is, or was, in this state.
            termination_reason (TerminationReason | Unset): Why a backend is ending, or ended. `swept`: it was idle for too
                long, or reached its lifetime limit. `external`: somebody asked for it. `keyexpired`: its machine could not
                renew the key. `lost`: its machine is gone. `startuptimeout`: it did not answer within 5 minutes.
                `internalerror`: the platform failed.
            termination_kind (TerminationKind | Unset): How a backend was ended. `soft`: its process was asked to end, even
                if it had to be killed in the end. `hard`: its process was killed at once.
            exit_code (int | Unset): On `terminated`, the exit code of the process; 128 plus the signal's number if a signal
                ended it, so 137 is SIGKILL and 143 SIGTERM. Left out if it is not known.
            last_status (BackendStatus | Unset): A status in a backend's life. Backends go through them in this order and
                may skip any; `terminated` is the only one that is final. `scheduled`: a machine is chosen. `loading`: the
                machine fetches the image. `starting`: the process is being started. `waiting`: the process runs, but does not
                answer yet. `ready`: it answers. `terminating`: it was asked to end. `hard-terminating`: it is being killed.
                `terminated`: it is gone, and its key is free.
    """

    status: BackendStatus
    time: datetime.datetime
    termination_reason: TerminationReason | Unset = UNSET
    termination_kind: TerminationKind | Unset = UNSET
    exit_code: int | Unset = UNSET
    last_status: BackendStatus | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        status = self.status.value

        from jamsocket_api.types import to_iso

        time = to_iso(self.time)

        termination_reason: str | Unset = UNSET
        if not isinstance(self.termination_reason, Unset):
            termination_reason = self.termination_reason.value

        termination_kind: str | Unset = UNSET
        if not isinstance(self.termination_kind, Unset):
            termination_kind = self.termination_kind.value

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

        exit_code = d.pop("exit_code", UNSET)

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
