"""Contains endpoint functions for accessing the API"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import (
        connect,
        connect_environment,
        get_backend,
        get_status,
        list_backends,
        stream_logs,
        stream_metrics,
        stream_status,
        terminate,
    )

__all__ = (
    "connect",
    "connect_environment",
    "get_backend",
    "get_status",
    "list_backends",
    "stream_logs",
    "stream_metrics",
    "stream_status",
    "terminate",
)

if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f".{name}", __name__)

    def __dir__():
        return sorted({*globals(), *__all__})
