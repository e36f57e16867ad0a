"""Session backends on your own machines: the development server. Needs the extra `cli`."""

try:
    import aiohttp as _aiohttp  # noqa: F401
except ImportError as error:
    raise ImportError("jamsocket.hosting needs the extra 'cli': pip install 'jamsocket[cli]'") from error

from .local import Backend, Limits
from .server import DevServer, DevServerError, Server

__all__ = ["Backend", "DevServer", "DevServerError", "Limits", "Server"]
