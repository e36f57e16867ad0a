"""`jamsocket dev`: what it was told and what is configured -> the development server, until a signal comes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from attrs import evolve, field, frozen

from ..hosting import DevServerError, Server, Service, configuration
from ..hosting.configuration import Configuration
from .screen import Screen, make_screen


@frozen
class Flags:
    """The options of `jamsocket dev`; what was not given is None or empty."""

    command: Sequence[str]
    port: int | None
    proxy_port: int | None
    host: str | None
    watch: Sequence[Path]
    env: Sequence[str]
    data_dir: Path | None
    token: str | None = field(repr=False)
    allow_host: Sequence[str]
    public_url: str | None
    public_api_url: str | None
    static_tokens: bool
    config: Path | None


def serve(flags: Flags) -> int:
    """Runs the server until a signal comes; the exit code."""
    try:
        configured = configured_by(flags.config)
        services = chosen_services(flags, configured)
        screen = make_screen()
        server = Server(
            services,
            host=flags.host or configured.host or "127.0.0.1",
            port=first(flags.port, configured.port, 8080),
            proxy_port=first(flags.proxy_port, configured.proxy_port, 9090),
            data_dir=flags.data_dir or configured.data_dir,
            token=flags.token,
            allowed_hosts=flags.allow_host or configured.allowed_hosts,
            public_url=flags.public_url or configured.public_url,
            public_api_url=flags.public_api_url or configured.public_api_url,
            on_status=screen.status,
            on_line=screen.line,
            on_reload=screen.reload,
        )
        return asyncio.run(run(server, screen, services))
    except DevServerError as error:
        typer.echo(f"jamsocket: {error}", err=True)
        return 1


def configured_by(path: Path | None) -> Configuration:
    """What the given pyproject.toml says, or the nearest one that says something."""
    if path is None:
        path = configuration.find(Path.cwd())
        return Configuration() if path is None else configuration.read(path)
    if not path.is_file():
        raise DevServerError(f"{path} does not exist.")
    return configuration.read(path)


def chosen_services(flags: Flags, configured: Configuration) -> Service | dict[str, Service]:
    """What backends run: the command that was given, or what is configured."""
    services = configured.services
    if flags.command:
        services = Service(flags.command, env=configured.env, watch=configured.watch)
    if services is None:
        raise typer.BadParameter(
            "There is nothing to run. Give the backend's command after --, as in `jamsocket dev -- python backend.py`, "
            'or write it into pyproject.toml: [tool.jamsocket] with command = "python backend.py".'
        )
    if isinstance(services, Service):
        return with_flags(services, flags)
    return {name: with_flags(service, flags) for name, service in services.items()}


def with_flags(service: Service, flags: Flags) -> Service:
    """A service, with what was given on the command line."""
    return evolve(
        service,
        watch=flags.watch or service.watch,
        env={**service.env, **environment_of(flags.env)},
        static_tokens=flags.static_tokens or service.static_tokens,
    )


def environment_of(assignments: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE words as a mapping."""
    variables: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"--env {assignment} must be NAME=VALUE.")
        variables[name] = value
    return variables


def first(*values: int | None) -> int:
    """The first that is given; 0 counts."""
    return next(value for value in values if value is not None)


async def run(server: Server, screen: Screen, services: Service | Mapping[str, Service]) -> int:
    """Runs the server until a signal comes; the exit code is 128 and its number."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)
        else:
            server.hurry()

    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(ending, stop, ending)
    await server.start()
    try:
        with screen.showing(server, services):
            number = await stopped
            screen.say("Ending all backends…")
            await server.stop()
    finally:
        await server.stop()
    return 128 + number
