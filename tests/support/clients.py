"""Both clients behind one blocking face, so that a test of the facade is written once and runs for both."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Protocol, Self, TypeVar

import httpx

from jamsocket import AsyncJamsocket, BackendState, ConnectResponse, Jamsocket, ReadyState
from jamsocket.async_streams import AsyncEventStream
from jamsocket.clock import Clock

T = TypeVar("T")

AT_ONCE = 4.0
"""Seconds. What ends at once ends within one, if the machine has nothing else to do; what does not, takes ten."""


class FakeClock(Clock):
    """Waits for nothing and writes down how long it should have; its dice always show `luck`."""

    def __init__(self, luck: float = 0.5) -> None:
        self.luck = luck
        self.slept: list[float] = []
        self.now = 1_000.0
        self.today = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.now

    def time_of_day(self) -> float:
        return self.today

    def random(self) -> float:
        return self.luck

    def wait(self, wake: threading.Event, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await super().sleep(0)


class StreamFace(Protocol):
    def __iter__(self) -> Iterator[BackendState]: ...
    def __next__(self) -> BackendState: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def close(self) -> None: ...


class ClientFace(Protocol):
    """What `Jamsocket` offers, and `AsyncFace` too."""

    def connect(self, *args: Any, **kwargs: Any) -> ConnectResponse: ...
    def status(self, backend_id: str) -> BackendState: ...
    def statuses(self, backend_id: str, **kwargs: Any) -> StreamFace: ...
    def status_stream(self, backend_id: str, on_status: Any, **kwargs: Any) -> Callable[[], None]: ...
    def wait_until_ready(self, backend_id: str, **kwargs: Any) -> ReadyState: ...
    def terminate(self, backend_id: str, *, hard: bool = False) -> None: ...
    def backends(self) -> Any: ...
    def backend_info(self, backend_id: str) -> Any: ...
    def logs(self, backend_id: str, **kwargs: Any) -> Any: ...
    def metrics(self, backend_id: str, **kwargs: Any) -> Any: ...
    def services(self) -> list[str]: ...
    def create_service(self, name: str) -> None: ...
    def service_info(self, service: str | None = None) -> Any: ...
    def delete_service(self, service: str) -> None: ...
    def images(self, service: str | None = None) -> Any: ...
    def use_image(self, tag: str, *, service: str | None = None, environment: str | None = None) -> None: ...
    def auth_info(self) -> Any: ...
    def close(self) -> None: ...


class Loop:
    """An event loop on a thread of its own, in debug mode."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_debug(True)
        self.loop.slow_callback_duration = 5.0
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self._thread = threading.Thread(target=self.loop.run_forever, name="test loop", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 30.0) -> T:
        return self.submit(coroutine).result(timeout)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Every task on the loop but this look at them."""

        async def look() -> set[asyncio.Task[Any]]:
            return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]

        return self.run(look())

    def close(self) -> None:
        # httpx leaves async generators to the garbage collector, which has the loop close them in tasks of their own.
        for _ in range(100):
            if not (left := self.tasks()):
                break
            time.sleep(0.01)
        self.run(self.loop.shutdown_asyncgens())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        assert not left, f"tasks left behind: {left}"
        assert not self.problems, self.problems


class AsyncStreamFace:
    def __init__(self, loop: Loop, stream: AsyncEventStream[Any]) -> None:
        self.loop = loop
        self.stream = stream

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        async def step() -> Any:
            return await anext(self.stream, None)

        state = self.loop.run(step())
        if state is None:
            raise StopIteration
        return state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.loop.run(self.stream.aclose())


class AsyncFace:
    def __init__(self, loop: Loop, client: AsyncJamsocket) -> None:
        self.loop = loop
        self.client = client

    def connect(self, *args: Any, **kwargs: Any) -> ConnectResponse:
        return self.loop.run(self.client.connect(*args, **kwargs))

    def status(self, backend_id: str) -> BackendState:
        return self.loop.run(self.client.status(backend_id))

    def statuses(self, backend_id: str, **kwargs: Any) -> AsyncStreamFace:
        return self._stream(self.client.statuses, backend_id, kwargs)

    def logs(self, backend_id: str, **kwargs: Any) -> AsyncStreamFace:
        return self._stream(self.client.logs, backend_id, kwargs)

    def metrics(self, backend_id: str, **kwargs: Any) -> AsyncStreamFace:
        return self._stream(self.client.metrics, backend_id, kwargs)

    def _stream(
        self, method: Callable[..., AsyncEventStream[Any]], backend_id: str, kwargs: dict[str, Any]
    ) -> AsyncStreamFace:
        async def make() -> AsyncEventStream[Any]:
            return method(backend_id, **kwargs)

        return AsyncStreamFace(self.loop, self.loop.run(make()))

    def status_stream(self, backend_id: str, on_status: Any, **kwargs: Any) -> Callable[[], None]:
        return self.loop.run(self.client.status_stream(backend_id, on_status, **kwargs))

    def wait_until_ready(self, backend_id: str, **kwargs: Any) -> ReadyState:
        return self.loop.run(self.client.wait_until_ready(backend_id, **kwargs))

    def terminate(self, backend_id: str, *, hard: bool = False) -> None:
        self.loop.run(self.client.terminate(backend_id, hard=hard))

    def backends(self) -> Any:
        return self.loop.run(self.client.backends())

    def backend_info(self, backend_id: str) -> Any:
        return self.loop.run(self.client.backend_info(backend_id))

    def services(self) -> list[str]:
        return self.loop.run(self.client.services())

    def create_service(self, name: str) -> None:
        self.loop.run(self.client.create_service(name))

    def service_info(self, service: str | None = None) -> Any:
        return self.loop.run(self.client.service_info(service))

    def delete_service(self, service: str) -> None:
        self.loop.run(self.client.delete_service(service))

    def images(self, service: str | None = None) -> Any:
        return self.loop.run(self.client.images(service))

    def use_image(self, tag: str, *, service: str | None = None, environment: str | None = None) -> None:
        self.loop.run(self.client.use_image(tag, service=service, environment=environment))

    def auth_info(self) -> Any:
        return self.loop.run(self.client.auth_info())

    def close(self) -> None:
        self.loop.run(self.client.aclose())


class Maker:
    """Makes clients of one kind, and closes them at the end."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._loop: Loop | None = None
        self._made: list[ClientFace] = []

    @property
    def cls(self) -> type[Jamsocket] | type[AsyncJamsocket]:
        return Jamsocket if self.kind == "blocking" else AsyncJamsocket

    @property
    def loop(self) -> Loop:
        if self._loop is None:
            self._loop = Loop()
        return self._loop

    def __call__(self, *, clock: Clock | None = None, **kwargs: Any) -> Any:
        return self.wrap(self.cls(**kwargs), clock)

    def from_env(self, environ: dict[str, str], **kwargs: Any) -> Any:
        return self.wrap(self.cls.from_env(environ, **kwargs), None)

    def to(self, url: str, *, clock: Clock | None = None, **kwargs: Any) -> Any:
        """A client with credentials for an API at this address."""
        kwargs = {"account": "acme", "token": "tok-planted-secret", "service": "whiteboard", **kwargs}
        return self(clock=clock, api_url=url, **kwargs)

    def wrap(self, client: Any, clock: Clock | None) -> Any:
        if clock is not None:
            client._session.clock = clock
            client._session.operations._clock = clock
            client._session._transport._clock = clock
        face = client if self.kind == "blocking" else AsyncFace(self.loop, client)
        self._made.append(face)
        return face

    def http_client(self, **kwargs: Any) -> Any:
        """An httpx client of the kind that fits."""
        return httpx.Client(**kwargs) if self.kind == "blocking" else httpx.AsyncClient(**kwargs)

    def close_http_client(self, client: Any) -> None:
        if self.kind == "blocking":
            client.close()
        else:
            self.loop.run(client.aclose())

    def close(self) -> None:
        for client in self._made:
            client.close()
        if self._loop is not None:
            self._loop.close()
