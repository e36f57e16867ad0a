"""The load's backend: as small and as quick to start as Python can be, so that hundreds of them fit.

What it is asked for decides how it fares; `MODE` decides how it begins, and whether it ends when it is told to.
"""

import binascii
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from _sha1 import sha1

ID = os.environ["SESSION_BACKEND_ID"]
MODE = os.environ.get("MODE", "")
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


class Connection:
    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.waiting = b""

    def until(self, end: bytes) -> bytes:
        while end not in self.waiting:
            self.more()
        found, _, self.waiting = self.waiting.partition(end)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self.waiting) < size:
            self.more()
        found, self.waiting = self.waiting[:size], self.waiting[size:]
        return found

    def more(self) -> None:
        data = self.client.recv(65536)
        if not data:
            raise ConnectionError
        self.waiting += data

    def serve(self) -> None:
        line, *lines = self.until(b"\r\n\r\n").split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        path = line.split()[1]
        if path == b"/exit":
            os._exit(0)
        elif path == b"/crash":
            os._exit(3)
        elif path == b"/kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif path == b"/hang":
            self.more()
        elif path == b"/drip":
            self.client.sendall(HEAD + b"\r\n")
            while True:
                self.client.sendall(b"drip\n")
                time.sleep(0.05)
        elif path == b"/body":
            size = len(self.exactly(int(headers[b"content-length"])))
            self.answer(str(size))
        elif path == b"/ws":
            self.echo(headers[b"sec-websocket-key"])
        else:
            self.answer(ID)

    def answer(self, text: str) -> None:
        body = text.encode()
        self.client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def echo(self, key: bytes) -> None:
        """Short WebSocket messages, sent back."""
        proof = binascii.b2a_base64(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest(), newline=False)
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.client.sendall(head + b"Sec-WebSocket-Accept: %s\r\n\r\n" % proof)
        while True:
            kind, size = self.exactly(2)
            mask = self.exactly(4)
            data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.exactly(size & 0x7F)))
            self.client.sendall(bytes([kind, len(data)]) + data)


def serve(client: socket.socket) -> None:
    with client, contextlib.suppress(OSError):  # the client may go at any moment
        Connection(client).serve()


def main() -> None:
    print("begins", ID, flush=True)
    if MODE == "early":
        sys.exit(4)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if MODE == "stubborn" else lambda *_: os._exit(0))
    if MODE == "parent" and os.fork() == 0:
        # It does not end when it is asked to, and holds the output open.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=64) as server:
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve, args=[client], daemon=True).start()


main()
