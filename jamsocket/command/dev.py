"""`jamsocket dev`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def dev(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="The backend's program and its arguments, after --; else what pyproject.toml says."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The API's port; 0 takes any that is free.", show_default="8080")
    ] = None,
    proxy_port: Annotated[
        int | None, typer.Option(help="The connection URLs' port; 0 takes any that is free.", show_default="9090")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")] = None,
    watch: Annotated[
        list[Path] | None,
        typer.Option(help="A file or folder: when it changes, backends that run the old code end. May be repeated."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="A variable for every backend, as NAME=VALUE. May be repeated.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where mounted directories are kept; temporary if not given.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="The bearer token that callers must have. Better in the variable JAMSOCKET_TOKEN, which counts if "
            "other machines can reach the server.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A further name by which the server may be called, NAME or NAME:PORT. May be repeated."),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(help="What connection URLs begin with, if browsers come by another address.")
    ] = None,
    public_api_url: Annotated[
        str | None, typer.Option(help="What status and ready URLs begin with, if the API has another address.")
    ] = None,
    static_tokens: Annotated[
        bool, typer.Option("--static-tokens", help="Let a URL's token stay the same as long as its backend.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="The pyproject.toml to read; else the nearest one that has a [tool.jamsocket]."),
    ] = None,
) -> None:
    """Run the platform on this machine: each session backend is a process of COMMAND.

    The process listens for HTTP on 127.0.0.1, on the port in its variable PORT. Ctrl-C or SIGTERM ends the server
    and all backends; the exit code is then 130 or 143.

    The table [tool.jamsocket] in pyproject.toml may say the same and more: several services with commands of their
    own. What is given here wins.
    """
    # Only now: no other command should have to wait for aiohttp.
    from .serving import Flags, serve

    flags = Flags(
        command=command or [],
        port=port,
        proxy_port=proxy_port,
        host=host,
        watch=watch or [],
        env=env or [],
        data_dir=data_dir,
        token=token,
        allow_host=allow_host or [],
        public_url=public_url,
        public_api_url=public_api_url,
        static_tokens=static_tokens,
        config=config,
    )
    raise typer.Exit(serve(flags))
