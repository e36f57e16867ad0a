"""`jamsocket.api`: the generated client over our transport, for both clients."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import jamsocket_api.models as models
import pytest
from jamsocket_api.api.account import check_auth
from jamsocket_api.api.backends import get_backend, get_status, list_backends, stream_logs
from jamsocket_api.api.services import (
    create_service,
    delete_service,
    get_service,
    list_images,
    list_services,
    use_image,
)

from jamsocket import InvalidResponseError, NotFoundError, ServerError, TransportError
from tests.support.clients import FakeClock, Maker
from tests.support.faults import FaultServer, close, finish, hang, head, respond, state, write

TIME = "2026-01-02T03:04:05.678Z"
BACKEND = {
    "id": "b1",
    "created_at": TIME,
    "service_name": "whiteboard",
    "cluster_name": "c",
    "account_name": "acme",
    "statuses": [state("scheduled"), {**state("terminated"), "exit_code": 0, "last_status": "ready"}],
    "image_digest": "sha256:1",
    "key": None,
    "environment_name": "default",
    "max_mem_bytes": None,
}
SERVICE = {
    "name": "whiteboard",
    "account_name": "acme",
    "created_at": TIME,
    "last_spawned_at": None,
    "last_image_upload_time": TIME,
    "last_image_digest": None,
    "image_name": "i",
    "environments": [
        {"name": "default", "image_tag": "latest", "cluster": "c", "created_at": TIME, "last_spawned_at": None}
    ],
}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


class Api:
    """The generated functions, blocking or on asyncio."""

    def __init__(self, make: Maker, jamsocket: Any) -> None:
        self.make = make
        self.client = (jamsocket if make.kind == "blocking" else jamsocket.client).api

    def __call__(self, module: Any, *args: Any, **kwargs: Any) -> Any:
        if self.make.kind == "blocking":
            return module.sync(*args, client=self.client, **kwargs)
        return self.make.loop.run(module.asyncio(*args, client=self.client, **kwargs))

    def lines(self, kwargs: dict[str, Any]) -> list[str]:
        if self.make.kind == "blocking":
            with self.client.get_httpx_client().stream(**kwargs) as response:
                return list(response.iter_lines())

        async def read() -> list[str]:
            async with self.client.get_async_httpx_client().stream(**kwargs) as response:
                return [line async for line in response.aiter_lines()]

        return self.make.loop.run(read())


@pytest.fixture
def api(make: Maker, server: FaultServer) -> Api:
    return Api(make, make.to(server.url, clock=FakeClock()))


def test_every_operation_has_a_typed_result(api: Api, server: FaultServer) -> None:
    ok = [respond(200, {"status": "ok"})]
    server.on("GET", "/v2/backend/b1", [respond(200, BACKEND)])
    server.on("GET", "/v2/account/acme/backends", [respond(200, {"running_backends": []})])
    server.on("GET", "/v2/account/acme/services", [respond(200, {"services": ["whiteboard"]})])
    server.on("GET", "/v2/service/acme/whiteboard", [respond(200, SERVICE)])
    server.on("GET", "/v2/service/acme/whiteboard/images", [respond(200, {"images": []})])
    server.on("POST", "/v2/account/acme/service", ok)
    server.on("POST", "/v2/service/acme/whiteboard/delete", ok)
    server.on("POST", "/v2/service/acme/whiteboard/update", ok)
    server.on("GET", "/auth", [respond(200, {"status": "ok", "accounts": ["acme"], "is_admin": False})])

    backend = api(get_backend, "b1")
    assert isinstance(backend, models.BackendInfo)
    assert backend.key is None
    assert backend.statuses[1].exit_code == 0
    assert backend.statuses[1].time.tzinfo is not None
    assert isinstance(api(list_backends, "acme"), models.RunningBackendList)
    assert api(list_services, "acme").services == ["whiteboard"]
    service = api(get_service, "acme", "whiteboard")
    assert service.environments[0].last_spawned_at is None
    assert isinstance(api(list_images, "acme", "whiteboard"), models.ImageList)
    body = models.CreateServiceRequest(name="new")
    assert isinstance(api(create_service, "acme", body=body), models.Acknowledgement)
    assert isinstance(api(delete_service, "acme", "whiteboard"), models.Acknowledgement)
    assert isinstance(
        api(use_image, "acme", "whiteboard", body=models.UseImageRequest(image_tag="v2")), models.Acknowledgement
    )
    assert api(check_auth).accounts == ["acme"]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer tok-planted-secret"}
    assert server.requests[5].json == {"name": "new"}


def test_the_token_goes_only_where_it_is_needed(api: Api, server: FaultServer) -> None:
    server.on("GET", "/v2/backend/b1/status", [respond(200, state("ready"))])
    assert api(get_status, "b1").status == "ready"
    assert "authorization" not in server.requests[0].headers
    assert "tok-planted-secret" not in repr(api.client)


def test_errors_and_retries_are_ours(api: Api, server: FaultServer) -> None:
    with pytest.raises(NotFoundError):
        api(get_backend, "b1")
    server.on("GET", "/v2/backend/b1", [[respond(503)], [close], [respond(200, BACKEND)]])
    assert api(get_backend, "b1").id == "b1"
    server.on("POST", "/v2/account/acme/service", [respond(503, "<html>")])
    with pytest.raises(ServerError):
        api(create_service, "acme", body=models.CreateServiceRequest(name="new"))
    assert len(server.seen("/v2/account/acme/service")) == 1, "creating is not tried again"
    server.on("GET", "/v2/backend/b1", [respond(200, "<html>")])
    with pytest.raises(InvalidResponseError):
        api(get_backend, "b1")
    server.on("GET", "/v2/backend/b1", [close])
    with pytest.raises(TransportError):
        api(get_backend, "b1")


def test_logs_as_a_stream(api: Api, server: FaultServer) -> None:
    path = "/v2/backend/b1/logs/stream"
    server.on("GET", path, [[respond(503)], [head(), write(b"data:one\n\ndata:t"), write(b"wo\n\n"), finish]])
    assert api.lines(stream_logs.request_kwargs("b1")) == ["data:one", "", "data:two", ""]
    assert server.seen(path)[1].headers["authorization"] == "Bearer tok-planted-secret"
    with pytest.raises(NotFoundError):
        api.lines(stream_logs.request_kwargs("b2"))


def test_a_stream_that_is_left_is_closed(make: Maker, server: FaultServer) -> None:
    api = Api(make, make.to(server.url))
    server.on("GET", "/v2/backend/b1/logs/stream", [head(), write(b"data:one\n\n"), hang])
    kwargs = stream_logs.request_kwargs("b1")
    if make.kind == "blocking":
        with api.client.get_httpx_client().stream(**kwargs) as response:
            assert next(response.iter_lines()) == "data:one"
    else:

        async def read() -> None:
            async with api.client.get_async_httpx_client().stream(**kwargs) as response:
                lines = response.aiter_lines()
                assert await anext(lines) == "data:one"
                await lines.aclose()

        make.loop.run(read())
    assert server.wait_for(lambda: server.open_connections == 0)


def test_streams_have_no_function_that_would_never_return() -> None:
    assert not hasattr(stream_logs, "sync")
    assert not any(inspect.iscoroutinefunction(value) for value in vars(stream_logs).values())
