"""`LocalEngine`: session backends as processes of this machine. Keys, tokens, sweeps, and each backend's life."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import signal
import string
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen

from .engine import ConnectCall, Connected, EngineError, JSONObject, Place, SpawnSettings, not_found
from .lifecycle import Kind, Lifecycle, Reason, Status, iso
from .process import BackendProcess, Guardian, Ports, limit_resources

logger = logging.getLogger("jamsocket.hosting")

_ID_ALPHABET = string.ascii_lowercase + string.digits

OnStatus = Callable[["Backend"], None]
OnLine = Callable[["Backend", str], None]


@frozen
class Limits:
    """How patient the engine is. All in seconds, but for the number of ended backends that are remembered."""

    startup: float = 300.0
    grace: float = 30.0
    sweep_interval: float = 5.0
    token_lifetime: float = 3600.0
    remembered: int = 1000


@define
class Token:
    """What a connection URL's token stands for."""

    backend: Backend
    user: str | None
    auth: JSONObject
    secret_token: str
    issued: float
    is_used: bool = False


@define(eq=False)
class Backend:
    """One backend, from `scheduled` to after its end."""

    id: str
    place: Place
    key: str | None
    settings: SpawnSettings
    port: int
    last_active: float
    deadline: float | None
    life: Lifecycle = field(factory=Lifecycle)
    process: BackendProcess | None = None
    connections: int = 0
    fencing_token: int = 0
    private_mount: Path | None = None
    _changed: asyncio.Event = field(factory=asyncio.Event)

    @property
    def status(self) -> Status:
        """The present station."""
        return self.life.history[-1].status

    def changed(self) -> None:
        """Wakes everybody who waits for a change."""
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def wait_for_change(self) -> None:
        """Returns at the next change."""
        await self._changed.wait()

    async def wait_until_open(self) -> bool:
        """Waits until requests can be passed on; False if that will never be."""
        while self.status < Status.READY:
            await self.wait_for_change()
        return self.status is Status.READY


