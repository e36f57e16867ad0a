"""HTTP API v2 over an `Engine`: routes, the error envelope, who may call."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from typing import NoReturn

from aiohttp import web
from aiohttp.typedefs import Handler

from .engine import Engine, EngineError, Place
from .gate import Gate
from .validation import connect_call, read_hard, read_object

logger = logging.getLogger("jamsocket.hosting")

MAX_BODY = 4 * 1024 * 1024

_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}


class Api:
    """The API's handlers.

    Args:
        engine: what runs the backends.
        gate: who may call.
        base_url: where this API is reached, without a slash at the end.
    """

    def __init__(self, engine: Engine, gate: Gate, base_url: Callable[[], str]) -> None:
        self._engine = engine
        self._gate = gate
        self._base_url = base_url

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[envelope, self._check_caller], client_max_size=MAX_BODY)
        for method, path, handler in (
            ("POST", "/v2/service/{account}/{service}/connect", self._connect),
            ("POST", "/v2/service/{account}/{service}/{environment}/connect", self._connect),
            ("GET", "/v2/backend/{backend_id}/status", self._status),
            ("GET", "/v2/backend/{backend_id}/status/stream", self._status_stream),
            ("POST", "/v2/backend/{backend_id}/terminate", self._terminate),
            ("GET", "/v2/backend/{backend_id}", self._info),
            ("GET", "/v2/account/{account}/backends", self._backends),
            ("GET", "/v2/account/{account}/services", self._services),
            ("GET", "/auth", self._auth),
        ):
            app.router.add_route(method, path, handler, expect_handler=expect)
        app.router.add_route("OPTIONS", "/{path:.*}", self._options, expect_handler=expect)
        return app

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        names = request.match_info
        place = Place(names["account"], names["service"], names.get("environment"))
        connected = await self._engine.connect(connect_call(place, read_object(await request.read())))
        backend_url = f"{self._base_url()}/v2/backend/{connected.backend_id}"
        return reply(
            {
                "backend_id": connected.backend_id,
                "spawned": connected.spawned,
                "status": connected.status,
                "token": connected.token,
                "url": connected.url,
                "secret_token": connected.secret_token,
                "status_url": f"{backend_url}/status",
                "ready_url": "",
            }
        )

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return reply(await self._engine.status(request.match_info["backend_id"]))

    async def _status_stream(self, request: web.Request) -> web.StreamResponse:
        states = await self._engine.statuses(request.match_info["backend_id"])
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                **_ANY_ORIGIN,
            }
        )
        await response.prepare(request)
        try:
            async for state in states:
                # One write for an event, LF only, one data line: there are clients that rely on each of these.
                await response.write(b"data:" + to_json(state) + b"\n\n")
        except ConnectionResetError:
            pass  # the client is gone
        return response

    async def _terminate(self, request: web.Request) -> web.StreamResponse:
        hard = read_hard(read_object(await request.read()))
        await self._engine.terminate(request.match_info["backend_id"], hard=hard)
        return reply({"status": "ok"})

    async def _info(self, request: web.Request) -> web.StreamResponse:
        return reply(await self._engine.info(request.match_info["backend_id"]))

    async def _backends(self, request: web.Request) -> web.StreamResponse:
        return reply({"running_backends": list(await self._engine.running(request.match_info["account"]))})

    async def _services(self, request: web.Request) -> web.StreamResponse:
        return reply({"services": list(await self._engine.services(request.match_info["account"]))})

    async def _auth(self, request: web.Request) -> web.StreamResponse:
        return reply({"status": "ok", "accounts": ["-"], "is_admin": False})

    async def _options(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204, headers=_ANY_ORIGIN)

    @web.middleware
    async def _check_caller(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._gate.check(request.headers.get("Host"), request.headers.get("Origin"))
        return await handler(request)


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong leaves as the API's error envelope."""
    response = await _enveloped(request, handler)
    # Browsers call these two, and no other; nothing else is for the pages of another origin to read.
    if request.path.endswith(("/status", "/status/stream")) and not response.prepared:
        response.headers.update(_ANY_ORIGIN)
    return response


async def _enveloped(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EngineError as error:
        return failure(error.status, error.code, error.message)
    except web.HTTPException as error:
        if error.status == 404:
            return failure(404, "NotFound", f"There is nothing at {request.method} {request.path}.")
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return failure(error.status, error.reason.replace(" ", ""), f"{error.reason}.", headers)
    except (ConnectionError, TimeoutError):
        raise  # the client is gone
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return failure(500, "Other", "The server failed; its log says why.")


async def expect(request: web.Request) -> None:
    """`Expect: 100-continue` is honoured, anything else refused, in the envelope as well."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        refuse(417, "ExpectationFailed", "Only Expect: 100-continue is understood.")
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def refuse(status: int, code: str, message: str) -> NoReturn:
    """Ends a request from where no middleware is."""
    response = web.HTTPException(text=error_text(status, code, message), content_type="application/json")
    response.set_status(status)
    raise response


def to_json(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def reply(data: object) -> web.Response:
    """A JSON response; its content type has no charset, which real clients insist on."""
    return web.Response(body=to_json(data), headers={"Content-Type": "application/json"})


def failure(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error in the API's envelope."""
    body = error_text(status, code, message).encode()
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})


def error_text(status: int, code: str, message: str) -> str:
    error = {"message": message, "status": status, "code": code, "id": secrets.token_hex(7)}
    return to_json({"error": error}).decode()


class EnvelopeRequestHandler(web.RequestHandler):
    """aiohttp's protocol, with our envelope also for what fails before any handler runs: garbage, endless headers."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        response = super().handle_error(request, status, exc, message)
        if not isinstance(response, web.Response):
            return response
        code = "BadRequest" if status == 400 else "Other"
        text = "The request is not HTTP as it should be." if status == 400 else "The server failed; its log says why."
        ours = failure(status, code, text)
        ours.force_close()
        return ours
