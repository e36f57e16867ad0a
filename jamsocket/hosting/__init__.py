"""Session backends on your own machines: the development server. Needs the extra `cli`."""

import os

if os.name != "posix":
    raise ImportError("jamsocket.hosting needs process groups and signals: Linux, macOS, or the Linux in Windows (WSL)")

try:
    from .backend import Backend
    from .errors import CommandNotFoundError, DevServerError, PortInUseError
    from .local import Limits
    from .server import DevServer, Server
    from .services import Service
except ModuleNotFoundError as error:
    if (error.name or "").startswith("jamsocket"):
        raise
    message = f"jamsocket.hosting needs the extra 'cli' ({error.name} is missing): pip install 'jamsocket[cli]'"
    raise ModuleNotFoundError(message, name=error.name) from None

__all__ = [
    "Backend",
    "CommandNotFoundError",
    "DevServer",
    "DevServerError",
    "Limits",
    "PortInUseError",
    "Server",
    "Service",
]
