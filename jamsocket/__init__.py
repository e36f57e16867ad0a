"""The Python SDK for Jamsocket: a server process for each document, room or user.

from jamsocket import Jamsocket

jamsocket = Jamsocket(account="acme", token="…", service="whiteboard")
connection = jamsocket.connect(key="my-document")
connection.url                                                   # for the browser
jamsocket.wait_until_ready(connection.backend_id)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from jamsocket_api.models import (
        AuthInfo,
        BackendInfo,
        BackendInfoState,
        BackendMetrics,
        BackendStatus,
        ConnectRequest,
        EnvironmentInfo,
        ExecutableConfig,
        HardTerminatingState,
        Image,
        LoadingState,
        ReadyState,
        ResourceLimits,
        RunningBackend,
        ScheduledState,
        ServiceInfo,
        SpawnConfig,
        StartingState,
        TerminatedState,
        TerminatingState,
        TerminationKind,
        TerminationReason,
        WaitingState,
    )

    from .async_client import AsyncJamsocket
    from .async_session_backend import AsyncSessionBackend
    from .async_streams import AsyncLogStream, AsyncMetricsStream, AsyncStatusStream
    from .backend_state import BackendState, UnknownState
    from .client import Jamsocket
    from .connection import SocketIOAddress
    from .errors import (
        AuthenticationError,
        BackendTerminatedError,
        BadRequestError,
        ConfigError,
        ConflictError,
        HTTPError,
        InvalidResponseError,
        JamsocketError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RequestTimeoutError,
        ServerError,
        TransportError,
        WaitTimeoutError,
    )
    from .requests import JSON, ConnectDict, ConnectResponse, ExecutableDict, ResourceLimitsDict, SpawnDict
    from .retry import Backoff
    from .session_backend import SessionBackend
    from .streams import LogStream, MetricsStream, StatusStream

# Where each name lives. It is loaded when it is first used: whoever starts a process does not wait for all of it.
_HOMES = {
    "AsyncJamsocket": ".async_client",
    "AsyncLogStream": ".async_streams",
    "AsyncMetricsStream": ".async_streams",
    "AsyncSessionBackend": ".async_session_backend",
    "AsyncStatusStream": ".async_streams",
    "AuthInfo": "jamsocket_api.models",
    "AuthenticationError": ".errors",
    "BackendInfo": "jamsocket_api.models",
    "BackendInfoState": "jamsocket_api.models",
    "BackendMetrics": "jamsocket_api.models",
    "BackendState": ".backend_state",
    "BackendStatus": "jamsocket_api.models",
    "BackendTerminatedError": ".errors",
    "Backoff": ".retry",
    "BadRequestError": ".errors",
    "ConfigError": ".errors",
    "ConflictError": ".errors",
    "ConnectDict": ".requests",
    "ConnectRequest": "jamsocket_api.models",
    "ConnectResponse": ".requests",
    "EnvironmentInfo": "jamsocket_api.models",
    "ExecutableConfig": "jamsocket_api.models",
    "ExecutableDict": ".requests",
    "HTTPError": ".errors",
    "HardTerminatingState": "jamsocket_api.models",
    "Image": "jamsocket_api.models",
    "InvalidResponseError": ".errors",
    "JSON": ".requests",
    "Jamsocket": ".client",
    "JamsocketError": ".errors",
    "LoadingState": "jamsocket_api.models",
    "LogStream": ".streams",
    "MetricsStream": ".streams",
    "NotFoundError": ".errors",
    "PermissionDeniedError": ".errors",
    "RateLimitError": ".errors",
    "ReadyState": "jamsocket_api.models",
    "RequestTimeoutError": ".errors",
    "ResourceLimits": "jamsocket_api.models",
    "ResourceLimitsDict": ".requests",
    "RunningBackend": "jamsocket_api.models",
    "ScheduledState": "jamsocket_api.models",
    "ServerError": ".errors",
    "ServiceInfo": "jamsocket_api.models",
    "SessionBackend": ".session_backend",
    "SocketIOAddress": ".connection",
    "SpawnConfig": "jamsocket_api.models",
    "SpawnDict": ".requests",
    "StartingState": "jamsocket_api.models",
    "StatusStream": ".streams",
    "TerminatedState": "jamsocket_api.models",
    "TerminatingState": "jamsocket_api.models",
    "TerminationKind": "jamsocket_api.models",
    "TerminationReason": "jamsocket_api.models",
    "TransportError": ".errors",
    "UnknownState": ".backend_state",
    "WaitTimeoutError": ".errors",
    "WaitingState": "jamsocket_api.models",
}

__all__ = [
    "JSON",
    "AsyncJamsocket",
    "AsyncLogStream",
    "AsyncMetricsStream",
    "AsyncSessionBackend",
    "AsyncStatusStream",
    "AuthInfo",
    "AuthenticationError",
    "BackendInfo",
    "BackendInfoState",
    "BackendMetrics",
    "BackendState",
    "BackendStatus",
    "BackendTerminatedError",
    "Backoff",
    "BadRequestError",
    "ConfigError",
    "ConflictError",
    "ConnectDict",
    "ConnectRequest",
    "ConnectResponse",
    "EnvironmentInfo",
    "ExecutableConfig",
    "ExecutableDict",
    "HTTPError",
    "HardTerminatingState",
    "Image",
    "InvalidResponseError",
    "Jamsocket",
    "JamsocketError",
    "LoadingState",
    "LogStream",
    "MetricsStream",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ReadyState",
    "RequestTimeoutError",
    "ResourceLimits",
    "ResourceLimitsDict",
    "RunningBackend",
    "ScheduledState",
    "ServerError",
    "ServiceInfo",
    "SessionBackend",
    "SocketIOAddress",
    "SpawnConfig",
    "SpawnDict",
    "StartingState",
    "StatusStream",
    "TerminatedState",
    "TerminatingState",
    "TerminationKind",
    "TerminationReason",
    "TransportError",
    "UnknownState",
    "WaitTimeoutError",
    "WaitingState",
    "__version__",
]


# A checker sees the imports above instead, or it would believe in any name.
if not TYPE_CHECKING:

    def __getattr__(name):
        home = _HOMES.get(name)
        if home is not None:
            value = getattr(importlib.import_module(home, __name__), name)
            globals()[name] = value  # so that it is looked up only once
            return value
        if f".{name}" in _HOMES.values():
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
