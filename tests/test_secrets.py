"""Planted secrets, searched for wherever something is shown, kept or sent: for both clients, over real sockets.

Shown: log records of every logger at DEBUG, repr and str, errors and what they were raised from, tracebacks with local
variables (as error reporters send them), pickles. Sent: to proxies and to where redirects point.

`InvalidResponseError.body` and `HTTPError.body` may hold what the server sent; that is documented, and left out here.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gzip
import json
import logging
import pickle
import pprint
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from jamsocket import AsyncJamsocket, Jamsocket, JamsocketError
from tests.support.clients import Maker
from tests.support.faults import (
    FaultServer,
    Script,
    close,
    endless,
    event,
    finish,
    hang,
    head,
    raw,
    reset,
    respond,
    state,
    stream,
    until,
    write,
)
from tests.test_calls import CONNECT, CONNECTION, STATUS, TERMINATE

STREAM = STATUS + "/stream"
TESTS = str(Path(__file__).parent)
API_TOKEN = "tok-planted-secret"  # as `Maker.to` plants it
AUTH = "planted-auth-value"
OF_THE_ANSWER = ("planted-connection-token", "planted-secret-token")
SECRETS = (API_TOKEN, *OF_THE_ANSWER)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("POST", CONNECT, [respond(200, CONNECTION)])
        server.on("GET", STATUS, [respond(200, state("ready"))])
        server.on("POST", TERMINATE, [respond(200, {})])
        server.on("GET", STREAM, stream(event("ready"), event("terminated"), finish))
        yield server


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every logger at DEBUG, as `logging.basicConfig(level=DEBUG)` has it, and those that were set otherwise too."""
    caplog.set_level(logging.DEBUG)
    for name in ("jamsocket", "httpx", "httpcore", "httpcore.connection", "httpcore.http11", "asyncio", "sseclient"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Each record as text, with its arguments, extras and exception."""
    formatter = logging.Formatter()
    return [f"{formatter.format(record)} {record.args!r} {record.__dict__!r}" for record in caplog.records]


def family(error: BaseException) -> list[BaseException]:
    """The error, what it was raised from, and what was being handled then."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and link not in found:
            found.append(link)
            waiting += [link.__cause__, link.__context__]
    return found


def below_the_tests(error: BaseException) -> Iterator[tuple[str, str, str]]:
    """(where, variable, value) of every frame that is not a test's own: ours and the libraries'."""
    for link in family(error):
        for frame in traceback.TracebackException.from_exception(link, capture_locals=True).stack:
            if not frame.filename.startswith(TESTS) and "concurrent/futures" not in frame.filename:
                for name, value in (frame.locals or {}).items():
                    yield f"{frame.filename}: {frame.name}", name, value


def shown_by(error: BaseException) -> Iterator[str]:
    for link in family(error):
        yield from (repr(link), str(link), "".join(traceback.format_exception(link)), repr(link.args))
        yield from map(str, getattr(link, "__notes__", []))
    attributes = {name: value for name, value in vars(error).items() if name not in {"body", "headers"}}
    yield from (repr(attributes), pprint.pformat(attributes))


def pickled(error: JamsocketError) -> bytes:
    twin = copy.copy(error)
    if hasattr(twin, "body"):
        twin.body = b""
    return pickle.dumps(twin)


def places(error: BaseException, *secrets: str) -> set[tuple[str, str]]:
    """Which local variables show one of the secrets."""
    return {
        (where.rpartition("/")[2], name)
        for where, name, value in below_the_tests(error)
        if any(secret in value for secret in secrets)
    }


def free_of(secrets: tuple[str, ...], texts: Iterator[str] | list[str]) -> None:
    for text in texts:
        for secret in secrets:
            assert secret not in text


# ── What goes well ──


@pytest.mark.parametrize("over_httpx", [False, True])
def test_a_day_without_errors(
    make: Maker, server: FaultServer, everything_logged: pytest.LogCaptureFixture, over_httpx: bool
) -> None:
    http_client = make.http_client() if over_httpx else None
    client = make.to(server.url, http_client=http_client)
    connection = client.connect(key="k", auth={"password": AUTH})
    client.status("b1")
    client.terminate("b1")
    with client.statuses("b1") as states:
        list(states)
    client.wait_until_ready("b1")
    inner = getattr(client, "client", client)
    shown = [repr(connection), str(connection), f"{connection}", pprint.pformat(connection), repr([connection])]
    for thing in (inner, inner._session, inner._session.config, inner._session._transport, states):
        shown += [repr(thing), str(thing), pprint.pformat(thing)]
    shown += [repr(vars(inner)), repr(vars(inner._session)), repr(vars(inner._session._transport))]
    shown.append(repr(attrs.asdict(inner._session.config)))
    operation = inner._session.operations.connect(None, {"auth": {"password": AUTH}})
    shown += [repr(operation), repr(operation.request)]
    free_of((*SECRETS, AUTH), [*shown, *logged(everything_logged)])
    loggers = {"jamsocket"} | ({"httpx", "httpcore"} if over_httpx else set())
    assert {record.name.partition(".")[0] for record in everything_logged.records} >= loggers
    if http_client is not None:
        make.close_http_client(http_client)


def test_neither_clients_nor_secrets_are_pickled(make: Maker, server: FaultServer) -> None:
    client = make.to(server.url)
    inner = getattr(client, "client", client)
    for thing in (inner, inner._session.config, inner._session.config.token):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with contextlib.suppress(TypeError):
            assert API_TOKEN not in repr(copy.copy(thing))


# ── What goes wrong ──

LONG = json.dumps(CONNECTION).encode()
BEGUN = b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + LONG
CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\nzz\r\n" % (len(LONG), LONG)
FAILURES: dict[str, Any] = {
    "refused": [respond(401, {"error": {"message": "Who are you?"}})],
    "a conflict that repeats the answer": [respond(409, CONNECTION)],
    "reset": [reset],
    "not HTTP": [raw(b"SSH-2.0-OpenSSH\r\n\r\n"), close],
    "a redirect": [respond(307, location="http://127.0.0.1:1/planted")],
    "a field of a wrong type": [respond(200, {**CONNECTION, "spawned": "yes"})],
    "an odd field": [respond(200, {**CONNECTION, "status": None})],
    "no JSON": [respond(200, LONG[:-1])],
    "no UTF-8": [respond(200, LONG + b"\xff")],
    "no object": [respond(200, b"[" + LONG + b"]")],
    "too deep": [respond(200, b'{"url":"planted-connection-token","x":' + b"[" * 100_000)],
    "cut": [raw(BEGUN), close],
    "cut by a reset": [
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + LONG),
        lambda c: time.sleep(0.05),
        reset,
    ],
    "stalled": [raw(BEGUN), hang],
    "broken chunks": [
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\nzz\r\n" % (len(LONG), LONG)),
        close,
    ],
    "too large": [head(200, content_type="application/json"), endless(LONG * 500)],
    "another coding": [respond(200, CONNECTION, content_encoding="br")],
    "a coding that it is not in": [respond(200, CONNECTION, content_encoding="gzip")],
    "compressed and cut": [respond(200, gzip.compress(LONG)[:-9], content_encoding="gzip")],
}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(*(case.values if hasattr(case, "values") else [case]), marks=getattr(case, "marks", ()), id=name)
        for name, case in FAILURES.items()
    ],
)
def test_no_failure_shows_a_secret(
    make: Maker, server: FaultServer, script: Script, everything_logged: pytest.LogCaptureFixture
) -> None:
    server.on("POST", CONNECT, list(script))
    with pytest.raises(JamsocketError) as caught:
        make.to(server.url, max_retries=0, timeout=0.5).connect(key="k", auth={"password": AUTH})
    error = caught.value
    free_of((*SECRETS, AUTH), list(shown_by(error)))
    free_of((*SECRETS, AUTH), [pickled(error).decode("latin-1"), *logged(everything_logged)])
    assert places(error, *SECRETS) == set()


