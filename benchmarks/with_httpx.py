"""Each piece of work as one would write it with httpx, and its defaults, instead of the SDK.

Only the pool's limits are lifted: with the default of 100 connections, the 101st stream would wait for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

import httpx

from . import measure
from .measure import Result

NO_LIMITS = httpx.Limits(max_connections=None)
CONNECT = {"key": "my-key", "user": "my-user", "spawn": {"max_idle_seconds": 60}}
HEADERS = {"Authorization": f"Bearer {'t' * 43}"}


def status(url: str, number: int) -> Result:
    with httpx.Client() as client:
        return measure.calls(number, lambda: client.get(f"{url}/v2/backend/b/status").raise_for_status().json())


def connect(url: str, number: int) -> Result:
    with httpx.Client(headers=HEADERS) as client:
        address = f"{url}/v2/service/acme/whiteboard/connect"
        return measure.calls(number, lambda: client.post(address, json=CONNECT).raise_for_status().json())


def async_status(url: str, number: int) -> Result:
    async def run() -> Result:
        async with httpx.AsyncClient() as client:

            async def call() -> object:
                return (await client.get(f"{url}/v2/backend/b/status")).raise_for_status().json()

            return await measure.async_calls(number, call)

    return asyncio.run(run())


def async_status_64(url: str, number: int) -> Result:
    async def run() -> Result:
        async with httpx.AsyncClient(limits=NO_LIMITS) as client:

            async def call() -> object:
                return (await client.get(f"{url}/v2/backend/b/status")).raise_for_status().json()

            return await measure.async_batches(number, 64, lambda: asyncio.gather(*(call() for _ in range(64))))

    return asyncio.run(run())


def async_streams(url: str, number: int, at_once: int | None = None) -> Result:
    async def run() -> Result:
        async with httpx.AsyncClient(limits=NO_LIMITS, timeout=None) as client:

            async def follow() -> object:
                request = client.build_request("GET", f"{url}/v2/backend/b/status/stream")
                response = await client.send(request, stream=True)
                lines = response.aiter_lines()
                async for line in lines:
                    if line.startswith("data: ") and json.loads(line[6:])["status"] == "ready":
                        break
                return response, lines

            return await measure.async_streams(
                number, at_once or number, lambda n: asyncio.gather(*(follow() for _ in range(n)))
            )

    return asyncio.run(run())


def async_streams_by_100(url: str, number: int) -> Result:
    return async_streams(url, number, at_once=100)


def thread_streams(url: str, number: int) -> Result:
    client = httpx.Client(limits=NO_LIMITS, timeout=None)

    def follow(ready: Callable[[], None]) -> None:
        with client.stream("GET", f"{url}/v2/backend/b/status/stream") as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and json.loads(line[6:])["status"] == "ready":
                    ready()

    return measure.thread_streams(number, follow)


def stream_length(url: str, number: int) -> Result:
    with httpx.Client(timeout=None) as client:

        def run() -> None:
            with client.stream("GET", f"{url}/v2/backend/long-{number}/status/stream") as response:
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        json.loads(line[6:])

        return measure.timed(5, run)


def async_stream_length(url: str, number: int) -> Result:
    async def run() -> Result:
        async with httpx.AsyncClient(timeout=None) as client:

            async def follow() -> None:
                async with client.stream("GET", f"{url}/v2/backend/long-{number}/status/stream") as response:
                    async for line in response.aiter_lines():
                        if line.startswith("data: "):
                            json.loads(line[6:])

            return await measure.async_timed(5, follow)

    return asyncio.run(run())


def further_client(url: str, number: int) -> Result:
    def act() -> None:
        with contextlib.suppress(httpx.TransportError), httpx.Client() as client:
            client.get(f"{url}/v2/backend/b/status")

    return measure.timed(number, act)
