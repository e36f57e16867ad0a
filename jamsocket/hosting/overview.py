"""What the dashboard is told: everything at first, then what has changed. For one reader each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from .backend import Backend
from .engine import JSONObject
from .lifecycle import Entry
from .local import LocalEngine
from .metrics import Measurement

# How many backends one event tells of at most: a reader that is behind should not be given megabytes at once.
_MOST = 200
# What is known of a backend that nothing is known of: its states, its last measurement, its connections.
_NOTHING = (0, 0, -1)


class Overview:
    """What one reader knows, and so what is new to it.

    Args:
        engine: what runs the backends.
        interval: how long a reader is left alone after something new, in seconds; what happens then comes together.
    """

    def __init__(self, engine: LocalEngine, interval: float) -> None:
        self._engine = engine
        self._interval = interval
        self._known: dict[str, tuple[int, int, int]] = {}
        self._services: list[JSONObject] | None = None

    async def follow(self) -> AsyncIterator[JSONObject]:
        """What is new, whenever something is; for ever. A backend's `statuses` or `usage` is there only if it is new.

        The first one has `ids`, of all backends there are: what a reader has from before, and is not there, is gone.
        """
        self._known = {backend.id: _NOTHING for backend in self._engine.backends}
        yield {"ids": list(self._known)}
        while True:
            news = self._news()
            for each in news:
                yield each
            if news:
                await asyncio.sleep(self._interval)
            else:
                # Nothing was announced since we looked: there was no await between.
                await self._engine.changes.wait()

    def _news(self) -> list[JSONObject]:
        news: list[JSONObject] = []
        services = self._engine.all_services()
        if services != self._services:
            self._services = services
            news.append({"services": services})
        backends = self._engine.backends
        changed = [each for backend in backends if (each := self._change(backend))]
        news.extend({"backends": changed[start : start + _MOST]} for start in range(0, len(changed), _MOST))
        gone = self._known.keys() - {backend.id for backend in backends}
        if gone:
            news.append({"gone": sorted(gone)})
            for backend_id in gone:
                del self._known[backend_id]
        return news

    def _change(self, backend: Backend) -> JSONObject | None:
        last = backend.metrics.kept[-1] if backend.metrics.kept else None
        now = (len(backend.life.history), last.time_ms if last else 0, backend.connections)
        before = self._known.get(backend.id, _NOTHING)
        if now == before:
            return None
        self._known[backend.id] = now
        change: JSONObject = {"id": backend.id, "connections": backend.connections}
        if now[0] != before[0]:
            change |= {
                "key": backend.key,
                "account": backend.place.account,
                "service": backend.place.service,
                "environment": backend.place.environment,
                "port": backend.port,
                "digest": backend.image.digest,
                "command": backend.image.command,
                "statuses": [_status(entry) for entry in backend.life.history],
            }
        if last is not None and now[1] != before[1]:
            change["usage"] = usage(last)
        return change


def usage(measurement: Measurement) -> JSONObject:
    """A measurement for a chart: epoch milliseconds, percent of one processor, bytes."""
    cores = os.cpu_count() or 1
    data: JSONObject = {
        "time": measurement.time_ms,
        "cpu": round(100 * cores * measurement.cpu_used / measurement.sys_cpu, 1),
        "memory": measurement.mem_used,
    }
    if measurement.mem_limit is not None:
        data["limit"] = measurement.mem_limit
    return data


def _status(entry: Entry) -> JSONObject:
    data = {
        "status": entry.status.word,
        "time": entry.time_ms,
        "reason": entry.reason,
        "kind": entry.kind,
        "exit_code": entry.exit_code,
    }
    return {name: value for name, value in data.items() if value is not None}
