"""The load's server, a process of its own; it tells what it holds whenever a line comes, and stops at the end."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

from jamsocket.hosting import Limits, Server
from jamsocket.hosting.process import Ports

BACKEND = [sys.executable, "-I", "-S", str(Path(__file__).with_name("backend.py"))]
GRACE = 1.0
REMEMBERED = 400
LIMITS = Limits(grace=GRACE, sweep_interval=0.5, metrics_interval=2.0, remembered=REMEMBERED, log_bytes=4096)


def holds(server: Server) -> dict[str, Any]:
    """What the server has in its hands."""
    engine = server._engine
    assert engine is not None
    process = psutil.Process()
    used = process.cpu_times()
    return {
        "memory (RSS), MiB": process.memory_info().rss / 2**20,
        "CPU, s": used.user + used.system,
        "descriptors": len(os.listdir("/proc/self/fd")),
        # Those of the pool come when they are needed, a handful, and stay.
        "threads": sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "backends": sum(not backend.life.is_terminated for backend in engine.backends),
        "keys": len(engine._keys),
        "tokens": len(engine._tokens),
        "ports": len(Ports._taken),
        "remembered": len(engine.backends),
    }


async def main() -> None:
    loop = asyncio.get_running_loop()
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    async with Server(BACKEND, port=0, proxy_port=0, limits=LIMITS, stop_grace=0) as server:
        assert server._engine is not None
        assert server._engine._guardian is not None
        [(name, value)] = server._engine._guardian.variables.items()
        hello = {"url": server.url, "scratch": str(server._engine._scratch), "mark": f"{name}={value}"}
        print(json.dumps(hello), flush=True)
        while question := await questions.readline():
            if question == b"collect\n":
                gc.collect()
            print(json.dumps(holds(server)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
