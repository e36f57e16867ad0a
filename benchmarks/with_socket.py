"""Each piece of work with nothing but sockets and `json`: no check of anything, the floor for Python."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from . import measure
from .measure import Result

STATUS = b"GET /v2/backend/b/status HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
BODY = b'{"key":"my-key","user":"my-user","spawn":{"max_idle_seconds":60}}'
CONNECT = (
    b"POST /v2/service/acme/whiteboard/connect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
READY = b'"ready"'


def _stream(backend: str) -> bytes:
    return f"GET /v2/backend/{backend}/status/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def _calls(url: str, number: int, request: bytes) -> Result:
    with socket.create_connection(_address(url)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def call() -> object:
            connection.sendall(request)
            return json.loads(connection.recv(65536).partition(b"\r\n\r\n")[2])

        return measure.calls(number, call)


def status(url: str, number: int) -> Result:
    return _calls(url, number, STATUS)


def connect(url: str, number: int) -> Result:
    return _calls(url, number, CONNECT)


class _Exchange(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)

    async def call(self, request: bytes) -> object:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return json.loads((await self.answer).partition(b"\r\n\r\n")[2])


def async_status(url: str, number: int) -> Result:
    async def run() -> Result:
        loop = asyncio.get_running_loop()
        _, exchange = await loop.create_connection(_Exchange, *_address(url))
        result = await measure.async_calls(number, lambda: exchange.call(STATUS))
        exchange.transport.close()
        return result

    return asyncio.run(run())


def async_status_64(url: str, number: int) -> Result:
    async def run() -> Result:
        loop = asyncio.get_running_loop()
        exchanges = [(await loop.create_connection(_Exchange, *_address(url)))[1] for _ in range(64)]
        result = await measure.async_batches(
            number, 64, lambda: asyncio.gather(*(exchange.call(STATUS) for exchange in exchanges))
        )
        for exchange in exchanges:
            exchange.transport.close()
        return result

    return asyncio.run(run())


class _Stream(asyncio.Protocol):
    def __init__(self, ready: asyncio.Future[None]) -> None:
        self.ready = ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_stream("b"))

    def data_received(self, data: bytes) -> None:
        if READY in data and not self.ready.done():
            self.ready.set_result(None)


def async_streams(url: str, number: int, at_once: int | None = None) -> Result:
    async def run() -> Result:
        loop = asyncio.get_running_loop()
        host, port = _address(url)

        async def follow() -> object:
            ready = loop.create_future()
            _, stream = await loop.create_connection(lambda: _Stream(ready), host, port)
            await ready
            return stream

        return await measure.async_streams(
            number, at_once or number, lambda n: asyncio.gather(*(follow() for _ in range(n)))
        )

    return asyncio.run(run())


def async_streams_by_100(url: str, number: int) -> Result:
    return async_streams(url, number, at_once=100)


def thread_streams(url: str, number: int) -> Result:
    def follow(ready: Callable[[], None]) -> None:
        with socket.create_connection(_address(url)) as connection:
            connection.sendall(_stream("b"))
            while data := connection.recv(65536):
                if READY in data:
                    ready()

    return measure.thread_streams(number, follow)


def _read_events(data: bytes) -> None:
    for line in data.split(b"\n"):
        if line.startswith(b"data: "):
            json.loads(line[6:])


def stream_length(url: str, number: int) -> Result:
    def run() -> None:
        with socket.create_connection(_address(url)) as connection:
            connection.sendall(_stream(f"long-{number}"))
            rest = b""
            while not rest.endswith(b"\r\n0\r\n\r\n"):
                complete, _, rest = (rest + connection.recv(65536)).rpartition(b"\n\n")
                _read_events(complete)

    return measure.timed(5, run)


def async_stream_length(url: str, number: int) -> Result:
    async def run() -> Result:
        host, port = _address(url)

        async def follow() -> None:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(_stream(f"long-{number}"))
            rest = b""
            while not rest.endswith(b"\r\n0\r\n\r\n"):
                complete, _, rest = (rest + await reader.read(65536)).rpartition(b"\n\n")
                _read_events(complete)
            writer.close()

        return await measure.async_timed(5, follow)

    return asyncio.run(run())
