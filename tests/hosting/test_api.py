"""The HTTP API, byte by byte: what platform.md says of it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from jamsocket.hosting import Service
from jamsocket.hosting.events import or_silence
from jamsocket.hosting.local import LocalEngine

from .support import POLITE, SMALL, Caller, eventually, raw, serving

pytestmark = pytest.mark.asyncio

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def assert_envelope(response: aiohttp.ClientResponse, answer: Any, status: int, code: str) -> None:
    assert response.status == status
    assert response.headers["Content-Type"] == "application/json"
    assert list(answer) == ["error"]
    assert list(answer["error"]) == ["message", "status", "code", "id"]
    assert (answer["error"]["status"], answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"]
    assert answer["error"]["id"]


def parse(answer: bytes) -> tuple[int, Mapping[str, str], Any]:
    """The last response in what came over a raw connection."""
    head, _, body = answer[answer.rindex(b"HTTP/1.") :].partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), json.loads(body)


async def test_connect() -> None:
    async with serving() as api:
        response, answer = await api.call("POST", "/v2/service/acme/whiteboard/connect", json={"key": "k"})

        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json"
        assert "Access-Control-Allow-Origin" not in response.headers
        assert list(answer) == [
            "backend_id",
            "spawned",
            "status",
            "token",
            "url",
            "secret_token",
            "status_url",
            "ready_url",
        ]
        assert re.fullmatch("[a-z0-9]{14}", answer["backend_id"])
        assert re.fullmatch("[A-Za-z0-9_-]{43}", answer["token"])
        assert re.fullmatch("[A-Za-z0-9_-]{43}", answer["secret_token"])
        assert (answer["spawned"], answer["status"]) == (True, "scheduled")
        assert answer["ready_url"] == f"{api.url}/ready/{answer['token']}"
        assert answer["url"] == f"http://localhost:{api.server.proxy_port}/{answer['token']}/"
        assert answer["status_url"] == f"{api.url}/v2/backend/{answer['backend_id']}/status"

        again = await api.connect({"key": "k"}, "acme/whiteboard")
        assert (again["backend_id"], again["spawned"]) == (answer["backend_id"], False)
        assert again["token"] != answer["token"]
        assert again["secret_token"] != answer["secret_token"]


@pytest.mark.parametrize("body", [b"", b"{}", b" "])
async def test_an_empty_body_connects(body: bytes) -> None:
    async with serving() as api:
        response, answer = await api.call("POST", "/v2/service/-/-/connect?kvw1ouematn", data=body)
        assert response.status == 200
        assert answer["spawned"] is True


async def test_the_query_is_ignored_everywhere() -> None:
    async with serving() as api:
        backend = (await api.connect())["backend_id"]
        for path in (f"/v2/backend/{backend}/status?x}}", f"/v2/backend/{backend}?a=b&c", "/auth?", "/auth?x"):
            response, _ = await api.call("GET", path)
            assert response.status == 200
        await api.terminate(backend)
        async with api.session.get(f"{api.url}/v2/backend/{backend}/status/stream?z23x07o34i}}") as response:
            assert response.status == 200
            assert (await response.read()).startswith(b'data:{"status":"scheduled"')


async def test_places_are_apart() -> None:
    async with serving() as api:
        places = ["-/-", "acme/a", "acme/b", "other/a", "acme/a/staging"]
        backends = [(await api.connect({"key": "k"}, place))["backend_id"] for place in places]
        assert len(set(backends)) == len(places)
        assert (await api.connect({"key": "k"}, "acme/a/default"))["backend_id"] == backends[1]


async def test_status_and_its_stream() -> None:
    async with serving(POLITE) as api:
        backend = (await api.ready())["backend_id"]
        response, state = await api.call("GET", f"/v2/backend/{backend}/status")
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert list(state) == ["status", "time"]
        assert state["status"] == "ready"
        assert TIME.fullmatch(state["time"])

        # Two streams at once, one of them begun before the end.
        async with api.session.get(f"{api.url}/v2/backend/{backend}/status/stream") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            assert stream.headers["Access-Control-Allow-Origin"] == "*"
            assert stream.headers["Cache-Control"] == "no-cache"
            assert stream.headers["X-Accel-Buffering"] == "no"
            await api.terminate(backend)
            body = await stream.read()
        async with api.session.get(f"{api.url}/v2/backend/{backend}/status/stream") as stream:
            assert await stream.read() == body

        events = body.split(b"\n\n")
        assert events.pop() == b""
        assert b"\r" not in body
        assert all(event.startswith(b"data:{") and b"\n" not in event for event in events)
        states = [json.loads(event[5:]) for event in events]
        assert [state["status"] for state in states] == [
            "scheduled",
            "loading",
            "starting",
            "waiting",
            "ready",
            "terminating",
            "terminated",
        ]
        times = [state["time"] for state in states]
        assert times == sorted(set(times))
        assert states[-2] == {"status": "terminating", "time": times[-2], "termination_reason": "external"}
        assert list(states[-1]) == ["status", "time", "termination_reason", "termination_kind"]
        assert (states[-1]["termination_reason"], states[-1]["termination_kind"]) == ("external", "soft")
        # It is remembered.
        assert await api.status(backend) == states[-1]


async def test_each_event_is_one_write() -> None:
    async with serving() as api:
        backend = (await api.ready())["backend_id"]
        reader, writer = await asyncio.open_connection("127.0.0.1", api.server.port)
        writer.write(
            f"GET /v2/backend/{backend}/status/stream HTTP/1.1\r\nHost: localhost:{api.server.port}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" in head
        for status in ("scheduled", "loading", "starting", "waiting", "ready"):
            # A chunk of the transfer coding is a write.
            size = int(await reader.readline(), 16)
            chunk = await reader.readexactly(size)
            await reader.readexactly(2)
            assert chunk.startswith(b'data:{"status":"%s",' % status.encode())
            assert chunk.endswith(b"}\n\n")
        writer.close()


async def test_silence_is_filled_only_if_wanted() -> None:
    async with serving(stream_keepalive=0.05) as api:
        backend = (await api.ready())["backend_id"]
        async with api.session.get(f"{api.url}/v2/backend/{backend}/status/stream") as stream:
            data = b""
            while data.count(b"\n\n:\n\n") < 1:
                data += await stream.content.readany()
            await api.terminate(backend)
            data += await stream.read()
        assert re.fullmatch(rb"(data:\{[^\n]*\}\n\n|:\n\n)*", data)
        assert b"terminated" in data

    async with serving() as api:
        backend = (await api.ready())["backend_id"]
        async with api.session.get(f"{api.url}/v2/backend/{backend}/status/stream") as stream:
            await api.terminate(backend)
            assert b"\n:" not in await stream.read()


async def test_or_silence_leaves_nothing_running() -> None:
    async def items() -> Any:
        yield {"a": 1}
        await asyncio.sleep(600)

    stream = or_silence(items(), 0.001)
    assert await anext(stream) == {"a": 1}
    assert await anext(stream) is None
    await stream.aclose()
    assert len(asyncio.all_tasks()) == 1


async def test_terminate() -> None:
    async with serving(POLITE) as api:
        backend = (await api.ready())["backend_id"]
        response, answer = await api.call("POST", f"/v2/backend/{backend}/terminate", data=b"")
        assert (response.status, answer) == (200, {"status": "ok"})
        assert response.headers["Content-Type"] == "application/json"
        await api.wait(backend, "terminated")
        response, answer = await api.call("POST", f"/v2/backend/{backend}/terminate", json={})
        assert_envelope(response, answer, 409, "BackendNotRunning")

        backend = (await api.ready())["backend_id"]
        await api.terminate(backend, hard=True)
        states = await api.states(backend)
        assert [state["status"] for state in states[-2:]] == ["hard-terminating", "terminated"]
        assert states[-1]["termination_kind"] == "hard"
        assert states[-1]["exit_error"] is True


async def test_info_and_lists() -> None:
    async with serving(POLITE) as api:
        one = (await api.connect({"key": "k"}, "acme/whiteboard/staging"))["backend_id"]
        two = (await api.connect({}, "other/notes"))["backend_id"]
        await api.wait(one, "ready")
        _, info = await api.call("GET", f"/v2/backend/{one}")
        assert [state["status"] for state in info["statuses"]][-1] == "ready"
        assert (info["id"], info["key"], info["environment_name"]) == (one, "k", "staging")
        assert (info["account_name"], info["service_name"]) == ("acme", "whiteboard")
        assert info["created_at"] == info["statuses"][0]["time"]
        assert re.fullmatch("sha256:[0-9a-f]{64}", info["image_digest"])

        async def running(account: str) -> set[str]:
            _, answer = await api.call("GET", f"/v2/account/{account}/backends")
            return {backend["id"] for backend in answer["running_backends"]}

        assert await running("acme") == {one}
        assert await running("other") == {two}
        assert await running("-") == {one, two}
        assert await running("nobody") == set()
        assert (await api.call("GET", "/v2/account/acme/services"))[1] == {"services": ["whiteboard"]}
        assert (await api.call("GET", "/v2/account/-/services"))[1] == {"services": ["notes", "whiteboard"]}

        await api.terminate(one)
        await api.wait(one, "terminated")
        assert await running("-") == {two}
        _, info = await api.call("GET", f"/v2/backend/{one}")
        last = info["statuses"][-1]
        assert (last["status"], last["exit_code"], last["last_status"]) == ("terminated", 0, "ready")
        _, answer = await api.call("GET", "/auth")
        assert answer == {"status": "ok", "accounts": ["-"], "is_admin": False}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/backend/nobody/status"),
        ("GET", "/v2/backend/nobody/status/stream"),
        ("POST", "/v2/backend/nobody/terminate"),
        ("GET", "/v2/backend/nobody"),
        ("GET", "/dashboard/nothing"),
        ("GET", "/v3/nothing"),
        ("POST", "/v2/service/connect"),
        ("GET", "/v2/backend/nobody/logs/stream"),
        ("GET", "/v2/service/acme/svc/images"),
        ("POST", "/v2/account/acme/nothing"),
        ("GET", "/favicon.ico"),
    ],
)
async def test_what_is_not_there(method: str, path: str) -> None:
    async with serving() as api:
        response, answer = await api.call(method, path)
        assert_envelope(response, answer, 404, "NotFound")
        is_public = path.endswith(("/status", "/status/stream"))
        assert ("Access-Control-Allow-Origin" in response.headers) == is_public


async def test_a_method_that_is_not_there() -> None:
    async with serving() as api:
        response, answer = await api.call("DELETE", "/v2/service/a/b/connect")
        assert_envelope(response, answer, 405, "MethodNotAllowed")
        assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"\xff", "JSON"),
        (b'{"kee":1}', "kee"),
        (b'{"\\ud800":1}', "Unknown field"),
        (b'{"key":1}', "key"),
        (b'{"user":"a\\nb"}', "control"),
        (b'{"key":"' + b"k" * 129 + b'"}', "128"),
        (b'{"spawn":{"executable":{"env":{"PORT":"1"}}}}', "reserved"),
    ],
)
async def test_bad_requests_spawn_nothing(body: bytes, named: str) -> None:
    async with serving() as api:
        response, answer = await api.call("POST", "/v2/service/-/-/connect", data=body)
        assert_envelope(response, answer, 400, "BadRequest")
        assert named in answer["error"]["message"]
        assert (await api.call("GET", "/v2/account/-/backends"))[1] == {"running_backends": []}


async def test_conflicts() -> None:
    async with serving(Service(SMALL, tags={"old": POLITE})) as api:
        place = "/v2/service/-/-/connect"
        for request in ({"spawn": False}, {"key": "k", "spawn": False}):
            response, answer = await api.call("POST", place, json=request)
            assert_envelope(response, answer, 409, "KeyUnheldNoSpawnConfig")
        response, answer = await api.call("POST", place, json={"key": "k", "spawn": {"tag": "nothing"}})
        assert_envelope(response, answer, 404, "NotFound")

        holder = await api.connect({"key": "k", "spawn": {"tag": "old"}})
        response, answer = await api.call("POST", place, json={"key": "k", "spawn": {"tag": "latest"}})
        assert_envelope(response, answer, 409, "KeyHeld")
        settings: list[dict[str, Any]] = [{"spawn": False}, {"spawn": True}, {}, {"spawn": {"tag": "old"}}]
        for spawn in settings:
            again = await api.connect({"key": "k", **spawn})
            assert (again["backend_id"], again["spawned"]) == (holder["backend_id"], False)
        # A digest is a tag as well.
        _, info = await api.call("GET", f"/v2/backend/{holder['backend_id']}")
        await api.connect({"key": "k", "spawn": {"tag": info["image_digest"]}})


async def test_a_body_that_is_too_large() -> None:
    async with serving() as api:
        response, answer = await api.call("POST", "/v2/service/-/-/connect", data=io.BytesIO(b"x" * (5 * 1024 * 1024)))
        assert_envelope(response, answer, 413, "RequestEntityTooLarge")


async def test_hosts_and_origins() -> None:
    async with serving(allowed_hosts=["dev.example.com"]) as api:
        port = api.server.port
        backend = (await api.connect())["backend_id"]
        status, stream = f"/v2/backend/{backend}/status", f"/v2/backend/{backend}/status/stream"
        connect, info = "/v2/service/-/-/connect", f"/v2/backend/{backend}"
        await api.terminate(backend)
        await api.wait(backend, "terminated")

        async def answer(method: str, path: str, **headers: str) -> int:
            async with api.session.request(method, f"{api.url}{path}", headers=headers) as response:
                if response.status >= 400:
                    assert_envelope(response, json.loads(await response.read()), 403, "Forbidden")
                return response.status

        for method, path in (("POST", connect), ("GET", info), ("GET", status), ("GET", stream), ("GET", "/nothing")):
            assert await answer(method, path, Host="evil.example.com") == 403
            assert await answer(method, path, Host=f"evil.example.com:{port}") == 403
        assert await answer("POST", connect, Host=f"127.0.0.1:{port}") == 200
        assert await answer("POST", connect, Host="dev.example.com") == 200

        for origin in ("https://evil.example.com", "null", "http://localhost:3000"):
            assert await answer("POST", connect, Origin=origin) == 403
            assert await answer("GET", info, Origin=origin) == 403
            assert await answer("GET", "/auth", Origin=origin) == 403
            # These are there for the pages of applications, wherever they come from.
            assert await answer("GET", status, Origin=origin) == 200
            assert await answer("GET", stream, Origin=origin) == 200
        assert await answer("POST", connect, Origin=f"http://localhost:{port}") == 200
        assert await answer("POST", connect, Origin="https://dev.example.com") == 200


async def test_a_token_if_it_is_wanted() -> None:
    async with serving(token="se cret") as api:
        for header, status in (
            (None, 401),
            ("", 401),
            ("Bearer", 401),
            ("Bearer wrong", 401),
            ("Basic se cret", 401),
            ("Bearer se cr\u00e9t", 401),
            ("Bearer se cret", 200),
            ("bearer se cret", 200),
        ):
            headers = {} if header is None else {"Authorization": header}
            response, answer = await api.call("GET", "/auth", headers=headers)
            assert response.status == status
            if status == 401:
                assert_envelope(response, answer, 401, "InvalidAuth")
        # The public state needs none, nor does a connection URL.
        response, connection = await api.call(
            "POST", "/v2/service/-/-/connect", headers={"Authorization": "Bearer se cret"}
        )
        await api.wait(connection["backend_id"], "ready")
        assert (await api.status(connection["backend_id"]))["status"] == "ready"
        async with api.session.get(connection["url"]) as answer:
            assert answer.status == 404


async def test_preflights() -> None:
    async with serving() as api:
        for path, allowed in (
            ("/v2/service/-/-/connect", True),
            ("/v2/backend/x/status", True),
            ("/v2/backend/x/status/stream", True),
            ("/nothing", True),
            ("/v2/backend/x", False),
            ("/v2/backend/x/logs/stream", False),
            ("/v2/backend/x/metrics/stream", False),
        ):
            response, _ = await api.call("OPTIONS", path, headers={"Origin": "https://example.com"})
            assert response.status == 204
            assert (response.headers.get("Access-Control-Allow-Origin") == "*") == allowed
            assert not any(name in response.headers for name in ("Access-Control-Allow-Headers", "Content-Type"))


async def test_what_the_parser_refuses_has_the_envelope_too() -> None:
    async with serving() as api:
        port = api.server.port
        connect = f"POST /v2/service/-/-/connect HTTP/1.1\r\nHost: localhost:{port}\r\n".encode()
        for request in (
            b"garbage\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
            connect + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
            connect + b"Content-Length: many\r\n\r\n",
            connect + b"Bad Header\r\n\r\n",
            connect + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
            # The official CLI counts UTF-16 units: the body is cut off, and the rest looks like another request.
            connect + b'Content-Length: 10\r\n\r\n{"key":"d\xc3\xb4c-\xc3\xa9"}',
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            status, headers, answer = parse(await raw(port, request))
            assert status == 400
            assert headers["content-type"] == "application/json"
            assert answer["error"]["code"] == "BadRequest"

        for path in (b"/v2/service/-/-/connect", b"/nothing"):
            request = b"POST %s HTTP/1.1\r\nHost: localhost:%d\r\nExpect: nonsense\r\n\r\n" % (path, port)
            status, headers, answer = parse(await raw(port, request))
            assert (status, answer["error"]["code"]) == (417, "ExpectationFailed")
            assert headers["content-type"] == "application/json"
        assert (await api.call("GET", "/v2/account/-/backends"))[1] == {"running_backends": []}


async def test_expect_continue() -> None:
    async with serving() as api:
        response, answer = await api.call("POST", "/v2/service/-/-/connect", data=b'{"key":"k"}', expect100=True)
        assert response.status == 200
        assert answer["spawned"] is True


async def test_a_stream_whose_reader_left_is_given_up() -> None:
    async with serving() as api:
        backend = (await api.ready())["backend_id"]
        async with aiohttp.ClientSession() as session:  # so that no idle connection counts
            await Caller(session, api.server).status(backend)
        before = len(asyncio.all_tasks())
        async with aiohttp.ClientSession() as session:
            stream = await session.get(f"{api.url}/v2/backend/{backend}/status/stream")
            await stream.content.readany()
            assert len(asyncio.all_tasks()) > before
            stream.close()
        await eventually(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_reader_who_leaves_at_the_wrong_moment_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as api:
        backend = (await api.ready())["backend_id"]
        client = socket.create_connection(("127.0.0.1", api.server.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        statuses, left = LocalEngine.statuses, asyncio.Event()

        async def leave(engine: LocalEngine, backend_id: str) -> AsyncIterator[dict[str, Any]]:
            # A reset between the request and its answer. The loop reads it after one turn; after another one it would
            # cancel the handler.
            client.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            left.set()
            return await statuses(engine, backend_id)

        monkeypatch.setattr(LocalEngine, "statuses", leave)
        head = f"GET /v2/backend/{backend}/status/stream HTTP/1.1\r\nHost: localhost:{api.server.port}\r\n\r\n"
        client.sendall(head.encode())
        await left.wait()
        assert (await api.status(backend))["status"] == "ready"
    assert caplog.records == []


async def test_many_streams_of_one_backend() -> None:
    async def follow(api: Caller, backend: str) -> int:
        return len(await api.states(backend))

    async with serving() as api:
        backend = (await api.connect())["backend_id"]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            many = Caller(session, api.server)
            streams = [asyncio.create_task(follow(many, backend)) for _ in range(300)]
            await api.wait(backend, "ready")
            await api.terminate(backend)
            assert set(await asyncio.gather(*streams)) == {7}
