"""`examples/whiteboard` as its users have it: the one command, and two people's browsers.

WHITEBOARD_IMAGE=1 renews the picture in the documentation.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from runpy import run_path
from typing import Any

import httpx
import pytest
import socketio
from playwright.sync_api import Browser, expect

from jamsocket import Jamsocket
from tests.support.browser import PATIENCE, Window

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "whiteboard"
IMAGE = ROOT / "docs" / "images" / "whiteboard.png"
RENEW_IMAGE = bool(os.environ.get("WHITEBOARD_IMAGE"))

Line = list[tuple[float, float]]


class Whiteboard:
    """The running example: where its page is, and a client of the platform under it."""

    def __init__(self, url: str, jamsocket: Jamsocket) -> None:
        self.url = url
        self.jamsocket = jamsocket


@pytest.fixture
def whiteboard() -> Iterator[Whiteboard]:
    command = [sys.executable, str(EXAMPLE), "--port", "0"]
    # Inherited by the backends, so that a warning in one of them is an error too.
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            api, page = process.stdout.readline(), process.stdout.readline()
            ports = [re.search(r"http://localhost:(\d+)", line) for line in (api, page)]
            assert ports[0] is not None, api
            assert ports[1] is not None, page
            with Jamsocket(dev=True, port=int(ports[0][1])) as jamsocket:
                yield Whiteboard(ports[1][0], jamsocket)
        finally:
            process.terminate()
            output, errors = process.communicate(timeout=15)
    assert process.returncode == 0
    # Neither a warning nor a traceback, of the servers and of the backends.
    assert errors == ""
    assert "Warning" not in output
    assert "Traceback" not in output


class Visitor:
    """One person with a browser of their own, in a room."""

    def __init__(self, browser: Browser, url: str, name: str, *, room: str = "garden") -> None:
        self.name = name
        window = Window(browser, viewport={"width": 1360, "height": 780}, device_scale_factor=2 if RENEW_IMAGE else 1)
        self.page, self.errors = window.page, window.errors
        self.page.goto(f"{url}/?room={room}")
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_role("button", name="Join").click()

    def expect_state(self, state: str) -> None:
        expect(self.page.locator("body")).to_have_attribute("data-state", state, timeout=PATIENCE)

    def expect_activity(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator("#activity")).to_contain_text(text, timeout=PATIENCE)

    def expect_people(self, *people: str) -> None:
        expect(self.page.locator("#people .name")).to_have_text(people, timeout=PATIENCE)

    def expect_strokes(self, number: int) -> None:
        expect(self.page.locator("#board path")).to_have_count(number, timeout=PATIENCE)

    @property
    def backend_id(self) -> str:
        return self.page.locator("body").get_attribute("data-backend") or ""

    def color_of(self, name: str) -> str:
        dot = self.page.locator("#people li").filter(has_text=name).locator(".dot")
        color = dot.evaluate("dot => dot.style.background")
        assert isinstance(color, str)
        return color

    def draw(self, line: Line, *, let_go: bool = True) -> None:
        """Draws with the mouse; the numbers are the board's own, 1600 by 900."""
        box = self.page.locator("#board").bounding_box()
        assert box is not None
        points = [(box["x"] + x * box["width"] / 1600, box["y"] + y * box["height"] / 900) for x, y in line]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point)
        if let_go:
            self.page.mouse.up()
        # All of it is there, up to its last point.
        course = self.page.locator("#board path").last.get_attribute("d") or ""
        assert [float(number) for number in course.split("L")[-1].split()] == pytest.approx(line[-1], abs=5)

    def strokes(self) -> dict[str, tuple[str, str]]:
        """What this person sees: each stroke's id, its colour and its course."""
        found = self.page.locator("#board path").evaluate_all(
            "paths => paths.map(path => [path.dataset.stroke, path.getAttribute('stroke'), path.getAttribute('d')])"
        )
        return {stroke: (color, course) for stroke, color, course in found}


def same_strokes(*visitors: Visitor, number: int) -> dict[str, tuple[str, str]]:
    """Waits until all see the same; returns it."""
    for visitor in visitors:
        visitor.expect_strokes(number)
    # The last points of a stroke may still be on their way.
    give_up_at = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < give_up_at:
        strokes, *others = [visitor.strokes() for visitor in visitors]
        if all(other == strokes for other in others):
            return strokes
        time.sleep(0.05)
    pytest.fail("They do not see the same strokes.")


