"""The main job, from start to end: a dev server, a backend, its URL, its life. Run it with `scripts/quickstart`."""

import sys
from pathlib import Path

import httpx

from jamsocket import Jamsocket, ReadyState, TerminatedState
from jamsocket.hosting import DevServer

BACKEND = Path(__file__).with_name("backend.py")


def main() -> None:
    # The platform, on this machine: each backend is a process of this command. In production, this line goes away
    # and the client is Jamsocket(account=…, token=…, service=…), or Jamsocket.from_env().
    with DevServer([sys.executable, str(BACKEND)], port=0, proxy_port=0) as server:
        jamsocket = Jamsocket(dev=True, port=server.port)

        connection = jamsocket.connect(key="my-document", user="ada")
        print(f"backend {connection.backend_id}, spawned: {connection.spawned}")

        with jamsocket.statuses(connection.backend_id) as states:
            for state in states:
                print(f"  {state.time:%H:%M:%S.%f} {state.status}")
                if isinstance(state, ReadyState):
                    break

        print(f"the backend says: {httpx.get(connection.url).text.strip()}")

        again = jamsocket.connect(key="my-document")
        print(f"backend {again.backend_id}, spawned: {again.spawned}")

        jamsocket.terminate(connection.backend_id)
        with jamsocket.statuses(connection.backend_id) as states:
            for state in states:
                if isinstance(state, TerminatedState):
                    print(f"  {state.time:%H:%M:%S.%f} {state.status} ({state.termination_reason})")


if __name__ == "__main__":
    main()
