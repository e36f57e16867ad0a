"""What a room holds: its strokes and its people's colours, kept in a file. Nothing here knows of the network."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Points = list[list[float]]

# The board's size, in its own units; the page scales them to its window.
WIDTH, HEIGHT = 1600, 900

# Bounds on what one visitor can make everybody else keep and draw.
MAX_POINTS = 5_000
MAX_STROKES = 5_000
MAX_ID = 64

COLORS = ("#2563eb", "#db2777", "#0d9488", "#ea580c", "#7c3aed", "#65a30d", "#dc2626", "#0284c7")


class NotAllowed(Exception):
    """A visitor asked for something that no page of ours asks for."""


@dataclass
class Stroke:
    id: str
    name: str
    color: str
    points: Points


class Room:
    """The strokes of one room.

    Args:
        file: where they are kept, one JSON object per line, so that saving is one append, however long the room has
            been in use. None for a room that is forgotten when the backend ends.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        # Everybody who has ever been here, in the order in which they came.
        self.colors: dict[str, str] = {}
        self._saved: dict[str, Stroke] = {}
        # Being drawn at this moment: shown, not yet saved.
        self._unfinished: dict[str, Stroke] = {}
        self._restore()

    @property
    def strokes(self) -> list[Stroke]:
        """All of them, in the order in which they were begun."""
        return [*self._saved.values(), *self._unfinished.values()]

    def color_of(self, name: str) -> str:
        """A person's colour: the next one that is free; it stays theirs."""
        if name not in self.colors:
            self.colors[name] = COLORS[len(self.colors) % len(COLORS)]
            self._append({"name": name, "color": self.colors[name]})
        return self.colors[name]

    def extend(self, name: str, stroke_id: object, points: object) -> Stroke:
        """Adds points to a stroke that is being drawn; returns a stroke of these points alone, for the others."""
        more = self._checked(name, stroke_id, points)
        stroke = self._unfinished.setdefault(more.id, Stroke(more.id, name, more.color, []))
        if len(stroke.points) + len(more.points) > MAX_POINTS:
            raise NotAllowed("the stroke is too long")
        stroke.points += more.points
        return more

    def finish(self, name: str, stroke_id: object, points: object) -> Stroke:
        """Saves a stroke with all its points. Doing it again does no harm, so a page may when it got no answer."""
        stroke = self._checked(name, stroke_id, points)
        self._unfinished.pop(stroke.id, None)
        self._saved[stroke.id] = stroke
        self._append(asdict(stroke))
        return stroke

    def leave(self, name: str) -> None:
        """Saves what a person who is gone was drawing, as far as it came."""
        for stroke in [stroke for stroke in self._unfinished.values() if stroke.name == name]:
            self.finish(name, stroke.id, stroke.points)

    def _checked(self, name: str, stroke_id: object, points: object) -> Stroke:
        if not isinstance(stroke_id, str) or not 0 < len(stroke_id) <= MAX_ID:
            raise NotAllowed("a stroke's id is a short string")
        known = self._saved.get(stroke_id) or self._unfinished.get(stroke_id)
        if known is not None and known.name != name:
            raise NotAllowed("the stroke is somebody else's")
        if known is None and len(self.strokes) >= MAX_STROKES:
            raise NotAllowed("the board is full")
        if not isinstance(points, list) or not 0 < len(points) <= MAX_POINTS:
            raise NotAllowed("a stroke has points, but not too many")
        return Stroke(stroke_id, name, self.color_of(name), [_point(point) for point in points])

    def _restore(self) -> None:
        if self._file is None or not self._file.exists():
            return
        for line in self._file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record: dict[str, Any] = json.loads(line)
            except ValueError:
                # An empty line, or what a backend was writing at the moment it was killed.
                continue
            if "id" in record:
                self._saved[record["id"]] = Stroke(**record)
            else:
                self.colors[record["name"]] = record["color"]

    def _append(self, record: dict[str, Any]) -> None:
        if self._file is None:
            return
        # The newline goes first: if the last line was cut off, this one still begins a new one.
        with self._file.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(record, separators=(",", ":")))


def _point(point: object) -> list[float]:
    match point:
        case [int() | float() as x, int() | float() as y] if math.isfinite(x) and math.isfinite(y):
            return [min(max(x, 0), WIDTH), min(max(y, 0), HEIGHT)]
    raise NotAllowed("a point is a pair of numbers")