def straight(*corners: tuple[float, float], steps: int = 8) -> Line:
    """A line from corner to corner, as a hand would move."""
    return [
        (x1 + (x2 - x1) * i / steps, y1 + (y2 - y1) * i / steps)
        for (x1, y1), (x2, y2) in pairwise(corners)
        for i in range(steps + 1)
    ]


def box(left: float, top: float, right: float, bottom: float) -> Line:
    return straight((left, top), (right, top), (right, bottom), (left, bottom), (left, top))


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Line:
    angles = [i * math.tau / 40 - 2 for i in range(43)]
    return [
        (x + radius_x * math.cos(angle), y + (radius_y + i / 4) * math.sin(angle)) for i, angle in enumerate(angles)
    ]


def wave(left: float, right: float, y: float, height: float) -> Line:
    return [(left + (right - left) * i / 60, y + height * math.sin(i / 60 * 5 * math.tau)) for i in range(61)]


def test_two_people_draw_and_survive_their_backend(whiteboard: Whiteboard, browser: Browser) -> None:
    ada = Visitor(browser, whiteboard.url, "Ada")
    ada.expect_state("live")
    # A name that no HTTP header can hold.
    zoe = Visitor(browser, whiteboard.url, "Zoë")
    zoe.expect_state("live")
    for visitor in (ada, zoe):
        visitor.expect_people("Ada", "Zoë")
        assert visitor.color_of("Ada") != visitor.color_of("Zoë")
    first = ada.backend_id
    assert zoe.backend_id == first

    # While it is being drawn, the other one sees it, and whose it is.
    ada.draw(box(190, 190, 640, 520), let_go=False)
    zoe.expect_strokes(1)
    expect(zoe.page.locator("#board text")).to_have_text("Ada")
    ada.page.mouse.up()
    zoe.draw(ellipse(1190, 360, 220, 165))
    ada.expect_strokes(2)
    expect(ada.page.locator("#board text")).to_have_text("Zoë")
    ada.draw(straight((190, 260), (640, 260)))
    ada.draw(wave(250, 580, 390, 42))
    ada.draw(straight((690, 360), (910, 360), (870, 325)))
    before = same_strokes(ada, zoe, number=5)

    whiteboard.jamsocket.terminate(first, hard=True)

    # Both are told, and get on with a new backend, which knows everything.
    for visitor in (ada, zoe):
        visitor.expect_activity("Backend ended: it was killed")
        visitor.expect_activity("Back on a new backend: 5 strokes restored")
        visitor.expect_state("live")
        visitor.expect_people("Ada", "Zoë")
    assert same_strokes(ada, zoe, number=5) == before
    assert ada.backend_id == zoe.backend_id != first
    ended = ada.page.locator(f".backend[data-backend='{first}']")
    expect(ended.locator("li").last).to_contain_text("terminated")

    zoe.draw(straight((1090, 365), (1165, 440), (1300, 285)))
    zoe.draw(wave(190, 1330, 700, 28))
    same_strokes(ada, zoe, number=7)
    assert ada.color_of("Ada") == zoe.color_of("Ada")

    if RENEW_IMAGE:
        IMAGE.parent.mkdir(parents=True, exist_ok=True)
        ada.page.screenshot(path=IMAGE)
    assert ada.errors == zoe.errors == []


def test_a_stroke_survives_whatever_happens_while_it_is_drawn(whiteboard: Whiteboard, browser: Browser) -> None:
    ada = Visitor(browser, whiteboard.url, "Ada")
    ada.expect_state("live")
    grace = Visitor(browser, whiteboard.url, "Grace")
    elsewhere = Visitor(browser, whiteboard.url, "Mary", room="kitchen")
    elsewhere.expect_state("live")
    ada.expect_people("Ada", "Grace")

    # The backend is killed: the next one gets the stroke from Ada's page.
    ada.draw(box(200, 200, 400, 400), let_go=False)
    grace.expect_strokes(1)
    whiteboard.jamsocket.terminate(ada.backend_id, hard=True)
    ada.expect_activity("Backend ended")
    ada.page.mouse.up()
    for visitor in (ada, grace):
        visitor.expect_activity("Back on a new backend")
        visitor.expect_state("live")
    same_strokes(ada, grace, number=1)

    # Ada's window is closed: what there is of the stroke stays.
    ada.draw(box(600, 200, 800, 400), let_go=False)
    grace.expect_strokes(2)
    ada.page.close()
    grace.expect_people("Grace")
    grace.page.reload()
    grace.page.get_by_role("button", name="Join").click()
    grace.expect_state("live")
    grace.expect_strokes(2)

    elsewhere.expect_people("Mary")
    elsewhere.expect_strokes(0)
    assert grace.errors == elsewhere.errors == []


