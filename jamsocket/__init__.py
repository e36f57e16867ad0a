"""The Python SDK for Jamsocket: a server process for each document, room or user.

from jamsocket import Jamsocket

jamsocket = Jamsocket(account="acme", token="…", service="whiteboard")
connection = jamsocket.connect(key="my-document")
connection.url                                                   # for the browser
jamsocket.wait_until_ready(connection.backend_id)
"""

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

from ._version import __version__
from .async_client import AsyncJamsocket
from .async_session_backend import AsyncSessionBackend
from .async_streams import AsyncLogStream, AsyncMetricsStream, AsyncStatusStream
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
from .states import BackendState, UnknownState
from .streams import LogStream, MetricsStream, StatusStream

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
