"""The embedded server against openapi.yaml: generated requests, right and wrong ones, and a backend's whole life."""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import negative_data_rejection, response_schema_conformance

from jamsocket.hosting import DevServer, Service

from .hosting.support import POLITE, SMALL

ROOT = Path(__file__).parent.parent
SPEC: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text())
BACKEND = [sys.executable, str(ROOT / "examples" / "backend.py")]


def as_on_loopback(spec: dict[str, Any]) -> dict[str, Any]:
    """The contract of a server on loopback, which takes any token and none."""
    spec = copy.deepcopy(spec)
    # The generator wants it required; the description says that servers take an empty body as `{}`.
    spec["components"]["requestBodies"]["Connect"]["required"] = False
    for item in spec["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
    return spec


schema = schemathesis.openapi.from_dict(as_on_loopback(SPEC))


EVENTS = {
    "/v2/backend/{backend_id}/status/stream": "BackendState",
    "/v2/backend/{backend_id}/metrics/stream": "BackendMetrics",
}

# More of them: scripts/fuzz-api. Read here, because no test sees a variable of ours.
EXAMPLES = int(os.environ.get("JAMSOCKET_FUZZ_EXAMPLES", "15"))
# Spawning a process for each example costs: few of them usually, in every run other ones.
generated = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with DevServer(BACKEND, port=0, proxy_port=0, stop_grace=0.1) as server:
        yield server


@pytest.fixture(scope="module")
def configured() -> Iterator[DevServer]:
    """A server with services, and among them those that the generated requests are led to."""
    services = {"svc": Service(SMALL, tags={"old": POLITE}), "other": Service(SMALL, static_tokens=True)}
    with DevServer(services, port=0, proxy_port=0, stop_grace=0) as server:
        yield server


@pytest.fixture(scope="module")
def ended(configured: DevServer) -> str:
    """A backend whose streams come to an end."""
    with httpx.Client(base_url=configured.url) as client:
        backend = client.post("/v2/service/acme/svc/connect", json={}).json()
        assert httpx.get(backend["url"]).text == "hi"
        terminate_all(client)
        client.get(f"/v2/backend/{backend['backend_id']}/status/stream")  # read to its end
        return str(backend["backend_id"])


def terminate_all(client: httpx.Client) -> None:
    for backend in client.get("/v2/account/-/backends").json()["running_backends"]:
        client.post(f"/v2/backend/{backend['id']}/terminate", json={"hard": True})


def validate(value: Any, name: str) -> None:
    Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": SPEC["components"]}).validate(value)


@schema.exclude(path_regex="/(logs|metrics)/stream$").parametrize()
@generated
@pytest.mark.filterwarnings("ignore")  # schemathesis' own
def test_generated_requests(case: schemathesis.Case, server: DevServer) -> None:
    case.call_and_validate(base_url=server.url, timeout=10)
    if case.operation.path.endswith("/connect"):
        with httpx.Client(base_url=server.url) as client:
            terminate_all(client)


@schema.parametrize()
@generated
@pytest.mark.filterwarnings("ignore")  # schemathesis' own
def test_generated_requests_for_what_exists(case: schemathesis.Case, configured: DevServer, ended: str) -> None:
    """The names in paths, hit by no chance, lead to a service, an environment and a backend."""
    known = {"account": "acme", "service": "svc", "environment": "prod", "backend_id": ended}
    case.path_parameters.update({name: known[name] for name in case.path_parameters})
    with httpx.Client(base_url=configured.url) as client:
        client.post("/v2/account/acme/service", json={"name": "svc"})  # a request before may have deleted it
        # With its path put right, a request that was meant to be wrong may be right. And to the specification's
        # generator an event stream is a string, which schemathesis parses; the events' data is checked below.
        loose = [negative_data_rejection]
        if case.operation.path.endswith("/stream"):
            loose.append(response_schema_conformance)
        response = case.call_and_validate(base_url=configured.url, timeout=10, excluded_checks=loose)
        if case.operation.path.endswith("/connect"):
            terminate_all(client)
    schema_name = EVENTS.get(case.operation.path)
    if schema_name and response.status_code == 200:
        for line in response.text.splitlines():
            if line.startswith("data:"):
                validate(json.loads(line.removeprefix("data:")), schema_name)


def test_a_whole_life(server: DevServer) -> None:
    with httpx.Client(base_url=server.url) as client:
        answer = client.post("/v2/service/-/-/connect", json={"key": "k", "user": "ada", "auth": {"a": 1}})
        assert answer.headers["content-type"] == "application/json"
        connection = answer.json()
        validate(connection, "ConnectResponse")
        backend_id = connection["backend_id"]
        assert connection["status_url"] == f"{server.url}/v2/backend/{backend_id}/status"
        seen: list[dict[str, Any]] = []
        with client.stream("GET", f"/v2/backend/{backend_id}/status/stream") as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            assert stream.headers["access-control-allow-origin"] == "*"
            for line in stream.iter_lines():
                if not line:
                    continue
                assert line.startswith("data:{")
                seen.append(json.loads(line.removeprefix("data:")))
                validate(seen[-1], "BackendState")
                now = client.get(f"/v2/backend/{backend_id}/status")
                validate(now.json(), "BackendState")
                if seen[-1]["status"] == "ready":
                    running = client.get("/v2/account/-/backends").json()
                    validate(running, "RunningBackendList")
                    assert backend_id in [backend["id"] for backend in running["running_backends"]]
                    done = client.post(f"/v2/backend/{backend_id}/terminate", json={"hard": True})
                    validate(done.json(), "Acknowledgement")
        assert [state["status"] for state in seen][-2:] == ["hard-terminating", "terminated"]
        assert seen[-1]["termination_reason"] == "external"
        assert seen[-1]["termination_kind"] == "hard"
        assert seen[-1]["exit_error"] is True
        assert sorted(state["time"] for state in seen) == [state["time"] for state in seen]
        info = client.get(f"/v2/backend/{backend_id}").json()
        validate(info, "BackendInfo")
        assert info["statuses"][-1]["exit_code"] == 137
        again = client.post(f"/v2/backend/{backend_id}/terminate", json={})
        assert again.status_code == 409
        validate(again.json(), "ErrorResponse")
        assert again.json()["error"]["code"] == "BackendNotRunning"
        validate(client.get("/auth").json(), "AuthInfo")
        validate(client.get("/v2/account/-/services").json(), "ServiceList")


def test_all_that_is_wrong_is_an_envelope(server: DevServer) -> None:
    with httpx.Client(base_url=server.url) as client:
        for method, path, content, status in (
            ("GET", "/v2/backend/nobody/status", b"", 404),
            ("GET", "/v2/backend/nobody/status/stream", b"", 404),
            ("GET", "/nothing", b"", 404),
            ("PUT", "/v2/service/a/s/connect", b"", 405),
            ("POST", "/v2/service/a/s/connect", b"{", 400),
            ("POST", "/v2/service/a/s/connect", b"[]", 400),
            ("POST", "/v2/service/a/s/connect", b'{"kye":"x"}', 400),
            ("POST", "/v2/service/a/s/connect", b'{"spawn":false}', 409),
        ):
            answer = client.request(method, path, content=content)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), path
            validate(answer.json(), "ErrorResponse")
            assert answer.json()["error"]["status"] == status
