"""What the HTTP API needs from whatever runs the backends: the interface, its data, and its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from attrs import field, frozen

JSONObject: TypeAlias = dict[str, Any]


class EngineError(Exception):
    """A request that the engine refuses: an HTTP status, a word for programs and a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def not_found(what: str) -> EngineError:
    return EngineError(404, "NotFound", f"There is no {what}.")


@frozen
class Place:
    """Whose backends are meant: keys of different places have nothing to do with each other."""

    account: str
    service: str
    environment: str | None = None


@frozen
class SpawnSettings:
    """How to start a backend."""

    lifetime_limit_seconds: int | None = None
    max_idle_seconds: int | None = 300
    env: Mapping[str, str] = field(factory=dict[str, str])
    mount: str | bool | None = None
    resource_limits: Mapping[str, int] = field(factory=dict[str, int])
    tag: str | None = None


@frozen
class ConnectCall:
    """A checked connect request.

    `user_data` is its `auth` as JSON in ASCII, fit for a header. `spawn` is None if nothing may be started.
    """

    place: Place
    key: str | None
    user: str | None
    user_data: str
    spawn: SpawnSettings | None


@frozen
class Connected:
    """The engine's answer to a connect request. A static token comes without a secret one."""

    backend_id: str
    spawned: bool
    status: str
    token: str = field(repr=False)
    secret_token: str | None = field(repr=False)
    url: str = field(repr=False)


class Engine(Protocol):
    """Runs backends. All methods raise `EngineError` for what they refuse."""

    async def connect(self, call: ConnectCall) -> Connected:
        """The backend that holds the key, or a new one."""
        ...

    async def status(self, backend_id: str) -> JSONObject:
        """The present public state."""
        ...

    async def statuses(self, backend_id: str) -> AsyncIterator[JSONObject]:
        """All public states, past ones first, up to `terminated`; raises at once if there is no such backend."""
        ...

    async def terminate(self, backend_id: str, *, hard: bool) -> None:
        """Begins the end of a backend."""
        ...

    async def info(self, backend_id: str) -> JSONObject:
        """All that is known of a backend."""
        ...

    async def running(self, account: str) -> Sequence[JSONObject]:
        """The account's backends that are not terminated; `-` means every account's."""
        ...

    async def logs(self, backend_id: str, after: int) -> AsyncIterator[tuple[int, str]]:
        """The numbered lines that a backend wrote after this one, up to its end; raises at once if there is none."""
        ...

    async def metrics(self, backend_id: str) -> AsyncIterator[JSONObject]:
        """What a backend uses, as it is measured, up to its end; raises at once if there is none."""
        ...

    async def services(self, account: str) -> Sequence[str]:
        """The names of the account's services; `-` means every account's."""
        ...

    async def create_service(self, account: str, name: str) -> None:
        """Adds a service."""
        ...

    async def service(self, account: str, name: str) -> JSONObject:
        """All that is known of a service."""
        ...

    async def delete_service(self, account: str, name: str) -> None:
        """Removes a service that has no running backend."""
        ...

    async def images(self, account: str, name: str) -> Sequence[JSONObject]:
        """The images of a service, the newest first."""
        ...

    async def use_image(self, place: Place, tag: str) -> None:
        """Chooses what backends run that are spawned from now on."""
        ...
