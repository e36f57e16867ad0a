"""As `transport`, on asyncio; on trio, where our own connections cannot go, all of it through httpx."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from .answer_reader import AnswerReader
from .async_run import current_run, trio_run
from .async_wire import AsyncWire
from .clock import Clock
from .config import Config
from .errors import TransportError
from .failures import without_traceback
from .http11 import Origin
from .messages import Answer, Head, Request
from .pool import Pool
from .transport import direct_origin, logged, transports

if TYPE_CHECKING:
    import httpx

    from .async_run import Run
    from .httpx_wire import AsyncHttpxWire

    AnyAsyncWire: TypeAlias = AsyncWire | AsyncHttpxWire


class AsyncTransport:
    """Sends requests, on asyncio or trio."""

    def __init__(self, config: Config, http_client: httpx.AsyncClient | None, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._given = http_client
        # Kept connections belong to the event loop that made them, or to the run of trio.
        self._pools: dict[asyncio.AbstractEventLoop, Pool[AsyncWire]] = {}
        self._own: WeakKeyDictionary[Run, httpx.AsyncClient] = WeakKeyDictionary()
        transports.add(self)

    async def send(self, request: Request, timeout: float) -> Answer:
        """The complete answer to a request; raises `TransportError` or `InvalidResponseError`.

        `timeout` is in seconds for each phase: connecting, sending, the head and the body, each as a whole.
        """
        wire = self._wire(request)
        reader: AnswerReader | None = None
        try:
            reader = AnswerReader(logged(await wire.begin(request, timeout)), timeout, self._clock)
            # No variable has the chunk: it would show the answer's tokens in a traceback with locals.
            while not reader.feed(await wire.read(reader.time_left, timeout)):
                pass
        except TransportError:
            if reader is None or reader.must_be_whole:
                raise
        except BaseException as error:  # a cancellation, whose frames would show the token too
            without_traceback(error)
            raise
        finally:
            if isinstance(wire, AsyncWire) and wire.may_be_kept:
                self._pool().give(wire, self._clock.monotonic())
            else:
                await wire.aclose()
        return reader.answer()

    def stream_connection(self, timeout: float) -> AsyncStreamConnection:
        """A connection for one stream, apart from those that requests share."""
        return AsyncStreamConnection(self, timeout, self._clock)

    def stream_wire(self, request: Request) -> AnyAsyncWire:
        """What a stream's request may be sent with."""
        if self._direct is not None and self._direct.has(request.url) and trio_run() is None:
            return AsyncWire(self._direct, self._config.token)
        from .httpx_wire import AsyncHttpxWire, own_client

        if self._given is not None:
            return AsyncHttpxWire(self._given, self._config, owned=False)
        import httpx

        client = own_client(httpx.AsyncClient, self._config, for_one_stream=True)
        return AsyncHttpxWire(client, self._config, owned=True)

    async def aclose(self) -> None:
        """Closes what is ours on this event loop, or in this run of trio; a client that the user gave stays open."""
        if trio_run() is None:
            self._pool().close()
        client = self._own.pop(current_run(), None)
        if client is not None:
            await client.aclose()

    def after_fork(self) -> None:
        """In a forked child: leaves the connections to the parent, which uses them too."""
        self._pools, self._own = {}, WeakKeyDictionary()

    @cached_property
    def _direct(self) -> Origin | None:
        return None if self._given is not None else direct_origin(self._config)

    def _wire(self, request: Request) -> AnyAsyncWire:
        if self._direct is not None and self._direct.has(request.url) and trio_run() is None:
            return self._pool().take(self._clock.monotonic()) or AsyncWire(self._direct, self._config.token)
        from .httpx_wire import AsyncHttpxWire

        return AsyncHttpxWire(self._client(), self._config, owned=False)

    def _pool(self) -> Pool[AsyncWire]:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            self._forget_closed_loops()
            pool = self._pools[loop] = Pool()
        return pool

    def _client(self) -> httpx.AsyncClient:
        if self._given is not None:
            return self._given
        import httpx

        from .httpx_wire import own_client

        run = current_run()
        client = self._own.get(run)
        if client is None:
            self._forget_closed_loops()
            client = self._own[run] = own_client(httpx.AsyncClient, self._config)
        return client

    def _forget_closed_loops(self) -> None:
        """What a closed loop has left open can only be left to the garbage collector."""
        clients = {reference() for reference in self._own.keyrefs()}  # a list: other threads may add theirs meanwhile
        for loop in {*self._pools, *clients}:
            if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed():
                self._pools.pop(loop, None)
                self._own.pop(loop, None)


class AsyncStreamConnection:
    """The HTTP side of one stream, on asyncio: one response after another, read piece by piece."""

    __slots__ = ("_clock", "_head", "_patience", "_timeout", "_transport", "_wire")

    def __init__(self, transport: AsyncTransport, timeout: float, clock: Clock) -> None:
        self._transport = transport
        self._timeout = timeout
        self._clock = clock
        self._wire: AnyAsyncWire | None = None
        self._head: Head | None = None
        self._patience: float | None = None

    async def open(self, request: Request, patience: float | None) -> Head:
        """Sends the request; a read of an event stream may then wait `patience` seconds for a byte (None: for ever)."""
        await self.drop()
        self._patience = patience
        wire = self._wire = self._transport.stream_wire(request)
        head = logged(await wire.begin(request, self._timeout))
        self._head = None if head.is_event_stream else head  # of a stream only the body is still wanted
        return head

    @property
    def reads_survive_cancelling(self) -> bool:
        """Whether a read that is cancelled may be begun again, and nothing is lost."""
        return self._wire is None or self._wire.reads_survive_cancelling

    async def read(self, patience: float | None = None) -> bytes | None:
        """The next bytes, as they came over the wire; None at the end of the body, or if the connection is dropped.

        `patience` is for this read alone, in seconds, where reads survive cancelling.
        """
        if patience is None:
            patience = self._patience
        return None if self._wire is None else await self._wire.read(patience)

    async def read_answer(self) -> Answer:
        """The rest of a response that is not a stream, bounded in size and time."""
        assert self._head is not None
        reader = AnswerReader(self._head, self._timeout, self._clock)
        try:
            while self._wire is not None and not reader.feed(await self._wire.read(reader.time_left, self._timeout)):
                pass
        except TransportError:
            if reader.must_be_whole:
                raise
        return reader.answer()

    async def exchange(self, request: Request) -> Answer:
        """The complete answer to a request that is no stream."""
        await self.open(request, None)
        return await self.read_answer()

    def interrupt(self) -> None:
        """Ends a read that survives cancelling; another has to be cancelled."""
        if isinstance(self._wire, AsyncWire):
            self._wire.close()

    def drop_at_once(self) -> bool:
        """Closes the connection, if that needs no waiting; whether it is closed."""
        if isinstance(self._wire, AsyncWire):
            self._wire.close()
            self._wire = None
        return self._wire is None

    async def drop(self) -> None:
        """Closes the connection; another may be opened."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.aclose()
