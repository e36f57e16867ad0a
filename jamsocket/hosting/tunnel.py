"""Joins two connections after `101 Switching Protocols`: bytes are passed on as they come, both ways.

Frames are not looked into: so extensions, fragments, pings and closing codes are between the browser and the backend
alone, and whoever vanishes without a word is seen to vanish without a word.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from aiohttp.web_protocol import RequestHandler

_CHUNK = 64 * 1024
_LAST_WORDS = 1.0


class RawBytes:
    """Takes an upgraded connection's bytes from aiohttp, in the place of its WebSocket parser.

    Reading from the connection is paused while too much is waiting here.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.stream = asyncio.StreamReader(limit=_CHUNK)
        self.stream.set_transport(transport)

    # What aiohttp calls, in its own terms.

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.stream.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self.stream.feed_eof()

    def is_eof(self) -> bool:
        return self.stream.at_eof()

    def exception(self) -> BaseException | None:
        return self.stream.exception()

    def set_exception(self, error: Exception, _cause: BaseException | None = None) -> None:
        self.stream.set_exception(error)


class Switched(web.StreamResponse):
    """A `101` response; afterwards its connection is a plain two-way stream."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Sends the head."""
        writer = await super().prepare(request)
        self.force_close()  # no HTTP comes after it
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """There is no end to mark: the connection closes."""


async def join(client: RequestHandler, backend: ResponseHandler) -> None:
    """Passes bytes on in both directions until one side ends, then ends the other."""
    near, far = client.transport, backend.transport
    if near is None or far is None:
        return
    loop = asyncio.get_running_loop()
    from_client, from_backend = RawBytes(near), RawBytes(far)
    # The types name the WebSocket reader; what is called is what RawBytes has.
    client.set_parser(from_client)  # type: ignore[arg-type]
    backend.set_parser(from_backend, from_backend)
    pumps = [
        asyncio.create_task(_pump(from_client.stream, StreamWriter(backend, loop))),
        asyncio.create_task(_pump(from_backend.stream, StreamWriter(client, loop))),
    ]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        # So aiohttp tells that the client is gone; what it said last may still wait here.
        await asyncio.wait(pumps[:1], timeout=_LAST_WORDS)
        raise
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        # Not abort(): what was passed on last, a closing frame for instance, still has to leave.
        near.close()
        far.close()


async def _pump(source: asyncio.StreamReader, target: StreamWriter) -> None:
    with contextlib.suppress(OSError):  # the connection is gone: the end
        while data := await source.read(_CHUNK):
            await target.write(data)
