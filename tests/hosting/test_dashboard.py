"""The dashboard: who gets what of it, and what a developer with a browser sees.

DASHBOARD_IMAGE=1 renews the picture in the documentation.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, expect

from jamsocket.hosting import DevServer, Limits, Service, overview
from tests.support.browser import PATIENCE, ROOT, Window

from .support import POLITE, SMALL, STUBBORN, eventually_blocking, python
from .test_pages import OTHER, WEB_SERVER, Relay, assert_strict, serving, wait_until_ended

IMAGE = ROOT / "docs" / "images" / "dashboard.png"
RENEW_IMAGE = bool(os.environ.get("DASHBOARD_IMAGE"))

PRIVATE = ("/dashboard/stream", "/dashboard/backend/x/usage")
AUTHORIZED = {"Authorization": "Bearer se cret"}
FAST = Limits(metrics_interval=0.05)

# Writes the path of each request, as a line.
TALKER = python(
    WEB_SERVER.replace(
        "self.send_response(200)",
        "print(__import__('urllib.parse').parse.unquote(self.path[1:])); self.send_response(200)",
    )
)
WEB = python(WEB_SERVER)
# Never ready, and takes next to nothing.
TINY = ["sleep", "600"]
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>&amp;"


# ── Without a browser ──


class Reader:
    """Reads the dashboard's stream, and keeps what it says as the page does."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.text = ""
        self.events = self._events()
        self.server = next(self.events)["server"]
        self.ids = next(self.events)["ids"]
        self.backends: dict[str, dict[str, Any]] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.sizes: list[int] = []

    def read_until(self, true: Callable[[], object]) -> None:
        while not true():
            news = next(self.events)
            self.services = {each["name"]: each for each in news.get("services", self.services.values())}
            self.sizes.append(len(news.get("backends", [])))
            for change in news.get("backends", []):
                self.backends.setdefault(change["id"], {}).update(change)
            for backend_id in news.get("gone", []):
                del self.backends[backend_id]

    def statuses(self, backend_id: str) -> list[str]:
        return [each["status"] for each in self.backends.get(backend_id, {}).get("statuses", [])]

    def _events(self) -> Iterator[dict[str, Any]]:
        for line in self.response.iter_lines():
            self.text += line
            if line.startswith("data:"):
                yield json.loads(line[5:])


@contextmanager
def reading(url: str) -> Iterator[Reader]:
    with httpx.stream("GET", f"{url}/dashboard/stream", timeout=20) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Reader(response)