ITERATED = {"statuses", "logs", "metrics"}


@pytest.mark.parametrize(
    "call", ["status", "terminate", "statuses", "logs", "metrics", "backend_info", "delete_service"]
)
def test_no_failure_of_another_call_shows_the_token(
    make: Maker, server: FaultServer, call: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    scripts: list[Script] = [
        [respond(404)],
        [reset],
        [respond(302, location="/x")],
        [respond(200, b"{")],
        [respond(503)],
    ]
    client = make.to(server.url, max_retries=0, timeout=0.5)
    for script in scripts:
        for method, path in (
            ("GET", STATUS),
            ("POST", TERMINATE),
            ("GET", STREAM),
            ("GET", "/v2/backend/b1/logs/stream"),
            ("GET", "/v2/backend/b1/metrics/stream"),
            ("GET", "/v2/backend/b1"),
            ("POST", "/v2/service/acme/b1/delete"),
        ):
            server.on(method, path, script)
        with pytest.raises(JamsocketError) as caught:
            next(getattr(client, call)("b1")) if call in ITERATED else getattr(client, call)("b1")
        free_of(SECRETS, [*shown_by(caught.value), pickled(caught.value).decode("latin-1")])
        assert places(caught.value, *SECRETS) == set()
    free_of(SECRETS, logged(everything_logged))


@pytest.mark.parametrize("where", ["json", "text", "reason"])
def test_a_server_that_repeats_the_token_does_not_get_it_shown(make: Maker, server: FaultServer, where: str) -> None:
    """Many an API says `Invalid token: …`, and many an application logs the error."""
    answer = {
        "json": respond(401, {"error": {"message": f"Invalid token: {API_TOKEN}", "code": "BadToken"}}),
        "text": respond(401, f"Invalid token: {API_TOKEN}"),
        "reason": raw(f"HTTP/1.1 401 No {API_TOKEN}\r\ncontent-length: 0\r\n\r\n".encode()),
    }[where]
    server.on("POST", CONNECT, [answer])
    with pytest.raises(JamsocketError) as caught:
        make.to(server.url).connect()
    free_of(SECRETS, list(shown_by(caught.value)))


def test_an_argument_that_is_refused_is_not_shown(make: Maker, server: FaultServer) -> None:
    """The message says where, not what."""
    client = make.to(server.url)
    for auth in (
        {"a": AUTH, "b": object()},
        {"a": [AUTH, float("nan")]},
        {"a": AUTH + "\ud800"},
        AUTH,
        {"a": {1: AUTH}},
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            client.connect(key="k", auth=auth)
        free_of((AUTH, *SECRETS), [repr(caught.value), "".join(traceback.format_exception_only(caught.value))])
        assert places(caught.value, API_TOKEN) == set()


def test_where_auth_values_show_in_a_traceback_with_locals(make: Maker, server: FaultServer) -> None:
    """They are the caller's own data, in the caller's own frames too; here is the whole list of ours that show them."""
    client = make.to(server.url, max_retries=0)
    server.on("POST", CONNECT, [respond(500)])
    with pytest.raises(JamsocketError) as sent:
        client.connect(key="k", auth={"password": AUTH})
    twin = "client.py: connect" if make.kind == "blocking" else "async_client.py: connect"
    assert places(sent.value, AUTH) == {(twin, "options")}
    with pytest.raises(TypeError) as refused:
        client.connect(auth={"password": AUTH, "x": [object()]})
    frames = {where.partition(":")[0] for where, _ in places(refused.value, AUTH)}
    assert frames == {twin.partition(":")[0], "operations.py", "requests.py"}


# ── Interrupted from outside: the traceback is then not ours to choose, unless we see to it ──


def test_cancelling_at_no_step_shows_the_token(server: FaultServer) -> None:
    """For every n: the call is cancelled at its n-th step, while the request is written, answered, read."""
    never = threading.Event()
    for script in ([until(never)], [raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + LONG), until(never)]):
        server.on("POST", CONNECT, script)
        for steps in range(1, 40):
            error = asyncio.run(cancelled_after(server.url, steps))
            assert places(error, *SECRETS) == set(), steps
    never.set()


async def cancelled_after(url: str, steps: int) -> BaseException:
    async with AsyncJamsocket(account="acme", token=API_TOKEN, service="whiteboard", api_url=url) as client:
        task = asyncio.create_task(client.connect(key="k"))
        for _ in range(steps):
            await asyncio.sleep(0)
        if steps > 30:
            await asyncio.sleep(0.02)  # the answer's start is there
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return error
    raise AssertionError("it should have been cancelled")


@pytest.mark.parametrize("over_httpx", [False, True])
@pytest.mark.parametrize("moment", ["write", "read"])
def test_an_interrupt_does_not_show_the_token(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, moment: str, over_httpx: bool
) -> None:
    """Ctrl-C while the blocking client writes the request, or reads the answer's second part."""
    names = {"write": "send", "read": "recv"}
    real = getattr(socket.socket, names[moment])
    us = threading.current_thread()
    calls = 0

    def interrupted(self: Any, *args: Any) -> Any:
        nonlocal calls
        if threading.current_thread() is us:
            calls += 1
            if calls == (1 if moment == "write" else 2):
                raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(socket.socket, names[moment], interrupted)
    server.on("POST", CONNECT, [raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + LONG), hang])
    with (
        httpx.Client() as http_client,
        Jamsocket(
            account="acme",
            token=API_TOKEN,
            service="whiteboard",
            api_url=server.url,
            http_client=http_client if over_httpx else None,
        ) as client,
        pytest.raises(KeyboardInterrupt) as caught,
    ):
        client.connect(key="k")
    assert places(caught.value, *SECRETS) == set()


