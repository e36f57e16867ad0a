"""The ready page: what it says, whom it lets in, and what a person with a browser sees of it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from jamsocket import ConnectResponse, Jamsocket
from jamsocket.hosting import DevServer, Limits, Service
from jamsocket.hosting.lifecycle import Kind, Lifecycle, Reason, Status
from jamsocket.hosting.ready_page import what_happened
from tests.support.browser import PATIENCE, Window

from .support import MUTE, POLITE, SMALL, STUBBORN, eventually_blocking, python

# What a browser needs to show it as a page.
WEB_SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>Here</h1>")
    def do_HEAD(self):
        self.send_error(404)
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

OTHER = "https://other.example.com"


def held(flag: Path, then: str) -> list[str]:
    """A backend that does something only when there is this file."""
    return python(
        f"print('secret of the log', flush=True)\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)\n{then}"
    )


@contextmanager
def serving(
    service: Sequence[str] | Service | Mapping[str, Sequence[str] | Service] = SMALL, **options: object
) -> Iterator[tuple[DevServer, Jamsocket]]:
    settings = {"port": 0, "proxy_port": 0, "stop_grace": 0.0, **options}
    with DevServer(service, **settings) as server, Jamsocket(dev=True, port=server.port) as jamsocket:  # type: ignore[arg-type]
        yield server, jamsocket


def ready_url(connection: ConnectResponse) -> str:
    assert connection.ready_url is not None
    return connection.ready_url


def wait_until_ended(jamsocket: Jamsocket, backend_id: str) -> None:
    with jamsocket.statuses(backend_id) as states:
        assert [state.status for state in states][-1] == "terminated"


def assert_strict(headers: httpx.Headers) -> None:
    policy = dict(directive.strip().split(" ", 1) for directive in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert {value for name, value in policy.items() if name.endswith("-src")} == {"'none'", "'self'"}
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


class Words(HTMLParser):
    """What a page says, and what its tags are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        self.text += data


# ── Without a browser ──


def test_a_ready_backend_is_one_redirect_away() -> None:
    with serving() as (_, jamsocket):
        connection = jamsocket.connect()
        jamsocket.wait_until_ready(connection.backend_id)
        answer = httpx.get(ready_url(connection))
        assert (answer.status_code, answer.headers["Location"], answer.text) == (303, connection.url, "")
        assert_strict(answer.headers)


def test_who_waits_without_scripts_asks_again(tmp_path: Path) -> None:
    with serving(held(tmp_path / "go", WEB_SERVER)) as (_, jamsocket):
        connection = jamsocket.connect()
        answer = httpx.get(ready_url(connection))
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert_strict(answer.headers)
        assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in answer.text
        assert "Getting ready" in Words(answer.text).text
        (tmp_path / "go").touch()
        jamsocket.wait_until_ready(connection.backend_id)
        assert httpx.get(ready_url(connection)).headers["Location"] == connection.url


def test_a_failure_is_told_with_nothing_private(tmp_path: Path) -> None:
    with serving(held(tmp_path / "go", "sys.exit(3)")) as (server, jamsocket):
        connection = jamsocket.connect(key="secret-key")
        (tmp_path / "go").touch()
        wait_until_ended(jamsocket, connection.backend_id)
        answer = httpx.get(ready_url(connection))
        assert answer.status_code == 410
        assert_strict(answer.headers)
        words = Words(answer.text)
        assert "It could not start" in words.text
        assert "stopped with an error" in words.text
        for private in ("secret of the log", "secret-key", str(server.proxy_port), connection.url.split("/")[-2]):
            assert private not in answer.text
        assert "refresh" not in answer.text


def test_an_expired_or_unknown_link() -> None:
    with serving(limits=Limits(token_lifetime=-1, sweep_interval=0.01)) as (server, jamsocket):
        connection = jamsocket.connect()
        eventually_blocking(lambda: httpx.get(ready_url(connection)).status_code == 410)
        for url in (
            ready_url(connection),
            f"{server.url}/ready/<script>alert(1)</script>".replace("/script", "%2Fscript"),
        ):
            answer = httpx.get(url)
            assert answer.status_code == 410
            assert_strict(answer.headers)
            assert "no longer valid" in Words(answer.text).text
            assert "alert(1)" not in answer.text
        assert httpx.get(f"{server.url}/ready/").status_code == 404
        assert httpx.get(f"{server.url}/ready/a/b").status_code == 404


