"""The development server: API and proxy over a `LocalEngine`. `Server` is asyncio, `DevServer` runs it in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from aiohttp import web
from attrs import evolve

from ..config import is_loopback
from . import watching
from .api import Api, EnvelopeRequestHandler
from .backend import Backend
from .errors import CommandNotFoundError, DevServerError, PortInUseError
from .gate import Gate
from .local import Limits, LocalEngine, OnLine, OnStatus
from .pages import Pages
from .proxy import MAX_LINE, Proxy, ProxyRequestHandler
from .services import ANY, Service
from .validation import RESERVED

logger = logging.getLogger("jamsocket.hosting")

_SHUTDOWN_TIMEOUT = 1.0

OnReload = Callable[[str | None, int], None]


class Server:
    """The development server, on asyncio: what `DevServer` is for blocking programs. `async with` starts and stops it.

    Args:
        services: what backends run: a command (the program and its arguments), a `Service`, or several of either by
            name, the first of which is also `-`. The program listens for HTTP on 127.0.0.1, port `PORT`.
        host: the address to listen on.
        port: the API's port; 0 for a free one.
        proxy_port: the connection URLs' port; 0 for a free one.
        stop_grace: how long backends may take to end when the server stops, in seconds; then they are killed.
        startup_timeout: how long a backend may take to answer HTTP, in seconds.
        data_dir: where mounted directories are kept; None for a temporary one that goes with the server.
        allowed_hosts: further names by which the server may be called: `name` for any port, `name:port` for one.
        public_url: what connection URLs begin with, if browsers come by another address than
            `http://localhost:{proxy_port}`.
        public_api_url: what status and ready URLs begin with, if the API is reached by another address than `url`.
        token: the bearer token that callers must have; None takes any and none. A server that other machines can reach
            must have one, JAMSOCKET_TOKEN if it is not given: whoever may connect decides what runs on this machine.
        stream_keepalive: after how many seconds of silence a status stream sends a comment; None for never.
        on_status, on_line: called on the event loop with every change of a backend, and every line one writes.
        on_reload: called on the event loop when watched files have changed, with how many backends end because of it.
        limits: everything else that is bounded.

    Raises:
        CommandNotFoundError: if the command does not exist.
        DevServerError: if the command is no list, a port no port, or a token is missing.

    Example:
        >>> async with Server(["python", "backend.py"], port=0, proxy_port=0) as server:
        ...     print(server.url)
    """

    def __init__(
        self,
        services: Sequence[str] | Service | Mapping[str, Sequence[str] | Service],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        proxy_port: int = 9090,
        stop_grace: float = 5.0,
        startup_timeout: float | None = None,
        data_dir: str | Path | None = None,
        allowed_hosts: Sequence[str] = (),
        public_url: str | None = None,
        public_api_url: str | None = None,
        token: str | None = None,
        stream_keepalive: float | None = None,
        on_status: OnStatus | None = None,
        on_line: OnLine | None = None,
        on_reload: OnReload | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._services = checked_services(services)
        check_port(port, "port")
        check_port(proxy_port, "proxy_port")
        self.port = port
        self.proxy_port = proxy_port
        self._host = host
        self._stop_grace = stop_grace
        self._limits = limits or Limits()
        if startup_timeout is not None:
            self._limits = evolve(self._limits, startup=startup_timeout)
        self._data_dir = None if data_dir is None else Path(data_dir)
        self._public_url = checked_url(public_url, "public_url")
        self._public_api_url = checked_url(public_api_url, "public_api_url")
        public = (urlsplit(url).netloc for url in (self._public_url, self._public_api_url) if url)
        self._allowed_hosts = (*allowed_hosts, *public)
        self._token = token if is_loopback(host) else token or os.environ.get("JAMSOCKET_TOKEN")
        if not self._token and not is_loopback(host):
            raise DevServerError(
                f"{host} can be reached from other machines, and whoever may connect decides what runs on this one. "
                "Give a token that callers must have: token=, or the variable JAMSOCKET_TOKEN."
            )
        self._stream_keepalive = stream_keepalive
        self._on_status = on_status
        self._on_line = on_line
        self._on_reload = on_reload
        self._engine: LocalEngine | None = None
        self._undo = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        """Where the API is reached."""
        return f"http://localhost:{self.port}"

    @property
    def connection_url(self) -> str:
        """What connection URLs begin with."""
        return self._public_url or f"http://localhost:{self.proxy_port}"

    async def start(self) -> None:
        """Starts listening.

        Raises:
            PortInUseError: if something else listens on one of the ports.
            DevServerError: if it cannot listen for another reason.
        """
        if self._engine is not None:
            raise DevServerError("This development server runs already.")
        async with contextlib.AsyncExitStack() as undo:
            api_socket = undo.enter_context(listen(self._host, self.port, "port"))
            proxy_socket = undo.enter_context(listen(self._host, self.proxy_port, "proxy_port"))
            port, proxy_port = api_socket.getsockname()[1], proxy_socket.getsockname()[1]
            engine = LocalEngine(
                self._services,
                host="127.0.0.1",
                public_url=self._public_url or f"http://localhost:{proxy_port}",
                data_dir=self._data_dir,
                limits=self._limits,
                on_status=self._on_status,
                on_line=self._on_line,
            )
            undo.push_async_callback(engine.stop, 0)
            await engine.start()
            proxy_gate = Gate(proxy_port, bound=self._host, allowed=self._allowed_hosts)
            proxy = Proxy(engine, proxy_gate, "127.0.0.1")
            await proxy.start()
            undo.push_async_callback(proxy.stop)
            await serve_proxy(proxy, proxy_socket, undo)
            gate = Gate(port, bound=self._host, allowed=self._allowed_hosts, token=self._token)
            base_url = self._public_api_url or f"http://localhost:{port}"
            api = Api(engine, gate, base_url, self._stream_keepalive, pages=Pages(engine))
            await serve_api(api, api_socket, undo)
            await self._watch(engine, undo)
            # Last in, first out: the backends end while the API still tells of it.
            undo.push_async_callback(engine.stop, self._stop_grace)
            self.port, self.proxy_port = port, proxy_port
            self._engine = engine
            self._undo = undo.pop_all()

    async def _watch(self, engine: LocalEngine, undo: contextlib.AsyncExitStack) -> None:
        """Watches the services' files; backends that run old code are ended."""
        services = self._services.items() if isinstance(self._services, dict) else [(None, self._services)]
        for name, service in services:
            if not service.watch:
                continue
            state = await asyncio.to_thread(watching.fingerprint, service.watch)
            engine.new_code(name, state, self._stop_grace)
            on_change = functools.partial(self._reload, engine, name)
            task = asyncio.create_task(watching.watch(service.watch, state, on_change), name=f"watch of {name}")
            undo.push_async_callback(cancel, task)

    def _reload(self, engine: LocalEngine, service: str | None, state: str) -> None:
        ended = engine.new_code(service, state, self._stop_grace)
        if self._on_reload is not None:
            try:
                self._on_reload(service, ended)
            except Exception:
                logger.exception("on_reload failed")

    def begin_to_terminate_all(self) -> int:
        """Asks all backends to end; how many there were. To be called on the event loop."""
        return 0 if self._engine is None else self._engine.begin_to_terminate_all()

    async def terminate_all(self) -> None:
        """Ends all backends, as `stop` does, and waits until none is left; the server goes on."""
        if self._engine is not None:
            await self._engine.terminate_all(self._stop_grace)

    @property
    def backends(self) -> Sequence[Backend]:
        """All backends that are remembered, the oldest first. To be looked at on the event loop."""
        return [] if self._engine is None else self._engine.backends

    async def stop(self) -> None:
        """Ends all backends and stops listening; further calls do nothing."""
        undo, self._undo = self._undo, contextlib.AsyncExitStack()
        await undo.aclose()

    def hurry(self) -> None:
        """Makes a `stop` that is under way, or the next one, kill at once. To be called on the event loop."""
        if self._engine is not None:
            self._engine.hurry()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class DevServer:
    """A development server for as long as a `with` block lasts: session backends as processes of this machine.

    It serves the HTTP API on one port and the backends' connection URLs on another. It runs in a thread of its own,
    so it may be started from any thread, and more than once in a program. When the block is left, or the program ends
    in whatever way (also killed), the backends end too.

    Args:
        services: what backends run: a command (the program and its arguments), a `Service`, or several of either by
            name, the first of which is also `-`. The program listens for HTTP on 127.0.0.1, port `PORT`.
        host: the address to listen on.
        port: the API's port, 8080 if it is not given; 0 for a free one.
        proxy_port: the connection URLs' port, 9090 if it is not given; 0 for a free one.
        stop_grace: how long backends may take to end when the server stops, in seconds; then they are killed.
        startup_timeout: how long a backend may take to answer HTTP, in seconds; 300 if it is not given.
        data_dir: where mounted directories are kept; None for a temporary one that goes with the server.
        allowed_hosts: further names by which the server may be called: `name` for any port, `name:port` for one.
        public_url: what connection URLs begin with, if browsers come by another address than
            `http://localhost:{proxy_port}`.
        public_api_url: what status and ready URLs begin with, if the API is reached by another address than `url`.
        token: the bearer token that callers must have; None takes any and none. A server that other machines can reach
            must have one, JAMSOCKET_TOKEN if it is not given: whoever may connect decides what runs on this machine.
        stream_keepalive: after how many seconds of silence a status stream sends a comment; None for never.
        on_status, on_line: called in the server's thread with every change of a backend, and every line one writes.
        on_reload: called there when watched files have changed, with how many backends end because of it.
        limits: everything else that is bounded.

    Raises:
        CommandNotFoundError: on entering, if the command does not exist.
        PortInUseError: on entering, if something else listens on one of the ports.
        DevServerError: on entering, if it cannot start for another reason.

    Example:
        >>> with DevServer(["python", "backend.py"], port=0, proxy_port=0) as server:
        ...     jamsocket = Jamsocket(dev=True, port=server.port)
    """

    def __init__(
        self,
        services: Sequence[str] | Service | Mapping[str, Sequence[str] | Service],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        proxy_port: int = 9090,
        stop_grace: float = 5.0,
        startup_timeout: float | None = None,
        data_dir: str | Path | None = None,
        allowed_hosts: Sequence[str] = (),
        public_url: str | None = None,
        public_api_url: str | None = None,
        token: str | None = None,
        stream_keepalive: float | None = None,
        on_status: OnStatus | None = None,
        on_line: OnLine | None = None,
        on_reload: OnReload | None = None,
        limits: Limits | None = None,
    ) -> None:
        def make() -> Server:
            return Server(
                services,
                host=host,
                port=port,
                proxy_port=proxy_port,
                stop_grace=stop_grace,
                startup_timeout=startup_timeout,
                data_dir=data_dir,
                allowed_hosts=allowed_hosts,
                public_url=public_url,
                public_api_url=public_api_url,
                token=token,
                stream_keepalive=stream_keepalive,
                on_status=on_status,
                on_line=on_line,
                on_reload=on_reload,
                limits=limits,
            )

        self._make: Callable[[], Server] = make
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The API's port. Raises `DevServerError` while the server does not run."""
        return self._running().port

    @property
    def proxy_port(self) -> int:
        """The connection URLs' port. Raises `DevServerError` while the server does not run."""
        return self._running().proxy_port

    @property
    def url(self) -> str:
        """Where the API is reached. Raises `DevServerError` while the server does not run."""
        return self._running().url

    def start(self) -> None:
        """Starts the server; returns when it listens. Raises `DevServerError` if it cannot, and leaves nothing."""
        with self._lock:
            if self._server is not None:
                raise DevServerError("This development server runs already.")
            server = self._make()
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=run_to_the_end, args=[loop], name="jamsocket dev server", daemon=True)
            thread.start()
            try:
                asyncio.run_coroutine_threadsafe(server.start(), loop).result()
            except BaseException:
                # An interrupt comes while it is starting: what has been started by now must go.
                self._stop(server, loop, thread, hurry=True)
                raise
            self._server, self._loop, self._thread = server, loop, thread

    def stop(self) -> None:
        """Ends all backends and stops the server; further calls do nothing.

        It takes as long as the backends do, at most `stop_grace`. An interrupt (Ctrl-C) meanwhile kills them at once.
        """
        with self._lock:
            server, loop, thread = self._server, self._loop, self._thread
            self._server = self._loop = self._thread = None
            if server is not None and loop is not None and thread is not None:
                self._stop(server, loop, thread)

    def terminate_all(self) -> None:
        """Ends all backends, as `stop` does, and waits until none is left; the server goes on.

        Raises:
            DevServerError: if the server does not run.
        """
        with self._lock:
            server, loop = self._running(), self._loop
            assert loop is not None
            asyncio.run_coroutine_threadsafe(server.terminate_all(), loop).result()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> Server:
        if self._server is None:
            raise DevServerError("This development server is not running: use it as a context manager, or start() it.")
        return self._server

    @staticmethod
    def _stop(
        server: Server, loop: asyncio.AbstractEventLoop, thread: threading.Thread, *, hurry: bool = False
    ) -> None:
        if hurry:
            loop.call_soon_threadsafe(server.hurry)
        stopped = asyncio.run_coroutine_threadsafe(server.stop(), loop)
        try:
            stopped.result()
        except BaseException:
            if not stopped.done():
                loop.call_soon_threadsafe(server.hurry)
                stopped.exception()
            raise
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