def test_the_shell_is_all_there_is_without_the_token() -> None:
    with serving(token="se cret") as (server, _):
        answer = httpx.get(f"{server.url}/")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert_strict(answer.headers)
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        for path in PRIVATE:
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                answer = httpx.get(f"{server.url}{path}", headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuth")
        assert httpx.get(f"{server.url}/dashboard/backend/x/usage", headers=AUTHORIZED).status_code == 404
        with httpx.stream("GET", f"{server.url}/dashboard/stream", headers=AUTHORIZED) as response:
            assert response.status_code == 200
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_pages_of_others_get_nothing() -> None:
    with serving() as (server, _):
        for path in ("/", *PRIVATE, "/static/dashboard.js"):
            for headers in ({"Origin": OTHER}, {"Origin": "null"}, {"Host": "evil.example.com"}):
                for method in ("GET", "POST", "OPTIONS"):
                    answer = httpx.request(method, f"{server.url}{path}", headers=headers)
                    assert answer.status_code == (204 if method == "OPTIONS" and "Origin" in headers else 403)
                    assert not [name for name in answer.headers if name.startswith("access-control")]
            assert httpx.post(f"{server.url}{path}").status_code == 405


def test_the_files_that_pages_load_are_there() -> None:
    with serving() as (server, _):
        names, seen = re.findall(r'(?:src|href)="(/static/[^"]+)"', httpx.get(f"{server.url}/").text), set[str]()
        while names:
            name = names.pop()
            answer = httpx.get(f"{server.url}{name}")
            assert answer.status_code == 200, name
            seen.add(name)
            found = {f"/static/{file}" for file in re.findall(r'from "\./([^"]+)"', answer.text)}
            names.extend(found - seen)
            # Nothing from anywhere else.
            assert set(re.findall(r"https?://[\w.]+", answer.text)) <= {"http://www.w3.org"}
        assert {"/static/dashboard.js", "/static/dashboard.css", "/static/stream.js", "/static/icon.svg"} <= seen


def test_the_stream_tells_everything_and_what_changes() -> None:
    service = Service(SMALL, tags={"next": POLITE})
    with serving({"web": service, "other": SMALL}, limits=FAST) as (server, jamsocket):
        first = jamsocket.connect(key="first", user="ada")
        jamsocket.wait_until_ready(first.backend_id)
        with reading(server.url) as reader:
            assert reader.ids == [first.backend_id]
            reader.read_until(lambda: "usage" in reader.backends.get(first.backend_id, {}))
            backend = reader.backends[first.backend_id]
            assert reader.statuses(first.backend_id) == ["scheduled", "loading", "starting", "waiting", "ready"]
            assert (backend["key"], backend["service"], backend["command"]) == ("first", "web", SMALL)
            assert set(backend["usage"]) == {"time", "cpu", "memory"}
            assert backend["usage"]["memory"] > 1024**2
            assert list(reader.services) == ["web", "other"]
            assert [image["tag"] for image in reader.services["web"]["images"]] == ["latest", "next"]

            update = f"{server.url}/v2/service/-/web/update"
            assert httpx.post(update, json={"image_tag": "next"}).status_code == 200
            reader.read_until(lambda: reader.services["web"]["environments"][0]["image_tag"] == "next")
            assert httpx.post(f"{server.url}/v2/service/-/other/delete").status_code == 200
            reader.read_until(lambda: "other" not in reader.services)
            assert httpx.post(f"{server.url}/v2/account/-/service", json={"name": "new"}).status_code == 200
            reader.read_until(lambda: "new" in reader.services)

            second = jamsocket.connect()
            jamsocket.terminate(first.backend_id, hard=True)
            reader.read_until(lambda: reader.statuses(first.backend_id)[-1] == "terminated")
            reader.read_until(lambda: reader.statuses(second.backend_id)[-1:] == ["ready"])
            assert reader.backends[first.backend_id]["statuses"][-1]["exit_code"] == 137
            for connection in (first, second):
                assert connection.url.split("/")[-2] not in reader.text
                assert str(connection.secret_token) not in reader.text


def test_a_long_list_comes_in_parts_and_the_forgotten_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_MOST", 3)
    with serving(TINY, limits=Limits(remembered=2)) as (server, jamsocket):
        ids = [jamsocket.connect().backend_id for _ in range(8)]
        with reading(server.url) as reader:
            reader.read_until(lambda: len(reader.backends) == 8)
            assert reader.ids == ids
            assert max(reader.sizes) == 3
            for backend_id in ids[:4]:
                jamsocket.terminate(backend_id, hard=True)
                wait_until_ended(jamsocket, backend_id)
            reader.read_until(lambda: list(reader.backends) == ids[2:])


def test_the_measurements_so_far() -> None:
    with serving(limits=FAST) as (server, jamsocket):
        backend_id = jamsocket.connect().backend_id
        url = f"{server.url}/dashboard/backend/{backend_id}/usage"
        eventually_blocking(lambda: len(httpx.get(url).json()["usage"]) > 2)
        answer = httpx.get(url)
        assert answer.headers["Cache-Control"] == "no-store"
        times = [each["time"] for each in answer.json()["usage"]]
        assert times == sorted(times)


# ── With a browser ──


class Dashboard:
    """A developer's window."""

    def __init__(self, window: Window, url: str) -> None:
        self.window = window
        self.page = window.page
        self.url = url
        self.details = self.page.get_by_role("article")
        self.log = self.page.get_by_role("log")

    def row(self, backend_id: str, *, ended: bool = False) -> Locator:
        return self.page.locator(f"#{'ended' if ended else 'running'} a[href='#{backend_id}']")

    def expect_live(self) -> None:
        expect(self.page.locator("#link")).to_have_text("live", timeout=PATIENCE)

    def expect_chip(self, status: str) -> None:
        expect(self.details.locator(".chip")).to_have_text(status, timeout=PATIENCE)

    def expect_lines(self, *lines: str) -> None:
        expect(self.log.locator("li")).to_have_text(lines, timeout=PATIENCE)

    def button(self, name: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)


@pytest.fixture
def window(shared_browser: Browser) -> Iterator[Window]:
    window = Window(shared_browser, viewport={"width": 1440, "height": 900})
    yield window
    window.page.context.close()
    assert window.errors == []
    # Nothing from anywhere but this machine.
    assert [
        url for url in window.urls if not url.startswith(("http://localhost:", "http://127.0.0.1:", "about:"))
    ] == []


def visit(window: Window, server: DevServer, path: str = "/") -> Dashboard:
    window.page.goto(f"{server.url}{path}")
    return Dashboard(window, server.url)


def test_a_backend_from_its_beginning_to_its_end(window: Window) -> None:
    with serving(TALKER, limits=FAST) as (server, jamsocket):
        dashboard = visit(window, server)
        dashboard.expect_live()
        expect(dashboard.page.get_by_role("heading", name="No backend yet")).to_be_visible()
        connection = jamsocket.connect(key="my-document")
        row = dashboard.row(connection.backend_id)
        expect(row).to_contain_text("my-document")
        jamsocket.wait_until_ready(connection.backend_id)
        expect(row).to_contain_text("ready")
        expect(row).to_contain_text("MiB")
        expect(row.locator("rect")).to_have_count(5)
        bar = row.locator("svg")
        expect(bar).to_have_attribute("aria-label", re.compile(r"^scheduled \d.*waiting \d.*, ready \d"))
        before = bar.get_attribute("viewBox")
        box = bar.bounding_box()
        assert box is not None
        right, middle, tip = box["width"] - 4, box["height"] / 2, dashboard.page.locator("#tip")
        said = re.compile(r"ready · for [\d.]+ m?s\s+from \d\d:\d\d:\d\d\.\d{3}")

        def look() -> object:
            # The young bar has to grow up to there.
            bar.hover(position={"x": right, "y": middle})
            return said.fullmatch(tip.text_content() or "")

        eventually_blocking(look)

        row.click()
        dashboard.expect_chip("ready")
        expect(dashboard.details.locator("tbody tr")).to_have_count(5)
        for number in range(3):
            httpx.get(f"{connection.url}line%20{number}")
            dashboard.expect_lines(*(f"line {each}" for each in range(number + 1)))
        for name in ("CPU", "Memory"):
            chart = dashboard.details.get_by_role("img", name=re.compile(name))
            count = int(chart.get_attribute("data-points") or "0")
            assert count > 0
            expect(chart).not_to_have_attribute("data-points", str(count))
            assert (chart.locator(".line").get_attribute("d") or "").count("L") >= count
        expect(bar).not_to_have_attribute("viewBox", before or "")

        dashboard.button("Terminate").click()
        ended = dashboard.row(connection.backend_id, ended=True)
        expect(ended).to_contain_text("external, soft · exit code")
        dashboard.expect_chip("terminated")
        expect(dashboard.details).to_contain_text("it was asked to")
        expect(dashboard.button("Terminate")).to_be_hidden()
        expect(dashboard.details.locator(".note")).to_have_text("The end.")


def test_a_stubborn_one_is_killed_by_the_second_click(window: Window) -> None:
    with serving(STUBBORN) as (server, jamsocket):
        backend_id = jamsocket.connect().backend_id
        jamsocket.wait_until_ready(backend_id)
        dashboard = visit(window, server, f"/#{backend_id}")
        dashboard.expect_chip("ready")
        dashboard.button("Terminate").click()
        dashboard.expect_chip("terminating")
        dashboard.button("Kill").click()
        dashboard.expect_chip("terminated")
        expect(dashboard.details).to_contain_text("external, hard · exit code 137")


def test_what_a_backend_says_stays_text(window: Window) -> None:
    with serving(TALKER) as (server, jamsocket):
        dialogs: list[object] = []
        window.page.on("dialog", lambda dialog: dialogs.append(dialog.dismiss()))
        connection = jamsocket.connect(key=EVIL, spawn={"executable": {"env": {"X": EVIL}}})
        jamsocket.wait_until_ready(connection.backend_id)
        dashboard = visit(window, server, f"/#{connection.backend_id}")
        httpx.get(f"{connection.url}{EVIL}".replace("<", "%3C").replace(">", "%3E").replace(" ", "%20"))
        httpx.get(f"{connection.url}%1B[31mred%1B[0m%0Ddata:%20x")
        dashboard.expect_lines(EVIL, "red", "data: x")
        expect(dashboard.details.get_by_role("heading", level=2)).to_have_text(EVIL)
        expect(dashboard.row(connection.backend_id).locator("strong")).to_have_text(EVIL)
        assert dialogs == []
        assert not [url for url in window.urls if url.endswith("/x")]


def test_the_token(window: Window) -> None:
    with serving(TALKER, token="sé cret") as (server, _):
        dashboard = visit(window, server)
        page = dashboard.page
        field = page.get_by_label("Bearer token")
        field.fill("wrong")
        field.press("Enter")
        expect(page.get_by_text("does not accept this token")).to_be_visible()
        expect(page.get_by_role("main")).to_be_hidden()
        field.fill("sé cret")
        dashboard.button("Continue").click()
        dashboard.expect_live()
        with page.context.expect_page() as opened:
            page.get_by_role("button", name="New backend").click()
        expect(opened.value.get_by_role("heading")).to_have_text("Here", timeout=PATIENCE)
        page.locator("#running a").click()
        dashboard.expect_lines("")  # the page's own request
        assert page.evaluate("Object.keys(localStorage)") == []
        assert "cret" not in page.url + page.content()
        page.reload()
        dashboard.expect_live()
        dashboard.button("Forget token").click()
        expect(field).to_be_visible()


def test_new_backends_and_connections_to_a_key(window: Window) -> None:
    with serving({"web": WEB, "quiet": TINY}) as (server, jamsocket):
        dashboard = visit(window, server)
        page = dashboard.page
        with page.context.expect_page() as opened:
            dashboard.button("New backend of web").click()
        expect(opened.value.get_by_role("heading")).to_have_text("Here", timeout=PATIENCE)
        assert opened.value.evaluate("window.opener") is None
        expect(page.locator("#running a")).to_have_count(1)

        backend_id = jamsocket.connect(key="k").backend_id
        dashboard.row(backend_id).click()
        with page.context.expect_page() as opened:
            dashboard.button("Open").click()
        expect(opened.value.get_by_role("heading")).to_have_text("Here", timeout=PATIENCE)
        expect(page.locator("#running a")).to_have_count(2)

        # What does not work is said.
        httpx.post(f"{server.url}/v2/service/-/quiet/delete").raise_for_status()
        expect(dashboard.button("New backend of quiet")).to_be_hidden()
        page.evaluate("() => { fetch = () => Promise.reject(new Error('no way')) }")
        dashboard.button("New backend of web").click()
        expect(page.get_by_role("alert")).to_have_text("no way")
        eventually_blocking(lambda: page.wait_for_timeout(10) or len(page.context.pages) == 3)


def test_the_first_backend_as_the_page_says(window: Window) -> None:
    with serving(SMALL) as (server, _):
        dashboard = visit(window, server)
        dashboard.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        dashboard.button("Copy").click()
        code = dashboard.page.evaluate("navigator.clipboard.readText()")
        assert f"port={server.port}" in code
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{server.url}/ready/")
        expect(dashboard.page.locator("#running a")).to_have_count(1)
        expect(dashboard.page.get_by_role("heading", name="No backend yet")).to_be_hidden()


def test_with_the_keyboard(window: Window) -> None:
    with serving(SMALL) as (server, jamsocket):
        backend_id = jamsocket.connect(key="k").backend_id
        dashboard = visit(window, server)
        row = dashboard.row(backend_id)
        expect(row).to_be_visible()
        for _ in range(20):
            dashboard.page.keyboard.press("Tab")
            if row.evaluate("row => row === document.activeElement"):
                break
        dashboard.page.keyboard.press("Enter")
        expect(dashboard.details).to_be_focused()
        expect(row).to_have_attribute("aria-current", "true")
        dashboard.page.keyboard.press("Escape")
        expect(dashboard.details).to_be_hidden()
        expect(row).to_be_focused()
        dashboard.page.go_back()
        expect(dashboard.details).to_be_visible()


def test_a_lost_connection_loses_no_line(window: Window) -> None:
    with serving(TALKER, allowed_hosts=["localhost"]) as (server, jamsocket):
        relay = Relay(server.port)
        try:
            connection = jamsocket.connect()
            jamsocket.wait_until_ready(connection.backend_id)
            window.page.goto(f"http://localhost:{relay.port}/#{connection.backend_id}")
            dashboard = Dashboard(window, server.url)
            httpx.get(f"{connection.url}one")
            dashboard.expect_lines("one")
            relay.cut(True)
            expect(dashboard.page.locator("#link")).to_contain_text("cannot be reached")
            httpx.get(f"{connection.url}two")
            jamsocket.connect()
            relay.cut(False)
            dashboard.expect_live()
            dashboard.expect_lines("one", "two")
            expect(dashboard.page.locator("#running a")).to_have_count(2)
        finally:
            relay.close()


def test_a_restarted_server(window: Window) -> None:
    with serving(SMALL) as (server, jamsocket):
        port = server.port
        old = jamsocket.connect().backend_id
        dashboard = visit(window, server, f"/#{old}")
        expect(dashboard.details).to_be_visible()
    expect(dashboard.page.locator("#link")).to_contain_text("cannot be reached", timeout=PATIENCE)
    with serving(SMALL, port=port) as (server, jamsocket):
        dashboard.expect_live()
        expect(dashboard.details).to_be_hidden()
        new = jamsocket.connect().backend_id
        expect(dashboard.row(new)).to_be_visible()
        for ended in (True, False):
            expect(dashboard.row(old, ended=ended)).to_have_count(0)


def test_a_tab_that_nobody_sees_holds_no_connection(window: Window) -> None:
    with serving(TALKER) as (server, jamsocket):
        first = jamsocket.connect()
        jamsocket.wait_until_ready(first.backend_id)
        dashboard = visit(window, server, f"/#{first.backend_id}")
        httpx.get(f"{first.url}one")
        dashboard.expect_lines("one")
        given_up: list[str] = []
        window.page.on("requestfailed", lambda request: given_up.append(request.url.rpartition("/")[2]))
        hide = "is => {Object.defineProperty(document, 'hidden', {get: () => is, configurable: true});"
        hide += "document.dispatchEvent(new Event('visibilitychange'))}"
        window.page.evaluate(hide, True)
        eventually_blocking(lambda: window.page.wait_for_timeout(10) or given_up == ["stream", "stream"])
        httpx.get(f"{first.url}two")
        second = jamsocket.connect().backend_id
        window.page.evaluate(hide, False)
        dashboard.expect_lines("one", "two")
        expect(dashboard.row(second)).to_be_visible()


def test_a_hundred_backends_and_all_of_them_ended(window: Window) -> None:
    with serving(TINY) as (server, jamsocket):
        dashboard = visit(window, server)
        for number in range(100):
            jamsocket.connect(key=f"key-{number}")
        rows = dashboard.page.locator("#running a")
        expect(rows).to_have_count(100, timeout=PATIENCE)
        assert rows.first.locator("strong").text_content() == "key-99"
        everything = dashboard.page.locator("#terminate-all")
        everything.click()
        expect(everything).to_have_text("Really terminate 100?")
        everything.click()
        expect(rows).to_have_count(0, timeout=PATIENCE)
        expect(dashboard.page.locator("#ended a")).to_have_count(20)
        dashboard.button("Show all 100").click()
        expect(dashboard.page.locator("#ended a")).to_have_count(100)


def test_another_origin_can_neither_read_nor_call(window: Window) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>Another page</h1>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    other = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=other.serve_forever, daemon=True).start()
    try:
        with serving(SMALL) as (server, jamsocket):
            connection = jamsocket.connect(key="k")
            jamsocket.wait_until_ready(connection.backend_id)
            page = window.page
            page.goto(f"http://localhost:{other.server_port}/")
            backend = f"/v2/backend/{connection.backend_id}"
            for method, path in (
                ("GET", "/"),
                ("GET", "/dashboard/stream"),
                ("GET", f"/dashboard/backend/{connection.backend_id}/usage"),
                ("GET", f"{backend}/logs/stream"),
                ("GET", str(connection.ready_url).removeprefix(server.url)),
                ("POST", f"{backend}/terminate"),
            ):
                read = page.evaluate(
                    "([url, method]) => fetch(url, {method}).then(answer => answer.text(), error => null)",
                    [server.url + path, method],
                )
                assert read is None, path
            page.evaluate(
                "url => new Promise(done => {const frame = document.createElement('iframe'); frame.onload = done;"
                "frame.src = url; document.body.append(frame)})",
                server.url,
            )
            (frame,) = page.frames[1:]
            assert "Jamsocket" not in frame.content()
            assert jamsocket.status(connection.backend_id).status == "ready"
    finally:
        other.shutdown()
        other.server_close()
    # The browser says of each why it was refused.
    assert [error for error in window.errors if "CORS policy" not in error and "frame" not in error] == []
    window.errors.clear()


