"""Watches the files that backends run, and tells their states apart."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch  # pyright: ignore[reportUnknownVariableType] - of trio, if it is there

# Editors and tools write several files at once: wait until they are quiet for so long, in milliseconds.
_QUIET = 100
_DEBOUNCE = 1000
# How long a watch waits before it looks whether it shall go on, in milliseconds.
_TURN = 1000
_FILTER = DefaultFilter()


def fingerprint(paths: Iterable[Path]) -> str:
    """Tells apart the contents of these files and folders; what cannot be read counts as empty."""
    digest = hashlib.sha256()
    for path in paths:
        for file in _files(path):
            digest.update(f"{file}\0".encode("utf-8", "surrogateescape"))
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError:
                digest.update(b"\0")
    return digest.hexdigest()


async def watch(paths: Sequence[Path], known: str, on_change: Callable[[str], None]) -> None:
    """Calls back with the fingerprint of these files and folders whenever it is another one; until it is cancelled.

    Args:
        paths: what is watched.
        known: the fingerprint that is known already.
        on_change: called with each new one.
    """
    touched = asyncio.Event()

    async def look(folders: set[Path], recursive: bool) -> None:
        is_begun = False
        changes = awatch(
            *folders,
            watch_filter=_Among(paths),
            recursive=recursive,
            debounce=_DEBOUNCE,
            step=_QUIET,
            rust_timeout=_TURN,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        async for found in changes:
            # What changed before the watch began has to be looked for.
            if found or not is_begun:
                touched.set()
            is_begun = True

    async with asyncio.TaskGroup() as group:
        folders = {path for path in paths if path.is_dir()}
        # A file is watched through its folder: an editor that replaces it would take its own watch along.
        parents = {path.parent for path in paths if not path.is_dir()}
        for places, recursive in ((folders, True), (parents, False)):
            if places:
                group.create_task(look(places, recursive))
        while True:
            await touched.wait()
            touched.clear()
            found = await asyncio.to_thread(fingerprint, paths)
            if found != known:
                known = found
                on_change(found)


class _Among:
    """Lets pass what happens to these files and in these folders, but for caches and editors' own files."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = [path.absolute() for path in paths]

    def __call__(self, change: Change, changed: str) -> bool:
        path = Path(changed).absolute()
        return _FILTER(change, changed) and any(path == own or own in path.parents for own in self._paths)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            if _FILTER(Change.modified, str(entry)):
                yield from _files(entry)
    elif path.is_file():
        yield path
