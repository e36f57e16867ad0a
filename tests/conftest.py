from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.browser import browser, shared_browser
from tests.support.clients import Maker

__all__ = ["browser", "shared_browser"]

# Whoever starts the tests in the background (nohup, or a shell's `&`) has these ignored, and programs that the tests
# start would inherit that.
for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine decides a test: not where the API is, nor by which proxy."""
    for name in list(os.environ):
        if name.startswith("JAMSOCKET_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(params=["blocking", "asyncio"])
def make(request: pytest.FixtureRequest) -> Iterator[Maker]:
    """Makes clients; each test that asks for it runs once for `Jamsocket` and once for `AsyncJamsocket`."""
    maker = Maker(request.param)
    yield maker
    maker.close()
