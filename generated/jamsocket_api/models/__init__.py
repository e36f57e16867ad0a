"""Contains all the data models used in inputs/outputs"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .acknowledgement import Acknowledgement
    from .auth_data import AuthData
    from .auth_info import AuthInfo
    from .backend_info import BackendInfo
    from .backend_info_state import BackendInfoState
    from .backend_metrics import BackendMetrics
    from .backend_status import BackendStatus
    from .connect_request import ConnectRequest
    from .connect_response import ConnectResponse
    from .create_service_request import CreateServiceRequest
    from .environment_info import EnvironmentInfo
    from .environment_variables import EnvironmentVariables
    from .error_detail import ErrorDetail
    from .error_response import ErrorResponse
    from .executable_config import ExecutableConfig
    from .hard_terminating_state import HardTerminatingState
    from .image import Image
    from .image_list import ImageList
    from .loading_state import LoadingState
    from .ready_state import ReadyState
    from .resource_limits import ResourceLimits
    from .running_backend import RunningBackend
    from .running_backend_list import RunningBackendList
    from .scheduled_state import ScheduledState
    from .service_info import ServiceInfo
    from .service_list import ServiceList
    from .spawn_config import SpawnConfig
    from .starting_state import StartingState
    from .terminate_request import TerminateRequest
    from .terminated_state import TerminatedState
    from .terminating_state import TerminatingState
    from .termination_kind import TerminationKind
    from .termination_reason import TerminationReason
    from .use_image_request import UseImageRequest
    from .waiting_state import WaitingState

__all__ = (
    "Acknowledgement",
    "AuthData",
    "AuthInfo",
    "BackendInfo",
    "BackendInfoState",
    "BackendMetrics",
    "BackendStatus",
    "ConnectRequest",
    "ConnectResponse",
    "CreateServiceRequest",
    "EnvironmentInfo",
    "EnvironmentVariables",
    "ErrorDetail",
    "ErrorResponse",
    "ExecutableConfig",
    "HardTerminatingState",
    "Image",
    "ImageList",
    "LoadingState",
    "ReadyState",
    "ResourceLimits",
    "RunningBackend",
    "RunningBackendList",
    "ScheduledState",
    "ServiceInfo",
    "ServiceList",
    "SpawnConfig",
    "StartingState",
    "TerminatedState",
    "TerminateRequest",
    "TerminatingState",
    "TerminationKind",
    "TerminationReason",
    "UseImageRequest",
    "WaitingState",
)

_MODULES = {
    "Acknowledgement": ".acknowledgement",
    "AuthData": ".auth_data",
    "AuthInfo": ".auth_info",
    "BackendInfo": ".backend_info",
    "BackendInfoState": ".backend_info_state",
    "BackendMetrics": ".backend_metrics",
    "BackendStatus": ".backend_status",
    "ConnectRequest": ".connect_request",
    "ConnectResponse": ".connect_response",
    "CreateServiceRequest": ".create_service_request",
    "EnvironmentInfo": ".environment_info",
    "EnvironmentVariables": ".environment_variables",
    "ErrorDetail": ".error_detail",
    "ErrorResponse": ".error_response",
    "ExecutableConfig": ".executable_config",
    "HardTerminatingState": ".hard_terminating_state",
    "Image": ".image",
    "ImageList": ".image_list",
    "LoadingState": ".loading_state",
    "ReadyState": ".ready_state",
    "ResourceLimits": ".resource_limits",
    "RunningBackend": ".running_backend",
    "RunningBackendList": ".running_backend_list",
    "ScheduledState": ".scheduled_state",
    "ServiceInfo": ".service_info",
    "ServiceList": ".service_list",
    "SpawnConfig": ".spawn_config",
    "StartingState": ".starting_state",
    "TerminateRequest": ".terminate_request",
    "TerminatedState": ".terminated_state",
    "TerminatingState": ".terminating_state",
    "TerminationKind": ".termination_kind",
    "TerminationReason": ".termination_reason",
    "UseImageRequest": ".use_image_request",
    "WaitingState": ".waiting_state",
}

if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name], __name__), name)
        globals()[name] = value  # so that it is looked up only once
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