def test_so_many_ended_links_are_remembered() -> None:
    with serving(POLITE, limits=Limits(remembered=2)) as (_, jamsocket):
        connections = [jamsocket.connect() for _ in range(3)]
        for connection in connections:
            jamsocket.terminate(connection.backend_id, hard=True)
            wait_until_ended(jamsocket, connection.backend_id)
        pages = [Words(httpx.get(ready_url(connection)).text).text for connection in connections]
        assert ["It was stopped" in page for page in pages] == [False, True, True]
        assert "no longer valid" in pages[0]


def test_looking_at_the_page_does_not_use_the_token() -> None:
    with serving(STUBBORN) as (_, jamsocket):
        connection = jamsocket.connect()
        jamsocket.wait_until_ready(connection.backend_id)
        assert httpx.get(ready_url(connection)).status_code == 303
        jamsocket.terminate(connection.backend_id)
        # Only who was in before may stay in until the end.
        assert httpx.get(connection.url).status_code == 410
        assert "It is ending" in Words(httpx.get(ready_url(connection)).text).text


def test_who_may_see_the_page() -> None:
    with serving(token="se cret") as (server, _):
        connect = f"{server.url}/v2/service/-/-/connect"
        connection = httpx.post(connect, headers={"Authorization": "Bearer se cret"}).json()
        url = connection["ready_url"]
        assert httpx.get(url).status_code in {200, 303}  # without the bearer token
        assert httpx.get(url, headers={"Host": "evil.example.com"}).status_code == 403
        # A page of an application may lead here.
        assert httpx.get(url, headers={"Origin": OTHER}).status_code in {200, 303}
        for answer in (
            httpx.get(url, headers={"Origin": OTHER}),
            httpx.post(url, headers={"Origin": OTHER}),
            httpx.options(url, headers={"Origin": OTHER}),
            httpx.options(f"{server.url}/static/ready.js", headers={"Origin": OTHER}),
        ):
            assert "Access-Control-Allow-Origin" not in answer.headers
        assert httpx.post(url, headers={"Authorization": "Bearer se cret"}).status_code == 405


def test_the_files() -> None:
    with serving(token="se cret") as (server, _):
        page = httpx.get(f"{server.url}/ready/unknown").text
        names = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert len(names) == 3
        for name in names:
            answer = httpx.get(f"{server.url}{name}")
            assert answer.status_code == 200
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        for name in ("nothing.js", "..%2Fapi.py", "%2e%2e%2fapi.py", "ready.html", ""):
            answer = httpx.get(f"{server.url}/static/{name}", headers={"Authorization": "Bearer se cret"})
            assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json")
        assert httpx.get(f"{server.url}/static/ready.js", headers={"Host": "evil.example.com"}).status_code == 403


@pytest.mark.parametrize(
    ("reason", "kind", "exit_code", "was_ready", "words"),
    [
        (None, None, 3, False, "could not start.* error"),
        (None, None, 0, False, "could not start.* ended before"),
        (None, None, 1, True, "crashed.* was ready, .* error"),
        (None, None, 0, True, "ended.* by itself"),
        ("external", "soft", 0, True, "stopped, by the application"),
        ("external", "hard", 137, True, "stopped at once, by"),
        ("swept", "soft", 0, True, "Nobody was connected"),
        ("startuptimeout", "hard", 137, False, "never answered"),
        ("keyexpired", "soft", 0, True, "lost sight"),
        ("lost", "hard", None, True, "machine .* gone"),
        ("internalerror", "hard", 137, False, "server failed"),
    ],
)
def test_every_end_has_its_words(
    reason: Reason | None, kind: Kind | None, exit_code: int | None, was_ready: bool, words: str
) -> None:
    life = Lifecycle()
    life.advance(Status.SCHEDULED, 1)
    if was_ready:
        life.advance(Status.READY, 2)
    if reason is not None and kind is not None:
        life.terminate(reason, kind, 3)
    life.exited(exit_code, 4)
    told = what_happened(life)
    assert re.search(words, f"{told.title}: {told.what}"), told
    assert "open it again" in told.advice


# ── With a browser ──


@pytest.fixture
def window(shared_browser: Browser) -> Iterator[Window]:
    window = Window(shared_browser)
    yield window
    window.page.close()
    assert window.errors == []


def expect_title(page: Page, text: str) -> None:
    expect(page.get_by_role("heading")).to_have_text(text, timeout=PATIENCE)


