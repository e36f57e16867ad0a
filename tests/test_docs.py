"""Documentation that runs: README, docs and docstrings are executed against a platform on this machine."""

from __future__ import annotations
import __future__

import ast
import asyncio
import contextlib
import doctest
import gc
import inspect
import io
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

import jamsocket
from jamsocket import (
    AsyncJamsocket,
    AsyncLogStream,
    AsyncMetricsStream,
    AsyncSessionBackend,
    AsyncStatusStream,
    Backoff,
    Jamsocket,
    LogStream,
    MetricsStream,
    SessionBackend,
    StatusStream,
)
from jamsocket.hosting import DevServer, Limits
from jamsocket.sse import EventDecoder

ROOT = Path(__file__).parent.parent
BACKEND = [sys.executable, str(ROOT / "examples" / "backend.py")]


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with DevServer(BACKEND, port=0, proxy_port=0, limits=Limits(metrics_interval=0.1)) as server:
        yield server


def blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)


def run(code: str, names: dict[str, Any]) -> str:
    """Runs a block in these names; what it prints."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | __future__.annotations.compiler_flag
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<documentation>", "exec", flags, dont_inherit=True), names)
    return printed.getvalue()


def test_the_first_example_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    first = blocks("README.md")[0]
    body = [line for line in first.splitlines() if line and not line.startswith(("import", "from"))]
    assert 8 <= len(body) <= 12
    lines = run(first, {}).splitlines()
    statuses = [line.split()[-1] for line in lines if re.match(r"\d{4}-", line)]
    assert statuses == ["scheduled", "loading", "starting", "waiting", "ready", "terminating", "terminated"]
    assert lines[5].startswith('{"backend":')
    assert '"user": "ada"' in lines[5]
    assert lines[6] == "False"
    assert lines[-1] == "external"


@pytest.fixture
def environment(server: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAMSOCKET_DEV", "true")
    monkeypatch.setenv("JAMSOCKET_DEV_PORT", str(server.port))


def careless(test: Any) -> Any:
    """For pages and examples, which do not close every client that they show."""
    test = pytest.mark.filterwarnings("ignore::ResourceWarning")(test)
    test = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")(test)
    return pytest.mark.usefixtures("swept")(test)


@pytest.fixture
def swept() -> Iterator[None]:
    """What was not closed goes here, and not in the middle of another test."""
    yield
    gc.collect()


@pytest.mark.usefixtures("environment")
@careless
@pytest.mark.parametrize("page", ["README.md", "docs/guide.md", "docs/low-level.md", "docs/hosting.md"])
def test_pages(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    for block in blocks(page)[1 if page == "README.md" else 0 :]:
        run(block, names)
    if page == "README.md":

        async def view() -> Any:
            async with names["jamsocket"]:
                return await names["open_document"]("doc", "ada")

        document = asyncio.run(view())
        assert document["backend_id"]
        with Jamsocket.from_env() as client:
            assert names["describe"](client.status(document["backend_id"])) in list(jamsocket.BackendStatus)
    elif page == "docs/guide.md":
        asyncio.run(names["main"]())
        trio.run(names["on_trio"])
    elif page == "docs/low-level.md":
        assert asyncio.run(names["whose_token"]()) == ["-"]
        with Jamsocket.from_env() as client:
            backend_id = client.connect().backend_id
            client.wait_until_ready(backend_id)
            client.terminate(backend_id, hard=True)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                names["print_logs"](client, backend_id)
            assert printed.getvalue().startswith("listening on port")
    for value in names.values():  # pages do not close every client that they show
        if isinstance(value, Jamsocket):
            value.close()


METHODS = ("connect", "connect_ready", "status", "statuses", "status_stream", "wait_until_ready", "terminate")
DOCUMENTED = [
    *(
        (cls, name)
        for cls in (Jamsocket, AsyncJamsocket)
        for name in (
            "",
            "from_env",
            "connect",
            "status",
            "statuses",
            "status_stream",
            "wait_until_ready",
            "terminate",
            "backends",
            "backend_info",
            "logs",
            "metrics",
            "services",
            "create_service",
            "service_info",
            "delete_service",
            "images",
            "use_image",
            "auth_info",
            "api",
        )
    ),
    (SessionBackend, ""),
    (AsyncSessionBackend, ""),
    (StatusStream, ""),
    (AsyncStatusStream, ""),
    (LogStream, ""),
    (AsyncLogStream, ""),
    (MetricsStream, ""),
    (AsyncMetricsStream, ""),
    (Backoff, ""),
    (EventDecoder, ""),
    (DevServer, ""),
]


@careless
@pytest.mark.parametrize(("cls", "name"), DOCUMENTED)
def test_docstrings(server: DevServer, cls: type, name: str) -> None:
    text = inspect.getdoc(getattr(cls, name) if name else cls) or ""
    examples = doctest.DocTestParser().get_examples(text)
    assert examples
    is_async = cls.__name__.startswith("Async")
    checker = doctest.OutputChecker()

    async def run_all() -> None:
        account: dict[str, Any] = {"account": cls.__name__, "token": "t", "service": "whiteboard"}
        account["api_url"] = server.url
        with Jamsocket(**account) as plain:
            connection = plain.connect()
            plain.wait_until_ready(connection.backend_id)
            client: Any = AsyncJamsocket(**account) if is_async else Jamsocket(**account)
            names: dict[str, Any] = {**vars(jamsocket), "DevServer": DevServer, "EventDecoder": EventDecoder}
            names |= {"httpx": httpx, "jamsocket": client, "connection": connection, "token": "t"}
            # Those that follow a life to its end need an end.
            killer = threading.Timer(0.3, plain.terminate, [connection.backend_id], {"hard": True})
            killer.start()
            try:
                for example in examples:
                    printed = io.StringIO()
                    code = compile(example.source, "<docstring>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                    with contextlib.redirect_stdout(printed):
                        outcome = eval(code, names)
                        if inspect.iscoroutine(outcome):
                            await outcome
                    got = printed.getvalue()
                    assert checker.check_output(example.want, got, doctest.ELLIPSIS), (example.source, got)
            finally:
                killer.join()
                await client.aclose() if is_async else client.close()
                for value in names.values():
                    if isinstance(value, Jamsocket):
                        value.close()

    asyncio.run(run_all())
