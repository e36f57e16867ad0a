"""Connection URLs: what the backend sees, and what the browser gets back."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from multidict import CIMultiDict

from .support import APP, MUTE, SMALL, STUBBORN, Caller, Output, eventually, python, raw, serving

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Caller]:
    """A server whose backends are `app.py`."""
    output = Output()
    async with serving(APP, on_line=output.on_line) as api:
        api.output = output  # type: ignore[attr-defined]
        yield api


def output(api: Caller) -> Output:
    found: Output = api.output  # type: ignore[attr-defined]
    return found


async def seen(api: Caller, url: str, method: str = "GET", **kwargs: Any) -> dict[str, Any]:
    async with api.session.request(method, url, **kwargs) as response:
        assert response.status == 200
        answer: dict[str, Any] = json.loads(await response.read())
        return answer


def headers_of(answer: dict[str, Any]) -> CIMultiDict[str]:
    return CIMultiDict([(name, value) for name, value in answer["headers"]])


async def test_what_the_backend_sees(api: Caller) -> None:
    connection = await api.ready({"user": "ada", "auth": {"role": "é", "n": 1}})
    token = connection["token"]
    answer = await seen(
        api,
        connection["url"] + "a/b?x=1&y",
        "PUT",
        data=b"body",
        headers=[
            ("X-Verified-Username", "mallory"),
            ("x-verified-username", "mallory"),
            ("x-verified-secret", "guess"),
            ("X-Verified-Nonsense", "1"),
            ("X_Verified_Username", "mallory"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-Proto", "https"),
            ("X-Twice", "1"),
            ("X-Twice", "2"),
            ("Accept-Encoding", "br"),
            ("Connection", "x-hop"),
            ("X-Hop", "1"),
        ],
        skip_auto_headers=["User-Agent", "Content-Type"],
    )
    headers = headers_of(answer)
    assert (answer["method"], answer["path"]) == ("PUT", "/a/b?x=1&y")
    assert base64.b64decode(answer["body"]) == b"body"
    ours = {name: value for name, value in headers.items() if "verified" in name}
    assert ours == {
        "x-verified-username": "ada",
        "x-verified-user-data": '{"role":"\\u00e9","n":1}',
        "x-verified-path": f"/{token}/a/b",
        "x-verified-backend": connection["backend_id"],
        "x-verified-secret": connection["secret_token"],
    }
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["host"] == f"localhost:{api.server.proxy_port}"
    assert headers.getall("x-twice") == ["1", "2"]
    assert headers["accept-encoding"] == "br"
    assert headers["content-length"] == "4"
    assert not {"x-hop", "user-agent", "content-type", "transfer-encoding"} & set(headers)

    headers = headers_of(await seen(api, connection["url"]))
    assert headers["x-verified-user-data"] == '{"role":"\\u00e9","n":1}'

    # Another connection to the same backend is another user.
    plain = await api.connect({})
    await api.wait(plain["backend_id"], "ready")
    headers = headers_of(await seen(api, plain["url"]))
    assert "x-verified-username" not in headers
    assert headers["x-verified-user-data"] == "{}"


async def test_a_user_that_no_header_can_hold(api: Caller) -> None:
    connection = await api.ready({"user": "adâ"})
    assert "x-verified-username" not in headers_of(await seen(api, connection["url"]))


async def test_paths_pass_untouched(api: Caller) -> None:
    connection = await api.ready()
    port, token = api.server.proxy_port, connection["token"]
    for path, expected in (
        ("", "/"),
        ("/", "/"),
        ("?q", "/?q"),
        ("//a", "//a"),
        ("/a%2Fb%20c/%2e%2e/./x;y=1", "/a%2Fb%20c/%2e%2e/./x;y=1"),
        ("/a/../b", "/a/../b"),
        ("/s?a=b&&c=%zz?/[]", "/s?a=b&&c=%zz?/[]"),
        ("/s?" + "x" * 20_000, "/s?" + "x" * 20_000),
    ):
        request = f"GET /{token}{path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
        answer = await raw(port, request.encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        if len(path) < 8000:  # more than aiohttp's server, the backend here, takes
            assert head.startswith(b"HTTP/1.1 200")
            assert json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["path"] == expected
        else:
            assert b"x-plane-backend-id" in head.lower()


async def test_what_the_browser_gets(api: Caller) -> None:
    connection = await api.ready()
    url = connection["url"]
    async with api.session.get(url + "headers") as response:
        assert (response.status, response.reason) == (203, "Just So")
        assert gzip.decompress(await response.read()) == b"hello"
        assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert response.headers["X-Once"] == "1"
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["x-plane-backend-id"] == connection["backend_id"]
        assert response.headers["Server"].startswith("jamsocket/")
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Access-Control-Allow-Methods"] == "*"
        assert response.headers["Access-Control-Allow-Headers"] == "*, Authorization"
    async with api.session.get(url + "own-cors") as response:
        assert response.headers["Access-Control-Allow-Origin"] == "https://example.com"
        assert "Access-Control-Allow-Methods" not in response.headers
    async with api.session.get(url + "redirect", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/elsewhere?x=1")
    async with api.session.get(url + "empty") as response:
        assert (response.status, await response.read()) == (204, b"")
        assert "Content-Length" not in response.headers
    async with api.session.head(url + "big") as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(64 * 1024 * 1024))
    # A preflight is the backend's to answer.
    assert (await seen(api, url, "OPTIONS"))["method"] == "OPTIONS"
    # What one browser was given is not sent along with the next request.
    assert "cookie" not in headers_of(await seen(api, url))


async def test_bodies_stream_both_ways(api: Caller) -> None:
    url = (await api.ready())["url"]

    async with asyncio.timeout(30):
        # In step: each chunk is answered before the next is sent. Whoever collects would wait for ever.
        received: asyncio.Queue[bytes] = asyncio.Queue()

        async def chunks() -> AsyncIterator[bytes]:
            for number in range(5):
                yield b"chunk %d" % number
                assert await received.get() == b"chunk %d" % number

        async with api.session.post(url + "echo", data=chunks()) as response:
            async for chunk in response.content.iter_any():
                received.put_nowait(chunk)

        # Much more than any buffer holds, both ways at once.
        async def many() -> AsyncIterator[bytes]:
            for _ in range(256):
                yield b"x" * 65536

        async with api.session.post(url + "echo", data=many()) as response:
            size = 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
        assert size == 256 * 65536

        async with api.session.post(url + "digest", data=many()) as response:
            digest = json.loads(await response.read())
        assert digest == {"size": 256 * 65536, "sha256": hashlib.sha256(b"x" * 256 * 65536).hexdigest()}

        async with api.session.get(url + "big") as response:
            size = 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
        assert size == 64 * 1024 * 1024


async def test_a_slow_reader_slows_the_backend_down(api: Caller) -> None:
    """What the browser does not read stays in the backend: nothing is piled up in between."""
    url = (await api.ready())["url"]
    before = resident()
    async with api.session.get(url + "big") as response:
        for _ in range(50):
            await asyncio.sleep(0.01)
            assert resident() - before < 32 * 1024 * 1024
        response.close()


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("path", ["drip", "hang"])
async def test_a_client_that_leaves_is_gone_for_the_backend_too(api: Caller, path: str) -> None:
    url = (await api.ready())["url"]
    async with aiohttp.ClientSession() as session:
        request = asyncio.create_task(session.get(url + path))
        if path == "hang":
            await eventually(lambda: "hanging" in output(api).lines)
            request.cancel()
            await asyncio.wait({request})
        else:
            response = await request
            await response.content.readany()
            response.close()
    await eventually(lambda: f"{path} ended" in output(api).lines)


async def test_a_body_that_breaks_off_breaks_off_here_too(api: Caller) -> None:
    url = (await api.ready())["url"]
    async with api.session.get(url + "cut") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_backend_that_dies_is_a_bad_gateway(api: Caller) -> None:
    connection = await api.ready()
    async with api.session.get(connection["url"] + "vanish") as response:
        assert (response.status, await response.read()) == (502, b"")
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    state = await api.wait(connection["backend_id"], "terminated")
    assert state == {"status": "terminated", "time": state["time"], "exit_error": True}


async def test_expect_continue(api: Caller) -> None:
    url = (await api.ready())["url"]
    answer = await seen(api, url, "POST", data=b"body", expect100=True)
    assert base64.b64decode(answer["body"]) == b"body"


@pytest.mark.parametrize("query", ["", "?x=1"])
async def test_urls_that_lead_nowhere(api: Caller, query: str) -> None:
    base = f"http://localhost:{api.server.proxy_port}"
    for path, status in (("/", 400), ("//x", 400), ("/ready", 200), ("/nothing/", 410), ("/nothing", 410)):
        async with api.session.get(base + path + query) as response:
            assert (response.status, await response.read()) == (status, b""), path
            assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_hosts(api: Caller) -> None:
    connection = await api.ready()
    port = api.server.proxy_port
    for host, status in (
        (f"localhost:{port}", 200),
        (f"127.0.0.1:{port}", 200),
        ("evil.example.com", 403),
        (f"evil.example.com:{port}", 403),
        (f"localhost:{port + 1}", 403),
    ):
        async with api.session.get(
            connection["url"], headers={"Host": host, "Origin": "https://any.where"}
        ) as response:
            assert response.status == status
    answer = await raw(port, f"GET /{connection['token']}/ HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 400")
    assert answer.endswith(b"\r\n\r\n")
    assert b"Access-Control-Allow-Origin: *" in answer


# ── In time ──


async def test_a_request_is_held_until_the_backend_is_ready() -> None:
    late = python("sys.stdin; time.sleep(0.3); serve()")
    async with serving(late) as api:
        connection = await api.connect({})
        async with api.session.get(connection["url"]) as response:
            assert (response.status, await response.read()) == (404, b"hi")
        assert (await api.status(connection["backend_id"]))["status"] == "ready"


async def test_a_held_request_is_let_go_when_there_is_nothing_to_wait_for() -> None:
    async with serving(MUTE) as api:
        connection = await api.connect({})
        held = [asyncio.create_task(api.session.get(connection["url"])) for _ in range(3)]
        await api.wait(connection["backend_id"], "waiting")
        await asyncio.sleep(0.05)
        assert not any(request.done() for request in held)
        await api.terminate(connection["backend_id"])
        for request in held:
            response = await request
            assert (response.status, await response.read()) == (410, b"")
            response.close()


async def test_who_is_in_stays_in_until_the_end_and_nobody_else_comes_in() -> None:
    async with serving(STUBBORN) as api:
        used = await api.ready({"key": "k"})
        unused = await api.connect({"key": "k"})
        async with api.session.get(used["url"]) as response:
            assert response.status == 404
        await api.terminate(used["backend_id"])
        late = await api.connect({"key": "k"})
        assert (late["spawned"], late["status"], late["backend_id"]) == (False, "terminating", used["backend_id"])
        for connection, status in ((used, 404), (unused, 410), (late, 410)):
            async with api.session.get(connection["url"]) as response:
                assert response.status == status
        await api.terminate(used["backend_id"], hard=True)
        await api.wait(used["backend_id"], "terminated")
        for connection in (used, unused, late):
            async with api.session.get(connection["url"]) as response:
                assert (response.status, await response.read()) == (410, b"")
        assert (await api.connect({"key": "k"}))["spawned"] is True


# ── WebSocket ──


async def test_websocket(api: Caller) -> None:
    connection = await api.ready({"user": "ada"})
    async with api.session.ws_connect(
        connection["url"] + "ws?x=1",
        protocols=["chat.v1", "chat.v3"],
        headers={"x-verified-username": "mallory", "Origin": "https://any.where"},
        compress=15,
        max_msg_size=0,
    ) as socket:
        assert socket.protocol == "chat.v1"
        assert socket.compress  # agreed upon by the two ends, over our heads
        headers = await socket.receive_json()
        assert headers["x-verified-username"] == "ada"
        assert headers["x-verified-backend"] == connection["backend_id"]
        assert headers["Host"] == f"localhost:{api.server.proxy_port}"
        assert headers["Origin"] == "https://any.where"
        await socket.send_str("héllo")
        assert await socket.receive_str() == "héllo"
        big = os.urandom(8 * 1024 * 1024)
        await socket.send_bytes(big)
        assert await socket.receive_bytes() == big
        await socket.close(code=4000, message=b"bye")
    await eventually(lambda: "closed 4000" in output(api).lines)


async def test_a_websocket_that_the_backend_closes(api: Caller) -> None:
    url = (await api.ready())["url"]
    async with api.session.ws_connect(url + "ws") as socket:
        await socket.receive_json()
        await socket.send_str("close")
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4123, "go away")


async def test_a_websocket_whose_client_vanishes(api: Caller) -> None:
    url = (await api.ready())["url"]
    socket = await api.session.ws_connect(url + "ws")
    await socket.receive_json()
    response: Any = socket._response
    response.connection.transport.abort()
    await eventually(lambda: any(line.startswith("closed") for line in output(api).lines))
    assert output(api).lines[-1] in {"closed None", "closed 1006"}  # no code: not a clean end
    await socket.close()


async def test_the_last_words_of_a_client_arrive(api: Caller) -> None:
    """A closing frame, and the connection cut right behind it."""
    connection = await api.ready()
    port = api.server.proxy_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET /{connection['token']}/ws HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: keep-alive, Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    writer.write(bytes([0x88, 0x82, 0, 0, 0, 0]) + (4001).to_bytes(2, "big"))
    writer.close()
    await eventually(lambda: "closed 4001" in output(api).lines)


async def test_a_websocket_that_the_backend_refuses(api: Caller) -> None:
    url = (await api.ready())["url"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.session.ws_connect(url + "no-ws")
    assert caught.value.status == 401


async def test_a_websocket_ends_with_its_backend(api: Caller) -> None:
    connection = await api.ready()
    async with api.session.ws_connect(connection["url"] + "ws") as socket:
        await socket.receive_json()
        await api.terminate(connection["backend_id"], hard=True)
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSED
    await api.wait(connection["backend_id"], "terminated")


async def test_a_websocket_waits_until_ready_or_is_told_that_it_is_over() -> None:
    async with serving(APP) as api:
        connection = await api.connect()
        async with api.session.ws_connect(connection["url"] + "ws") as socket:
            await socket.receive_json()
        await api.terminate(connection["backend_id"], hard=True)
        await api.wait(connection["backend_id"], "terminated")
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await api.session.ws_connect(connection["url"] + "ws")
        assert caught.value.status == 410


async def test_a_backend_that_answers_nonsense() -> None:
    nonsense = python("""
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as server:
    while True:
        client, _ = server.accept()
        with client:
            head = client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n" if head.startswith(b"HEAD") else b"SSH-2.0-OpenSSH_9.9\\r\\n")
