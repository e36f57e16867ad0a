"""What a client's calls and streams share: the configuration, the transport, and how a call is carried through.

`Session` performs the steps of `retry.attempts` blocking; `async_session.py` has its twin.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

from .clock import Clock
from .config import Config, Options
from .errors import TransportError
from .messages import Answer, Request
from .operations import Operation, Operations
from .retry import Send, Sleep, attempts
from .transport import CLOSED, StreamConnection, Transport

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


def check_http_client(given: object, kind: Literal["Client", "AsyncClient"]) -> None:
    """Raises `TypeError` for an `http_client` of the wrong kind."""
    if given is None:
        return
    import httpx  # whoever gives one has loaded it

    if not isinstance(given, getattr(httpx, kind)):
        raise TypeError(f"http_client must be an httpx.{kind}, not {type(given).__name__}.")


class Session:
    """One client's connection to the API, blocking."""

    def __init__(self, config: Config, options: Options, http_client: httpx.Client | None) -> None:
        check_http_client(http_client, "Client")
        self.config = config
        self.options = options
        self.clock = Clock()
        self.operations = Operations(config, self.clock)
        self._transport = Transport(config, http_client, self.clock)
        self._closed = threading.Event()

    def call(self, operation: Operation[T]) -> T:
        """Carries a call through."""
        return operation.parse(self.send(operation.request, self.options.timeout))

    def send(self, request: Request, timeout: float) -> Answer:
        """The answer to a request, tried again where that is safe; raises `TransportError` if there is none."""
        return self.attempt(request, lambda: self._transport.send(request, timeout), self._sleep)

    def open_stream(self, request: Request, patience: float | None) -> tuple[Answer, StreamConnection]:
        """As `send`, for a request that asks for an event stream: its body is left to be read from the connection."""
        connection = self.stream_connection()

        def open_once() -> Answer:
            head = connection.open(request, patience)
            return head.answer() if head.is_event_stream else connection.read_answer()

        try:
            return self.attempt(request, open_once, self._sleep), connection
        except BaseException:
            connection.drop()
            raise

    def attempt(self, request: Request, send: Callable[[], Answer], sleep: Callable[[float], None]) -> Answer:
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
                        outcome = send()
                    except TransportError as error:
                        outcome = error
                case Sleep(seconds=seconds):
                    outcome = None
                    sleep(seconds)

    def ask_status(self, backend_id: str) -> None:
        """Asks for the status, once; raises what that ends in."""
        self.check_open()
        operation = self.operations.status(backend_id)
        operation.parse(self._transport.send(operation.request, self.options.timeout))

    def stream_connection(self) -> StreamConnection:
        """A connection for one stream."""
        self.check_open()
        return self._transport.stream_connection(self.options.timeout)

    def check_open(self) -> None:
        """Raises `RuntimeError` once the session is closed."""
        if self._closed.is_set():
            raise RuntimeError(CLOSED)

    def _sleep(self, seconds: float) -> None:
        self.clock.wait(self._closed, seconds)

    def refuse(self) -> None:
        """Lets nothing new begin; calls that wait to try again end."""
        self._closed.set()

    def close(self) -> None:
        """Closes the connections."""
        self.refuse()
        self._transport.close()
