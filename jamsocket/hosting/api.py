"""HTTP API v2 over an `Engine`: routes, the error envelope, who may call."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import AsyncIterator, Mapping

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import Handler

from .engine import Engine, EngineError, Place
from .events import send_events, to_json
from .gate import Gate
from .pages import Pages
from .validation import connect_call, read_hard, read_image_tag, read_object, read_service_name, spawn_call

logger = logging.getLogger("jamsocket.hosting")

# A backend on its way out is still ready in the words of API v1.
_V1_STATUS = {"scheduled": "Loading", "loading": "Loading", "starting": "Starting", "waiting": "Starting"}

MAX_BODY = 4 * 1024 * 1024

_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}

# Browsers call these, from pages of any origin: the id, which nobody can guess, is what lets them in.
_PUBLIC = re.compile(r"/v2/backend/[^/]+/status(/stream)?")
# Not even a preflight of these may look as if a page of another origin could read them.
_PRIVATE = re.compile(r"/v2/backend/[^/]+(/logs/stream|/metrics/stream)?")


class Api:
    """The API's handlers.

    Args:
        engine: what runs the backends.
        gate: who may call.
        base_url: where this API is reached, without a slash at the end.
        stream_keepalive: after how many seconds of silence a status stream sends a comment; None, the default, means
            never, because the JavaScript clients write a warning for each.
        pages: what the server has for browsers.
    """

    def __init__(
        self, engine: Engine, gate: Gate, base_url: str, stream_keepalive: float | None = None, *, pages: Pages
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._pages = pages
        self._base_url = base_url
        self._stream_keepalive = stream_keepalive

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
            ("GET", "/v2/backend/{backend_id}/logs/stream", self._logs),
            ("GET", "/v2/backend/{backend_id}/metrics/stream", self._metrics),
            ("GET", "/v2/account/{account}/backends", self._backends),
            ("GET", "/v2/account/{account}/services", self._services),
            ("POST", "/v2/account/{account}/service", self._create_service),
            ("GET", "/v2/service/{account}/{service}", self._service),
            ("POST", "/v2/service/{account}/{service}/delete", self._delete_service),
            ("GET", "/v2/service/{account}/{service}/images", self._images),
            ("POST", "/v2/service/{account}/{service}/update", self._use_image),
            ("POST", "/v2/service/{account}/{service}/{environment}/update", self._use_image),
            ("GET", "/auth", self._auth),
            # Of API v1, what the official command line client still calls.
            ("POST", "/v1/user/{account}/service/{service}/spawn", self._spawn),
            ("POST", "/user-session/{session}/delete", self._end_session),
            *self._pages.routes(),
        ):
            app.router.add_route(method, path, handler, expect_handler=expect)
        return app

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        place = place_of(request)
        connected = await self._engine.connect(connect_call(place, read_object(await request.read())))
        backend_url = f"{self._base_url}/v2/backend/{connected.backend_id}"
        return reply(
            {
                "backend_id": connected.backend_id,
                "spawned": connected.spawned,
                "status": connected.status,
                "token": connected.token,
                "url": connected.url,
                "secret_token": connected.secret_token,
                "status_url": f"{backend_url}/status",
                "ready_url": f"{self._base_url}/ready/{connected.token}",
            }
        )

    async def _spawn(self, request: web.Request) -> web.StreamResponse:
        names, data = request.match_info, read_object(await request.read())
        connected = await self._engine.connect(spawn_call(names["account"], names["service"], data))
        return reply(
            {
                "name": connected.backend_id,
                "spawned": connected.spawned,
                "status": _V1_STATUS.get(connected.status, "Ready"),
                "url": connected.url,
                "status_url": f"{self._base_url}/v2/backend/{connected.backend_id}/status",
                "ready_url": f"{self._base_url}/ready/{connected.token}",
            }
        )

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return reply(await self._engine.status(request.match_info["backend_id"]))

    async def _status_stream(self, request: web.Request) -> web.StreamResponse:
        states = await self._engine.statuses(request.match_info["backend_id"])
        events = (b"data:" + to_json(state) async for state in states)
        return await self._stream(request, events, _ANY_ORIGIN)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 20 else 0
        lines = await self._engine.logs(request.match_info["backend_id"], after)
        # A blank after the colon: readers take one away, and a line may begin with some.
        events = (f"data: {line}\nid:{number}".encode("utf-8", "replace") async for number, line in lines)
        return await self._stream(request, events)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        measurements = await self._engine.metrics(request.match_info["backend_id"])
        return await self._stream(request, (b"data:" + to_json(each) async for each in measurements))

    async def _stream(
        self, request: web.Request, events: AsyncIterator[bytes], headers: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        return await send_events(request, events, keepalive=self._stream_keepalive, headers=headers)

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

    async def _create_service(self, request: web.Request) -> web.StreamResponse:
        name = read_service_name(read_object(await request.read()))
        await self._engine.create_service(request.match_info["account"], name)
        return reply({"status": "ok"})

    async def _service(self, request: web.Request) -> web.StreamResponse:
        place = place_of(request)
        return reply(await self._engine.service(place.account, place.service))

    async def _delete_service(self, request: web.Request) -> web.StreamResponse:
        place = place_of(request)
        await self._engine.delete_service(place.account, place.service)
        return reply({"status": "ok"})

    async def _images(self, request: web.Request) -> web.StreamResponse:
        place = place_of(request)
        return reply({"images": list(await self._engine.images(place.account, place.service))})

    async def _use_image(self, request: web.Request) -> web.StreamResponse:
        await self._engine.use_image(place_of(request), read_image_tag(read_object(await request.read())))
        return reply({"status": "ok"})

    async def _auth(self, request: web.Request) -> web.StreamResponse:
        return reply({"status": "ok", "accounts": ["-"], "is_admin": False})

    async def _end_session(self, request: web.Request) -> web.StreamResponse:
        # Logins are the hosted service's: here is none that could go on.
        return reply({"status": "ok"})

    @web.middleware
    async def _check_caller(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._gate.check_host(request.headers.get("Host"))
        path = request.path
        if request.method == "OPTIONS":
            # That is no permission: a page that wants to send JSON needs a list of methods and headers as well.
            is_private = _PRIVATE.fullmatch(path) or self._pages.is_ours(path)
            return web.Response(status=204, headers={} if is_private else _ANY_ORIGIN)
        is_get = request.method == "GET"
        if not (is_get and (_PUBLIC.fullmatch(path) or self._pages.comes_from_anywhere(path))):
            self._gate.check_origin(request.headers.get("Origin"))
            if not (is_get and self._pages.needs_no_token(path)):
                self._gate.check_token(request.headers.get("Authorization"))
        return await handler(request)


def place_of(request: web.Request) -> Place:
    """What a service's path names. The one without an environment means the default one: the two share their keys."""
    names = request.match_info
    environment = names.get("environment")
    return Place(names["account"], names["service"], None if environment == "default" else environment)


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong leaves as the API's error envelope."""
    response = await _enveloped(request, handler)
    if _PUBLIC.fullmatch(request.path) and not response.prepared:
        response.headers.update(_ANY_ORIGIN)
    return response