""")
    async with serving(nonsense) as api:
        connection = await api.ready()
        async with api.session.get(connection["url"]) as response:
            assert (response.status, await response.read()) == (502, b"")


async def test_a_polite_backend_may_finish_its_answer() -> None:
    slow = python("""
def end(*_):
    pass
signal.signal(signal.SIGTERM, end)
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as server:
    while True:
        client, _ = server.accept()
        with client:
            head = client.recv(65536)
            if head.startswith(b"HEAD"):
                client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
                continue
            print("asked")
            signal.pause()
            client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nlast")
            sys.exit(0)
""")
    out = Output()
    async with serving(slow, on_line=out.on_line, stop_grace=5) as api:
        connection = await api.ready()
        request = asyncio.create_task(api.session.get(connection["url"]))
        await eventually(lambda: "asked" in out.lines)
        await api.terminate(connection["backend_id"])
        response = await request
        assert (response.status, await response.read()) == (200, b"last")
        response.close()


async def test_no_content_type_is_made_up() -> None:
    """Of a type that nobody named, a browser would make a download, or an error of its own."""
    async with serving(SMALL) as api:  # which names none
        connection = await api.ready()
        async with api.session.get(connection["url"]) as response:
            assert (response.status, await response.read()) == (404, b"hi")
            assert "Content-Type" not in response.headers
        async with api.session.get(f"http://localhost:{api.server.proxy_port}/nothing/") as response:
            assert response.status == 410
            assert "Content-Type" not in response.headers
