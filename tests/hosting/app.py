"""A backend for the proxy's tests, with everything a proxy can meet. Run as a process."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
import signal

from aiohttp import WSMsgType, web


async def seen(request: web.Request) -> web.Response:
    """What arrived here."""
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "body": base64.b64encode(body).decode(),
        }
    )


async def env(request: web.Request) -> web.Response:
    return web.json_response(dict(os.environ))


async def echo(request: web.Request) -> web.StreamResponse:
    """Sends each chunk back as soon as it comes."""
    response = web.StreamResponse()
    await response.prepare(request)
    async for chunk in request.content.iter_any():
        await response.write(chunk)
    return response


async def digest(request: web.Request) -> web.Response:
    size, hasher = 0, hashlib.sha256()
    async for chunk in request.content.iter_any():
        size += len(chunk)
        hasher.update(chunk)
    return web.json_response({"size": size, "sha256": hasher.hexdigest()})


async def big(request: web.Request) -> web.StreamResponse:
    size = int(request.query.get("size", request.app["size"]))
    response = web.StreamResponse(headers={"Content-Length": str(size)})
    await response.prepare(request)
    for _ in range(size // 65536 if request.method != "HEAD" else 0):
        await response.write(b"x" * 65536)
    return response


async def drip(request: web.Request) -> web.StreamResponse:
    """Events for ever; says on its output when the client is gone."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    try:
        while True:
            await response.write(b"data: drip\n\n")
            await asyncio.sleep(0.01)
    except (asyncio.CancelledError, ConnectionError):
        print("drip ended", flush=True)
        raise


async def swallow(request: web.Request) -> web.Response:
    """Reads a body; says on its output when the client is gone before its end."""
    try:
        async for _ in request.content.iter_any():
            print("swallowed", flush=True)
    except (asyncio.CancelledError, ConnectionError, web.RequestPayloadError):
        print("swallow ended", flush=True)
        raise
    return web.Response()


async def hang(request: web.Request) -> web.Response:
    """Never answers; says on its output when the client is gone."""
    print("hanging", flush=True)
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        print("hang ended", flush=True)
        raise
    return web.Response()


async def headers(request: web.Request) -> web.Response:
    response = web.Response(body=gzip.compress(b"hello"), status=203, reason="Just So")
    response.headers.extend(
        [
            ("Content-Encoding", "gzip"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("X-Once", "1"),
            ("Server", "mine"),
        ]
    )
    return response


async def own_cors(request: web.Request) -> web.Response:
    return web.Response(headers={"Access-Control-Allow-Origin": "https://example.com"})


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere?x=1")


async def empty(request: web.Request) -> web.Response:
    return web.Response(status=204)


async def cut(request: web.Request) -> web.StreamResponse:
    """Breaks off in the middle of a body."""
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return response


async def vanish(request: web.Request) -> web.Response:
    """Dies before it answers."""
    os.kill(os.getpid(), signal.SIGKILL)
    return web.Response()


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """An echo. `close` closes with a code of its own; says on its output how it was left."""
    socket = web.WebSocketResponse(protocols=("chat.v2", "chat.v1"), max_msg_size=0)
    await socket.prepare(request)
    await socket.send_json(dict(request.headers))
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data == "close":
                await socket.close(code=4123, message=b"go away")
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
    finally:
        print("closed", socket.close_code, flush=True)
    return socket


async def no_websocket(request: web.Request) -> web.Response:
    return web.Response(status=401, text="not you")


def main() -> None:
    app = web.Application(client_max_size=2**30)
    app["size"] = 64 * 1024 * 1024
    for path, handler in (
        ("/env", env),
        ("/echo", echo),
        ("/digest", digest),
        ("/big", big),
        ("/drip", drip),
        ("/swallow", swallow),
        ("/hang", hang),
        ("/headers", headers),
        ("/own-cors", own_cors),
        ("/redirect", redirect),
        ("/empty", empty),
        ("/cut", cut),
        ("/vanish", vanish),
        ("/ws", websocket),
        ("/no-ws", no_websocket),
        ("/{path:.*}", seen),
    ):
        app.router.add_route("*", path, handler)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None, handler_cancellation=True)


if __name__ == "__main__":
    main()