DEMO = {
    "whiteboard.py": """
import threading
def work():
    blobs, n = [], 0
    while True:
        n += 1
        print(f'\\x1b[32mINFO\\x1b[0m  saved revision {n} ({n * 137 % 900} bytes)')
        if n % 7 == 0: print('WARN  a client is slow: 3 messages wait for it')
        blobs.append(b'x' * (n % 3 * 400_000))
        end = time.monotonic() + 0.01 + 0.02 * (n % 5)
        while time.monotonic() < end: pass
        time.sleep(0.2)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.6)
serve()
""",
    "notebook.py": "print('loading the model'); time.sleep(600)",
    "thumbnails.py": "print(\"ModuleNotFoundError: No module named 'PIL'\"); time.sleep(0.5); sys.exit(1)",
    "chat.py": "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()",
}


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_backends_in_every_state(
    shared_browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, width: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name, code in DEMO.items():
        (tmp_path / name).write_text(python(code)[-1])
    services = {name.removesuffix(".py"): Service(["python", name]) for name in DEMO}

    def connect(service: str, key: str | None) -> str:
        url = f"{server.url}/v2/service/-/{service}/connect"
        return str(httpx.post(url, json={"key": key} if key else {}).json()["backend_id"])

    with serving(services, limits=Limits(metrics_interval=0.25)) as (server, jamsocket):
        window = Window(
            shared_browser,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            device_scale_factor=1.25 if RENEW_IMAGE else 1,
        )
        chosen = connect("whiteboard", "garden")
        connect("whiteboard", "kitchen")
        waiting, crashed = connect("notebook", "climate-model"), connect("thumbnails", "IMG_2041.jpg")
        leaving, killed = connect("chat", "lobby"), connect("chat", None)
        for backend_id in (leaving, killed):
            jamsocket.wait_until_ready(backend_id)
        jamsocket.terminate(leaving)
        jamsocket.terminate(killed, hard=True)
        wait_until_ended(jamsocket, crashed)
        dashboard = visit(window, server)
        expect(dashboard.row(waiting)).to_contain_text("waiting")
        expect(dashboard.row(leaving)).to_contain_text("terminating")
        expect(dashboard.row(crashed, ended=True)).to_contain_text("by itself · exit code 1")
        expect(dashboard.row(killed, ended=True)).to_contain_text("external, hard · exit code 137")
        dashboard.row(chosen).click()
        dashboard.expect_chip("ready")
        # Nothing sticks out to the side.
        for hash in (f"#{chosen}", f"#{crashed}", ""):
            window.page.evaluate("hash => location.hash = hash", hash)
            expect(dashboard.details).to_be_visible(visible=bool(hash))
            assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if RENEW_IMAGE and (scheme, width) == ("light", 1440):
            window.page.evaluate("hash => location.hash = hash", f"#{chosen}")
            window.page.wait_for_timeout(18_000)
            window.page.screenshot(path=IMAGE)
        window.page.context.close()
        assert window.errors == []
