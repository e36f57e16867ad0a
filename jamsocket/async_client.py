"""`AsyncJamsocket`: the client for asyncio and trio. `client.py` is its twin; neither decides anything by itself."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload
from weakref import WeakSet

from .async_run import deadline, pause, refuse_on_trio, trio_run
from .async_session import AsyncSession
from .config import Options, arguments_from, from_arguments, read_variables
from .errors import JamsocketError
from .operations import check_backend_id
from .retry import DEFAULT_STALL_TIMEOUT, Backoff, Sleep, check_seconds
from .secret import conceal

# Streams, and what is built on them, are loaded when the first is opened: many programs only make calls.
if TYPE_CHECKING:
    import httpx
    from jamsocket_api import AuthenticatedClient
    from jamsocket_api.models import (
        AuthInfo,
        BackendInfo,
        ConnectRequest,
        Image,
        ReadyState,
        RunningBackend,
        ServiceInfo,
    )

    from .async_streams import (
        AsyncEventStream,
        AsyncLogStream,
        AsyncMetricsStream,
        AsyncStatusStream,
        AsyncSubscription,
    )
    from .backend_state import BackendState
    from .event_stream import Step as StreamStep
    from .ready_connection import Step
    from .requests import ConnectDict, ConnectResponse
    from .timeline import Watcher

S = TypeVar("S")
StreamT = TypeVar("StreamT", bound="AsyncEventStream[Any]")


_NO_TASKS = (
    "status_stream calls from a task of its own, which trio does not allow; iterate in a task of your nursery instead: "
    "async for state in jamsocket.statuses(backend_id)."
)


class AsyncJamsocket:
    """A client of the Jamsocket platform, on asyncio.

    With credentials it speaks to the hosted service, with `dev=True` to a dev server on this machine. It may be
    shared between threads. Close it, or use it as a context manager, to end its streams and connections.

    It works on trio too, where everything goes through httpx. Only `status_stream` is a `RuntimeError` there, because
    it needs a task in the background; iterate `statuses` in a task of your nursery. Make streams inside of `trio.run`.

    Args:
        account: the account's name.
        token: the API token. It is sent only where the API needs it, and never shown.
        service: the service whose backends are wanted.
        environment: the service's environment; None for its default one.
        api_url: another address of the API, for example of a server of your own.
        dev: True to use the dev server on this machine instead of credentials.
        port: the dev server's port, 8080 if it is not given; only with `dev=True`.
        allow_insecure_http: True to let the token go over plain http to another machine.
        timeout: the longest wait for the API in each phase (connect, send, head, body), in seconds.
        max_retries: how often a failed request is tried again, where that is safe; 0 turns it off.
        http_client: a client of your own, for proxies, certificates or limits. All requests and streams go through
            it, without its headers, cookies, authentication and redirects. It is not closed.

    Raises:
        ConfigError: if arguments are missing, malformed or contradict each other; it names them all.
        TypeError, ValueError: if `timeout`, `max_retries` or `http_client` is not what it should be.

    Example:
        >>> jamsocket = AsyncJamsocket(account="acme", token=token, service="whiteboard")
        >>> jamsocket = AsyncJamsocket(dev=True)
    """

    @overload
    def __init__(
        self,
        *,
        account: str,
        token: str,
        service: str,
        environment: str | None = None,
        api_url: str | None = None,
        dev: Literal[False] = False,
        allow_insecure_http: bool = False,
        timeout: float = 10.0,
        max_retries: int = 2,
        http_client: httpx.AsyncClient | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        dev: Literal[True],
        port: int | None = None,
        timeout: float = 10.0,
        max_retries: int = 2,
        http_client: httpx.AsyncClient | None = None,
    ) -> None: ...

    def __init__(
        self,
        *,
        account: str | None = None,
        token: str | None = None,
        service: str | None = None,
        environment: str | None = None,
        api_url: str | None = None,
        dev: bool = False,
        port: int | None = None,
        allow_insecure_http: bool = False,
        timeout: float = 10.0,
        max_retries: int = 2,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        secret = conceal(token)
        del token  # no local variable shows it, whatever is raised from here on
        config = from_arguments(
            account=account,
            token=secret,
            service=service,
            environment=environment,
            api_url=api_url,
            dev=dev,
            port=port,
            allow_insecure_http=allow_insecure_http,
        )
        self._session = AsyncSession(config, Options(timeout, max_retries), http_client)
        self._streams: WeakSet[AsyncEventStream[Any]] = WeakSet()
        self._subscriptions: set[AsyncSubscription] = set()
        self._alarms: set[Callable[[], object]] = set()  # each ends a pause
        self._lock = threading.Lock()
        self._api: AuthenticatedClient | None = None

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        allow_insecure_http: bool = False,
        timeout: float = 10.0,
        max_retries: int = 2,
        http_client: httpx.AsyncClient | None = None,
    ) -> Self:
        """A client configured by environment variables.

        `JAMSOCKET_DEV=true` means the dev server, on `JAMSOCKET_DEV_PORT` (8080). Otherwise `JAMSOCKET_ACCOUNT`,
        `JAMSOCKET_TOKEN` and `JAMSOCKET_SERVICE` are needed; `JAMSOCKET_ENVIRONMENT` and `JAMSOCKET_API_URL` are
        optional.

        Args:
            environ: the variables; `os.environ` if it is not given.
            allow_insecure_http, timeout, max_retries, http_client: as for the class.

        Raises:
            ConfigError: naming every variable that is missing or malformed.

        Example:
            >>> jamsocket = AsyncJamsocket.from_env({"JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": "8081"})
        """
        variables = read_variables(os.environ if environ is None else environ)
        del environ  # it holds the token
        arguments = arguments_from(variables, allow_insecure_http=allow_insecure_http)
        return cls(**arguments, timeout=timeout, max_retries=max_retries, http_client=http_client)

    @overload
    async def connect(self, request: ConnectRequest | ConnectDict, /) -> ConnectResponse: ...

    @overload
    async def connect(self, /, **options: Unpack[ConnectDict]) -> ConnectResponse: ...

    async def connect(self, request: ConnectRequest | ConnectDict | None = None, /, **options: Any) -> ConnectResponse:
        """Gets a session backend: the one that holds the key, or a new one.

        Without a key it is always a new one. A backend that is about to end still holds its key and is returned
        as it is; `wait_until_ready` tells.

        Args:
            request: all of the following in one mapping or `ConnectRequest`, instead of keyword arguments.
            key: what the backend is for (a document, a room): at most 128 characters.
            spawn: how to start a backend if there is none, a mapping or `SpawnConfig` (with `tag`, `cluster`,
                `lifetime_limit_seconds`, `max_idle_seconds`, `executable`); or True; or False to start none.
            user: the name by which the backend shall know the user.
            auth: whatever else the backend shall know of the user, as JSON.

        Returns:
            The backend and its URL.

        Raises:
            TypeError, ValueError: for an unknown field, a wrong type, a value that JSON cannot express; before
                anything is sent.
            HTTPError: if the API refuses, for example `ConflictError` with `spawn=False` and nobody holding the key.
            TransportError: if there was no answer. Without a key, check `request_sent` before trying again: if it
                is True, a backend may have been started.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> connection = await jamsocket.connect(key="my-key", user="my-user-id", spawn={"max_idle_seconds": 60})
            >>> connection.spawned
            True
        """
        return await self._session.call(self._session.operations.connect(request, options))

    @overload
    async def connect_ready(
        self,
        request: ConnectRequest | ConnectDict,
        /,
        *,
        timeout: float | None = 60.0,
        stall_timeout: float = DEFAULT_STALL_TIMEOUT,
        backoff: Backoff = Backoff(),
    ) -> ConnectResponse: ...

    @overload
    async def connect_ready(
        self,
        /,
        *,
        timeout: float | None = 60.0,
        stall_timeout: float = DEFAULT_STALL_TIMEOUT,
        backoff: Backoff = Backoff(),
        **options: Unpack[ConnectDict],
    ) -> ConnectResponse: ...

    async def connect_ready(
        self,
        request: ConnectRequest | ConnectDict | None = None,
        /,
        *,
        timeout: float | None = 60.0,
        stall_timeout: float = DEFAULT_STALL_TIMEOUT,
        backoff: Backoff = Backoff(),
        **options: Any,
    ) -> ConnectResponse:
        """Gets a session backend that is ready: the one that holds the key, or a new one.

        As `connect`, and then some patience: if the key is held by a backend on its way out, it waits for that one's
        end and connects again; then it waits until the backend is ready. Callers with the same key, also on other
        machines, get the same backend.

        Args:
            request: as for `connect`, and so are the keyword arguments `key`, `spawn`, `user` and `auth`.
            timeout: the longest time for all of it together, in seconds; None to wait for ever.
            stall_timeout, backoff: as for `statuses`.

        Returns:
            The backend and its URL. Its `status` is what `connect` was told, perhaps "scheduled"; the backend has
            become ready since.

        Raises:
            BackendTerminatedError: if the backend ended instead of getting ready. No other is started: it would most
                likely end the same way.
            WaitTimeoutError: if the time ran out; its `state` is the last one seen, and its `backend_id` is empty if
                no backend had been found yet. Without a key, a backend may have been started nevertheless.
            TypeError, ValueError: as for `connect`, or if a number is not positive.
            HTTPError, TransportError, InvalidResponseError: as for `connect` and `wait_until_ready`.

        Example:
            >>> connection = await jamsocket.connect_ready(key="my-key", user="my-user-id", timeout=30)
            >>> (await jamsocket.status(connection.backend_id)).status
            'ready'
        """
        from .ready_connection import Await, Connect, find_ready

        clock = self._session.clock
        give_up_at = None if timeout is None else clock.monotonic() + check_seconds("timeout", timeout)
        operation = self._session.operations.connect(request, options)
        steps = find_ready(timeout=timeout, give_up_at=give_up_at, backoff=backoff, clock=clock)
        advance: Callable[[], Step] = partial(next, steps)
        connection: ConnectResponse
        while True:
            try:
                step = advance()
            except StopIteration as done:
                connection = done.value
                return connection
            left = None if give_up_at is None else give_up_at - clock.monotonic()
            result: object = None
            try:
                match step:
                    case Connect(timed_out=timed_out):
                        # A stream's connection, for the call alone: the deadline can end it.
                        async with (
                            self.statuses("-", stall_timeout=stall_timeout, backoff=backoff) as line,
                            deadline(left, timed_out),
                        ):
                            connection = await line.call(operation)
                        result = connection
                    case Await(backend_id=backend_id, watcher=watcher):
                        states = self.statuses(backend_id, stall_timeout=stall_timeout, backoff=backoff)
                        result = await self._wait_for(backend_id, watcher, left, states)
                    case Sleep(seconds=seconds):
                        await self._pause(seconds)
            except JamsocketError as error:
                advance = partial(steps.throw, error)
            else:
                advance = partial(steps.send, result)

    async def status(self, backend_id: str) -> BackendState:
        """The present state of a backend.

        Args:
            backend_id: the backend's id.

        Returns:
            One of the eight state classes, or `UnknownState` for a status that this version does not know.

        Raises:
            ValueError: if the id is empty, `.` or `..`.
            HTTPError: if the API refuses; `NotFoundError` for a backend that it does not know.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> (await jamsocket.status(connection.backend_id)).status
            'ready'
        """
        return await self._session.call(self._session.operations.status(backend_id))

    def statuses(
        self, backend_id: str, *, stall_timeout: float = DEFAULT_STALL_TIMEOUT, backoff: Backoff = Backoff()
    ) -> AsyncStatusStream:
        """The statuses of a backend as an iterator: past ones, then each new one, exactly once, up to `terminated`.

        Args:
            backend_id: the backend's id.
            stall_timeout: seconds without a byte after which the connection counts as dead.
            backoff: how long to wait before coming back after a connection was lost.

        Returns:
            The stream; it connects when the first status is asked for. Close it, or use it as a context manager.

        Raises:
            ValueError: if the id is empty, `.` or `..`, or a number is not positive.
            HTTPError, TransportError, InvalidResponseError: from iterating, if the stream cannot be opened or the
                API ends it; `NotFoundError` for a backend that it does not know.

        Example:
            >>> async with jamsocket.statuses(connection.backend_id) as states:
            ...     async for state in states:
            ...         print(state.status)
            scheduled
            ...
            terminated
        """
        from .async_streams import AsyncStatusStream
        from .status_stream import follow

        return self._begin(AsyncStatusStream, follow, backend_id, stall_timeout, backoff)

    def _begin(
        self,
        kind: type[StreamT],
        follow: Callable[..., Generator[StreamStep, Any, None]],
        backend_id: str,
        stall_timeout: float,
        backoff: Backoff,
    ) -> StreamT:
        steps = follow(
            max_retries=self._session.options.max_retries,
            stall_timeout=check_seconds("stall_timeout", stall_timeout),
            backoff=backoff,
            clock=self._session.clock,
            secret=self._session.config.token,
        )
        if trio_run() is not None:
            from .trio_streams import on_trio

            kind = on_trio(kind)
        stream = kind(check_backend_id(backend_id), steps, self._session)
        with self._lock:
            self._session.check_open()
            self._streams.add(stream)
        return stream

    async def status_stream(
        self,
        backend_id: str,
        on_status: Callable[[BackendState], Awaitable[object] | object],
        *,
        on_error: Callable[[Exception], Awaitable[object] | object] | None = None,
        stall_timeout: float = DEFAULT_STALL_TIMEOUT,
        backoff: Backoff = Backoff(),
    ) -> Callable[[], None]:
        """Calls a function with every status of a backend: past ones, then each new one, exactly once.

        Returns once the stream is under way. The calls come one after another; an exception in one is logged and
        does not stop the stream.

        Args:
            backend_id: the backend's id.
            on_status: called with each state.
            on_error: called once if the stream ends with an error later; without it the error is logged.
            stall_timeout, backoff: as for `statuses`.

        Returns:
            A function that ends the stream. After it returns no further call starts.

        Raises:
            ValueError: if the id is empty, `.` or `..`, or a number is not positive.
            HTTPError, TransportError, InvalidResponseError: if the stream cannot be opened; `NotFoundError` for a
                backend that the API does not know.
            RuntimeError: on trio; iterate `statuses` in a task of your nursery instead.

        Example:
            >>> seen = []
            >>> unsubscribe = await jamsocket.status_stream(connection.backend_id, seen.append)
            >>> unsubscribe()
        """
        from .async_streams import AsyncSubscription

        refuse_on_trio(_NO_TASKS)
        stream = self.statuses(backend_id, stall_timeout=stall_timeout, backoff=backoff)
        subscription = AsyncSubscription(stream, on_status, on_error)
        self._subscriptions.add(subscription)
        subscription.on_done(self._subscriptions.discard)
        await subscription.start()
        return subscription.unsubscribe

    async def wait_until_ready(
        self,
        backend_id: str,
        *,
        timeout: float | None = 60.0,
        stall_timeout: float = DEFAULT_STALL_TIMEOUT,
        backoff: Backoff = Backoff(),
    ) -> ReadyState:
        """Waits until a backend is ready.

        Args:
            backend_id: the backend's id.
            timeout: the longest wait in all, in seconds; None to wait for ever.
            stall_timeout, backoff: as for `statuses`.

        Returns:
            The `ready` state.

        Raises:
            BackendTerminatedError: if the backend ended instead, or had ended before; connect again.
            WaitTimeoutError: if the time ran out; its `state` is the last one seen.
            ValueError: if the id is empty, `.` or `..`, or a number is not positive.
            HTTPError, TransportError, InvalidResponseError: as for `status` and `statuses`.

        Example:
            >>> (await jamsocket.wait_until_ready(connection.backend_id, timeout=30)).status
            'ready'
        """
        from .status_stream import Readiness

        readiness = Readiness(backend_id, timeout)
        states = self.statuses(backend_id, stall_timeout=stall_timeout, backoff=backoff)
        seconds = None if timeout is None else check_seconds("timeout", timeout)
        return await self._wait_for(backend_id, readiness, seconds, states)

    async def _wait_for(
        self, backend_id: str, watcher: Watcher[S], seconds: float | None, states: AsyncStatusStream
    ) -> S:
        """Shows a backend's states to the watcher until it has what it waits for."""
        async with states, deadline(seconds, watcher.timed_out):
            # First the present state: the stream begins with the past, in which a dying backend was ready once.
            now = await states.call(self._session.operations.status(backend_id))
            if (found := watcher.judge(now)) is not None:
                return found
            async for state in states:
                if (found := watcher.judge(state)) is not None:
                    return found
        self._session.check_open()
        raise watcher.ended()

    async def _pause(self, seconds: float) -> None:
        """Sleeps, but not beyond the client's end."""
        self._session.check_open()
        await pause(self._session.clock.sleep(seconds), self._alarms)

    async def terminate(self, backend_id: str, *, hard: bool = False) -> None:
        """Ends a backend. One that has ended already is a success.

        Returns once the platform has accepted it; the backend is gone when its status is `terminated`.

        Args:
            backend_id: the backend's id.
            hard: True to kill its process at once instead of asking it to end.

        Raises:
            ValueError: if the id is empty, `.` or `..`.
            HTTPError: if the API refuses; `NotFoundError` for a backend that it does not know.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> await jamsocket.terminate(connection.backend_id)
        """
        await self._session.call(self._session.operations.terminate(backend_id, hard))

    async def backends(self) -> list[RunningBackend]:
        """The account's backends that are not terminated, of all services and environments.

        Returns:
            The backends, in no particular order. Their `status` is a `BackendInfoState`.

        Raises:
            HTTPError: if the API refuses.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> connection.backend_id in {backend.id for backend in await jamsocket.backends()}
            True
        """
        return await self._session.call(self._session.operations.backends())

    async def backend_info(self, backend_id: str) -> BackendInfo:
        """All that is known of a backend, with the history of its states; also of one that is terminated.

        Args:
            backend_id: the backend's id.

        Returns:
            The backend. Its `statuses` are the oldest first, and tell the exit code.

        Raises:
            ValueError: if the id is empty, `.` or `..`.
            HTTPError: if the API refuses; `NotFoundError` for a backend that it does not know.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> (await jamsocket.backend_info(connection.backend_id)).service_name
            'whiteboard'
        """
        return await self._session.call(self._session.operations.backend_info(backend_id))

    def logs(
        self, backend_id: str, *, stall_timeout: float = DEFAULT_STALL_TIMEOUT, backoff: Backoff = Backoff()
    ) -> AsyncLogStream:
        """What a backend writes to its standard output and error, as an iterator over lines, up to its end.

        A connection that is lost comes back by itself where the server numbers its lines (the development server
        does): none comes twice, and none is lost that the server still keeps. Without numbers, that is so only before
        the first line.

        Args:
            backend_id: the backend's id.
            stall_timeout: seconds without a byte after which the connection counts as dead, where it can come back;
                elsewhere a silent backend is waited for.
            backoff: how long to wait before coming back after a connection was lost.

        Returns:
            The stream; it connects when the first line is asked for. Close it, or use it as a context manager.

        Raises:
            ValueError: if the id is empty, `.` or `..`, or a number is not positive.
            HTTPError, InvalidResponseError: from iterating, if the stream cannot be opened or the API ends it;
                `NotFoundError` for a backend that it does not know.
            TransportError: from iterating, if the stream cannot be opened, or was cut where lines may be missing.

        Example:
            >>> async with jamsocket.logs(connection.backend_id) as lines:
            ...     async for line in lines:
            ...         print(line)
            listening on port ...
        """
        from .async_streams import AsyncLogStream
        from .log_stream import follow_logs

        return self._begin(AsyncLogStream, follow_logs, backend_id, stall_timeout, backoff)

    def metrics(
        self, backend_id: str, *, stall_timeout: float = DEFAULT_STALL_TIMEOUT, backoff: Backoff = Backoff()
    ) -> AsyncMetricsStream:
        """What a backend uses, measured about every 10 seconds, as an iterator, up to its end.

        A connection that is lost comes back by itself; then what was measured in between is missing, and the last
        measurement before may come again.

        Args:
            backend_id: the backend's id.
            stall_timeout, backoff: as for `statuses`.

        Returns:
            The stream; it connects when the first measurement is asked for. Close it, or use it as a context manager.

        Raises:
            ValueError: if the id is empty, `.` or `..`, or a number is not positive.
            HTTPError, TransportError, InvalidResponseError: from iterating, if the stream cannot be opened or the
                API ends it; `NotFoundError` for a backend that it does not know.

        Example:
            >>> async with jamsocket.metrics(connection.backend_id) as measurements:
            ...     async for measured in measurements:
            ...         print(measured.mem_used > 0)
            True
            ...
        """
        from .async_streams import AsyncMetricsStream
        from .log_stream import follow_metrics

        return self._begin(AsyncMetricsStream, follow_metrics, backend_id, stall_timeout, backoff)

    async def services(self) -> list[str]:
        """The names of the account's services, in no particular order.

        Raises:
            HTTPError: if the API refuses.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> await jamsocket.services()
            ['whiteboard']
        """
        return await self._session.call(self._session.operations.services())

    async def create_service(self, name: str) -> None:
        """Creates a service, with the environment `default` and no image.

        It is tried again only if it surely did not happen.

        Args:
            name: the new service's name, unique in the account.

        Raises:
            ValueError: if the name is empty, `.` or `..`.
            HTTPError: if the API refuses; `ConflictError` for a name that is taken.
            TransportError: if there was no answer; the service may exist if `request_sent` is True.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> await jamsocket.create_service("notes")
        """
        await self._session.call(self._session.operations.create_service(name))

    async def service_info(self, service: str | None = None) -> ServiceInfo:
        """A service, with its environments.

        Args:
            service: the service's name; None for the client's own.

        Raises:
            ValueError: if the name is empty, `.` or `..`.
            HTTPError: if the API refuses; `NotFoundError` for a service that it does not know.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> [environment.name for environment in (await jamsocket.service_info()).environments]
            ['default']
        """
        return await self._session.call(self._session.operations.service_info(service))

    async def delete_service(self, service: str) -> None:
        """Deletes a service and its environments; this cannot be undone.

        It is tried again only if it surely did not happen.

        Args:
            service: the service's name; the client's own is not assumed.

        Raises:
            ValueError: if the name is empty, `.` or `..`.
            HTTPError: if the API refuses; `ConflictError` while backends of it run, `NotFoundError` if there is none.
            TransportError: if there was no answer; the service may be gone if `request_sent` is True.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> await jamsocket.delete_service("notes")
        """
        await self._session.call(self._session.operations.delete_service(service))

    async def images(self, service: str | None = None) -> list[Image]:
        """A service's newest images, at most 50, the newest first.

        Args:
            service: the service's name; None for the client's own.

        Raises:
            ValueError: if the name is empty, `.` or `..`.
            HTTPError: if the API refuses; `NotFoundError` for a service that it does not know.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> [image.tag for image in await jamsocket.images()]
            ['latest']
        """
        return await self._session.call(self._session.operations.images(service))

    async def use_image(self, tag: str, *, service: str | None = None, environment: str | None = None) -> None:
        """Chooses the image of an environment: backends that are spawned from now on run it.

        Args:
            tag: the image's tag or digest.
            service: the service's name; None for the client's own.
            environment: the environment's name; None for the client's own, or for the default one of another service.

        Raises:
            ValueError: if the tag or a name is empty, or a name is `.` or `..`.
            HTTPError: if the API refuses; `NotFoundError` for a service, environment or image that it does not know.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> await jamsocket.use_image("latest")
        """
        await self._session.call(self._session.operations.use_image(tag, service, environment))

    async def auth_info(self) -> AuthInfo:
        """Whether the token is valid, and which accounts it may act for.

        Raises:
            HTTPError: if the API refuses; `AuthenticationError` for a token that is not valid.
            TransportError: if there was no answer.
            InvalidResponseError: if the answer is not what the API promises.

        Example:
            >>> (await jamsocket.auth_info()).is_admin
            False
        """
        return await self._session.call(self._session.operations.auth_info())

    @property
    def api(self) -> AuthenticatedClient:
        """The client to pass to the functions of `jamsocket_api`, for the operations that have no method here.

        Their requests are authenticated, tried again and turned into errors as those of the methods are.

        Example:
            >>> from jamsocket_api.api.backends import get_backend
            >>> (await get_backend.asyncio(connection.backend_id, client=jamsocket.api)).service_name
            'whiteboard'
        """
        if self._api is None:
            from .low_level import async_api_client  # httpx comes with it

            self._api = async_api_client(self._session)
        return self._api

    async def aclose(self) -> None:
        """Ends the client's streams and closes its connections; an `http_client` of yours stays open."""
        with self._lock:
            self._session.refuse()
            streams = list(self._streams)
        for stream in streams:
            await stream.aclose()
        for alarm in list(self._alarms):
            with contextlib.suppress(RuntimeError):  # what runs it is over
                alarm()
        for subscription in list(self._subscriptions):
            await subscription.wait()
        await self._session.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        session = getattr(self, "_session", None)  # a traceback may show a client that is still being made
        return f"{type(self).__name__}({session.config.describe() if session else '…'})"
