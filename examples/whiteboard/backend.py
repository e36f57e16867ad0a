"""The session backend: one process for each room, which all its visitors' pages talk to over Socket.IO.

It comes when somebody opens the room, and goes when nobody is left. The strokes outlive it in the mounted directory.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import socketio
from aiohttp import web
from room import NotAllowed, Room

# The directory that belongs to the room: the embedded platform says where it is, the hosted one has it here.
MOUNT = Path(os.environ.get("JAMSOCKET_MOUNT", "/plane-data"))


class Board:
    """Connects the room with its visitors' pages.

    From a page: `draw` (more points of a stroke in the making), `stroke` (a finished one; answered when it is saved).
    To the pages: `room` (everything, once after connecting), `draw`, `stroke`, `people`.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.people: dict[str, str] = {}
        self.sio = socketio.AsyncServer(
            async_mode="aiohttp",
            # The page comes from another origin. That is safe: what lets it in is the token in the URL, not a cookie.
            cors_allowed_origins="*",
            cors_credentials=False,
            # One event of a page after the other: a stroke's points must stay in order.
            async_handlers=False,
            # `connect` already sends, so the connection must stand by then.
            always_connect=True,
        )
        self.sio.on("connect", self.connect)
        self.sio.on("disconnect", self.disconnect)
        self.sio.on("draw", self.draw)
        self.sio.on("stroke", self.stroke)

    async def connect(self, sid: str, environ: dict[str, Any], _auth: object = None) -> None:
        name = verified_name(environ["aiohttp.request"])
        if name is None:
            raise socketio.exceptions.ConnectionRefusedError("The platform does not say who you are.")
        self.people[sid] = name
        color = self.room.color_of(name)
        everything = {
            "you": {"name": name, "color": color},
            "people": self.present(),
            "strokes": [asdict(stroke) for stroke in self.room.strokes],
        }
        await self.sio.emit("room", everything, to=sid)
        await self.sio.emit("people", self.present(), skip_sid=sid)

    async def disconnect(self, sid: str, _reason: str) -> None:
        name = self.people.pop(sid, None)
        if name is not None and name not in self.people.values():
            self.room.leave(name)
            await self.sio.emit("people", self.present())

    async def draw(self, sid: str, stroke_id: object, points: object) -> None:
        try:
            stroke = self.room.extend(self.people[sid], stroke_id, points)
        except NotAllowed:
            return
        await self.sio.emit("draw", asdict(stroke), skip_sid=sid)

    async def stroke(self, sid: str, stroke_id: object, points: object) -> bool:
        try:
            stroke = self.room.finish(self.people[sid], stroke_id, points)
        except NotAllowed:
            return False
        await self.sio.emit("stroke", asdict(stroke), skip_sid=sid)
        return True

    def present(self) -> list[dict[str, str]]:
        """Who is here, in the room's own order; somebody with two windows open is here once."""
        here = set(self.people.values())
        return [{"name": name, "color": color} for name, color in self.room.colors.items() if name in here]


def verified_name(request: web.Request) -> str | None:
    """The user's name as the web server gave it to `connect`.

    The platform puts it into these headers, and takes away any that a browser sends: no page can take somebody else's
    name. The first holds `auth`, the second `user`.
    """
    try:
        name = json.loads(request.headers.get("x-verified-user-data", "{}")).get("name")
    except (ValueError, AttributeError):
        name = None
    name = name or request.headers.get("x-verified-username")
    return name if isinstance(name, str) else None


async def ready(_request: web.Request) -> web.Response:
    """How the platform asks whether the backend is ready: any answer will do."""
    return web.Response(text="whiteboard\n")


def main() -> None:
    board = Board(Room(MOUNT / "room.jsonl" if MOUNT.is_dir() else None))
    app = web.Application()
    app.router.add_get("/", ready)
    board.sio.attach(app)
    print(f"{len(board.room.strokes)} strokes restored", flush=True)
    # SIGTERM, the platform's request to end, ends it with exit code 0. Everything is saved by then.
    # In a container, where the platform calls from outside, LISTEN_HOST is 0.0.0.0.
    host = os.environ.get("LISTEN_HOST", "127.0.0.1")
    web.run_app(app, host=host, port=int(os.environ["PORT"]), shutdown_timeout=1, access_log=None, print=None)


if __name__ == "__main__":
    main()
