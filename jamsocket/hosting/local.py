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
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from . import leftovers
from .backend import Backend, Token
from .changes import Changes
from .engine import ConnectCall, Connected, EngineError, JSONObject, Place, SpawnSettings, not_found
from .lifecycle import Kind, Reason, Status, iso
from .log import Log
from .metrics import Metrics, free_memory, measure
from .process import BackendProcess, Guardian, Ports, limit_resources, listening_ports
from .services import ANY, CLUSTER, DEFAULT_ENVIRONMENT, Image, Service, Services

logger = logging.getLogger("jamsocket.hosting")

_ID_ALPHABET = string.ascii_lowercase + string.digits
# How long after SIGKILL the kernel may take, in seconds: longer means that a process hangs in it (a dead NFS mount).
_LAST_PATIENCE = 5.0

OnStatus = Callable[[Backend], None]
OnLine = Callable[[Backend, str], None]


@frozen
class Limits:
    """How patient the server is, and how much it remembers.

    Args:
        startup: how long a backend may take to answer HTTP, in seconds.
        hint: after how many seconds without an answer its log says what is waited for.
        grace: how long it may take to end when it is asked to, in seconds; then it is killed.
        sweep_interval: how often idle and old backends are looked for, in seconds.
        metrics_interval: how often it is measured what backends use, in seconds.
        token_lifetime: for how many seconds a connection URL stays good that nobody uses.
        remembered: how many ended backends, tokens of such, and services are remembered.
        log_bytes: how much memory the last lines of a running backend may take, in bytes.
        ended_log_bytes: how much memory the last lines of an ended backend may take, in bytes.
    """

    startup: float = 300.0
    hint: float = 10.0
    grace: float = 30.0
    sweep_interval: float = 5.0
    metrics_interval: float = 2.0
    token_lifetime: float = 3600.0
    remembered: int = 1000
    log_bytes: int = 512 * 1024
    ended_log_bytes: int = 32 * 1024


