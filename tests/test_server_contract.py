"""The embedded server against openapi.yaml: generated requests, right and wrong ones, and a backend's whole life."""

from __future__ import annotations

import copy
import json
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

from jamsocket.hosting import DevServer

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


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with DevServer(BACKEND, port=0, proxy_port=0, stop_grace=0.1) as server:
        yield server


def validate(value: Any, name: str) -> None:
    Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": SPEC["components"]}).validate(value)


# Spawning a process for each example costs: few of them here, in every run other ones.
@schema.exclude(path_regex="/(logs|metrics)/stream$").parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.filterwarnings("ignore")  # schemathesis' own
def test_generated_requests(case: schemathesis.Case, server: DevServer) -> None:
    case.call_and_validate(base_url=server.url, timeout=10)


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
