"""What can be seen of a backend over HTTP: its output, what it uses; and what it is told of itself."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest

from jamsocket.hosting import Limits, Service

from .support import APP, MUTE, POLITE, SMALL, Caller, python, serving

pytestmark = pytest.mark.asyncio

ENDS = python("signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\nprint('one\\ntwo\\nthree')\nserve()")


async def ended(api: Caller, request: object = None) -> str:
    """A backend that was ready, and was ended then."""
    backend = str((await api.ready(request))["backend_id"])
    await api.terminate(backend)
    await api.wait(backend, "terminated")
    return backend


async def logs(api: Caller, backend: str, after: str | None = None) -> list[tuple[int, str]]:
    """Numbers and lines, up to the end of the stream."""
    headers = {} if after is None else {"Last-Event-ID": after}
    url = f"{api.url}/v2/backend/{backend}/logs/stream"
    async with asyncio.timeout(20), api.session.get(url, headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert "Access-Control-Allow-Origin" not in response.headers
        body = await response.text()
    events = [event.split("\n") for event in body.split("\n\n")[:-1]]
    assert all(len(event) == 2 and event[0].startswith("data: ") and event[1].startswith("id:") for event in events)
    return [(int(event[1][3:]), event[0][6:]) for event in events]


async def lines(api: Caller, backend: str) -> list[str]:
    return [line for _, line in await logs(api, backend)]


async def test_logs_are_numbered_and_can_be_taken_up_again() -> None:
    async with serving(ENDS) as api:
        backend = await ended(api)
        everything = [(1, "one"), (2, "two"), (3, "three")]
        assert await logs(api, backend) == everything
        for after, rest in (
            ("1", 1),
            ("3", 3),
            ("99", 3),
            ("0", 0),
            ("nonsense", 0),
            ("-1", 0),
            ("٣", 0),
            ("9" * 50, 0),
        ):
            assert await logs(api, backend, after) == everything[rest:], after


async def test_logs_come_as_they_are_written() -> None:
    code = python(
        "server = socket.create_server(('127.0.0.1', int(os.environ['GO'])))\n"
        "for line in server.accept()[0].makefile(): print(line.strip())"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with serving(code) as api:
        backend = (await api.connect({"spawn": {"executable": {"env": {"GO": str(port)}}}}))["backend_id"]
        async with api.session.get(f"{api.url}/v2/backend/{backend}/logs/stream") as response:

            async def next_line() -> bytes:
                async with asyncio.timeout(20):
                    return await response.content.readuntil(b"\n\n")

            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0.02)
            for number, word in enumerate((b"here", b"there"), 1):
                writer.write(word + b"\n")
                assert await next_line() == b"data: %s\nid:%d\n\n" % (word, number)
            writer.close()
            assert b"ended with exit code 0 before it answered HTTP" in await next_line()
            assert await response.content.read() == b""


async def test_lines_of_every_kind_survive_the_stream() -> None:
    """What programs write is bytes; an event stream holds lines, and nothing in one may look like its own words."""
    written = rb"a\rb\r\nc\n\n  d\ndata: e\n:f\n\xff\xc3\xa9\x00\x1b[31m\xe2\x80\xa8|\n" + b"\\xf0\\x9f\\x98\\x80"
    code = f"os.write(1, b'{written.decode('ascii')}'); serve()"
    async with serving(python(f"signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); {code}")) as api:
        expected = ["a", "b", "c", "", "  d", "data: e", ":f", "\ufffdé\0\x1b[31m\u2028|", "😀"]
        assert await lines(api, await ended(api)) == expected


async def test_a_line_without_end_is_cut_and_memory_is_bounded() -> None:
    code = python(
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); print('x' * 3_000_000); print('last'); serve()"
    )
    async with serving(code, limits=Limits(log_bytes=200_000, ended_log_bytes=200_000)) as api:
        kept = await logs(api, await ended(api))
        assert kept[-1][1] == "last"
        assert sum(len(line) for _, line in kept) <= 200_000
        assert max(len(line) for _, line in kept) <= 2 * 64 * 1024
        assert kept[0][0] > 1  # the numbers show what is missing


async def test_the_end_shortens_what_is_kept() -> None:
    code = python("signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\nfor n in range(1000): print(n)\nserve()")
    async with serving(code, limits=Limits(ended_log_bytes=5_000)) as api:
        kept = await logs(api, await ended(api))
        assert kept[-1] == (1000, "999")
        assert 10 < len(kept) < 100


async def test_many_readers_of_one_log_and_some_that_leave() -> None:
    code = python("signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\nfor n in range(2000): print(n)\nserve()")
    async with serving(code) as api:
        backend = (await api.ready())["backend_id"]
        readers = [asyncio.create_task(logs(api, backend)) for _ in range(20)]
        await asyncio.sleep(0.05)
        for reader in readers[:10]:
            reader.cancel()
        await api.terminate(backend)
        everything = [(number, str(number - 1)) for number in range(1, 2001)]
        assert all(got == everything for got in await asyncio.gather(*readers[10:]))


# ── Metrics ──


async def test_metrics_come_as_they_are_measured_up_to_the_end() -> None:
    async with serving(POLITE, limits=Limits(metrics_interval=0.02)) as api:
        backend = (await api.ready({"spawn": {"executable": {"resource_limits": {"memory_limit_bytes": 2**33}}}}))[
            "backend_id"
        ]
        seen: list[dict[str, Any]] = []
        async with asyncio.timeout(20), api.session.get(f"{api.url}/v2/backend/{backend}/metrics/stream") as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            assert "Access-Control-Allow-Origin" not in response.headers
            async for line in response.content:
                if line.startswith(b"data:"):
                    seen.append(json.loads(line[5:]))
                    if len(seen) == 3:
                        await api.terminate(backend)
        assert len(seen) >= 3
        for each in seen:
            assert list(each) == ["cpu_used", "sys_cpu", "mem_used", "mem_available", "mem_limit"]
            assert 2**20 < each["mem_used"] < 2**28
            assert each["mem_available"] == each["mem_limit"] - each["mem_used"] == 2**33 - each["mem_used"]
            assert 0 <= each["cpu_used"] <= each["sys_cpu"]
        _, info = await api.call("GET", f"/v2/backend/{backend}")
        assert info["max_mem_bytes"] >= max(each["mem_used"] for each in seen)


# ── What a backend is told, and what is said of one that does not listen ──


async def test_a_backend_that_listens_elsewhere_is_told_where_it_should() -> None:
    elsewhere = python(
        "server = socket.create_server(('127.0.0.1', 0)); print('elsewhere', server.getsockname()[1]); time.sleep(600)"
    )
    async with serving(elsewhere, limits=Limits(hint=0.3)) as api:
        backend = (await api.connect())["backend_id"]
        async with api.session.get(f"{api.url}/v2/backend/{backend}/logs/stream") as response, asyncio.timeout(20):
            port = int((await response.content.readuntil(b"\n\n")).split()[2])
            hint = (await response.content.readuntil(b"\n\n")).decode()
        assert "jamsocket: no HTTP answer on 127.0.0.1:" in hint
        assert f"(the variable PORT) yet; it listens on port {port} instead" in hint
        assert (await api.status(backend))["status"] == "waiting"


async def test_a_backend_that_never_listens_is_told_so_and_ended() -> None:
    async with serving(MUTE, limits=Limits(startup=0.5, hint=0.1)) as api:
        backend = (await api.connect())["backend_id"]
        last = (await api.states(backend))[-1]
        assert (last["termination_reason"], last["termination_kind"]) == ("startuptimeout", "hard")
        told = await lines(api, backend)
        assert told[0] == "mute"
        assert told[1].endswith("(the variable PORT) yet; it does not listen on any port")
        assert told[2].endswith("(the variable PORT) in 0.5 s; it does not listen on any port")


async def test_a_backend_that_ends_before_it_listens_is_told_so() -> None:
    async with serving(python("print('bye'); sys.exit(3)")) as api:
        backend = (await api.connect())["backend_id"]
        await api.states(backend)
        told = await lines(api, backend)
        assert told[0] == "bye"
        assert "jamsocket: ended with exit code 3 before it answered HTTP on 127.0.0.1:" in told[1]
        # One that was told to end has no need of it.
        backend = (await api.connect())["backend_id"]
        await api.terminate(backend, hard=True)
        await api.states(backend)
        assert not any("before it answered" in line for line in await lines(api, backend))


SHOW_ENV = python(
    "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\nimport json\nprint(json.dumps(dict(os.environ)))\nserve()"
)


async def test_variables_of_a_service_and_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "server")
    monkeypatch.setenv("SESSION_BACKEND_STATIC_TOKEN", "somebody else's")
    services = {
        "svc": Service(SHOW_ENV, env={"OURS": "service", "BOTH": "service"}),
        "other": Service(SHOW_ENV, static_tokens=True),
    }
    async with serving(services) as api:
        backend = await ended(api, {"spawn": {"executable": {"env": {"BOTH": "request"}}}})
        env = json.loads((await lines(api, backend))[0])
        assert (env["OURS"], env["BOTH"], env["JAMSOCKET_SERVICE"]) == ("service", "request", "svc")
        assert "SESSION_BACKEND_STATIC_TOKEN" not in env
        connection = await api.connect({}, "acme/other")
        await api.wait(connection["backend_id"], "ready")
        await api.terminate(connection["backend_id"])
        await api.wait(connection["backend_id"], "terminated")
        env = json.loads((await lines(api, connection["backend_id"]))[0])
        assert (env["OURS"], env["SESSION_BACKEND_STATIC_TOKEN"]) == ("server", connection["token"])
        assert "BOTH" not in env


async def test_a_static_token_stays_and_says_nothing_of_its_user() -> None:
    async with serving({"svc": Service(APP, static_tokens=True)}) as api:
        first = await api.connect({"key": "k", "user": "ada", "auth": {"role": "editor"}})
        again = await api.connect({"key": "k", "user": "bob"})
        assert first["token"] == again["token"]
        assert first["token"].startswith("s.")
        assert len(first["token"]) == 45
        assert first["secret_token"] is None
        assert (await api.connect({"key": "other"}))["token"] != first["token"]
        await api.wait(first["backend_id"], "ready")
        async with api.session.get(f"{first['url']}a%2Fb?x=1", headers={"x-verified-username": "eve"}) as response:
            seen = await response.json()
        assert seen["path"] == f"/{first['token']}/a%2Fb?x=1"  # nothing is stripped
        verified = {name: value for name, value in seen["headers"] if name.startswith("x-verified")}
        assert verified == {
            "x-verified-path": f"/{first['token']}/a%2Fb",
            "x-verified-backend": first["backend_id"],
            "x-verified-secret": "",
        }
        await api.terminate(first["backend_id"], hard=True)
        await api.wait(first["backend_id"], "terminated")
        async with api.session.get(first["url"]) as response:
            assert response.status == 410
        assert (await api.connect({"key": "k"}))["token"] != first["token"]


async def test_a_server_that_needs_a_token_needs_it_for_what_is_private() -> None:
    async with serving(SMALL, token="t") as api, aiohttp.ClientSession(headers={"Authorization": "Bearer t"}) as owner:
        async with owner.post(f"{api.url}/v2/service/-/-/connect", json={}) as response:
            backend = (await response.json())["backend_id"]
        for path in ("", "/logs/stream", "/metrics/stream"):
            response, answer = await api.call("GET", f"/v2/backend/{backend}{path}")
            assert (response.status, answer["error"]["code"]) == (401, "InvalidAuth"), path
        assert (await api.call("GET", f"/v2/backend/{backend}/status"))[0].status == 200
