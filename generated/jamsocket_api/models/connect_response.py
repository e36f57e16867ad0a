from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.backend_status import BackendStatus
from ..types import UNSET, Unset

T = TypeVar("T", bound="ConnectResponse")


@_attrs_define
class ConnectResponse:
    """A backend, and the URL that leads to it.

    Attributes:
        backend_id (str): The backend's id, for the other operations: lower-case letters, digits and hyphens, at most 45
            characters.
        spawned (bool): True if this request spawned the backend, false if it was there already.
        status (BackendStatus): A status in a backend's life. Backends go through them in this order and may skip any;
            `terminated` is the only one that is final. `scheduled`: a machine is chosen. `loading`: the machine fetches the
            image. `starting`: the process is being started. `waiting`: the process runs, but does not answer yet. `ready`:
            it answers. `terminating`: it was asked to end. `hard-terminating`: it is being killed. `terminated`: it is
            gone, and its key is free.
        token (str): The connection token, which is part of `url`. A secret: whoever has it is let in as `user`. It must
            first be used within one hour, and is then good for as long as the backend lives.
        url (str): Where the backend is reached, by HTTP and WebSocket; it always ends with a slash. A secret, as it
            contains the token. Requests wait until the backend is ready; they are answered with 410 once it is ending, and
            for tokens that are not valid.
        status_url (str): Where anybody can ask for the backend's state, without a token (`get_status`).
        ready_url (str | Unset): A page for browsers that waits until the backend is ready, then goes to `url`. A secret
            too. Empty on development servers that have no such page; may be missing.
        secret_token (None | str | Unset): A second secret for this connection. The backend sees it as the header
            `x-verified-secret`, and may ask its users for it; the platform does not check it. Null if the service uses
            static tokens; may be missing.
    """

    backend_id: str
    spawned: bool
    status: BackendStatus
    token: str
    url: str
    status_url: str
    ready_url: str | Unset = UNSET
    secret_token: None | str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        backend_id = self.backend_id

        spawned = self.spawned

        status = self.status.value

        token = self.token

        url = self.url

        status_url = self.status_url

        ready_url = self.ready_url

        secret_token: None | str | Unset
        if isinstance(self.secret_token, Unset):
            secret_token = UNSET
        else:
            secret_token = self.secret_token

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "backend_id": backend_id,
                "spawned": spawned,
                "status": status,
                "token": token,
                "url": url,
                "status_url": status_url,
            }
        )
        if ready_url is not UNSET:
            field_dict["ready_url"] = ready_url
        if secret_token is not UNSET:
            field_dict["secret_token"] = secret_token

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        backend_id = d.pop("backend_id")

        spawned = d.pop("spawned")

        status = BackendStatus(d.pop("status"))

        token = d.pop("token")

        url = d.pop("url")

        status_url = d.pop("status_url")

        ready_url = d.pop("ready_url", UNSET)

        def _parse_secret_token(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        secret_token = _parse_secret_token(d.pop("secret_token", UNSET))

        connect_response = cls(
            backend_id=backend_id,
            spawned=spawned,
            status=status,
            token=token,
            url=url,
            status_url=status_url,
            ready_url=ready_url,
            secret_token=secret_token,
        )

        connect_response.additional_properties = d
        return connect_response

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
