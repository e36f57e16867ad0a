"""Fixtures for an application's own tests: a development server, and a client of it. Needs the extra `cli`.

pytest finds this by itself where jamsocket is installed. Nothing is imported before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .client import Jamsocket
    from .hosting import DevServer, Service


@pytest.fixture(scope="session")
def jamsocket_services(pytestconfig: pytest.Config) -> Sequence[str] | Service | Mapping[str, Sequence[str] | Service]:
    """What backends run in tests: what `[tool.jamsocket]` in pyproject.toml says. Override it to say something else.

    Example:
        >>> @pytest.fixture(scope="session")
        ... def jamsocket_services():
        ...     return ["python", "backend.py"]
    """
    from .hosting import configuration

    path = configuration.find(pytestconfig.rootpath)
    services = None if path is None else configuration.read(path).services
    if services is None:
        pytest.fail(
            "jamsocket: no backend is configured. Write its command into pyproject.toml ([tool.jamsocket] with "
            'command = "python backend.py"), or override the fixture jamsocket_services.',
            pytrace=False,
        )
    return services


@pytest.fixture(scope="session")
def jamsocket_server(
    jamsocket_services: Sequence[str] | Service | Mapping[str, Sequence[str] | Service],
) -> Iterator[DevServer]:
    """A development server on free ports, for the whole test run: a `jamsocket.hosting.DevServer`."""
    from .hosting import DevServer

    with DevServer(jamsocket_services, port=0, proxy_port=0) as server:
        yield server


@pytest.fixture
def jamsocket(jamsocket_server: DevServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jamsocket]:
    """A `Jamsocket` client of the test run's server. No backend outlives the test.

    As long as the test runs, `Jamsocket.from_env()` and `AsyncJamsocket.from_env()` find the server, too.
    """
    from .client import Jamsocket

    monkeypatch.setenv("JAMSOCKET_DEV", "true")
    monkeypatch.setenv("JAMSOCKET_DEV_PORT", str(jamsocket_server.port))
    with Jamsocket(dev=True, port=jamsocket_server.port) as client:
        try:
            yield client
        finally:
            jamsocket_server.terminate_all()