def test_a_closed_client_shows_no_token(make: Maker, server: FaultServer) -> None:
    client = make.to(server.url)
    client.connect()
    client.close()
    for call in (client.connect, lambda: client.status("b1"), lambda: next(client.statuses("b1"))):
        with pytest.raises(RuntimeError) as caught:
            call()
        free_of(SECRETS, list(shown_by(caught.value)))
        assert places(caught.value, *SECRETS) == set()


def test_a_users_own_client_that_is_closed_shows_no_token(make: Maker, server: FaultServer) -> None:
    http_client = make.http_client()
    client = make.to(server.url, http_client=http_client)
    make.close_http_client(http_client)
    with pytest.raises(RuntimeError) as caught:
        client.connect()
    free_of(SECRETS, list(shown_by(caught.value)))
    assert places(caught.value, *SECRETS) == set()


# ── What others are sent ──


def everything_sent_to(other: FaultServer) -> list[str]:
    return [f"{request.method} {request.target} {request.headers!r} {request.body!r}" for request in other.requests]


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
def test_where_a_redirect_points_nothing_is_sent(make: Maker, server: FaultServer, status: int) -> None:
    with FaultServer() as other:
        http_client = make.http_client(follow_redirects=True, auth=("user", "planted"), headers={"X-Own": "planted"})
        for client in (make.to(server.url, max_retries=0), make.to(server.url, max_retries=0, http_client=http_client)):
            for method, path in (("POST", CONNECT), ("GET", STATUS), ("POST", TERMINATE), ("GET", STREAM)):
                server.on(method, path, [respond(status, location=f"{other.url}{path}", refresh=f"0;url={other.url}")])
            calls: list[Callable[[], object]] = [
                client.connect,
                lambda client=client: client.status("b1"),  # type: ignore[misc]
                lambda client=client: client.terminate("b1"),  # type: ignore[misc]
                lambda client=client: next(client.statuses("b1")),  # type: ignore[misc]
            ]
            for call in calls:
                with pytest.raises(JamsocketError):
                    call()
        make.close_http_client(http_client)
        assert other.connections == 0
    assert all("x-own" not in request.headers for request in server.requests)