async def _enveloped(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EngineError as error:
        response = failure(error.status, error.code, error.message)
        if error.status == 400:
            # A wrong Content-Length cuts a body off; what is left of it would pass for the next request.
            response.force_close()
        return response
    except web.RequestPayloadError:
        response = failure(400, "BadRequest", "The body is not encoded as its headers say.")
        response.force_close()
        return response
    except web.HTTPException as error:
        if error.status == 404:
            return failure(404, "NotFound", f"There is nothing at {request.method} {request.path}.")
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return failure(error.status, error.reason.title().replace(" ", ""), f"{error.reason}.", headers)
    except ConnectionError:
        # The client is gone, which is no error of this server; nobody reads the answer.
        return web.Response()
    except TimeoutError:
        raise
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return failure(500, "Other", "The server failed; its log says why.")


async def expect(request: web.Request) -> None:
    """`Expect: 100-continue` is honoured; anything else is refused."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def reply(data: object) -> web.Response:
    """A JSON response; its content type has no charset, which real clients insist on."""
    return web.Response(body=to_json(data), headers={"Content-Type": "application/json"})


def failure(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error in the API's envelope."""
    body = to_json({"error": {"message": message, "status": status, "code": code, "id": secrets.token_hex(7)}})
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})


class EnvelopeRequestHandler(web.RequestHandler):
    """aiohttp's protocol, with our envelope also for what fails before any middleware runs."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the parser refuses (garbage, endless headers), and what nobody caught."""
        if status != 400:
            super().handle_error(request, status, exc, message)  # logs it; no response if one was begun
            response = failure(status, "Other", "The server failed; its log says why.")
        elif isinstance(exc, LineTooLong):
            response = failure(400, "BadRequest", "The request line, or a header, is too long.")
        else:
            response = failure(
                400, "BadRequest", "The request is not HTTP as it should be. Is its Content-Length right?"
            )
        # What follows on this connection may be the rest of what was refused.
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends a response; an exception that aiohttp made into one (a refused `Expect`) has no envelope yet."""
        if isinstance(resp, web.HTTPException):
            code = resp.reason.title().replace(" ", "")
            resp = failure(resp.status, code, f"{resp.reason}.")
            resp.force_close()
        return await super().finish_response(request, resp, start_time)
