"""Debian's Chromium, for the tests of pages."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).parents[2]

# Nothing but the page that is tested: no sandbox (it needs a user that is not root), no calls home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# For whatever the browser waits for: in milliseconds.
PATIENCE = 15_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. While it runs, this thread can run no event loop of its own."""
    found = subprocess.run([ROOT / "scripts" / "browser"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        message = f"scripts/browser: {found.stderr.strip()}"
        # Only who cannot install it may do without.
        pytest.fail(message) if os.getuid() == 0 else pytest.skip(message)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=found.stdout.strip(), args=ARGUMENTS) as browser,
    ):
        yield browser


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser for one test."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared_browser() -> Iterator[Browser]:
    """A browser for a module, which then can have no asyncio test."""
    with chromium() as browser:
        yield browser


class Window:
    """A window of its own (its cookies, its storage), and what went wrong in it."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.errors: list[str] = []
        self.urls: list[str] = []
        self.page: Page = browser.new_page(**options)
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.page.context.on("request", lambda request: self.urls.append(request.url))

    def _console(self, message: ConsoleMessage) -> None:
        # The browser itself notes each request that fails; some must, while a server or a backend is gone.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.errors.append(message.text)
