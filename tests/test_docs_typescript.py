"""docs/coming-from-typescript.md: each snippet has its Python twice, and every Python block runs."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jamsocket import AsyncJamsocket, AsyncSessionBackend, ConnectResponse, Jamsocket, SessionBackend
from jamsocket.hosting import DevServer

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "coming-from-typescript.md").read_text()
BLOCKS = re.findall(r"^```([^\n]+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DevServer]:
    with DevServer([sys.executable, str(ROOT / "examples" / "backend.py")], port=0, proxy_port=0) as server:
        monkeypatch.setenv("JAMSOCKET_DEV", "true")
        monkeypatch.setenv("JAMSOCKET_DEV_PORT", str(server.port))
        yield server


def test_each_snippet_stands_beside_its_python() -> None:
    kinds = [kind for kind, _ in BLOCKS]
    assert kinds == ["ts", "python blocking", "python asyncio"] * (len(kinds) // 3)
    snippets = "\n".join(code for kind, code in BLOCKS if kind == "ts")
    for word in (
        "new Jamsocket({",
        "dev: true",
        "fromEnv",
        "lifetime_limit_seconds",
        "auth:",
        ".status(",
        "statusStream",
        "unsubscribe()",
        "HTTPError",
        "new SessionBackend",
        "onReady(",
        "onReadyPromise",
        "onTerminatedPromise",
        "onStatus",
        "isReady()",
        "isTerminated()",
        "destroy()",
    ):
        assert word in snippets, word


def test_asyncio_differs_only_in_waiting() -> None:
    def plain(code: str) -> str:
        return re.sub(r"\bAsync(?=[A-Z])|\basync |\bawait |\ba(?=close\()|\(|\)", "", code)

    blocks = [plain(code) for kind, code in BLOCKS if kind != "ts"]
    unlike = [(one, other) for one, other in zip(blocks[::2], blocks[1::2], strict=True) if one != other]
    assert len(unlike) == 1, unlike
    assert "httpx" in unlike[0][0]


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
@pytest.mark.usefixtures("server")
def test_every_block_runs(kind: str) -> None:
    names: dict[str, Any] = {}
    printed = io.StringIO()

    async def main() -> None:
        for number, code in enumerate(code for found, code in BLOCKS if found == f"python {kind}"):
            compiled = compile(code, f"<{kind} block {number}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            outcome = eval(compiled, names)
            if inspect.iscoroutine(outcome):
                assert kind == "asyncio"
                await outcome

    with contextlib.redirect_stdout(printed):
        asyncio.run(main())

    assert type(names["production"]) is (Jamsocket if kind == "blocking" else AsyncJamsocket)
    assert "localhost:8080" in repr(names["development"])
    assert isinstance(names["connection"], ConnectResponse)
    assert names["connection"].spawned is True
    assert names["state"].status == "ready"
    assert names["ready"].backend_id == names["connection"].backend_id
    assert type(names["backend"]) is (SessionBackend if kind == "blocking" else AsyncSessionBackend)
    assert names["answer"].json()["path"] == "/strokes?since=5"
    assert names["answer"].json()["user"] == "ada"
    assert names["socket_address"].startswith("ws://localhost:")
    assert names["socket_arguments"]["socketio_path"] == f"{names['connection'].token}/socket.io"
    lines = printed.getvalue().splitlines()
    assert lines[0] == f"{names['connection'].backend_id} True"
    assert any(line.startswith("nobody is there: 409") for line in lines)
    assert any(line.startswith("it is ready since 2") for line in lines)
    assert lines[-1] == "it is gone: external"
    assert names["connection"].token not in printed.getvalue()
