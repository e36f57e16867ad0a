"""The main job, from start to end: a platform, a backend, its URL, its life. Run it with `scripts/quickstart`."""

import sys
from pathlib import Path

import httpx

from jamsocket import Jamsocket
from jamsocket.hosting import DevServer

BACKEND = Path(__file__).with_name("backend.py")


def main() -> None:
    # The platform on this machine: each backend is a process of this command. In production there is no such line,
    # and the client is Jamsocket.from_env(), or Jamsocket(account=…, token=…, service=…).
    with (
        DevServer([sys.executable, str(BACKEND)], port=0, proxy_port=0) as server,
        Jamsocket(dev=True, port=server.port) as jamsocket,
    ):
        connection = jamsocket.connect(key="my-document", user="ada")
        print(f"connected: backend {connection.backend_id}, spawned {connection.spawned}")

        with jamsocket.statuses(connection.backend_id) as states:
            for state in states:
                print(f"  {state.time:%H:%M:%S.%f}  {state.status}")
                if state.status == "ready":
                    print(f"  the URL answers: {httpx.get(connection.url).text}")
                    again = jamsocket.connect(key="my-document")
                    print(f"connected again: backend {again.backend_id}, spawned {again.spawned}")
                    jamsocket.terminate(connection.backend_id)
                elif state.status == "terminated":
                    print(f"  the reason: {state.termination_reason}")


if __name__ == "__main__":
    main()
