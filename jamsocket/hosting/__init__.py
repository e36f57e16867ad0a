"""Session backends on your own machines: the development server. Needs the extra `cli`."""

try:
    from .local import Backend, Limits
    from .server import DevServer, DevServerError, Server
except ModuleNotFoundError as error:
    if (error.name or "").startswith("jamsocket"):
        raise
    message = f"jamsocket.hosting needs the extra 'cli' ({error.name} is missing): pip install 'jamsocket[cli]'"
    raise ModuleNotFoundError(message, name=error.name) from None

__all__ = ["Backend", "DevServer", "DevServerError", "Limits", "Server"]
