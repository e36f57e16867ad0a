"""The pages that the server has for browsers: the ready page of a connection, and the dashboard."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from .._version import __version__
from .engine import not_found
from .events import send_events, to_json
from .lifecycle import Status
from .local import LocalEngine
from .overview import Overview, usage
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
_SHELL = {**_FILE, "Cache-Control": "no-store", "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'"}
_PRIVATE = {**_EVERYWHERE, "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}

_READY_PATH = re.compile(r"/ready/[^/]+")
_OPEN_PATH = re.compile(r"/|/static/[^/]+|/ready/[^/]+")
_ANY_PATH = re.compile(r"/|/(ready|static|dashboard)(/.*)?")

# So often a comment is sent when there is nothing new: the page notices a connection that is dead. In seconds.
_KEEPALIVE = 15.0
# Between two news of the dashboard's stream, in seconds.
_INTERVAL = 0.2


class Pages:
    """The pages' handlers.

    Args:
        engine: what runs the backends.
    """

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        # All in memory: few and small, and so no path leads anywhere else.
        self._files = {file.name: file.read_bytes() for file in Path(__file__).with_name("static").iterdir()}
        self._ready_template = self._files.pop("ready.html").decode()
        self._shell = self._files.pop("dashboard.html").decode()
        # A page that sees another one knows that the server, and all that it ran, is new.
        self._run = secrets.token_hex(8)

    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        """Methods, paths and handlers."""
        return (
            ("GET", "/ready/{token}", self._ready),
            ("GET", "/static/{name}", self._file),
            ("GET", "/", self._dashboard),
            ("GET", "/dashboard/stream", self._stream),
            ("GET", "/dashboard/backend/{backend_id}/usage", self._usage),
        )

    @staticmethod
    def is_ours(path: str) -> bool:
        """Whether it is a page's path: pages of other origins can read nothing there."""
        return bool(_ANY_PATH.fullmatch(path))

    @staticmethod
    def needs_no_token(path: str) -> bool:
        """Whether a bearer token is not asked for: nothing private is there, or the path has a token of its own."""
        return bool(_OPEN_PATH.fullmatch(path))

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

    async def _dashboard(self, request: web.Request) -> web.StreamResponse:
        return _html(self._shell, _SHELL)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        return await send_events(request, self._news(), keepalive=_KEEPALIVE, headers=_PRIVATE)

    async def _news(self) -> AsyncIterator[bytes]:
        server = {"run": self._run, "version": __version__, "now": int(time.time() * 1000)}
        yield b"data:" + to_json({"server": server})
        async for news in Overview(self._engine, _INTERVAL).follow():
            yield b"data:" + to_json(news)

    async def _usage(self, request: web.Request) -> web.StreamResponse:
        kept = self._engine.backend(request.match_info["backend_id"]).metrics.kept
        data = {"usage": [usage(measurement) for measurement in kept]}
        return web.Response(body=to_json(data), content_type="application/json", headers=_PRIVATE)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._files:
            raise not_found(f"file {name}")
        content_type = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=self._files[name], content_type=content_type, charset="utf-8", headers=_FILE)


def _html(page: str, headers: Mapping[str, str], status: int = 200) -> web.Response:
    return web.Response(text=page, status=status, content_type="text/html", charset="utf-8", headers=headers)
