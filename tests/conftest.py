from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clients import Maker


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine decides a test: not where the API is, nor by which proxy."""
    import os

    for name in list(os.environ):
        if name.startswith("JAMSOCKET_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(params=["blocking", "asyncio"])
def make(request: pytest.FixtureRequest) -> Iterator[Maker]:
    """Makes clients; each test that asks for it runs once for `Jamsocket` and once for `AsyncJamsocket`."""
    maker = Maker(request.param)
    yield maker
    maker.close()
