"""Contains all the data models used in inputs/outputs"""

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