def run_to_the_end(loop: asyncio.AbstractEventLoop) -> None:
    """Runs a loop until it is stopped, then ends it as `asyncio.run` does; all in the loop's own thread, because the
    caller's may be running a loop of its own."""
    loop.run_forever()
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def check_port(port: int, name: str) -> None:
    """Raises `DevServerError` if it is not a port."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DevServerError(f"{name}={port!r} is not a port: 1 to 65535, or 0 for any that is free.")


def checked_services(
    services: Sequence[str] | Service | Mapping[str, Sequence[str] | Service],
) -> Service | dict[str, Service]:
    """The services; raises `DevServerError` if one cannot be."""
    if isinstance(services, Mapping):
        if not services:
            raise DevServerError("There is no service: name at least one, with its command.")
        for name in services:
            if not name or name in {ANY, ".", ".."} or "/" in name:
                raise DevServerError(f"{name!r} cannot be a service's name.")
        return {name: _checked_service(service) for name, service in services.items()}
    return _checked_service(services)


def _checked_service(service: Sequence[str] | Service) -> Service:
    if isinstance(service, str):
        raise DevServerError('The command must be a list, the program and its arguments, as ["python", "backend.py"].')
    if not isinstance(service, Service):
        service = Service(service)
    for command in service.commands.values():
        if not command:
            raise DevServerError('The command is empty; it must be a list, as ["python", "backend.py"].')
        if not _exists(command[0], service.directory):
            raise CommandNotFoundError(
                f"The command {command[0]!r} does not exist or is not executable. Is it on the PATH?"
            )
    if service.directory is not None and not service.directory.is_dir():
        raise DevServerError(f"The folder {service.directory} does not exist, so nothing can run in it.")
    for path in service.watch:
        if not path.exists():
            raise DevServerError(f"{path} does not exist, so it cannot be watched.")
    for name in service.env:
        if name in RESERVED:
            raise DevServerError(f"The variable {name} cannot be set: the server sets it for each backend.")
    return service


def _exists(program: str, directory: Path | None) -> bool:
    # A path with a slash is looked for from where the program is to run.
    if "/" in program and directory is not None:
        program = str(directory / program)
    return shutil.which(program) is not None


def checked_url(url: str | None, name: str) -> str | None:
    """The URL without a slash at its end; raises `DevServerError` if it is not one."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        is_good = False
    if not is_good:
        raise DevServerError(f"{name}={url!r} must be a URL such as https://backends.example.com.")
    return url.rstrip("/")