def test_joining_while_the_backend_ends(whiteboard: Whiteboard) -> None:
    def join() -> str:
        answer = httpx.post(f"{whiteboard.url}/rooms/garden", json={"name": "Ada"}, timeout=30)
        assert answer.status_code == 200, answer.text
        backend_id = answer.json()["backend_id"]
        assert isinstance(backend_id, str)
        return backend_id

    first = join()
    whiteboard.jamsocket.wait_until_ready(first)
    assert join() == first
    whiteboard.jamsocket.terminate(first)
    second = join()
    assert second != first
    whiteboard.jamsocket.wait_until_ready(second)


def test_who_may_not_join(whiteboard: Whiteboard) -> None:
    for room, body in [
        ("garden", b""),
        ("garden", b"7"),
        ("garden", b"\xff"),
        ("garden", b'{"name": 7}'),
        ("garden", b'{"name": " "}'),
        ("garden", b'{"name": "A\\nB"}'),
        ("garden", b'{"name": "' + b"x" * 31 + b'"}'),
        ("GARDEN", b'{"name": "Ada"}'),
        ("x" * 41, b'{"name": "Ada"}'),
    ]:
        answer = httpx.post(f"{whiteboard.url}/rooms/{room}", content=body)
        assert (answer.status_code, list(answer.json())) == (400, ["message"]), (room, body)


@pytest.mark.asyncio
async def test_nobody_can_take_another_name(whiteboard: Whiteboard) -> None:
    connection = whiteboard.jamsocket.connect(key="garden", user="ada", auth={"name": "Ada"})
    whiteboard.jamsocket.wait_until_ready(connection.backend_id)
    origin, token = connection.url.rstrip("/").rsplit("/", 1)
    told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(10):
        client = socketio.AsyncClient(reconnection=False)
        client.on("room", told.set_result)
        forged = {"x-verified-username": "Grace", "x-verified-user-data": '{"name": "Grace"}'}
        await client.connect(origin, socketio_path=f"{token}/socket.io", headers=forged, auth={"name": "Grace"})
        assert (await told)["you"]["name"] == "Ada"
        assert await client.call("stroke", ("one", [[1, 2], [3, 4]])) is True
        assert await client.call("stroke", ("two", [[1, "x"]])) is False
        await client.disconnect()


def test_a_room_outlives_its_process(tmp_path: Path) -> None:
    example = run_path(str(EXAMPLE / "room.py"))
    file = tmp_path / "room.jsonl"
    room = example["Room"](file)
    room.finish("Ada", "one", [[1, 2], [3, 4]])
    # Killed in the middle of a line; the next process writes on.
    with file.open("a") as torn:
        torn.write('\n{"id":"two","na')
    room = example["Room"](file)
    room.finish("Grace", "three", [[5, 6]])
    room = example["Room"](file)
    assert [(stroke.id, stroke.name) for stroke in room.strokes] == [("one", "Ada"), ("three", "Grace")]
    assert room.color_of("Ada") == room.strokes[0].color != room.color_of("Grace")


@pytest.mark.parametrize(
    ("stroke_id", "points"),
    [
        ("ada's", [[1, 2]]),
        ("", [[1, 2]]),
        (7, [[1, 2]]),
        ("x" * 65, [[1, 2]]),
        ("new", []),
        ("new", None),
        ("new", [[1]]),
        ("new", [[1, math.nan]]),
        ("new", [["1", 2]]),
        ("new", [[1, 2]] * 5_001),
    ],
)
def test_what_a_room_does_not_take(stroke_id: object, points: object) -> None:
    example = run_path(str(EXAMPLE / "room.py"))
    room = example["Room"](None)
    room.finish("Ada", "ada's", [[0, 0]])
    for method in (room.extend, room.finish):
        with pytest.raises(example["NotAllowed"]):
            method("Grace", stroke_id, points)
    assert [stroke.name for stroke in room.strokes] == ["Ada"]
