"""Logs of a real backend on the development server, through a network that cuts every connection after some bytes."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import pytest

from jamsocket import Backoff
from jamsocket.hosting import DevServer
from tests.hosting.support import python
from tests.support.clients import Maker

LINES = 400
WRITER = python(f"""
import threading
def write():
    for number in range({LINES}):
        print("line", number)
        if number % 40 == 0:
            print()
            time.sleep(0.01)
threading.Timer(0.3, write).start()
serve()
""")


class Relay:
    """Passes bytes on to a port, and resets each connection after so many of the answer."""

    def __init__(self, cut_after: int) -> None:
        self.connections = 0
        self.target = 0
        self._cut_after = cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, target, limit in ((client, server, None), (server, client, self._cut_after)):
                thread = threading.Thread(target=self._pass_on, args=(source, target, limit))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        left = limit
        with suppress(OSError):
            while piece := source.recv(min(left, 4096) if left is not None else 4096):
                target.sendall(piece)
                if left is not None and (left := left - len(piece)) == 0:
                    target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        if limit is not None:  # the answer's side ends both
            for sock in (source, target):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RD)
                sock.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay(cut_after=1500) as relay:
        yield relay


def test_no_line_is_lost_and_none_comes_twice(make: Maker, relay: Relay) -> None:
    with DevServer(WRITER, port=0, proxy_port=0, allowed_hosts=[f"localhost:{relay.port}"]) as server:
        relay.target = server.port
        straight: Any = make(dev=True, port=server.port)
        backend_id = straight.connect().backend_id
        cut: Any = make(dev=True, port=relay.port)
        with cut.logs(backend_id, backoff=Backoff(initial=0.001, maximum=0.01)) as lines:
            got = [next(lines)]
            while got[-1] != f"line {LINES - 1}":
                got.append(next(lines))
            # Not before: of one that is terminated only the last lines are kept.
            straight.terminate(backend_id, hard=True)
            assert list(lines) == []
        wanted: list[str] = []
        for number in range(LINES):
            wanted += [f"line {number}", *([""] if number % 40 == 0 else [])]
        assert got == wanted
        assert relay.connections > 3
        cut.close()
