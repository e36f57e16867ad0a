"""What `jamsocket dev` shows: plain lines, or, in a terminal, coloured lines above a live table of the backends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
import termios
import time
import tty
from collections.abc import Callable, Generator, Mapping
from textwrap import shorten
from typing import Protocol
from zlib import crc32

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..hosting import Backend, Server, Service
from ..hosting.lifecycle import Status

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")
_STATUS_STYLES = {
    Status.READY: "bold green",
    Status.TERMINATING: "yellow",
    Status.HARD_TERMINATING: "red",
    Status.TERMINATED: "dim",
}
# How often the table is drawn at most, and at least, in seconds.
_SOON = 0.1
_LATER = 1.0


class Screen(Protocol):
    """Shows what happens. All of it is called on the event loop."""

    def status(self, backend: Backend) -> None:
        """A backend has a new status."""
        ...

    def line(self, backend: Backend, line: str) -> None:
        """A backend wrote a line."""
        ...

    def reload(self, service: str | None, ended: int) -> None:
        """Watched files have changed, and so many backends end because of it."""
        ...

    def say(self, text: str) -> None:
        """The server has something to say."""
        ...

    def showing(
        self, server: Server, services: Service | Mapping[str, Service]
    ) -> contextlib.AbstractContextManager[None]:
        """Shows the server, from now until the block is left."""
        ...


def make_screen() -> Screen:
    """The screen for where the output goes."""
    console = Console(highlight=False)
    return LiveScreen(console) if console.is_terminal and not console.is_dumb_terminal else PlainScreen()


class PlainScreen:
    """Plain lines, for files and pipes."""

    def status(self, backend: Backend) -> None:
        self.say(f"{backend.id}  {describe(backend)}")

    def line(self, backend: Backend, line: str) -> None:
        self.say(f"{backend.id} | {line}")

    def reload(self, service: str | None, ended: int) -> None:
        self.say(reloaded(service, ended))

    def say(self, text: str) -> None:
        # Whoever reads may have gone; the backends go on.
        with contextlib.suppress(BrokenPipeError):
            print(text, flush=True)

    @contextlib.contextmanager
    def showing(self, server: Server, services: Service | Mapping[str, Service]) -> Generator[None]:
        for line in greeting(server, services):
            self.say(line)
        self.say("Ctrl-C ends it and all backends.")
        yield


class LiveScreen:
    """Coloured lines, and below them a table of the backends that run, and the keys there are."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._server: Server | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True, get_renderable=self._render)
        self._timer: asyncio.TimerHandle | None = None
        self._drawn = 0.0

    def status(self, backend: Backend) -> None:
        words = Text.assemble((backend.id, colour(backend)), "  ", (describe(backend), style(backend.status)))
        self._print(words)

    def line(self, backend: Backend, line: str) -> None:
        text = Text(line, "bold yellow") if line.startswith("jamsocket: ") else Text.from_ansi(line)
        self._print(Text.assemble((backend.id, colour(backend)), (" | ", "dim"), text))

    def reload(self, service: str | None, ended: int) -> None:
        self._print(Text(reloaded(service, ended), "bold"))

    def say(self, text: str) -> None:
        self._print(Text(text))

    @contextlib.contextmanager
    def showing(self, server: Server, services: Service | Mapping[str, Service]) -> Generator[None]:
        self._server = server
        for line in greeting(server, services):
            self.say(line)
        with self._live, keys(self._press):
            self._draw()
            try:
                yield
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                self._server = None

    def _press(self, key: str) -> None:
        if self._server is None:
            return
        if key in {"t", "T"}:
            count = self._server.begin_to_terminate_all()
            self.say(f"Ending {count} backend{'' if count == 1 else 's'}…" if count else "No backend is running.")

    def _print(self, text: Text) -> None:
        # Long lines are the terminal's to wrap: so they are copied as they were written.
        self._console.print(text, soft_wrap=True)
        if self._server is not None:
            self._draw_within(_SOON)

    def _draw_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = max(loop.time() + seconds, self._drawn + _SOON)
        if self._timer is None or self._timer.when() > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(due, self._draw)

    def _draw(self) -> None:
        self._timer = None
        self._live.refresh()
        self._drawn = asyncio.get_running_loop().time()
        self._draw_within(_LATER)

    def _render(self) -> Group | Text:
        server = self._server
        if server is None:
            return Text()
        running = [backend for backend in server.backends if not backend.life.is_terminated]
        shown = running[-max(3, self._console.height // 2) :]
        footer = Text.assemble(
            ("t", "bold"), " ends all backends   ", ("Ctrl-C", "bold"), " ends the server   ", (server.url, "dim")
        )
        if not running:
            return Group(Text("No backend is running.", "dim"), footer)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("BACKEND", "SERVICE", "KEY", "STATUS", "FOR"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for name in ("CONNECTIONS", "CPU", "MEMORY"):
            table.add_column(name, no_wrap=True, justify="right")
        for backend in shown:
            table.add_row(*cells(backend))
        parts: list[Table | Text] = [table]
        if len(running) > len(shown):
            parts.append(Text(f"… and {len(running) - len(shown)} more", "dim"))
        return Group(*parts, footer)


def greeting(server: Server, services: Service | Mapping[str, Service]) -> list[str]:
    """What there is, and where."""
    named = {"any name": services} if isinstance(services, Service) else services
    lines = [
        f"API:              {server.url}",
        f"Dashboard:        {server.url}/",
        f"Connection URLs:  {server.connection_url}/…",
    ]
    for name, service in named.items():
        watched = f", watching {', '.join(map(str, service.watch))}" if service.watch else ""
        lines.append(f"Service {name}: {shorten(shlex.join(service.command), 100, placeholder='…')}{watched}")
    return lines


def describe(backend: Backend) -> str:
    """A backend's status, with how and why it ended."""
    entry = backend.life.history[-1]
    why = f" ({entry.reason})" if entry.reason else ""
    code = f", exit code {entry.exit_code}" if entry.exit_code is not None else ""
    return f"{entry.status.word}{why}{code}"


def reloaded(service: str | None, ended: int) -> str:
    """What happened because files have changed."""
    what = "The code" if service is None else f"The code of {service}"
    return f"{what} has changed. Backends that run the old one and end now: {ended}."


def cells(backend: Backend) -> tuple[Text, ...]:
    """A backend's row in the table."""
    since = time.time() - backend.life.history[-1].time_ms / 1000
    last = backend.metrics.kept[-1] if backend.metrics.kept else None
    # Of one processor, as `top` shows it.
    cpu = f"{100 * (os.cpu_count() or 1) * last.cpu_used / last.sys_cpu:.0f} %" if last else ""
    memory = f"{last.mem_used / 2**20:.0f} MiB" if last else ""
    return (
        Text(backend.id, colour(backend)),
        Text(backend.place.service),
        Text(backend.key or "", overflow="ellipsis"),
        Text(backend.status.word, style(backend.status)),
        Text(duration(since)),
        Text(str(backend.connections)),
        Text(cpu),
        Text(memory),
    )


def duration(seconds: float) -> str:
    """A time span, in words short enough for a table."""
    minutes, seconds = divmod(int(max(0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def colour(backend: Backend) -> str:
    """A backend keeps its colour."""
    return _COLOURS[crc32(backend.id.encode()) % len(_COLOURS)]


def style(status: Status) -> str:
    """How a status looks."""
    return _STATUS_STYLES.get(status, "")


@contextlib.contextmanager
def keys(on_key: Callable[[str], None]) -> Generator[None]:
    """Calls back, on the event loop, for each key that is pressed, if there is a keyboard."""
    if not _has_keyboard():
        yield
        return
    loop = asyncio.get_running_loop()
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def read() -> None:
        typed = os.read(keyboard, 1024)
        if not typed:
            loop.remove_reader(keyboard)
        for key in typed.decode("utf-8", "replace"):
            on_key(key)

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, read)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _has_keyboard() -> bool:
    """Whether there is a terminal to read from; a job in the background would be stopped for touching it."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