class LocalEngine:
    """Runs each backend as a process of one command, on this machine.

    Args:
        command: the program and its arguments.
        host: the address on which backends listen.
        public_url: what connection URLs begin with, without a slash at the end.
        data_dir: where mounted directories are kept; None for a temporary one that goes with the engine.
        limits: how patient it is.
        on_status, on_line: called with every change of a backend, and with every line that one writes.
        now, monotonic: the time of day in epoch seconds, and a clock that never jumps.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        host: str,
        public_url: str,
        data_dir: Path | None = None,
        limits: Limits | None = None,
        on_status: OnStatus | None = None,
        on_line: OnLine | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command)
        self._host = host
        self._public_url = public_url
        self._limits = limits or Limits()
        self._on_status = on_status
        self._on_line = on_line
        self._now = now
        self._monotonic = monotonic
        self._backends: dict[str, Backend] = {}
        self._keys: dict[tuple[Place, str], Backend] = {}
        self._tokens: dict[str, Token] = {}
        self._services: dict[tuple[str, str], None] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._ports = Ports(host)
        self._last_fencing_token = 0
        self._guardian: Guardian | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._temporary = tempfile.TemporaryDirectory(prefix="jamsocket-") if data_dir is None else None
        self._data_dir = Path(self._temporary.name) if self._temporary else Path(str(data_dir))

    async def start(self) -> None:
        """Makes ready to run backends."""
        self._guardian = Guardian()
        self._sweeper = asyncio.create_task(self._sweep_for_ever())

    async def stop(self, grace: float) -> None:
        """Ends all backends, softly for `grace` seconds and then hard, and waits until none is left."""
        self._is_stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        for kind, patience in (("soft", grace), ("hard", None)):
            for backend in list(self._running()):
                self._end(backend, "external", "soft" if kind == "soft" else "hard")
            if self._lives:
                await asyncio.wait(self._lives, timeout=patience)
        if self._guardian is not None:
            await asyncio.to_thread(self._guardian.close)
        if self._temporary is not None:
            await asyncio.to_thread(self._temporary.cleanup)

    # ── The Engine interface ──

    async def connect(self, call: ConnectCall) -> Connected:
        # No await in here: that is what makes exactly one of many simultaneous callers spawn.
        self._services.setdefault((call.place.account, call.place.service))
        holder = self._keys.get((call.place, call.key)) if call.key is not None else None
        if holder is not None:
            return self._admit(holder, call, spawned=False)
        if call.spawn is None:
            raise EngineError(409, "KeyUnheldNoSpawnConfig", "Nobody holds the key, and spawn is false.")
        if call.spawn.tag not in {None, "latest"}:
            raise not_found(f"image with the tag {call.spawn.tag}")
        if self._is_stopping:
            raise EngineError(503, "ShuttingDown", "The server is shutting down.")
        return self._admit(self._spawn(call, call.spawn), call, spawned=True)

    async def status(self, backend_id: str) -> JSONObject:
        return self._find(backend_id).life.history[-1].public()

    async def statuses(self, backend_id: str) -> AsyncIterator[JSONObject]:
        return self._follow(self._find(backend_id))

    async def terminate(self, backend_id: str, *, hard: bool) -> None:
        backend = self._find(backend_id)
        if backend.life.is_terminated:
            raise EngineError(409, "BackendNotRunning", f"Backend {backend_id} is not running.")
        self._end(backend, "external", "hard" if hard else "soft")

    async def info(self, backend_id: str) -> JSONObject:
        backend = self._find(backend_id)
        return {
            **self._summary(backend),
            "statuses": [entry.detailed() for entry in backend.life.history],
            "image_digest": self._digest(),
            "key": backend.key,
            "environment_name": backend.place.environment or "default",
            "max_mem_bytes": None,
        }

    async def running(self, account: str) -> Sequence[JSONObject]:
        return [
            {**self._summary(backend), "status": backend.life.history[-1].detailed(), "key": backend.key}
            for backend in self._running()
            if account in {"-", backend.place.account}
        ]

    async def services(self, account: str) -> Sequence[str]:
        return sorted({service for owner, service in self._services if account in {"-", owner}})

    # ── For the proxy ──

    def admit(self, token: str) -> Token | None:
        """What a connection URL's token stands for, if it may be used."""
        found = self._tokens.get(token)
        if found is None or found.backend.life.is_terminated:
            return None
        if found.backend.life.is_leaving and not found.is_used:
            return None  # whoever is in stays in until the end, but nobody else comes in
        found.is_used = True
        return found

    @contextlib.contextmanager
    def activity(self, backend: Backend) -> Generator[None]:
        """Counts as a connection of the backend, for the idle limit, as long as it lasts."""
        backend.connections += 1
        backend.last_active = self._monotonic()
        try:
            yield
        finally:
            backend.connections -= 1
            backend.last_active = self._monotonic()

    # ── Inside ──

    def _find(self, backend_id: str) -> Backend:
        backend = self._backends.get(backend_id)
        if backend is None:
            raise not_found(f"backend {backend_id}")
        return backend

    def _running(self) -> Iterator[Backend]:
        return (backend for backend in self._backends.values() if not backend.life.is_terminated)

    def _spawn(self, call: ConnectCall, settings: SpawnSettings) -> Backend:
        monotonic = self._monotonic()
        lifetime = settings.lifetime_limit_seconds
        now_ms = self._now_ms()
        self._last_fencing_token = max(now_ms, self._last_fencing_token + 1)
        backend = Backend(
            id="".join(secrets.choice(_ID_ALPHABET) for _ in range(14)),
            place=call.place,
            key=call.key,
            settings=settings,
            port=self._ports.take(),
            last_active=monotonic,
            deadline=None if lifetime is None else monotonic + lifetime,
            fencing_token=self._last_fencing_token,
        )
        self._backends[backend.id] = backend
        if call.key is not None:
            self._keys[call.place, call.key] = backend
        backend.life.advance(Status.SCHEDULED, now_ms)
        self._report(backend)
        task = asyncio.create_task(self._live(backend), name=f"backend {backend.id}")
        self._lives.add(task)
        task.add_done_callback(self._lives.discard)
        return backend

    def _admit(self, backend: Backend, call: ConnectCall, *, spawned: bool) -> Connected:
        token, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._tokens[token] = Token(backend, call.user, call.auth, secret, self._monotonic())
        return Connected(
            backend_id=backend.id,
            spawned=spawned,
            status=backend.status.word,
            token=token,
            secret_token=secret,
            url=f"{self._public_url}/{token}/",
        )

    async def _live(self, backend: Backend) -> None:
        """The whole life of a backend."""
        exit_code: int | None = None
        try:
            self._advance(backend, Status.LOADING)
            self._advance(backend, Status.STARTING)
            if not backend.life.is_leaving:
                exit_code = await self._run(backend)
        except OSError as error:
            self._line(backend, f"could not be started: {error}")
        finally:
            self._forget(backend, exit_code)

    async def _run(self, backend: Backend) -> int:
        assert self._guardian is not None
        process = backend.process = BackendProcess(
            self._command, self._environment(backend), self._guardian, lambda line: self._line(backend, line)
        )
        limit_resources(process.pid, backend.settings.resource_limits)
        self._advance(backend, Status.WAITING)
        end = asyncio.create_task(process.wait())
        probe = asyncio.create_task(process.probe(self._host, backend.port))
        await asyncio.wait({end, probe}, timeout=self._limits.startup, return_when=asyncio.FIRST_COMPLETED)
        if probe.done() and not probe.cancelled() and probe.exception() is not None:
            self._line(backend, f"could not be probed: {probe.exception()}")
            self._end(backend, "internalerror", "hard")
        elif probe.done() and not end.done():
            self._advance(backend, Status.READY)
        elif not end.done():
            self._line(
                backend, f"gave no HTTP answer on {self._host}:{backend.port} (PORT) in {self._limits.startup:g} s"
            )
            self._end(backend, "startuptimeout", "hard")
        probe.cancel()
        return await end

    def _environment(self, backend: Backend) -> dict[str, str]:
        env = {**os.environ, **backend.settings.env}
        env["PORT"] = str(backend.port)
        env["SESSION_BACKEND_ID"] = backend.id
        env["SESSION_BACKEND_KEY"] = backend.key if backend.key is not None else f"lk-{backend.id}"
        env["SESSION_BACKEND_FENCING_TOKEN"] = str(backend.fencing_token)
        env["JAMSOCKET_SERVICE"] = backend.place.service
        env.pop("SESSION_BACKEND_STATIC_TOKEN", None)
        mount = self._mount(backend)
        if mount is not None:
            mount.mkdir(parents=True, exist_ok=True)
            env["JAMSOCKET_MOUNT"] = str(mount)
        return env

    def _mount(self, backend: Backend) -> Path | None:
        wanted = backend.settings.mount
        if wanted is None or wanted is False:
            return None
        place = backend.place
        folder = self._data_dir / _file_name(place.account, place.service, place.environment or "")
        if isinstance(wanted, str):
            return folder / "paths" / wanted
        if backend.key is not None:
            return folder / "keys" / _file_name(backend.key)
        backend.private_mount = folder / "private" / backend.id
        return backend.private_mount

    def _end(self, backend: Backend, reason: Reason, kind: Kind) -> None:
        """Begins the end of a backend, or makes a soft one hard."""
        if not backend.life.terminate(reason, kind, self._now_ms()):
            return
        self._report(backend)
        process = backend.process
        if process is None:
            return  # its life notices before it starts anything
        if kind == "hard":
            process.signal(signal.SIGKILL)
        else:
            process.signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(self._limits.grace, self._kill, backend)

    def _kill(self, backend: Backend) -> None:
        if backend.process is not None and not backend.life.is_terminated:
            backend.process.signal(signal.SIGKILL)

    def _forget(self, backend: Backend, exit_code: int | None) -> None:
        """The backend is over: its key, port and tokens are free, and only so many ended ones are remembered."""
        self._ports.give_back(backend.port)
        if backend.key is not None:
            self._keys.pop((backend.place, backend.key), None)
        for token in [token for token, found in self._tokens.items() if found.backend is backend]:
            del self._tokens[token]
        if backend.private_mount is not None:
            shutil.rmtree(backend.private_mount, ignore_errors=True)
        backend.process = None
        backend.life.exited(exit_code, self._now_ms())
        self._report(backend)
        ended = [other.id for other in self._backends.values() if other.life.is_terminated]
        for backend_id in ended[: -self._limits.remembered]:
            del self._backends[backend_id]

    def _advance(self, backend: Backend, status: Status) -> None:
        if backend.life.advance(status, self._now_ms()):
            self._report(backend)

    async def _follow(self, backend: Backend) -> AsyncIterator[JSONObject]:
        sent = 0
        while True:
            history = backend.life.history
            if sent < len(history):
                yield history[sent].public()
                sent += 1
            elif backend.life.is_terminated:
                return
            else:
                await backend.wait_for_change()

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._limits.sweep_interval)
            self.sweep()

    def sweep(self) -> None:
        """Ends the backends that were idle, or have lived, for too long; drops tokens that nobody used in time."""
        now = self._monotonic()
        for backend in list(self._running()):
            idle = backend.settings.max_idle_seconds
            is_idle = idle is not None and backend.connections == 0 and now - backend.last_active > idle
            if is_idle or (backend.deadline is not None and now > backend.deadline):
                self._end(backend, "swept", "soft")
        oldest = now - self._limits.token_lifetime
        for token in [token for token, found in self._tokens.items() if found.issued < oldest and not found.is_used]:
            del self._tokens[token]

    def _report(self, backend: Backend) -> None:
        backend.changed()
        if self._on_status is not None:
            self._on_status(backend)

    def _line(self, backend: Backend, line: str) -> None:
        if self._on_line is not None:
            self._on_line(backend, line)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _summary(self, backend: Backend) -> JSONObject:
        return {
            "id": backend.id,
            "created_at": iso(backend.life.history[0].time_ms),
            "service_name": backend.place.service,
            "cluster_name": "localhost",
            "account_name": backend.place.account,
        }

    def _digest(self) -> str:
        return "sha256:" + hashlib.sha256("\0".join(self._command).encode()).hexdigest()


def _file_name(*parts: str) -> str:
    """A folder's name for what may be any text."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
