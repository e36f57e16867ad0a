"""The server that all are measured against: an epoll loop that finds each answer ready-made.

It has to be far faster than any client, or it would be what is measured. It knows three requests, by what the path
ends in: `/connect`, `/status` and `/status/stream`. A stream brings the states up to `ready` at once and stays open;
that of a backend called `long-<n>` brings n events and ends with `terminated`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys

TIME = "2026-01-02T03:04:05.678Z"
STATES = ("scheduled", "loading", "starting", "waiting", "ready")


def state(status: str) -> bytes:
    return json.dumps({"status": status, "time": TIME}, separators=(",", ":")).encode()


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(status: str) -> bytes:
    return b"data: " + state(status) + b"\n\n"


STATUS = _answer(state("ready"))
CONNECT = _answer(
    json.dumps(
        {
            "backend_id": "a1b2c3d4",
            "spawned": True,
            "status": "scheduled",
            "token": "t" * 43,
            "url": f"https://a1b2c3d4.jamsocket.run/{'t' * 43}/",
            "secret_token": "s" * 43,
            "status_url": "https://api.jamsocket.com/v2/backend/a1b2c3d4/status",
            "ready_url": f"https://api.jamsocket.com/v2/backend/a1b2c3d4/ready?token={'t' * 43}",
        }
    ).encode()
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
STREAM = STREAM_HEAD + _chunk(b"".join(_event(status) for status in STATES))


def long_stream(events: int) -> bytes:
    """A whole stream of this many events, as a busy server would send it: in chunks of 16."""
    block = _event("ready")
    full, rest = divmod(events - 1, 16)
    return (
        STREAM_HEAD
        + _chunk(block * 16) * full
        + (_chunk(block * rest) if rest else b"")
        + _chunk(_event("terminated"))
        + b"0\r\n\r\n"
    )


def answer_to(head: bytes) -> bytes:
    target = head.split(b" ", 2)[1]
    if target.endswith(b"/status"):
        return STATUS
    if target.endswith(b"/connect"):
        return CONNECT
    if target.endswith(b"/status/stream"):
        backend = target.split(b"/")[-3]
        return long_stream(int(backend.removeprefix(b"long-"))) if backend.startswith(b"long-") else STREAM
    return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def _body_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    return int(lower[at + 15 : lower.index(b"\r", at)]) if at >= 0 else 0


def serve(listener: socket.socket) -> None:
    epoll = select.epoll()
    listener.setblocking(False)
    epoll.register(listener, select.EPOLLIN)
    epoll.register(sys.stdin, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    unfinished: dict[int, bytes] = {}
    unsent: dict[int, memoryview] = {}

    def close(number: int) -> None:
        connection = connections.pop(number)
        epoll.unregister(number)
        unfinished.pop(number, None)
        unsent.pop(number, None)
        connection.close()

    def send(number: int, data: memoryview) -> None:
        try:
            sent = connections[number].send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            unsent[number] = data[sent:]
            epoll.modify(number, select.EPOLLIN | select.EPOLLOUT)
        elif unsent.pop(number, None) is not None:
            epoll.modify(number, select.EPOLLIN)

    def receive(number: int) -> None:
        data = connections[number].recv(65536)
        if not data:
            close(number)
            return
        if number in unfinished:
            data = unfinished.pop(number) + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or (data.startswith(b"P") and len(data) < end + 4 + _body_length(data[: end + 2])):
            unfinished[number] = data
            return
        send(number, memoryview(answer_to(data)))

    while True:
        for number, event in epoll.poll():
            if number == sys.stdin.fileno():
                return  # whoever started this is gone, in whatever way
            if number == listener.fileno():
                try:
                    while True:
                        connection, _ = listener.accept()
                        connection.setblocking(False)
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        connections[connection.fileno()] = connection
                        epoll.register(connection, select.EPOLLIN)
                except BlockingIOError:
                    continue
            try:
                if event & select.EPOLLOUT and number in unsent:
                    send(number, unsent[number])
                if event & ~select.EPOLLOUT:
                    receive(number)
            except OSError:
                close(number)


def main() -> None:
    if len(sys.argv) > 1:
        # A core of its own: whoever shares one with the server would be measured together with it.
        os.sched_setaffinity(0, {int(sys.argv[1])})
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        serve(listener)


if __name__ == "__main__":
    main()
