"""What a client's calls and streams share: the configuration, the transport, and how a call is carried through.

`Session` performs the steps of `retry.attempts` blocking, `AsyncSession` on asyncio.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from .clock import Clock
from .config import Config, Options
from .errors import TransportError
from .messages import Answer, Request
from .operations import Operation, Operations
from .retry import Send, Sleep, attempts
from .transport import AsyncStreamConnection, AsyncTransport, StreamConnection, Transport

T = TypeVar("T")

_CLOSED = "This Jamsocket client is closed; make a new one."


def check_http_client(given: object, kind: type) -> None:
    """Raises `TypeError` for an `http_client` of the wrong kind."""
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"http_client must be an httpx.{kind.__name__}, not {type(given).__name__}.")


class Session:
    """One client's connection to the API, blocking."""

    def __init__(self, config: Config, options: Options, http_client: httpx.Client | None) -> None:
        check_http_client(http_client, httpx.Client)
        self.config = config
        self.options = options
        self.clock = Clock()
        self.operations = Operations(config, self.clock)
        self._transport = Transport(config, http_client, self.clock)
        self._closed = threading.Event()

    def call(self, operation: Operation[T], *, give_up_at: float | None = None) -> T:
        """Carries a call through; no attempt starts, or waits for the server, beyond `give_up_at` (monotonic)."""
        timeout = self.options.timeout
        if give_up_at is not None:
            timeout = max(0.001, min(timeout, give_up_at - self.clock.monotonic()))
        return operation.parse(self.send(operation.request, timeout, give_up_at=give_up_at))

    def send(self, request: Request, timeout: float, *, give_up_at: float | None = None) -> Answer:
        """The answer to a request, tried again where that is safe; raises `TransportError` if there is none."""
        return self._attempt(request, lambda: self._transport.send(request, timeout), give_up_at)

    def open_stream(self, request: Request, patience: float | None) -> tuple[Answer, StreamConnection]:
        """As `send`, for a request that asks for an event stream: its body is left to be read from the connection."""
        connection = self.stream_connection()

        def open_once() -> Answer:
            head = connection.open(request, patience)
            return head.answer() if head.is_event_stream else connection.read_answer()

        try:
            return self._attempt(request, open_once), connection
        except BaseException:
            connection.close()
            raise

    def _attempt(self, request: Request, send: Callable[[], Answer], give_up_at: float | None = None) -> Answer:
        steps = attempts(
            idempotent=request.idempotent,
            max_retries=self.options.max_retries,
            clock=self.clock,
            give_up_at=give_up_at,
        )
        outcome: Answer | TransportError | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                answer: Answer = done.value
                return answer
            self.check_open()
            match step:
                case Send():
                    try:
                        outcome = send()
                    except TransportError as error:
                        outcome = error
                case Sleep(seconds=seconds):
                    outcome = None
                    self.clock.wait(self._closed, seconds)

    def ask_status(self, backend_id: str) -> None:
        """Asks for the status, once; raises what that ends in."""
        operation = self.operations.status(backend_id)
        operation.parse(self._transport.send(operation.request, self.options.timeout))

    def stream_connection(self) -> StreamConnection:
        """A connection for one stream."""
        return self._transport.stream_connection(self.options.timeout)

    def check_open(self) -> None:
        """Raises `RuntimeError` once the session is closed."""
        if self._closed.is_set():
            raise RuntimeError(_CLOSED)

    def close(self) -> None:
        """Closes the connections; calls that wait to try again end."""
        self._closed.set()
        self._transport.close()


class AsyncSession:
    """One client's connection to the API, on asyncio."""

    def __init__(self, config: Config, options: Options, http_client: httpx.AsyncClient | None) -> None:
        check_http_client(http_client, httpx.AsyncClient)
        self.config = config
        self.options = options
        self.clock = Clock()
        self.operations = Operations(config, self.clock)
        self._transport = AsyncTransport(config, http_client, self.clock)
        self._is_closed = False

    async def call(self, operation: Operation[T], *, give_up_at: float | None = None) -> T:
        """Carries a call through; no attempt starts, or waits for the server, beyond `give_up_at` (monotonic)."""
        timeout = self.options.timeout
        if give_up_at is not None:
            timeout = max(0.001, min(timeout, give_up_at - self.clock.monotonic()))
        return operation.parse(await self.send(operation.request, timeout, give_up_at=give_up_at))

    async def send(self, request: Request, timeout: float, *, give_up_at: float | None = None) -> Answer:
        """The answer to a request, tried again where that is safe; raises `TransportError` if there is none."""
        return await self._attempt(request, lambda: self._transport.send(request, timeout), give_up_at)

    async def open_stream(self, request: Request, patience: float | None) -> tuple[Answer, AsyncStreamConnection]:
        """As `send`, for a request that asks for an event stream: its body is left to be read from the connection."""
        connection = self.stream_connection()

        async def open_once() -> Answer:
            head = await connection.open(request, patience)
            return head.answer() if head.is_event_stream else await connection.read_answer()

        try:
            return await self._attempt(request, open_once), connection
        except BaseException:
            await connection.aclose()
            raise

    async def _attempt(
        self, request: Request, send: Callable[[], Awaitable[Answer]], give_up_at: float | None = None
    ) -> Answer:
        steps = attempts(
            idempotent=request.idempotent,
            max_retries=self.options.max_retries,
            clock=self.clock,
            give_up_at=give_up_at,
        )
        outcome: Answer | TransportError | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                answer: Answer = done.value
                return answer
            self.check_open()
            match step:
                case Send():
                    try:
                        outcome = await send()
                    except TransportError as error:
                        outcome = error
                case Sleep(seconds=seconds):
                    outcome = None
                    await self.clock.sleep(seconds)

    async def ask_status(self, backend_id: str) -> None:
        """Asks for the status, once; raises what that ends in."""
        operation = self.operations.status(backend_id)
        operation.parse(await self._transport.send(operation.request, self.options.timeout))

    def stream_connection(self) -> AsyncStreamConnection:
        """A connection for one stream."""
        return self._transport.stream_connection(self.options.timeout)

    def check_open(self) -> None:
        """Raises `RuntimeError` once the session is closed."""
        if self._is_closed:
            raise RuntimeError(_CLOSED)

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        self._is_closed = True
        await self._transport.aclose()
