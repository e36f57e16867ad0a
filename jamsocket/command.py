"""The `jamsocket` command's subcommands."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from ._version import __version__
from .hosting import Backend, DevServerError, Server

app = typer.Typer(
    name="jamsocket",
    help="Session backends: a server process for each document, room or user.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jamsocket {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Session backends: a server process for each document, room or user."""


@app.command(context_settings={"allow_interspersed_args": False})
def dev(
    command: Annotated[list[str], typer.Argument(help="The backend's program and its arguments, after --.")],
    port: Annotated[int, typer.Option(help="The API's port; 0 takes any that is free.")] = 8080,
    proxy_port: Annotated[int, typer.Option(help="The connection URLs' port; 0 takes any that is free.")] = 9090,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    data_dir: Annotated[
        Path | None, typer.Option(help="Where mounted directories are kept; temporary if not given.")
    ] = None,
) -> None:
    """Run the platform on this machine: each session backend is a process of COMMAND.

    The process listens for HTTP on 127.0.0.1, on the port in its variable PORT. Ctrl-C or SIGTERM ends the server
    and all backends; the exit code is then 130 or 143.
    """
    try:
        server = Server(
            command,
            host=host,
            port=port,
            proxy_port=proxy_port,
            data_dir=data_dir,
            on_status=print_status,
            on_line=print_line,
        )
        code = asyncio.run(run(server))
    except DevServerError as error:
        typer.echo(f"jamsocket: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(code)


async def run(server: Server) -> int:
    """Runs the server until a signal comes; the exit code is 128 and its number."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(ending, stop, ending)
    await server.start()
    typer.echo(f"API:              {server.url}")
    typer.echo(f"Connection URLs:  http://localhost:{server.proxy_port}/…")
    typer.echo("Ctrl-C ends it and all backends.")
    try:
        number = await stopped
        typer.echo("Ending all backends…")
    finally:
        await server.stop()
    return 128 + number


def print_status(backend: Backend) -> None:
    entry = backend.life.history[-1]
    why = f" ({entry.reason})" if entry.reason else ""
    code = f", exit code {entry.exit_code}" if entry.exit_code is not None else ""
    typer.echo(f"{backend.id}  {entry.status.word}{why}{code}")


def print_line(backend: Backend, line: str) -> None:
    typer.echo(f"{backend.id} | {line}")
