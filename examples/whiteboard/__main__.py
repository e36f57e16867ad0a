"""Everything at once, on this machine and without an account: `python examples/whiteboard`, then open the URL.

In production there is no such file: server.py runs wherever web servers run, and backend.py on Jamsocket.
"""

import argparse
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from jamsocket.hosting import Backend, DevServer

BACKEND = Path(__file__).with_name("backend.py")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python examples/whiteboard", description="A whiteboard for many.")
    parser.add_argument("--port", type=int, default=3000, help="where the page is served; 0 for a free port")
    parser.add_argument("--data", type=Path, help="a directory that keeps the rooms; without it they end with this")
    arguments = parser.parse_args()

    # uvicorn raises SIGTERM once more after it has stopped; so it still comes out of the `with` below in good order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        socket.create_server(("127.0.0.1", arguments.port)) as listener,
        # The platform: one process of backend.py for each room.
        DevServer(
            [sys.executable, str(BACKEND)],
            port=0,
            proxy_port=0,
            data_dir=arguments.data,
            on_status=show_status,
            on_line=show_line,
        ) as platform,
    ):
        os.environ |= {"JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": str(platform.port)}
        print(f"Jamsocket API  {platform.url}")
        print(f"Whiteboard     http://localhost:{listener.getsockname()[1]}  (open it in two windows; Ctrl-C ends it)")
        sys.stdout.flush()

        # Read only now: its client is configured by the environment.
        from server import app

        try:
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
        except KeyboardInterrupt:
            print("Ending…")


def show_status(backend: Backend) -> None:
    print(f"{backend.key}  {backend.id}  {backend.status.word}", flush=True)


def show_line(backend: Backend, line: str) -> None:
    print(f"{backend.key}  {backend.id} | {line}", flush=True)


if __name__ == "__main__":
    main()
