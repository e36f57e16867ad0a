"""The pages that the server has for browsers: the ready page of a connection, and the files that pages load."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

from .engine import not_found
from .lifecycle import Status
from .local import LocalEngine
from .ready_page import gone_page, ready_page

# What a page may do: load and call what is this server's own, and nothing else.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "html": "text/html"}

_EVERYWHERE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_FILE = {**_EVERYWHERE, "Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "same-origin"}
# Applications may show their backend in a frame, and so its ready page; there is nothing on it that a click could do.
_READY = {**_EVERYWHERE, "Cache-Control": "no-store", "Content-Security-Policy": _POLICY}

_READY_PATH = re.compile(r"/ready/[^/]+")
_FILE_PATH = re.compile(r"/static/[^/]+")
_ANY_PATH = re.compile(r"/(ready/|static/).*")


class Pages:
    """The pages' handlers.

    Args:
        engine: what runs the backends.
    """

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        folder = files("jamsocket.hosting") / "static"
        # All in memory: few and small, and so no path leads anywhere else.
        self._files = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.count(".") == 1}
        self._ready_template = self._files.pop("ready.html").decode()

    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        """Methods, paths and handlers."""
        return (
            ("GET", "/ready/{token}", self._ready),
            ("GET", "/static/{name}", self._file),
        )

    @staticmethod
    def is_ours(path: str) -> bool:
        """Whether it is a page's path: pages of other origins can read nothing there."""
        return bool(_ANY_PATH.fullmatch(path))

    @staticmethod
    def needs_no_token(path: str) -> bool:
        """Whether a bearer token is not asked for: there is nothing private there."""
        return bool(_FILE_PATH.fullmatch(path) or Pages.comes_from_anywhere(path))

    @staticmethod
    def comes_from_anywhere(path: str) -> bool:
        """Whether pages of other origins may send a browser there: the path's own token lets in."""
        return bool(_READY_PATH.fullmatch(path))

    async def _ready(self, request: web.Request) -> web.StreamResponse:
        token = request.match_info["token"]
        backend = self._engine.backend_of(token)
        if backend is None:
            return _html(gone_page(self._ready_template), _READY, status=410)
        url = self._engine.url(token)
        if backend.status is Status.READY:
            return web.Response(status=303, headers={**_READY, "Location": url})
        page = ready_page(self._ready_template, backend.id, backend.life, url)
        return _html(page, _READY, status=410 if backend.life.is_terminated else 200)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._files:
            raise not_found(f"file {name}")
        content_type = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=self._files[name], content_type=content_type, charset="utf-8", headers=_FILE)


def _html(page: str, headers: Mapping[str, str], status: int = 200) -> web.Response:
    return web.Response(text=page, status=status, content_type="text/html", charset="utf-8", headers=headers)
