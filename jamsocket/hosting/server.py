"""The development server: API and proxy over a `LocalEngine`. `Server` is asyncio, `DevServer` runs it in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from attrs import evolve

from ..errors import JamsocketError
from .api import Api, EnvelopeRequestHandler
from .gate import Gate
from .local import Limits, LocalEngine, OnLine, OnStatus
from .proxy import Proxy

_SHUTDOWN_TIMEOUT = 1.0


class DevServerError(JamsocketError):
    """The development server cannot start, or not with these arguments; the message says what to do."""


class Server:
    """The development server, on asyncio.

    Args:
        command: the backend's program and its arguments.
        host: the address to listen on.
        port: the API's port; 0 for a free one.
        proxy_port: the connection URLs' port; 0 for a free one.
        stop_grace: how long backends may take to end when the server stops, in seconds; then they are killed.
        startup_timeout: how long a backend may take to answer HTTP, in seconds.
        data_dir: where mounted directories are kept; None for a temporary one that goes with the server.
        allowed_hosts: further names by which the server may be called, without port.
        on_status, on_line: called on the event loop with every change of a backend, and every line one writes.
        limits: everything else that is bounded.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        proxy_port: int = 9090,
        stop_grace: float = 5.0,
        startup_timeout: float = 300.0,
        data_dir: str | Path | None = None,
        allowed_hosts: Sequence[str] = (),
        on_status: OnStatus | None = None,
        on_line: OnLine | None = None,
        limits: Limits | None = None,
    ) -> None:
        check_command(command)
        self.port = port
        self.proxy_port = proxy_port
        self._command = list(command)
        self._host = host
        self._stop_grace = stop_grace
        self._limits = evolve(limits or Limits(), startup=startup_timeout)
        self._data_dir = None if data_dir is None else Path(data_dir)
        self._gate = Gate(frozenset(allowed_hosts))
        self._on_status = on_status
        self._on_line = on_line
        self._undo = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        """Where the API is reached."""
        return f"http://localhost:{self.port}"

    async def start(self) -> None:
        """Starts listening.

        Raises:
            DevServerError: if a port is in use.
        """
        async with contextlib.AsyncExitStack() as undo:
            api_socket = undo.enter_context(listen(self._host, self.port, "port"))
            proxy_socket = undo.enter_context(listen(self._host, self.proxy_port, "proxy_port"))
            self.port = api_socket.getsockname()[1]
            self.proxy_port = proxy_socket.getsockname()[1]
            engine = LocalEngine(
                self._command,
                host="127.0.0.1",
                public_url=f"http://localhost:{self.proxy_port}",
                data_dir=self._data_dir,
                limits=self._limits,
                on_status=self._on_status,
                on_line=self._on_line,
            )
            proxy = Proxy(engine, self._gate, "127.0.0.1")
            await proxy.start()
            undo.push_async_callback(proxy.stop)
            await serve_proxy(proxy, proxy_socket, undo)
            await serve_api(Api(engine, self._gate, lambda: self.url), api_socket, undo)
            await engine.start()
            # Last in, first out: the backends end while the API still tells of it.
            undo.push_async_callback(engine.stop, self._stop_grace)
            self._undo = undo.pop_all()

    async def stop(self) -> None:
        """Ends all backends and stops listening."""
        await self._undo.aclose()


