"""As `session`, on asyncio or trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from .async_transport import AsyncStreamConnection, AsyncTransport
from .clock import Clock
from .config import Config, Options
from .errors import TransportError
from .messages import Answer, Request
from .operations import Operation, Operations
from .retry import Send, Sleep, attempts
from .session import check_http_client
from .transport import CLOSED

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class AsyncSession:
    """One client's connection to the API, on asyncio."""

    def __init__(self, config: Config, options: Options, http_client: httpx.AsyncClient | None) -> None:
        check_http_client(http_client, "AsyncClient")
        self.config = config
        self.options = options
        self.clock = Clock()
        self.operations = Operations(config, self.clock)
        self._transport = AsyncTransport(config, http_client, self.clock)
        self._is_closed = False

    async def call(self, operation: Operation[T]) -> T:
        """Carries a call through."""
        return operation.parse(await self.send(operation.request, self.options.timeout))

    async def send(self, request: Request, timeout: float) -> Answer:
        """The answer to a request, tried again where that is safe; raises `TransportError` if there is none."""
        return await self.attempt(request, lambda: self._transport.send(request, timeout), self.clock.sleep)

    async def open_stream(self, request: Request, patience: float | None) -> tuple[Answer, AsyncStreamConnection]:
        """As `send`, for a request that asks for an event stream: its body is left to be read from the connection."""
        connection = self.stream_connection()

        async def open_once() -> Answer:
            head = await connection.open(request, patience)
            return head.answer() if head.is_event_stream else await connection.read_answer()

        try:
            return await self.attempt(request, open_once, self.clock.sleep), connection
        except BaseException:
            await connection.drop()
            raise

    async def attempt(
        self,
        request: Request,
        send: Callable[[], Awaitable[Answer]],
        sleep: Callable[[float], Awaitable[None]],
    ) -> Answer:
        """The answer that `send` gets in the end; between attempts it sleeps."""
        steps = attempts(
            idempotent=request.idempotent,
            max_retries=self.options.max_retries,
            clock=self.clock,
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
                    await sleep(seconds)

    async def ask_status(self, backend_id: str) -> None:
        """Asks for the status, once; raises what that ends in."""
        self.check_open()
        operation = self.operations.status(backend_id)
        operation.parse(await self._transport.send(operation.request, self.options.timeout))

    def stream_connection(self) -> AsyncStreamConnection:
        """A connection for one stream."""
        self.check_open()
        return self._transport.stream_connection(self.options.timeout)

    def check_open(self) -> None:
        """Raises `RuntimeError` once the session is closed."""
        if self._is_closed:
            raise RuntimeError(CLOSED)

    def refuse(self) -> None:
        """Lets nothing new begin."""
        self._is_closed = True

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        self.refuse()
        await self._transport.aclose()
