"""The same promises with an `http_client` of the user's own: requests and streams then go through httpx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.clients import FakeClock, Maker
from tests.support.faults import FaultServer, respond, state
from tests.test_calls import (  # noqa: F401
    CONNECT,
    CONNECTION,
    STATUS,
    TERMINATE,
    test_a_huge_error_body_is_cut,
    test_an_error_body_is_read_in_bounded_time,
    test_connect_sends_everything,
    test_connect_without_a_key_is_not_tried_again_once_it_was_sent,
    test_connect_without_a_key_is_tried_again_if_it_was_not_sent,
    test_every_body_is_survived,
    test_no_answer,
    test_no_answer_in_time,
    test_no_redirect_is_followed,
    test_no_secret_is_shown,
    test_what_is_idempotent_is_tried_again,
)
from tests.test_life_and_death import (  # noqa: F401
    test_closing_the_client_ends_a_wait,
)
from tests.test_secrets import everything_logged, test_no_failure_of_another_call_shows_the_token  # noqa: F401
from tests.test_streams import (  # noqa: F401
    test_a_restart_on_the_same_port,
    test_a_server_that_is_silent_about_an_unknown_backend,
    test_byte_by_byte,
    test_every_loss_leads_to_a_reconnect,
    test_framings_and_codings,
    test_keep_alive_comments_are_no_stall,
    test_leaving_the_with_block_closes,
    test_unsubscribing_from_inside_the_callback,
)


class OverHttpx(Maker):
    """Makes clients that were given an httpx client, and counts what that was used for."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.used = 0
        self._http_clients: list[Any] = []

    def to(self, url: str, **kwargs: Any) -> Any:
        if "http_client" not in kwargs:
            limits = httpx.Limits(max_connections=None)
            kwargs["http_client"] = self.http_client(event_hooks={"request": [self._hook()]}, limits=limits)
            self._http_clients.append(kwargs["http_client"])
        return super().to(url, **kwargs)

    def _hook(self) -> Any:
        def count(request: httpx.Request) -> None:
            self.used += 1

        async def async_count(request: httpx.Request) -> None:
            count(request)

        return count if self.kind == "blocking" else async_count

    def close(self) -> None:
        for client in self._made:
            client.close()
        self._made.clear()
        for http_client in self._http_clients:
            self.close_http_client(http_client)
        super().close()


@pytest.fixture(params=["blocking", "asyncio"])
def make(request: pytest.FixtureRequest) -> Iterator[OverHttpx]:
    maker = OverHttpx(request.param)
    yield maker
    maker.close()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("POST", CONNECT, [respond(200, CONNECTION)])
        server.on("GET", STATUS, [respond(200, state("starting"))])
        server.on("POST", TERMINATE, [respond(200, {"status": "ok"})])
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(luck=1.0)


@pytest.fixture
def jamsocket(make: OverHttpx, server: FaultServer, request: pytest.FixtureRequest) -> Any:
    # The tests of streams have time go by.
    clock = request.getfixturevalue("clock") if "clock" in request.fixturenames else None
    return make.to(server.url, clock=clock)


def test_it_is_the_given_client_that_is_used(make: OverHttpx, server: FaultServer) -> None:
    client = make.to(server.url)
    client.status("b1")
    client.connect(key="k")
    assert make.used == len(server.requests) == 2