def test_a_proxy_is_told_no_secret(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """With https it sees a host and a port, whatever it answers."""
    scripts: list[Script] = [
        [respond(407, proxy_authenticate="Basic")],
        [respond(302, location="http://127.0.0.1:1/")],
        [respond(200), raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), hang],
        [reset],
    ]
    with FaultServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        for script in scripts:
            proxy.on("CONNECT", "api.test:443", script)
            client = make.to("https://api.test", max_retries=0, timeout=1)
            for call in (client.connect, lambda client=client: client.terminate("b1")):  # type: ignore[misc]
                with pytest.raises(JamsocketError):
                    call()
        assert {request.method for request in proxy.requests} == {"CONNECT"}
        free_of(("authorization", *SECRETS), everything_sent_to(proxy))


def test_a_proxys_password_is_not_shown(
    make: Maker, monkeypatch: pytest.MonkeyPatch, everything_logged: pytest.LogCaptureFixture
) -> None:
    with FaultServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://user:planted-password@"))
        for script in ([respond(407, proxy_authenticate="Basic")], [reset], [respond(502)]):
            proxy.on("CONNECT", "api.test:443", list(script))
            with pytest.raises(JamsocketError) as caught:
                make.to("https://api.test", max_retries=0).connect()
            shown = [*shown_by(caught.value), pickled(caught.value).decode("latin-1")]
            free_of(("planted-password", "dXNlcjpwbGFudGVkLXBhc3N3b3Jk"), shown)
            assert places(caught.value, "planted-password", *SECRETS) == set()
    free_of(("planted-password", "dXNlcjpwbGFudGVkLXBhc3N3b3Jk"), logged(everything_logged))