class DevServer:
    """A development server for as long as a `with` block lasts: session backends as processes of this machine.

    It serves the HTTP API on one port and the backends' connection URLs on another. It runs in a thread of its own.
    When the block is left, or the program ends in whatever way, the backends end too.

    Args:
        command: the backend's program and its arguments. It listens for HTTP on 127.0.0.1, port `PORT`.
        host: the address to listen on.
        port: the API's port, 8080 if it is not given; 0 for a free one.
        proxy_port: the connection URLs' port, 9090 if it is not given; 0 for a free one.
        stop_grace: how long backends may take to end when the server stops, in seconds; then they are killed.
        startup_timeout: how long a backend may take to answer HTTP, in seconds.
        data_dir: where mounted directories are kept; None for a temporary one that goes with the server.

    Raises:
        DevServerError: on entering, if the command does not exist or a port is in use.

    Example:
        >>> with DevServer(["python", "backend.py"], port=0, proxy_port=0) as server:
        ...     jamsocket = Jamsocket(dev=True, port=server.port)
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        proxy_port: int = 9090,
        stop_grace: float = 5.0,
        startup_timeout: float = 300.0,
        data_dir: str | Path | None = None,
        on_status: OnStatus | None = None,
        on_line: OnLine | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "command": command,
            "host": host,
            "port": port,
            "proxy_port": proxy_port,
            "stop_grace": stop_grace,
            "startup_timeout": startup_timeout,
            "data_dir": data_dir,
            "on_status": on_status,
            "on_line": on_line,
            "limits": limits,
        }
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The API's port."""
        return self._running().port

    @property
    def proxy_port(self) -> int:
        """The connection URLs' port."""
        return self._running().proxy_port

    @property
    def url(self) -> str:
        """Where the API is reached."""
        return self._running().url

    def start(self) -> None:
        """Starts the server; returns when it listens. Raises `DevServerError` if it cannot."""
        if self._server is not None:
            raise DevServerError("This development server runs already.")
        server = Server(**self._options)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="jamsocket dev server", daemon=True)
        thread.start()
        self._server, self._loop, self._thread = server, loop, thread
        try:
            asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        except BaseException:
            self._end_thread()
            raise

    def stop(self) -> None:
        """Ends all backends and stops the server; further calls do nothing."""
        if self._server is None or self._loop is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result()
        finally:
            self._end_thread()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> Server:
        if self._server is None:
            raise DevServerError("This development server is not running: use it as a context manager.")
        return self._server

    def _end_thread(self) -> None:
        loop, thread = self._loop, self._thread
        self._server = self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


def check_command(command: Sequence[str]) -> None:
    """Raises `DevServerError` if the command cannot be the command of a backend."""
    if isinstance(command, str) or not command:
        raise DevServerError('The command must be a list, the program and its arguments, as ["python", "backend.py"].')
    if shutil.which(command[0]) is None:
        raise DevServerError(f"The command {command[0]!r} does not exist, or is not executable. Is it on the PATH?")


def listen(host: str, port: int, name: str) -> socket.socket:
    """A listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            option = "--" + name.replace("_", "-")
            raise DevServerError(
                f"Port {port} on {host} is in use, perhaps by another development server. "
                f"Choose another with {name}= ({option}); 0 takes any that is free."
            ) from None
        raise DevServerError(f"Cannot listen on {host}, port {port}: {error.strerror or error}.") from None


async def serve_api(api: Api, sock: socket.socket, undo: contextlib.AsyncExitStack) -> None:
    """Serves the API on a listening socket."""
    runner = web.AppRunner(api.application(), handler_cancellation=True, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    undo.push_async_callback(runner.cleanup)
    await _serve(runner, EnvelopeRequestHandler, sock, undo)


async def serve_proxy(proxy: Proxy, sock: socket.socket, undo: contextlib.AsyncExitStack) -> None:
    """Serves connection URLs on a listening socket."""
    server = web.Server(proxy.handle, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    undo.push_async_callback(runner.cleanup)
    await _serve(runner, web.RequestHandler, sock, undo)


async def _serve(
    runner: web.BaseRunner, protocol: type[web.RequestHandler], sock: socket.socket, undo: contextlib.AsyncExitStack
) -> None:
    loop = asyncio.get_running_loop()
    manager = runner.server
    assert manager is not None

    def connect() -> web.RequestHandler:
        return protocol(manager, loop=loop, access_log=None, auto_decompress=False)  # type: ignore[arg-type]

    server = await loop.create_server(connect, sock=sock, backlog=1024)
    undo.callback(server.close)
