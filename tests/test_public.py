"""The public surface: what is exported, that the two clients are twins, that every docstring tells enough."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

import jamsocket
from jamsocket import (
    AsyncJamsocket,
    AsyncLogStream,
    AsyncMetricsStream,
    AsyncSessionBackend,
    AsyncStatusStream,
    Jamsocket,
    LogStream,
    MetricsStream,
    SessionBackend,
    StatusStream,
)
from jamsocket.async_streams import AsyncEventStream
from jamsocket.streams import EventStream

# (blocking, asyncio): why they differ.
DIFFERENCES = {
    "close": ("aclose", "closing awaits"),
    "__enter__": ("__aenter__", "async with"),
    "__exit__": ("__aexit__", "async with"),
    "__iter__": ("__aiter__", "async for"),
    "__next__": ("__anext__", "async for"),
    "fail": ("fail", "for the client's use"),
    "on_settled": ("on_settled", "for the client's use"),
}
ONLY_ASYNC = {"stop": "ends a stream without waiting, which the blocking close does anyway"}
PARAMETERS = {
    "http_client": "each takes the httpx client of its kind",
    "on_status": "the asyncio client awaits what a callback returns",
    "on_error": "the asyncio client awaits what a callback returns",
    "callback": "the asyncio client awaits what a callback returns",
    "self": "",
}


SPECIAL = {"__init__", *DIFFERENCES, *(twin for twin, _ in DIFFERENCES.values())}


def members(cls: type) -> dict[str, Any]:
    """The public methods and properties of a class, and the special ones that matter."""
    return {name: value for name, value in vars(cls).items() if not name.startswith("_") or name in SPECIAL}


def normalised(text: str | None) -> str:
    text = re.sub("Async(Jamsocket|StatusStream|LogStream|MetricsStream|SessionBackend)", r"\1", text or "")
    for asynchronous, blocking in (
        (r"\(await (.*?)\)\.(status|service_name|termination_reason|environments|is_admin)", r"\1.\2"),
        ("await ", ""),
        ("async ", ""),
        ("get_backend.asyncio", "get_backend.sync"),
        ("on asyncio", "blocking"),
        (r" +RuntimeError: on trio; .*\n", ""),  # where the asyncio client has no tasks
        (", or on trio", ""),
        ("called from inside", "called from any thread, from inside"),  # closing awaits, so it is on the loop
    ):
        text = re.sub(asynchronous, blocking, text)
    return " ".join(text.split())


TWINS = [
    (Jamsocket, AsyncJamsocket),
    (EventStream, AsyncEventStream),
    (SessionBackend, AsyncSessionBackend),
]
STREAMS = [
    (StatusStream, AsyncStatusStream),
    (LogStream, AsyncLogStream),
    (MetricsStream, AsyncMetricsStream),
]


@pytest.mark.parametrize(("blocking", "asynchronous"), TWINS)
def test_the_clients_are_twins(blocking: type, asynchronous: type) -> None:
    ours, theirs = members(blocking), members(asynchronous)
    assert {DIFFERENCES.get(name, (name,))[0] for name in ours} == set(theirs) - set(ONLY_ASYNC)
    for name, member in ours.items():
        twin = theirs[DIFFERENCES.get(name, (name,))[0]]
        if isinstance(member, property):
            assert normalised(member.__doc__) == normalised(twin.__doc__)
            continue
        one, other = (
            inspect.signature(getattr(member, "__func__", member)),
            inspect.signature(getattr(twin, "__func__", twin)),
        )
        assert list(one.parameters) == list(other.parameters), name
        for parameter, twin_parameter in zip(one.parameters.values(), other.parameters.values(), strict=True):
            assert (parameter.kind, parameter.default) == (twin_parameter.kind, twin_parameter.default), (
                name,
                parameter,
            )
            if parameter.name not in PARAMETERS and blocking is not EventStream:
                assert parameter.annotation == twin_parameter.annotation, (name, parameter)
        assert normalised(str(one.return_annotation)) == normalised(str(other.return_annotation)), name
        if blocking is not EventStream:
            assert normalised(inspect.getdoc(member)) == normalised(inspect.getdoc(twin)), name


@pytest.mark.parametrize(("blocking", "asynchronous"), STREAMS)
def test_the_streams_are_twins(blocking: type, asynchronous: type) -> None:
    """They add nothing to what `EventStream` has but their names and what is said of them."""
    assert not members(blocking)
    assert not members(asynchronous)
    ours, theirs = normalised(inspect.getdoc(blocking)), normalised(inspect.getdoc(asynchronous))
    for asyncs, plain in (
        ("anext", "next"),
        ("One task", "One thread"),
        ("aclose", "close"),
    ):
        theirs = theirs.replace(asyncs, plain)
    assert theirs == ours


@pytest.mark.parametrize("cls", [Jamsocket, AsyncJamsocket, SessionBackend, AsyncSessionBackend])
def test_every_public_method_is_documented(cls: type) -> None:
    for name, member in members(cls).items():
        if name.startswith("__") or name in {"close", "aclose"}:
            continue
        doc = inspect.getdoc(member) or ""
        assert "Example:" in doc, name
        if not isinstance(member, property):
            assert "Raises:" in doc, name
            for parameter in inspect.signature(getattr(member, "__func__", member)).parameters.values():
                if parameter.name not in {"self", "cls", "options"}:
                    assert parameter.name in doc, (name, parameter.name)
        assert len(doc.splitlines()[0]) < 120


def test_all_that_is_exported_exists_and_is_sorted() -> None:
    for name in jamsocket.__all__:
        assert getattr(jamsocket, name) is not None
    public = {
        name
        for name, value in vars(jamsocket).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "").startswith(("jamsocket", "types"))
    }
    assert public <= set(jamsocket.__all__)


def test_each_name_is_loaded_from_where_type_checkers_find_it() -> None:
    tree = ast.parse(Path(jamsocket.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imported = {
        alias.name: "." * node.level + (node.module or "")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == jamsocket._HOMES
    assert {*imported, "__version__"} == set(jamsocket.__all__)
    assert set(jamsocket.__all__) <= set(dir(jamsocket))
    with pytest.raises(AttributeError, match="no attribute 'Jamsockt'"):
        _ = jamsocket.Jamsockt  # type: ignore[attr-defined]


LIGHT = """
import sys
import typing
import jamsocket
loaded = [name for name in sys.modules if name.partition(".")[0] in ("httpx", "jamsocket_api", "attrs", "asyncio")]
assert not loaded, loaded
from jamsocket import *
assert Jamsocket is jamsocket.Jamsocket and jamsocket.errors.HTTPError is HTTPError
import pickle
assert pickle.loads(pickle.dumps(Backoff)) is Backoff
"""


def test_importing_loads_nothing_until_it_is_used() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", LIGHT], check=True)


@pytest.mark.parametrize("kind", [jamsocket.Jamsocket, jamsocket.AsyncJamsocket])
def test_annotations_can_be_resolved(kind: type) -> None:
    names = {name: getattr(jamsocket, name) for name in jamsocket.__all__}
    methods = [method for name, method in vars(kind).items() if inspect.isfunction(method) and not name.startswith("_")]
    assert len(methods) > 15
    for method in methods:
        assert "return" in typing.get_type_hints(method, localns=names)


def test_the_error_tree_is_the_one_in_the_docstring() -> None:
    from jamsocket import errors

    for name in re.findall(r"[├└]── (\w+)", errors.__doc__ or ""):
        assert issubclass(getattr(jamsocket, name), jamsocket.JamsocketError)
    assert issubclass(jamsocket.ConfigError, ValueError)
    assert issubclass(jamsocket.RequestTimeoutError, TimeoutError)
    assert issubclass(jamsocket.WaitTimeoutError, TimeoutError)


def test_the_facade_does_not_import_hosting() -> None:
    code = "import sys, jamsocket; print([m for m in sys.modules if 'hosting' in m or m in ('aiohttp', 'typer')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pure_modules_do_no_io() -> None:
    code = (
        "import sys\n"
        "import jamsocket.states, jamsocket.sse, jamsocket.retry, jamsocket.requests, jamsocket.status_stream\n"
        "import jamsocket.connection, jamsocket.ready_connection, jamsocket.timeline, jamsocket.results\n"
        "import jamsocket.event_stream, jamsocket.log_stream\n"
        "names = ('event_stream', 'status_stream', 'log_stream', 'results', 'retry', 'connection',\n"
        "         'ready_connection', 'timeline')\n"
        "source = ''.join(open(getattr(jamsocket, name).__file__).read() for name in names)\n"
        "assert 'import time' not in source and 'import socket' not in source and 'import httpx' not in source\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
