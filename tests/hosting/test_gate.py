"""Who may call."""

from __future__ import annotations

import pytest

from jamsocket.hosting.engine import EngineError
from jamsocket.hosting.gate import Gate

GATE = Gate(8080, allowed=["dev.example.com", "box.test:8080"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8080",
        "LocalHost:8080",
        "127.0.0.1:8080",
        "[::1]:8080",
        "dev.example.com",
        "dev.example.com:443",
        "box.test:8080",
    ],
)
def test_hosts_that_may_call(host: str) -> None:
    GATE.check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "evil.example.com:8080",
        "localhost",
        "localhost:8081",
        "127.0.0.1",
        "127.0.0.1.evil.com:8080",
        "localhost.evil.com:8080",
        "evil@localhost:8080",
        "box.test",
        "0.0.0.0:8080",
        "192.168.0.1:8080",
        "[::1",
        "[",
        " ",
    ],
)
def test_hosts_that_may_not(host: str) -> None:
    with pytest.raises(EngineError) as caught:
        GATE.check_host(host)
    assert caught.value.status == 403


def test_no_host_is_a_bad_request() -> None:
    with pytest.raises(EngineError) as caught:
        GATE.check_host(None)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "origin", [None, "http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080", "https://dev.example.com"]
)
def test_origins_that_may_call(origin: str | None) -> None:
    GATE.check_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example.com",
        "http://localhost:3000",
        "http://localhost",
        "https://localhost:8080",
        "http://localhost:8080.evil.com",
        "http://evil.com/localhost:8080",
        "localhost:8080",
    ],
)
def test_origins_that_may_not(origin: str) -> None:
    with pytest.raises(EngineError) as caught:
        GATE.check_origin(origin)
    assert caught.value.status == 403


def test_the_bound_address_is_a_name_unless_it_means_all() -> None:
    Gate(8080, bound="192.168.0.1").check_host("192.168.0.1:8080")
    Gate(8080, bound="fe80::1").check_host("[fe80::1]:8080")
    for everything in ("0.0.0.0", "::"):
        with pytest.raises(EngineError):
            Gate(8080, bound=everything).check_host("0.0.0.0:8080")


def test_port_80_needs_no_number() -> None:
    Gate(80).check_host("localhost")
    Gate(80).check_origin("http://127.0.0.1")