async def cancel(task: asyncio.Task[None]) -> None:
    """Ends a task; what it failed with is logged."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        logger.error("%s failed", task.get_name(), exc_info=error)


def listen(host: str, port: int, name: str) -> socket.socket:
    """A listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            option = "--" + name.replace("_", "-")
            raise PortInUseError(
                f"Port {port} on {host} is in use, perhaps by another development server. "
                f"Choose another with {name}= ({option}); 0 takes any that is free."
            ) from None
        raise DevServerError(f"Cannot listen on {host}, port {port}: {error.strerror or error}.") from None


async def serve_api(api: Api, sock: socket.socket, undo: contextlib.AsyncExitStack) -> None:
    """Serves the API on a listening socket."""
    runner = web.AppRunner(api.application(), handler_cancellation=True, shutdown_timeout=_SHUTDOWN_TIMEOUT)

    def connection(server: web.Server, loop: asyncio.AbstractEventLoop) -> web.RequestHandler:
        return EnvelopeRequestHandler(server, loop=loop, access_log=None)  # type: ignore[arg-type]

    await _serve(runner, connection, sock, undo)


async def serve_proxy(proxy: Proxy, sock: socket.socket, undo: contextlib.AsyncExitStack) -> None:
    """Serves connection URLs on a listening socket."""
    runner = web.ServerRunner(web.Server(proxy.handle, handler_cancellation=True), shutdown_timeout=_SHUTDOWN_TIMEOUT)

    def connection(server: web.Server, loop: asyncio.AbstractEventLoop) -> web.RequestHandler:
        return ProxyRequestHandler(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            # Compressed bodies pass as they are.
            auto_decompress=False,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
        )

    await _serve(runner, connection, sock, undo)


async def _serve(
    runner: web.BaseRunner,
    connection: Callable[[web.Server, asyncio.AbstractEventLoop], web.RequestHandler],
    sock: socket.socket,
    undo: contextlib.AsyncExitStack,
) -> None:
    await runner.setup()
    undo.push_async_callback(runner.cleanup)
    loop = asyncio.get_running_loop()
    server = runner.server
    assert server is not None
    listener = await loop.create_server(lambda: connection(server, loop), sock=sock, backlog=1024)
    undo.callback(listener.close)