def test_the_page_waits_and_goes_to_the_backend(window: Window, tmp_path: Path) -> None:
    with serving(held(tmp_path / "go", WEB_SERVER)) as (server, jamsocket):
        connection = jamsocket.connect()
        page = window.page
        page.goto(f"{server.url}/ready/unknown")
        page.goto(ready_url(connection))
        expect_title(page, "Getting ready…")
        expect(page.locator("li[data-is=now]")).to_have_text("Waiting for its first answer")
        (tmp_path / "go").touch()
        page.wait_for_url(connection.url)
        assert page.text_content("h1") == "Here"
        page.go_back()
        assert page.url.endswith("/ready/unknown")
        own = (server.url, connection.url)
        assert [url for url in window.urls if not url.startswith(own)] == []


@pytest.mark.parametrize(
    ("then", "title"), [("sys.exit(3)", "It could not start"), ("sys.exit()", "It could not start")]
)
def test_the_page_tells_of_a_failure(window: Window, tmp_path: Path, then: str, title: str) -> None:
    with serving(held(tmp_path / "go", then)) as (_, jamsocket):
        connection = jamsocket.connect()
        window.page.goto(ready_url(connection))
        expect_title(window.page, "Getting ready…")
        (tmp_path / "go").touch()
        expect_title(window.page, title)
        expect(window.page).to_have_title(title)
        expect(window.page.locator("main")).to_contain_text("open it again")
        assert window.page.url == ready_url(connection)
        link = window.page.get_by_role("link").get_attribute("href")
        assert link == f"/#{connection.backend_id}"


def test_the_page_waits_for_a_start_that_takes_too_long(window: Window) -> None:
    with serving(MUTE, startup_timeout=0.3) as (_, jamsocket):
        window.page.goto(ready_url(jamsocket.connect()))
        expect_title(window.page, "It did not start in time")


def test_the_page_sees_an_end_through(window: Window) -> None:
    with serving(STUBBORN) as (_, jamsocket):
        connection = jamsocket.connect()
        jamsocket.wait_until_ready(connection.backend_id)
        jamsocket.terminate(connection.backend_id)
        window.page.goto(ready_url(connection))
        expect_title(window.page, "It is ending")
        jamsocket.terminate(connection.backend_id, hard=True)
        expect_title(window.page, "It was stopped")


def test_an_expired_link_in_a_browser(window: Window) -> None:
    with serving() as (server, _):
        window.page.goto(f"{server.url}/ready/expired")
        expect_title(window.page, "This link is no longer valid")


class Relay:
    """Passes connections on to a port, unless it is cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._is_cut = False
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, is_cut: bool) -> None:
        self._is_cut = is_cut
        for end in self._open if is_cut else []:
            self._close(end)
        self._open.clear()

    def close(self) -> None:
        self.cut(True)
        self._close(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        self._close(source)
        self._close(target)

    @staticmethod
    def _close(end: socket.socket) -> None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def test_the_page_gets_over_a_lost_connection(window: Window, tmp_path: Path) -> None:
    with serving(held(tmp_path / "go", WEB_SERVER), allowed_hosts=["localhost"]) as (server, jamsocket):
        connection = jamsocket.connect()
        relay = Relay(server.port)
        try:
            window.page.goto(ready_url(connection).replace(f":{server.port}/", f":{relay.port}/"))
            expect(window.page.locator("li[data-is=now]")).to_have_text("Waiting for its first answer")
            lost = window.page.get_by_role("alert")
            expect(lost).to_be_hidden()
            relay.cut(True)
            expect(lost).to_be_visible(timeout=PATIENCE)
            (tmp_path / "go").touch()
            jamsocket.wait_until_ready(connection.backend_id)
            relay.cut(False)
            window.page.wait_for_url(connection.url)
        finally:
            relay.close()


def test_the_page_tells_when_the_server_was_killed_and_restarted(window: Window) -> None:
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    port, proxy_port = [each.getsockname()[1] for each in ports]
    for each in ports:
        each.close()
    command = [
        sys.executable,
        "-m",
        "jamsocket.cli",
        "dev",
        f"--port={port}",
        f"--proxy-port={proxy_port}",
        "--",
        *MUTE,
    ]

    @contextmanager
    def server() -> Iterator[Jamsocket]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with Jamsocket(dev=True, port=port) as jamsocket:
                eventually_blocking(lambda: answers(f"http://localhost:{port}/auth"))
                yield jamsocket
        finally:
            process.kill()
            process.wait()

    with server() as jamsocket:
        window.page.goto(ready_url(jamsocket.connect()))
        expect_title(window.page, "Getting ready…")
    expect(window.page.get_by_role("alert")).to_be_visible(timeout=PATIENCE)
    with server():
        expect_title(window.page, "This link is no longer valid")


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False
