"""What the commands write: tables for people, JSON for machines, one line for an error."""

from __future__ import annotations

import json
import os
import select
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

_STYLES = {"ready": "bold green", "terminating": "yellow", "hard-terminating": "red", "terminated": "dim"}
# A table in a file or a pipe is not cut to the width of a terminal that is not there.
_WIDE = 10_000


class Output(Console):
    """Standard output. A reader that has gone is for the caller to deal with, not rich."""

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _WIDE)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def complain(text: str) -> None:
    """One line on standard error."""
    print(f"jamsocket: {' '.join(text.split())}", file=sys.stderr)


def remark(text: str) -> None:
    """Something that is good to know while the command goes on."""
    print(text, file=sys.stderr)


def print_line(text: str) -> None:
    """A line that is there at once, as it is."""
    print(text, flush=True)


def print_document(data: Any) -> None:
    """One JSON document. ASCII: it survives every pipe."""
    print(json.dumps(data, indent=2))


def print_json_line(data: Any) -> None:
    """One of many JSON values, there at once."""
    print(json.dumps(data), flush=True)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns under headers, nothing else: `awk` reads it too."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(text, row))
    print_trimmed(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and values."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, text(value))
    print_trimmed(table)


def print_trimmed(table: Table) -> None:
    """A table without the blanks that fill its last column."""
    output = Output()
    with output.capture() as captured:
        output.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip(" "))


def print_words(*words: object) -> None:
    """A line of words, there at once."""
    Output().print(Text("  ").join(map(text, words)), soft_wrap=True)


def text(value: object) -> Text:
    """A value as people read it. What servers and users name things cannot move the cursor."""
    match value:
        case None | "":
            shown = "-"
        case datetime():
            shown = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case _:
            shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    return Text(shown, style=_STYLES.get(shown, ""))


def size(number: int) -> str:
    """Bytes as people read them."""
    if number < 1024:
        return f"{number} B"
    power = min((number.bit_length() - 1) // 10, 4)
    return f"{number / 1024**power:.1f} {' KMGT'[power]}iB"


class Progress:
    """What is waited for: a spinner in a terminal, otherwise a line for each change. On standard error."""

    def __init__(self, what: str) -> None:
        self._what = what
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._spinner: Status | None = console.status(what) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self._spinner is not None:
            self._spinner.start()
        else:
            remark(self._what)
        return self

    def __exit__(self, *_: object) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def update(self, status: str) -> None:
        """A new status of what is waited for."""
        if self._spinner is not None:
            self._spinner.update(Text(f"{self._what} {status}"))
        else:
            remark(str(text(status)))


class EndsWithReader(AbstractContextManager["EndsWithReader", None]):
    """Calls a function when the reader of a pipe that standard output writes to is gone.

    A write would tell, but a quiet backend gives nothing to write for hours: `jamsocket logs ID | head -1` should not
    wait for its second line.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._is_over = threading.Event()
        self.is_gone = False

    def __enter__(self) -> EndsWithReader:
        try:
            descriptor = sys.stdout.fileno()
            is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        except (OSError, ValueError):
            return self
        if is_pipe and hasattr(select, "poll"):
            threading.Thread(target=self._watch, args=(descriptor,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def _watch(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # errors and hang-ups are always told
        while not self._is_over.is_set():
            if poll.poll(200):
                self.is_gone = True
                self._end()
                return
