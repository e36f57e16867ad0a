"""Server-sent events and JSON, as the server sends them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TypeVar

from aiohttp import web

T = TypeVar("T")


def to_json(data: object) -> bytes:
    """Compact JSON. A lone surrogate, which an error message may quote, has no UTF-8: it becomes a question mark."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


async def send_events(
    request: web.Request,
    events: AsyncIterator[bytes],
    *,
    keepalive: float | None,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Sends server-sent events, up to their end; a comment after so many seconds without one."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
            **(headers or {}),
        }
    )
    await response.prepare(request)
    async with contextlib.aclosing(or_silence(events, keepalive)) as steps:
        async for event in steps:
            # One write for an event, LF only, one data line: there are clients that rely on each of these.
            await response.write((b":" if event is None else event) + b"\n\n")
    return response


async def or_silence(items: AsyncIterator[T], patience: float | None) -> AsyncGenerator[T | None, None]:
    """The items as they come, and None whenever none came for so many seconds."""
    while True:
        step = asyncio.ensure_future(anext(items, None))
        try:
            while not (await asyncio.wait({step}, timeout=patience))[0]:
                yield None
        finally:
            if not step.done():
                step.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await step
        item = step.result()
        if item is None:
            return
        yield item
