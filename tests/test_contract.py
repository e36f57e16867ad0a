"""The facade against openapi.yaml, in both directions: what it sends and what it accepts; names and types agree."""

from __future__ import annotations

import json
import typing
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Any

import attrs
import jamsocket_api.models as models
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import jamsocket
from jamsocket.clock import Clock
from jamsocket.config import from_arguments
from jamsocket.messages import Answer
from jamsocket.operations import Operations
from jamsocket.requests import ConnectDict, ExecutableDict, ResourceLimitsDict, SpawnDict
from jamsocket.results import parse
from jamsocket.secret import Secret
from jamsocket.states import parse_state

SPEC: dict[str, Any] = yaml.safe_load((Path(__file__).parent.parent / "openapi.yaml").read_text())
OPERATIONS = Operations(from_arguments(account="acme", token=Secret("t"), service="s", environment="e"), Clock())


def schema(name: str) -> dict[str, Any]:
    """A schema of the spec, complete in itself."""
    return {"$ref": f"#/components/schemas/{name}", "components": SPEC["components"]}


def valid(value: Any, name: str) -> bool:
    return Draft202012Validator(schema(name)).is_valid(value)


def answer(data: Any) -> Answer:
    return Answer("GET", "http://api.test", 200, {"content-type": "application/json"}, json.dumps(data).encode())


many = settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)

