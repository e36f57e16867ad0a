"""Watched files: a change of what is in them ends the backends that run the old code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jamsocket.hosting import Service
from jamsocket.hosting.watching import fingerprint, watch

from .support import POLITE, SMALL, eventually, serving

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def watching(*paths: Path) -> AsyncIterator[list[str]]:
    """Collects the fingerprints, from when the watch has begun."""
    found: list[str] = []
    # Whatever the first look finds is new to it, and shows that it has begun.
    task = asyncio.create_task(watch(paths, "", found.append))
    try:
        await eventually(lambda: found)
        yield found
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_contents_are_told_apart(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("1")
    first = fingerprint([tmp_path])
    os.utime(code, (1, 1))
    assert fingerprint([tmp_path]) == first  # a touch changes nothing
    code.write_text("2")
    assert fingerprint([tmp_path]) != first
    code.write_text("1")
    assert fingerprint([tmp_path]) == first
    (tmp_path / "code.pyc").write_text("x")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "other").write_text("x")
    (tmp_path / ".code.py.swp").write_text("x")
    assert fingerprint([tmp_path]) == first  # caches and editors' files are no code
    (tmp_path / "new").write_text("")
    assert fingerprint([tmp_path]) != first
    assert fingerprint([tmp_path / "gone"]) == fingerprint([])


async def test_a_change_in_a_folder(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    async with watching(tmp_path) as found:
        (deep / "code.py").write_text("1")
        await eventually(lambda: len(found) == 2)
        assert found[-1] == fingerprint([tmp_path])


async def test_a_file_that_an_editor_replaces(tmp_path: Path) -> None:
    code, beside = tmp_path / "code.py", tmp_path / "beside.py"
    code.write_text("1")
    async with watching(code) as found:
        beside.write_text("another file does not matter")
        for text in "23":
            (tmp_path / "code.new").write_text(text)
            (tmp_path / "code.new").rename(code)
            await eventually(lambda: found[-1] == fingerprint([code]))
        assert len(found) == 3


async def test_backends_that_run_old_code_end(tmp_path: Path) -> None:
    code, other = tmp_path / "code.py", tmp_path / "other.py"
    for path in (code, other):
        path.write_text("1")
    reloads: list[tuple[str | None, int]] = []
    services = {"one": Service(POLITE, watch=[code]), "two": Service(SMALL, watch=[other])}
    async with serving(services, on_reload=lambda *what: reloads.append(what)) as api:
        old = await api.connect({"key": "k"}, "acme/one")
        bystander = await api.connect({}, "acme/two")
        await api.wait(old["backend_id"], "ready")
        _, before = await api.call("GET", "/v2/service/acme/one/images")
        code.write_text("2")
        ended = await api.wait(old["backend_id"], "terminated")
        assert (ended["termination_reason"], ended["termination_kind"]) == ("external", "soft")
        assert reloads == [("one", 1)]
        _, after = await api.call("GET", "/v2/service/acme/one/images")
        assert after["images"][0]["digest"] != before["images"][0]["digest"]
        assert after["images"][0]["upload_time"] > before["images"][0]["upload_time"]
        assert (await api.status(bystander["backend_id"]))["status"] != "terminating"

        new = await api.connect({"key": "k"}, "acme/one")
        assert new["spawned"] is True
        _, info = await api.call("GET", f"/v2/backend/{new['backend_id']}")
        assert info["image_digest"] == after["images"][0]["digest"]


async def test_one_service_for_every_name(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("1")
    async with serving(Service(POLITE, watch=[tmp_path])) as api:
        backends = [(await api.connect({}, place))["backend_id"] for place in ("-/-", "acme/board")]
        for backend in backends:
            await api.wait(backend, "ready")
        (tmp_path / "code.py").write_text("2")
        for backend in backends:
            await api.wait(backend, "terminated")