def test_plain_http_through_a_proxy_has_the_token_only_where_it_was_allowed(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`allow_insecure_http` lets everyone on the way read the token, a proxy too; a call that needs none sends none."""
    with FaultServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        client = make.to("http://api.test", allow_insecure_http=True)
        proxy._scripts["GET", f"http://api.test{STATUS}"] = [[respond(200, state("ready"))]]
        client.status("b1")
        free_of(("authorization", *SECRETS), everything_sent_to(proxy))


def test_the_status_calls_send_no_secret(make: Maker, server: FaultServer) -> None:
    client = make.to(server.url)
    connection = client.connect(auth={"password": AUTH})
    client.status(connection.backend_id)
    with client.statuses(connection.backend_id) as states:
        list(states)
    for request in (*server.seen(STATUS), *server.seen(STREAM)):
        free_of((*SECRETS, AUTH, "authorization"), [f"{request.target} {request.headers!r} {request.body!r}"])


def test_a_log_of_a_stream_that_goes_wrong(
    make: Maker, server: FaultServer, everything_logged: pytest.LogCaptureFixture
) -> None:
    """What an event says is nobody's to log either: it may be anything."""
    planted = b"planted-connection-token"
    bad = [
        b"data:" + planted,
        b'data:{"status":"' + planted + b'"',
        b"event:" + planted,
        b"id:" + planted,
        b":" + planted,
    ]
    bad.append(b'data:{"status":"ready","time":"' + planted + b'"}')
    body = b"".join(line + b"\n\n" for line in bad)
    server.on("GET", STREAM, [stream(write(body), reset), stream(event("terminated"), finish)])
    done = threading.Event()
    make.to(server.url).status_stream("b1", lambda state: done.set() if state.status == "terminated" else None)
    assert done.wait(10)
    ours = [
        text
        for record, text in zip(everything_logged.records, logged(everything_logged), strict=True)
        if record.name.partition(".")[0] in {"jamsocket", "httpx", "sseclient"}
    ]
    assert ours
    free_of(SECRETS, ours)
