"""`Backend`: one session backend, from `scheduled` to after its end. `Token`: what lets a browser in to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from attrs import define, field

from .changes import Changes
from .engine import Place, SpawnSettings
from .lifecycle import Lifecycle, Status
from .log import Log
from .metrics import Metrics
from .process import BackendProcess
from .services import Image


@define
class Token:
    """What a connection URL's token stands for. A static one says nothing of its user, and has no secret."""

    backend: Backend
    user: str | None
    user_data: str
    secret_token: str | None = field(repr=False)
    issued: float
    is_static: bool = False
    is_used: bool = False


@define(eq=False)
class Backend:
    """One backend."""

    id: str
    place: Place
    key: str | None
    image: Image
    settings: SpawnSettings
    port: int
    last_active: float
    deadline: float | None
    log: Log
    metrics: Metrics
    life: Lifecycle = field(factory=Lifecycle)
    process: BackendProcess | None = None
    connections: int = 0
    fencing_token: int = 0
    static_token: str | None = field(default=None, repr=False)
    private_mount: Path | None = None
    tokens: set[str] = field(factory=set[str], repr=False)
    timers: list[asyncio.TimerHandle] = field(factory=list[asyncio.TimerHandle], repr=False)
    changes: Changes = field(factory=Changes, repr=False)

    @property
    def status(self) -> Status:
        """The present station."""
        return self.life.history[-1].status

    async def wait_until_open(self) -> bool:
        """Waits until requests can be passed on; False if that will never be.

        A backend on its way out is still open: who may use it then, `LocalEngine.admit` decides.
        """
        while self.status < Status.READY:
            await self.changes.wait()
        return self.life.was_ready and not self.life.is_terminated
