"""The `jamsocket` command's subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from .._version import __version__
from . import backends, services
from .calling import EXIT_CODES
from .dev import dev

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


@app.callback(epilog=EXIT_CODES)
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Session backends: a server process for each document, room or user."""


app.command(context_settings={"allow_interspersed_args": False})(dev)
for command in (
    backends.connect,
    backends.status,
    backends.wait,
    backends.terminate,
    backends.backends,
    backends.info,
    backends.logs,
    backends.metrics,
    services.images,
    services.use_image,
):
    app.command()(command)
app.add_typer(services.app, name="services")