class LocalEngine:
    """Runs each backend as a process of its service's command, on this machine.

    Args:
        services: one service, which then stands for every name; or several by name, the first of which is also `-`.
        host: the address on which backends listen.
        public_url: what connection URLs begin with, without a slash at the end.
        data_dir: where mounted directories are kept; None for a temporary one that goes with the engine.
        limits: how patient it is.
        on_status, on_line: called with every change of a backend, and with every line that one writes; if they raise,
            that is logged.
        now, monotonic: the time of day in epoch seconds, and a clock that never jumps.
    """

    def __init__(
        self,
        services: Service | Mapping[str, Service],
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
        self.changes = Changes()
        """Announces every change of a backend or a service, and every measurement."""
        self._host = host
        self._public_url = public_url
        self._limits = limits or Limits()
        self._on_status = on_status
        self._on_line = on_line
        self._now = now
        self._monotonic = monotonic
        self._backends: dict[str, Backend] = {}
        self._ended: deque[str] = deque()
        self._keys: dict[tuple[Place, str], Backend] = {}
        self._tokens: dict[str, Token] = {}
        self._ended_tokens: dict[str, str] = {}
        self._services = Services(services, self._now_ms(), self._limits.remembered)
        self._lives: set[asyncio.Task[None]] = set()
        self._ports = Ports()
        self._last_fencing_token = 0
        self._guardian: Guardian | None = None
        self._upkeep: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self._is_stopped = False
        self._hurry = asyncio.Event()
        self._data_dir = data_dir
        self._scratch: Path | None = None

    async def start(self) -> None:
        """Makes ready to run backends."""
        await asyncio.to_thread(leftovers.clear_away)
        mark = leftovers.new_mark()
        self._scratch = leftovers.make_scratch(mark)
        self._guardian = Guardian(mark, self._scratch)
        self._upkeep = [
            asyncio.create_task(self._sweep_for_ever(), name="sweeper"),
            asyncio.create_task(self._measure_for_ever(), name="metrics"),
        ]

    async def stop(self, grace: float) -> None:
        """Ends all backends, softly for `grace` seconds and then hard, and waits until none is left."""
        self._is_stopping = True
        if self._is_stopped:
            return
        self._is_stopped = True
        for task in self._upkeep:
            task.cancel()
        if self._upkeep:
            await asyncio.wait(self._upkeep)
        await self.terminate_all(grace)
        if self._guardian is not None:
            # It takes the temporary directory with it.
            await asyncio.to_thread(self._guardian.close)
        elif self._scratch is not None:
            shutil.rmtree(self._scratch)

    def hurry(self) -> None:
        """Makes a `stop` that is under way, or the next one, kill at once."""
        self._hurry.set()

    async def _wait_for_lives(self, patience: float) -> None:
        if not self._lives:
            return
        ended = asyncio.ensure_future(asyncio.wait(set(self._lives)))
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({ended, hurry}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            hurry.cancel()

    # ── The Engine interface ──

    async def connect(self, call: ConnectCall) -> Connected:
        # No await in here: that is what makes exactly one of many simultaneous callers spawn.
        call = evolve(call, place=self._services.place(call.place))
        tag = call.spawn.tag if call.spawn is not None else None
        image = self._services.image(call.place, tag)
        holder = self._keys.get((call.place, call.key)) if call.key is not None else None
        if holder is not None:
            # Who names no tag takes whatever runs; who names one insists on it.
            if tag is not None and holder.image != image:
                raise EngineError(409, "KeyHeld", "The key is held by a backend of another image than the tag names.")
            return self._admit(holder, call, spawned=False)
        if call.spawn is None:
            raise EngineError(409, "KeyUnheldNoSpawnConfig", "Nobody holds the key, and spawn is false.")
        if self._is_stopping:
            raise EngineError(503, "ShuttingDown", "The server is shutting down.")
        return self._admit(self._spawn(call, image, call.spawn), call, spawned=True)

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
            "image_digest": backend.image.digest,
            "key": backend.key,
            "environment_name": backend.place.environment or DEFAULT_ENVIRONMENT,
            "max_mem_bytes": backend.metrics.max_memory,
        }

    async def running(self, account: str) -> Sequence[JSONObject]:
        return [
            {**self._summary(backend), "status": backend.life.history[-1].detailed(), "key": backend.key}
            for backend in self._running()
            if account in {ANY, backend.place.account}
        ]

    async def logs(self, backend_id: str, after: int) -> AsyncIterator[tuple[int, str]]:
        return self._find(backend_id).log.follow(after)

    async def metrics(self, backend_id: str) -> AsyncIterator[JSONObject]:
        metrics = self._find(backend_id).metrics
        return (measurement.public() async for measurement in metrics.follow())

    async def services(self, account: str) -> Sequence[str]:
        return self._services.names(account)

    async def create_service(self, account: str, name: str) -> None:
        self._services.create(account, name, self._now_ms())
        self.changes.announce()

    async def service(self, account: str, name: str) -> JSONObject:
        return self._services.info(account, name)

    async def delete_service(self, account: str, name: str) -> None:
        place = self._services.place(Place(account, name))
        self._services.info(place.account, place.service)  # there must be one
        running = [
            backend.id
            for backend in self._running()
            if (backend.place.account, backend.place.service) == (place.account, place.service)
        ]
        if running:
            raise EngineError(409, "ServiceInUse", f"{len(running)} of its backends run; terminate them first.")
        self._services.delete(place.account, place.service, self._now_ms())
        self.changes.announce()

    async def images(self, account: str, name: str) -> Sequence[JSONObject]:
        return self._services.images(account, name)

    async def use_image(self, place: Place, tag: str) -> None:
        self._services.use_image(place, tag, self._now_ms())
        self.changes.announce()

    # ── For the server ──

    def begin_to_terminate_all(self) -> int:
        """Begins the end of all backends, softly; how many there were."""
        backends = [backend for backend in self._running() if not backend.life.is_leaving]
        for backend in backends:
            self._end(backend, "external", "soft")
        return len(backends)

    async def terminate_all(self, grace: float) -> None:
        """Ends all backends, softly for `grace` seconds and then hard, and waits until none is left."""
        self.begin_to_terminate_all()
        await self._wait_for_lives(grace)
        for backend in list(self._running()):
            self._kill(backend)
        # There is nothing more to hurry: this one is bounded.
        if self._lives:
            await asyncio.wait(self._lives, timeout=_LAST_PATIENCE)
        for backend in self._running():
            logger.error("Backend %s does not end, not even by SIGKILL", backend.id)

    def new_code(self, service: str | None, code: str, grace: float) -> int:
        """The watched files of a configured service are now in this state; ends what runs older ones.

        Args:
            service: its name; None for the one that stands for every name.
            code: tells states apart.
            grace: how long backends may take to end, in seconds; then they are killed.

        Returns:
            How many backends are ended.
        """
        self._services.new_code(service, code, self._now_ms())
        self.changes.announce()
        outdated = [
            backend
            for backend in self._running()
            if not backend.life.is_leaving and self._services.is_outdated(backend.place, backend.image)
        ]
        for backend in outdated:
            self._line(backend, "jamsocket: the code has changed")
            self._end(backend, "external", "soft")
            backend.timers.append(asyncio.get_running_loop().call_later(grace, self._kill, backend))
        return len(outdated)

    @property
    def backends(self) -> Sequence[Backend]:
        """All backends that are remembered, the oldest first."""
        return list(self._backends.values())

    # ── For the pages ──

    def all_services(self) -> list[JSONObject]:
        """All that is known of every account's services."""
        return self._services.overview()

    def backend(self, backend_id: str) -> Backend:
        """The backend with this id; raises `EngineError` if there is none."""
        return self._find(backend_id)

    def backend_of(self, token: str) -> Backend | None:
        """Where a connection's token leads, or led before its backend ended; the token does not count as used."""
        found = self._tokens.get(token)
        return found.backend if found is not None else self._backends.get(self._ended_tokens.get(token, ""))

    def url(self, token: str) -> str:
        """The connection URL of a token."""
        return f"{self._public_url}/{token}/"

    # ── For the proxy ──

    def admit(self, token: str) -> Token | None:
        """What a connection URL's token stands for, if it may be used."""
        found = self._tokens.get(token)
        if found is None:
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

    def _spawn(self, call: ConnectCall, image: Image, settings: SpawnSettings) -> Backend:
        monotonic = self._monotonic()
        lifetime = settings.lifetime_limit_seconds
        now_ms = self._now_ms()
        self._last_fencing_token = max(now_ms, self._last_fencing_token + 1)
        backend = Backend(
            id="".join(secrets.choice(_ID_ALPHABET) for _ in range(14)),
            place=call.place,
            key=call.key,
            image=image,
            settings=settings,
            port=self._ports.take(),
            last_active=monotonic,
            deadline=None if lifetime is None else monotonic + lifetime,
            log=Log(self._limits.log_bytes),
            metrics=Metrics(settings.resource_limits.get("memory_limit_bytes"), monotonic),
            fencing_token=self._last_fencing_token,
        )
        self._services.spawned(call.place, now_ms)
        if self._services.service(call.place).static_tokens:
            backend.static_token = f"s.{secrets.token_urlsafe(32)}"
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
        token, secret = backend.static_token, None
        if token is None:
            token, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
            self._tokens[token] = Token(backend, call.user, call.user_data, secret, self._monotonic())
        elif token not in self._tokens:
            self._tokens[token] = Token(backend, None, "{}", None, self._monotonic(), is_static=True)
        backend.tokens.add(token)
        return Connected(
            backend_id=backend.id,
            spawned=spawned,
            status=backend.status.word,
            token=token,
            secret_token=secret,
            url=self.url(token),
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
            self._line(backend, f"jamsocket: could not be started: {error}")
        except Exception:
            logger.exception("Backend %s failed", backend.id)
        finally:
            if backend.private_mount is not None:
                await asyncio.to_thread(shutil.rmtree, backend.private_mount, ignore_errors=True)
            self._bury(backend, exit_code)

    async def _run(self, backend: Backend) -> int:
        assert self._guardian is not None
        process = backend.process = BackendProcess(
            # Many programs want the port as an argument.
            [word.replace("$PORT", str(backend.port)) for word in backend.image.command],
            self._environment(backend) | self._guardian.variables,
            self._guardian,
            lambda line: self._line(backend, line),
            self._services.service(backend.place).directory,
        )
        limit_resources(process.pid, backend.settings.resource_limits)
        self._advance(backend, Status.WAITING)
        exited = asyncio.create_task(process.wait(), name=f"end of {backend.id}")
        await self._wait_until_ready(backend, process, exited)
        exit_code = await exited
        if not backend.life.was_ready and not backend.life.is_leaving:
            end = f"ended with exit code {exit_code} before it answered HTTP"
            self._line(backend, f"jamsocket: {end} on {self._host}:{backend.port} (the variable PORT)")
        return exit_code

    async def _wait_until_ready(self, backend: Backend, process: BackendProcess, end: asyncio.Task[int]) -> None:
        probe = asyncio.create_task(process.probe(self._host, backend.port), name=f"probe of {backend.id}")
        hint = asyncio.get_running_loop().call_later(self._limits.hint, self._hint, backend, process)
        backend.timers.append(hint)
        await asyncio.wait({end, probe}, timeout=self._limits.startup, return_when=asyncio.FIRST_COMPLETED)
        hint.cancel()
        if end.done() or backend.life.is_leaving:
            pass
        elif not probe.done():
            self._hint(backend, process, f"in {self._limits.startup:g} s")
            self._end(backend, "startuptimeout", "hard")
        elif error := probe.exception():
            logger.error("Backend %s could not be probed", backend.id, exc_info=error)
            self._end(backend, "internalerror", "hard")
        else:
            self._advance(backend, Status.READY)
        probe.cancel()
        await asyncio.wait({probe})
        if not probe.cancelled():
            probe.exception()  # it has been looked at

    def _hint(self, backend: Backend, process: BackendProcess, when: str = "yet") -> None:
        """Says what is waited for."""
        ports = ", ".join(str(port) for port in sorted(listening_ports(process.pid)))
        does = f"it listens on port {ports} instead" if ports else "it does not listen on any port"
        where = f"{self._host}:{backend.port}"
        self._line(backend, f"jamsocket: no HTTP answer on {where} (the variable PORT) {when}; {does}")

    def _environment(self, backend: Backend) -> dict[str, str]:
        service = self._services.service(backend.place)
        # Python writes to a pipe in blocks: without this, its lines would show long after they were printed.
        env = {"PYTHONUNBUFFERED": "1", **os.environ, **service.env, **backend.settings.env}
        env["PORT"] = str(backend.port)
        env["SESSION_BACKEND_ID"] = backend.id
        env["SESSION_BACKEND_KEY"] = backend.key if backend.key is not None else f"lk-{backend.id}"
        env["SESSION_BACKEND_FENCING_TOKEN"] = str(backend.fencing_token)
        env["JAMSOCKET_SERVICE"] = backend.place.service
        env.pop("SESSION_BACKEND_STATIC_TOKEN", None)
        if backend.static_token is not None:
            env["SESSION_BACKEND_STATIC_TOKEN"] = backend.static_token
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
        assert self._scratch is not None
        folder = (self._data_dir or self._scratch).absolute() / _file_name(
            place.account, place.service, place.environment or ""
        )
        if isinstance(wanted, str):
            return folder / "paths" / wanted
        if backend.key is not None:
            return folder / "keys" / _file_name(backend.key)
        backend.private_mount = self._scratch / "private" / backend.id
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
            backend.timers.append(asyncio.get_running_loop().call_later(self._limits.grace, self._kill, backend))

    def _kill(self, backend: Backend) -> None:
        if backend.process is not None and not backend.life.is_terminated:
            backend.process.signal(signal.SIGKILL)

    def _bury(self, backend: Backend, exit_code: int | None) -> None:
        """The backend is over: its key, port and tokens are free, and only so many ended ones are remembered."""
        self._ports.give_back(backend.port)
        if backend.key is not None:
            self._keys.pop((backend.place, backend.key), None)
        for token in backend.tokens:
            self._tokens.pop(token, None)
            self._ended_tokens[token] = backend.id
        backend.tokens.clear()
        while len(self._ended_tokens) > self._limits.remembered:
            del self._ended_tokens[next(iter(self._ended_tokens))]
        for timer in backend.timers:
            timer.cancel()
        backend.timers.clear()
        backend.process = None
        backend.log.complete(self._limits.ended_log_bytes)
        backend.metrics.complete()
        backend.life.exited(exit_code, self._now_ms())
        self._report(backend)
        self._ended.append(backend.id)
        while len(self._ended) > self._limits.remembered:
            del self._backends[self._ended.popleft()]

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
                await backend.changes.wait()

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._limits.sweep_interval)
            self.sweep()

    async def _measure_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._limits.metrics_interval)
            running = {backend.process.pid: backend for backend in self._running() if backend.process is not None}
            if not running:
                continue
            try:
                # In a thread, because it looks at every process there is.
                usages = await asyncio.to_thread(measure, list(running))
                memory = free_memory()
            except Exception:
                logger.exception("What backends use could not be measured")
                continue
            for pid, usage in usages.items():
                running[pid].metrics.add(usage, memory, self._monotonic(), self._now_ms())
            self.changes.announce()

    def sweep(self) -> None:
        """Ends the backends that were idle, or have lived, for too long; drops tokens that nobody used in time."""
        now = self._monotonic()
        for backend in list(self._running()):
            idle = backend.settings.max_idle_seconds
            is_idle = idle is not None and backend.connections == 0 and now - backend.last_active > idle
            if is_idle or (backend.deadline is not None and now > backend.deadline):
                self._end(backend, "swept", "soft")
        oldest = now - self._limits.token_lifetime
        unused = [(token, found) for token, found in self._tokens.items() if not found.is_used]
        for token, found in unused:
            if found.issued < oldest:
                del self._tokens[token]
                found.backend.tokens.discard(token)

    def _report(self, backend: Backend) -> None:
        backend.changes.announce()
        self.changes.announce()
        if self._on_status is not None:
            try:
                self._on_status(backend)
            except Exception:
                logger.exception("on_status failed")

    def _line(self, backend: Backend, line: str) -> None:
        backend.log.append(line)
        if self._on_line is not None:
            try:
                self._on_line(backend, line)
            except Exception:
                logger.exception("on_line failed")

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _summary(self, backend: Backend) -> JSONObject:
        return {
            "id": backend.id,
            "created_at": iso(backend.life.history[0].time_ms),
            "service_name": backend.place.service,
            "cluster_name": CLUSTER,
            "account_name": backend.place.account,
        }


def _file_name(*parts: str) -> str:
    """A folder's name for what may be any text."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
