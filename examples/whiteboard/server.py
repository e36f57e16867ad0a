"""The web server: serves the page, and connects each visitor with the room's session backend.

It takes no part in what goes on in a room: the page talks to the backend itself. Where the backends run, the
environment alone decides: JAMSOCKET_DEV, or JAMSOCKET_ACCOUNT, JAMSOCKET_TOKEN and JAMSOCKET_SERVICE.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from jamsocket import AsyncJamsocket, ConnectDict, ConnectResponse, JamsocketError, SpawnDict, WaitTimeoutError

PAGE = Path(__file__).with_name("page")

# A backend nobody is connected to ends after five minutes; the mounted directory keeps the room's strokes.
SPAWN: SpawnDict = {"max_idle_seconds": 300, "executable": {"mount": True}}

# A backend with such a status is on its way out; how long a visitor then waits for the next one, in seconds.
LEAVING = {"terminating", "hard-terminating", "terminated"}
PATIENCE = 60


class State(TypedDict):
    jamsocket: AsyncJamsocket


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[State]:
    async with AsyncJamsocket.from_env() as jamsocket:
        yield {"jamsocket": jamsocket}


async def join(request: Request) -> Response:
    """Gives the page what it needs to reach the room's backend: the connect response, as it is."""
    room = request.path_params["room"]
    try:
        name = (await request.json())["name"].strip()
    except (ValueError, LookupError, TypeError, AttributeError):
        name = ""
    if not re.fullmatch(r"[a-z0-9-]{1,40}", room):
        return refusal(400, "A room's name has up to 40 small letters, digits and hyphens.")
    if not 0 < len(name) <= 30 or not name.isprintable():
        return refusal(400, "Please give a name of up to 30 characters.")
    try:
        connection = await connect(request.state.jamsocket, room, name)
    except WaitTimeoutError:
        return refusal(504, "The room's backend is taking too long.")
    except JamsocketError as error:
        return refusal(502, f"There is no backend for this room: {error}")
    # It contains the visitor's own token: not for any cache.
    return JSONResponse(connection.to_dict(), headers={"Cache-Control": "no-store"})


async def connect(jamsocket: AsyncJamsocket, room: str, name: str) -> ConnectResponse:
    """A connection to the room's backend, which perhaps is still starting: the page shows how it gets on."""
    # Here, and nowhere else, it is decided who the visitor is; a real application asks its own login. The backend gets
    # both from the platform, not from the page. `user` reaches it as a header, which only carries ASCII; `auth`
    # carries any name.
    wanted: ConnectDict = {"key": room, "spawn": SPAWN, "user": quote(name), "auth": {"name": name}}
    connection = await jamsocket.connect(wanted)
    if connection.status in LEAVING:
        # It holds the room's key until its end. This waits for that, and for the next one.
        connection = await jamsocket.connect_ready(wanted, timeout=PATIENCE)
    return connection


def refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status_code=status)


app = Starlette(
    routes=[
        Route("/rooms/{room}", join, methods=["POST"]),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ],
    lifespan=lifespan,
)
