"""Each piece of work as a user of the SDK would write it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from jamsocket import AsyncJamsocket, AsyncStatusStream, Jamsocket, TransportError

from . import measure
from .measure import Result

BACKEND = "a1b2c3d4"


def _client(url: str) -> Jamsocket:
    return Jamsocket(account="acme", token="t" * 43, service="whiteboard", api_url=url)


def _async_client(url: str) -> AsyncJamsocket:
    return AsyncJamsocket(account="acme", token="t" * 43, service="whiteboard", api_url=url)


def status(url: str, number: int) -> Result:
    with _client(url) as client:
        return measure.calls(number, lambda: client.status(BACKEND))


def connect(url: str, number: int) -> Result:
    with _client(url) as client:
        return measure.calls(
            number, lambda: client.connect(key="my-key", user="my-user", spawn={"max_idle_seconds": 60})
        )


def async_status(url: str, number: int) -> Result:
    async def run() -> Result:
        async with _async_client(url) as client:
            return await measure.async_calls(number, lambda: client.status(BACKEND))

    return asyncio.run(run())


def async_status_64(url: str, number: int) -> Result:
    async def run() -> Result:
        async with _async_client(url) as client:
            return await measure.async_batches(
                number, 64, lambda: asyncio.gather(*(client.status(BACKEND) for _ in range(64)))
            )

    return asyncio.run(run())


def async_streams(url: str, number: int, at_once: int | None = None) -> Result:
    async def run() -> Result:
        async with _async_client(url) as client:

            async def follow() -> AsyncStatusStream:
                states = client.statuses(BACKEND)
                async for state in states:
                    if state.status == "ready":
                        break
                return states

            return await measure.async_streams(
                number, at_once or number, lambda n: asyncio.gather(*(follow() for _ in range(n)))
            )

    return asyncio.run(run())


def async_streams_by_100(url: str, number: int) -> Result:
    return async_streams(url, number, at_once=100)


def thread_streams(url: str, number: int) -> Result:
    client = _client(url)

    def follow(ready: Callable[[], None]) -> None:
        for state in client.statuses(BACKEND):
            if state.status == "ready":
                ready()

    return measure.thread_streams(number, follow)


def stream_length(url: str, number: int) -> Result:
    with _client(url) as client:
        return measure.timed(5, lambda: list(client.statuses(f"long-{number}")))


def async_stream_length(url: str, number: int) -> Result:
    async def run() -> Result:
        async with _async_client(url) as client:

            async def follow() -> None:
                async for _ in client.statuses(f"long-{number}"):
                    pass

            return await measure.async_timed(5, follow)

    return asyncio.run(run())


def further_client(url: str, number: int) -> Result:
    """A client, and the first request that it would send: to a port where nobody listens."""

    def act() -> None:
        with (
            contextlib.suppress(TransportError),
            Jamsocket(
                account="acme", token="t", service="s", api_url=url, max_retries=0, allow_insecure_http=True
            ) as client,
        ):
            client.status(BACKEND)

    return measure.timed(number, act)
