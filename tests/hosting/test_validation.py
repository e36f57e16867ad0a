"""What a connect request may say."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jamsocket.hosting.engine import ConnectCall, EngineError, Place, SpawnSettings
from jamsocket.hosting.validation import connect_call, read_hard, read_object, spawn_call

PLACE = Place("acme", "whiteboard")


def call(data: dict[str, Any]) -> ConnectCall:
    return connect_call(PLACE, data)


def connect_at_once(body: bytes) -> ConnectCall:
    return connect_call(PLACE, read_object(body))


def outcome(action: Callable[[], object]) -> int:
    """The HTTP status that comes of it."""
    try:
        action()
    except EngineError as error:
        return error.status
    return 200


def test_nothing_is_required() -> None:
    assert call({}) == ConnectCall(PLACE, None, None, "{}", SpawnSettings())
    assert call({"spawn": True}) == call({"spawn": {}}) == call({"spawn": {"executable": {}}}) == call({})
    assert call({"spawn": False}).spawn is None
    assert SpawnSettings().max_idle_seconds == 300


def test_everything() -> None:
    request = {
        "key": "k" * 128,
        "user": "ada",
        "auth": {"name": "Ada é", "n": [1, None]},
        "spawn": {
            "tag": "latest",
            "cluster": "c",
            "lifetime_limit_seconds": 10,
            "max_idle_seconds": 0,
            "executable": {
                "mount": "a/b",
                "env": {"A": "b"},
                "resource_limits": {"cpu_period": 1, "cpu_period_percent": 255, "memory_limit_bytes": 5.0},
            },
        },
    }
    settings = SpawnSettings(
        lifetime_limit_seconds=10,
        max_idle_seconds=0,
        env={"A": "b"},
        mount="a/b",
        resource_limits={"cpu_period": 1, "cpu_period_percent": 255, "memory_limit_bytes": 5},
        tag="latest",
    )
    user_data = '{"name":"Ada \\u00e9","n":[1,null]}'
    assert call(request) == ConnectCall(PLACE, "k" * 128, "ada", user_data, settings)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"kee": "k"}, "kee"),
        ({"key": 1}, "key"),
        ({"key": None}, "key"),
        ({"key": "k" * 129}, "128"),
        ({"key": "a\0b"}, "key"),
        ({"key": "\ud800"}, "key"),
        ({"user": 1}, "user"),
        ({"user": "a\nb"}, "user"),
        ({"user": "a\x7f"}, "user"),
        ({"user": "a\x85"}, "user"),
        ({"auth": None}, "auth"),
        ({"auth": []}, "auth"),
        ({"auth": "x"}, "auth"),
        ({"spawn": None}, "spawn"),
        ({"spawn": 1}, "spawn"),
        ({"spawn": {"tagg": ""}}, "spawn.tagg"),
        ({"spawn": {"tag": 1}}, "spawn.tag"),
        ({"spawn": {"max_idle_seconds": "1"}}, "spawn.max_idle_seconds"),
        ({"spawn": {"max_idle_seconds": -1}}, "spawn.max_idle_seconds"),
        ({"spawn": {"max_idle_seconds": 1.5}}, "spawn.max_idle_seconds"),
        ({"spawn": {"max_idle_seconds": True}}, "spawn.max_idle_seconds"),
        ({"spawn": {"lifetime_limit_seconds": 10**30}}, "spawn.lifetime_limit_seconds"),
        ({"spawn": {"executable": []}}, "spawn.executable"),
        ({"spawn": {"executable": {"image": "x"}}}, "spawn.executable.image"),
        ({"spawn": {"executable": {"env": []}}}, "spawn.executable.env"),
        ({"spawn": {"executable": {"env": {"A": 1}}}}, "spawn.executable.env.A"),
        ({"spawn": {"executable": {"env": {"A": "\0"}}}}, "spawn.executable.env.A"),
        ({"spawn": {"executable": {"env": {"A=B": ""}}}}, "A=B"),
        ({"spawn": {"executable": {"env": {"": ""}}}}, "env"),
        ({"spawn": {"executable": {"mount": 1}}}, "mount"),
        ({"spawn": {"executable": {"mount": "/etc"}}}, "mount"),
        ({"spawn": {"executable": {"mount": "a/../../b"}}}, "mount"),
        ({"spawn": {"executable": {"mount": ""}}}, "mount"),
        ({"spawn": {"executable": {"mount": "."}}}, "mount"),
        ({"spawn": {"executable": {"resource_limits": {"cpus": 1}}}}, "resource_limits.cpus"),
        ({"spawn": {"executable": {"resource_limits": {"cpu_period_percent": 256}}}}, "cpu_period_percent"),
        *(
            ({"spawn": {"executable": {"env": {name: "x"}}}}, name)
            for name in (
                "PORT",
                "SESSION_BACKEND_ID",
                "SESSION_BACKEND_KEY",
                "SESSION_BACKEND_FENCING_TOKEN",
                "SESSION_BACKEND_STATIC_TOKEN",
                "JAMSOCKET_SERVICE",
            )
        ),
    ],
)
def test_what_is_wrong_is_named(data: dict[str, Any], named: str) -> None:
    with pytest.raises(EngineError) as caught:
        call(data)
    assert (caught.value.status, caught.value.code) == (400, "BadRequest")
    assert named in caught.value.message


def test_names_in_the_path_have_no_control_characters() -> None:
    with pytest.raises(EngineError, match="control character") as caught:
        connect_call(Place("acme", "a\0b"), {})
    assert caught.value.status == 404


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}"])
def test_an_empty_body_is_an_object(body: bytes) -> None:
    assert read_object(body) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"1",
        b"null",
        b'"x"',
        b"\xff",
        b'{"auth":{"a":NaN}}',
        b'{"auth":{"a":-Infinity}}',
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
        '{"key": "dôc'.encode()[:-1],
    ],
)
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        read_object(body)
    assert caught.value.status == 400


def test_auth_nested_too_deeply_is_refused_or_fits() -> None:
    for depth in (100, 500, 900, 990, 2000, 50_000):
        body = b'{"auth":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        status = outcome(partial(connect_at_once, body))
        assert status == 200 if depth <= 500 else status in {200, 400}


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists)))
def test_auth_always_fits_into_a_header(auth: dict[str, Any]) -> None:
    data = call({"auth": auth}).user_data
    assert data.isascii()
    assert data.isprintable()
    assert json.loads(data) == auth


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_nothing_but_a_call_or_a_refusal(data: Any) -> None:
    for field in ("key", "user", "auth", "spawn"):
        assert outcome(partial(call, {field: data})) in {200, 400}


def test_terminate() -> None:
    assert read_hard({}) is False
    assert read_hard({"hard": True}) is True
    for wrong in ({"hard": 1}, {"hard": None}, {"force": True}):
        with pytest.raises(EngineError):
            read_hard(wrong)


# ── API v1 ──


def test_a_spawn_request_is_a_connect_request_in_other_words() -> None:
    data = {"lock": "k", "env": {"A": "b"}, "grace_period_seconds": 60, "service_environment": "prod"}
    call = spawn_call("acme", "svc", data)
    assert call == ConnectCall(
        Place("acme", "svc", "prod"), "k", None, "{}", SpawnSettings(max_idle_seconds=60, env={"A": "b"})
    )
    assert spawn_call("acme", "svc", {}) == connect_call(Place("acme", "svc"), {})
    assert spawn_call("acme", "svc", {"service_environment": "default"}).place.environment is None


@pytest.mark.parametrize(
    "data",
    [{"key": "k"}, {"lock": 1}, {"env": []}, {"env": {"PORT": "1"}}, {"grace_period_seconds": -1}, {"lock": None}],
)
def test_a_spawn_request_is_checked_as_well(data: dict[str, Any]) -> None:
    with pytest.raises(EngineError) as caught:
        spawn_call("acme", "svc", data)
    assert caught.value.status == 400