text = st.text(st.characters(exclude_categories=["Cs"]))
no_nul = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
path = st.lists(st.text("abc.-_é ", min_size=1).filter(lambda part: part.strip(".") == part), min_size=1).map("/".join)
whole = st.integers(0, 2**53 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=8,
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


limits = some(
    cpu_period=whole,
    cpu_period_percent=st.integers(0, 255),
    cpu_time_limit=whole,
    memory_limit_bytes=whole,
    disk_limit_bytes=whole,
)
variables = st.dictionaries(name.filter(lambda key: "=" not in key), no_nul)
executables = some(mount=path | st.booleans(), env=variables, resource_limits=limits)
spawns = some(tag=text, cluster=text, lifetime_limit_seconds=whole, max_idle_seconds=whole, executable=executables)
requests = some(
    key=no_nul.filter(lambda key: len(key) <= 128),
    user=name,
    auth=st.dictionaries(text, json_values),
    spawn=st.booleans() | spawns,
)


@many
@given(requests)
def test_what_the_spec_allows_connect_sends_as_it_is(request: Any) -> None:
    assert valid(request, "ConnectRequest"), "the strategy keeps to the spec"
    sent = json.loads(OPERATIONS.connect(request, {}).request.content)
    assert sent == request
    assert sent == json.loads(OPERATIONS.connect(None, request).request.content)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
junk = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
FIELDS = ["key", "user", "auth", "spawn", "tag", "executable", "env", "mount", "resource_limits", "cpu_period"]
junk_request = st.dictionaries(
    st.sampled_from(FIELDS),
    junk | st.dictionaries(st.sampled_from(FIELDS), junk | st.dictionaries(st.sampled_from(FIELDS), junk)),
)


@many
@given(junk_request)
def test_what_connect_accepts_the_spec_allows(request: Any) -> None:
    try:
        sent = json.loads(OPERATIONS.connect(request, {}).request.content)
    except (TypeError, ValueError):
        return
    problems = [
        error
        for error in Draft202012Validator(schema("ConnectRequest")).iter_errors(sent)
        # Lengths and ranges are the server's to judge: it may allow more tomorrow.
        if error.validator not in {"maxLength", "minimum", "maximum", "pattern", "oneOf"}
    ]
    assert not problems


responses = st.fixed_dictionaries(
    {
        "backend_id": name,
        "spawned": st.booleans(),
        "status": st.sampled_from(SPEC["components"]["schemas"]["BackendStatus"]["enum"]),
        "token": name,
        "url": name,
        "status_url": name,
    },
    optional={"ready_url": text, "secret_token": st.none() | name, "something_new": json_values},
)


@many
@given(responses)
def test_every_connect_response_of_the_spec_is_understood(response: Any) -> None:
    assert valid(response, "ConnectResponse"), "the strategy keeps to the spec"
    connection = OPERATIONS.connect(None, {}).parse(answer(response))
    expected = {field: value for field, value in response.items() if value is not None and value != ""}
    assert connection.to_dict() == expected
    assert valid(connection.to_dict(), "ConnectResponse")


STATES = [state["$ref"].rpartition("/")[2] for state in SPEC["components"]["schemas"]["BackendState"]["oneOf"]]


@pytest.mark.parametrize("name", STATES)
def test_every_state_of_the_spec_is_understood(name: str) -> None:
    properties = SPEC["components"]["schemas"][name]["properties"]
    data: dict[str, Any] = {"status": properties["status"]["const"], "time": "2026-01-02T03:04:05.678Z"}
    if "termination_reason" in properties:
        data["termination_reason"] = "swept"
    if "exit_error" in properties:
        data |= {"termination_kind": "hard", "exit_error": True}
    state = parse_state(data)
    assert type(state).__name__ == name
    assert type(state) is getattr(jamsocket, name)
    assert state.to_dict() == data
    assert valid(state.to_dict(), "BackendState")


def test_the_statuses_are_those_of_the_spec() -> None:
    schemas = SPEC["components"]["schemas"]
    words = [schemas[name]["properties"]["status"]["const"] for name in STATES]
    assert words == schemas["BackendStatus"]["enum"]
    assert set(words) == {str(status) for status in models.BackendStatus}


def test_every_request_of_the_facade_is_in_the_spec() -> None:
    requests = [
        OPERATIONS.connect(None, {}).request,
        OPERATIONS.status("b").request,
        OPERATIONS.status_stream("b", ""),
        OPERATIONS.terminate("b", True).request,
        OPERATIONS.log_stream("b", ""),
        OPERATIONS.metrics_stream("b", ""),
        OPERATIONS.backends().request,
        OPERATIONS.backend_info("b").request,
        OPERATIONS.services().request,
        OPERATIONS.create_service("s").request,
        OPERATIONS.service_info(None).request,
        OPERATIONS.delete_service("s").request,
        OPERATIONS.images(None).request,
        OPERATIONS.use_image("t", None, None).request,
        OPERATIONS.use_image("t", "s", None).request,
        OPERATIONS.auth_info().request,
    ]
    operations = [
        *("connect_environment", "get_status", "stream_status", "terminate", "stream_logs", "stream_metrics"),
        *("list_backends", "get_backend", "list_services", "create_service", "get_service", "delete_service"),
        *("list_images", "use_image_in_environment", "use_image", "check_auth"),
    ]
    described = {
        item["operationId"] for path in SPEC["paths"].values() for item in path.values() if isinstance(item, dict)
    }
    assert described - set(operations) == {"connect"}, "the facade has every operation"
    for request, operation in zip(requests, operations, strict=True):
        path, method = next(
            (path, method)
            for path, item in SPEC["paths"].items()
            for method, described in item.items()
            if isinstance(described, dict) and described.get("operationId") == operation
        )
        filled = path.format(account="acme", service="s", environment="e", backend_id="b")
        assert (request.method.lower(), request.url) == (method, "https://api.jamsocket.com" + filled)
        assert request.needs_token == bool(SPEC["paths"][path][method]["security"])


times = st.datetimes(min_value=datetime(1000, 1, 2), timezones=st.just(UTC)).map(
    lambda time: time.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
)


def of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema of an answer allows: with fields that nobody knows, with and without the optional ones."""
    if "$ref" in schema:
        return of(SPEC["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return st.none() | of({**schema, "type": kinds[0]})
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if kinds == "object":
        fields = {name: of(described) for name, described in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema["required"]}
        return st.fixed_dictionaries(required, optional={**fields, "something_new": json_values})
    if kinds == "array":
        return st.lists(of(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
    if schema.get("format") == "date-time":
        return times
    return {"string": text, "integer": whole, "boolean": st.booleans()}[kinds]


ANSWERS = ["RunningBackendList", "BackendInfo", "ServiceList", "ServiceInfo", "ImageList", "AuthInfo", "BackendMetrics"]


def without_nulls(value: Any) -> Any:
    """A copy without the nullable fields that are null; what nobody knows stays as it is."""
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if isinstance(value, dict):
        kept = {name: field for name, field in value.items() if field is not None or name == "something_new"}
        return {name: field if name == "something_new" else without_nulls(field) for name, field in kept.items()}
    return value


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_of_the_spec_is_understood(name: str) -> None:
    @settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
    @given(of(SPEC["components"]["schemas"][name]))
    def understood(data: Any) -> None:
        assert valid(data, name), "the strategy keeps to the spec"
        assert parse(getattr(models, name), data).to_dict() == without_nulls(data)

    understood()


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_else_is_refused_by_name(name: str) -> None:
    """Nothing but `ValueError`, and what comes through has the spec's required fields, of the spec's types."""

    @settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
    @given(junk | st.tuples(of(SPEC["components"]["schemas"][name]), st.text(), junk).map(lambda t: spoilt(*t)))
    def refused(data: Any) -> None:
        try:
            result = parse(getattr(models, name), data)
        except ValueError:
            return
        problems = [
            error
            for error in Draft202012Validator(schema(name)).iter_errors(result.to_dict())
            # Words and lengths are the server's: it may have more tomorrow.
            if error.validator not in {"enum", "minItems", "maxItems", "minimum", "oneOf"}
        ]
        assert not problems

    refused()


def spoilt(data: Any, where: str, junk: Any) -> Any:
    """The answer with something else in one place, which the text chooses."""
    if not isinstance(data, dict | list) or not data or not where:
        return junk
    key = sorted(data)[ord(where[0]) % len(data)] if isinstance(data, dict) else ord(where[0]) % len(data)
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[key] = spoilt(data[key], where[1:], junk)  # type: ignore[index]
    return copy


PAIRS = [
    (ConnectDict, models.ConnectRequest),
    (SpawnDict, models.SpawnConfig),
    (ExecutableDict, models.ExecutableConfig),
    (ResourceLimitsDict, models.ResourceLimits),
]


@pytest.mark.parametrize(("plain_dict", "model"), PAIRS)
def test_the_typed_dicts_are_the_models(plain_dict: Any, model: Any) -> None:
    ours = typing.get_type_hints(plain_dict)
    theirs = typing.get_type_hints(model, localns=vars(models))
    assert list(ours) == [field.name for field in attrs.fields(model)]
    for name in ours:
        for scalar in (str, int, bool, NoneType):
            assert (scalar in typing.get_args(ours[name])) == (scalar in typing.get_args(theirs[name])), (name, scalar)
        nested = [arm for arm in typing.get_args(theirs[name]) if attrs.has(arm)]
        if nested and nested[0] in dict(PAIRS).values():
            assert set(nested) <= set(typing.get_args(ours[name])), name


def test_every_operation_is_described() -> None:
    for path, item in SPEC["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            for key in ("operationId", "summary", "description", "tags", "security", "responses"):
                assert key in operation, (path, method, key)
            assert len(operation["tags"]) == 1
            assert "200" in operation["responses"]
            assert any(str(code).startswith(("4", "5")) for code in operation["responses"])
    for name, described in SPEC["components"]["schemas"].items():
        assert described.get("description"), name
        for field, details in described.get("properties", {}).items():
            assert "$ref" in details or "const" in details or details.get("description"), (name, field)


def test_every_example_is_valid() -> None:
    count = 0

    def look(node: Any) -> None:
        nonlocal count
        if isinstance(node, dict):
            if "schema" in node and ("example" in node or "examples" in node):
                reference = node["schema"].get("$ref", "").rpartition("/")[2]
                examples = [node["example"]] if "example" in node else [e["value"] for e in node["examples"].values()]
                for example in examples:
                    if reference:
                        assert valid(example, reference), (reference, example)
                        count += 1
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(SPEC)
    assert count > 20
