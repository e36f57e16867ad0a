"""The official command line client (npm package jamsocket 0.10.7) against the server: a client nobody here wrote.

Every command that needs no Docker, with its exit code and its own words. See scripts/official-cli.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import frozen

from jamsocket.hosting import DevServer, Limits, Service

from .support import ROOT, SMALL, eventually_blocking, python

SCRIPT = ROOT / "scripts" / "official-cli"
TOKEN = "tok.123"
LOUD = python("signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\nprint('one\\n  two\\n\\nthree'); serve()")


@frozen
class Done:
    """A command that has ended. Its lines are joined: the client breaks them where it likes."""

    code: int
    out: str
    err: str

    def value(self, label: str) -> str:
        """What stands behind this label of a table."""
        found = re.search(rf"{label}:\s+(\S+)", self.out)
        assert found, self
        return found[1]


class Cli:
    """Runs the client with a home of its own, logged in as the account acme."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.url = url
        # With this it does not look for a newer version in the background.
        self.write(".cache/jamsocket/version", {"latest": "0.10.7"})
        self.log_in({"api_token": {"account": "acme", "token": TOKEN}})

    def __call__(self, *arguments: str) -> Done:
        done = subprocess.run(
            [str(SCRIPT), *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "JAMSOCKET_SERVER_API": self.url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said, *err = done.stderr.splitlines() or [""]
        if not said.startswith("Using Jamsocket server override"):
            err.insert(0, said)  # it failed before it got that far
        return Done(done.returncode, " ".join(done.stdout.split()), " ".join(" ".join(err).split()))

    def works(self, *arguments: str) -> Done:
        done = self(*arguments)
        assert (done.code, done.err) == (0, ""), done
        return done

    def fails(self, *arguments: str, code: int = 1) -> str:
        done = self(*arguments)
        assert done.code == code, done
        return done.err

    def connected(self, *arguments: str) -> Done:
        done = self.works("connect", *arguments)
        assert done.out.startswith("Backend spawned! backend id: "), done
        return done

    def backend(self, *arguments: str) -> str:
        return self.connected(*arguments).value("backend id")

    def log_in(self, login: dict[str, Any]) -> None:
        self.write(".jamsocket/config.json", login)

    def login(self) -> Any:
        """What its login file says; None if there is none."""
        path = self.home / ".jamsocket/config.json"
        return json.loads(path.read_text()) if path.exists() else None

    def write(self, name: str, data: object) -> None:
        path = self.home / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(json.dumps(data))


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    subprocess.run([str(SCRIPT), "--version"], check=True, timeout=300)  # installs it, if that is not done
    services = {"svc": Service(LOUD, tags={"old": SMALL}), "other": Service(SMALL)}
    limits = Limits(metrics_interval=0.05)
    with DevServer(services, port=0, proxy_port=0, stop_grace=0, token=TOKEN, limits=limits) as server:
        yield server


@pytest.fixture
def cli(server: DevServer, tmp_path: Path) -> Cli:
    return Cli(tmp_path, server.url)


def info(server: DevServer, backend: str) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/v2/backend/{backend}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return dict(answer.json())


def wait(server: DevServer, backend: str, status: str) -> None:
    eventually_blocking(lambda: httpx.get(f"{server.url}/v2/backend/{backend}/status").json()["status"] == status)


def test_connect(cli: Cli, server: DevServer) -> None:
    done = cli.connected("svc")
    backend = done.value("backend id")
    assert done.value("backend status") == "scheduled"
    assert done.value("status url") == f"{server.url}/v2/backend/{backend}/status"
    assert httpx.get(done.value("backend url")).text == "hi"
    assert "spawned:" not in done.out  # it says so only of a key
    known = info(server, backend)
    assert (known["account_name"], known["service_name"], known["key"]) == ("acme", "svc", None)


def test_connect_with_everything(cli: Cli, server: DevServer) -> None:
    options = ["-k", "everything", "-u", "ada", "-a", '{"role":"editor"}', "-e", "A=b", "-e", "C=d=e", "-i", "60"]
    done = cli.connected("svc", *options, "-l", "600", "-t", "old", "-c", "here")
    assert done.value("spawned") == "true"
    again = cli.connected("svc", "-k", "everything", "--no-spawn")
    assert again.value("spawned") == "false"
    assert again.value("backend id") == done.value("backend id")
    assert again.value("backend url") != done.value("backend url")
    assert info(server, done.value("backend id"))["key"] == "everything"
    digest = info(server, done.value("backend id"))["image_digest"]
    assert f"{digest} old " in cli.works("images", "svc").out


def test_connect_to_an_environment(cli: Cli, server: DevServer) -> None:
    assert info(server, cli.backend("svc/prod"))["environment_name"] == "prod"
    assert "environment: prod" in cli.works("backend", "info", cli.backend("svc/prod")).out
    # The same key elsewhere is another one.
    assert cli.backend("svc/prod", "-k", "k") != cli.backend("svc", "-k", "k")
    assert cli.backend("svc/default", "-k", "k") == cli.backend("svc", "-k", "k")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "404 - NotFound: There is no service nothing"),
        (["svc", "-k", "unheld", "--no-spawn"], "409 - KeyUnheldNoSpawnConfig: Nobody holds the key"),
        (["svc", "-t", "nothing"], "404 - NotFound: There is no image with the tag nothing."),
        (["svc", "-e", "PORT=1"], "400 - BadRequest: spawn.executable.env.PORT: the name is reserved."),
        # It counts characters where it should count bytes, so that the body arrives cut off.
        (["svc", "-k", "dôc-é"], "400 - BadRequest: The request is not HTTP as it should be."),
    ],
)
def test_connect_is_refused(cli: Cli, arguments: list[str], words: str) -> None:
    assert f"HTTPError: jamsocket: {words}" in cli.fails("connect", *arguments)


def test_list_and_info(cli: Cli, server: DevServer) -> None:
    cli.log_in({"api_token": {"account": "lister", "token": TOKEN}})
    assert cli.works("backend", "list").out == "No running backends found."
    backend = cli.backend("other", "-k", "listed")
    wait(server, backend, "ready")
    listed = cli.works("backend", "list").out
    assert listed.startswith("Found the following running backends:")
    assert f"{backend} less than a minute ago lister other ready (less than a minute) listed" in listed
    eventually_blocking(lambda: info(server, backend)["max_mem_bytes"])

    done = cli.works("backend", "info", backend)
    assert done.out.startswith(f"Info for backend: {backend} created: ")
    for words in ("service: other", "account: lister", "cluster: localhost", "key: listed", "mem usage:"):
        assert words in done.out
    assert done.value("image digest").startswith("sha256:")
    statuses = re.findall(r"Z ([a-z-]+)", done.out.partition("Statuses: ")[2])
    assert statuses == ["scheduled", "loading", "starting", "waiting", "ready"]

    cli.works("terminate", backend, "-f")
    wait(server, backend, "terminated")
    done = cli.works("backend", "info", backend)
    assert "hard-terminating (reason: external)" in done.out
    assert "terminated (reason: external, kind: hard, exit code: 137)" in done.out
    assert "404 - NotFound: There is no backend nobody." in cli.fails("backend", "info", "nobody")


def test_terminate(cli: Cli, server: DevServer) -> None:
    one, two = cli.backend("svc"), cli.backend("svc")
    wait(server, one, "ready")
    done = cli.works("terminate", one, two)
    assert done.out == " ".join(f"Termination requested for backend: {backend}" for backend in (one, two))
    wait(server, one, "terminated")
    wait(server, two, "terminated")
    assert "terminated (reason: external, kind: soft, exit code: 0)" in cli.works("backend", "info", one).out

    again = cli("backend", "terminate", one)
    assert (again.code, again.out) == (0, "")
    assert f"Warning: Backend {one} has already terminated. Skipping..." in again.err
    words = "Failed to request termination for backend: nobody. Skipping..."
    assert words in cli.fails("terminate", "nobody", one, code=2)


@pytest.mark.parametrize("command", [["logs"], ["backend", "logs"]])
def test_logs(cli: Cli, server: DevServer, command: list[str]) -> None:
    backend = cli.backend("svc")
    wait(server, backend, "ready")
    # They end with the backend.
    cli.works("terminate", backend)
    assert cli.works(*command, backend).out.endswith("troubleshooting one two three")
    assert "There is no backend nobody. Code: NotFound" in cli.fails(*command, "nobody")


def test_metrics(cli: Cli, server: DevServer) -> None:
    backend = cli.backend("svc")
    eventually_blocking(lambda: info(server, backend)["max_mem_bytes"])
    cli.works("terminate", backend)
    wait(server, backend, "terminated")
    out = cli.works("backend", "metrics", backend).out
    assert re.search(r"cpu util mem used mem avail \S*\d+\.\d% +\d+\.\d\d MiB +\d+\.\d\d [MG]iB$", out), out
    assert "There is no backend nobody. Code: NotFound" in cli.fails("backend", "metrics", "nobody")


def test_services(cli: Cli) -> None:
    assert cli.works("service", "list").out == "other svc"
    assert cli.works("service", "create", "new").out == "Created service: new"
    assert cli.works("service", "list").out == "new other svc"
    assert "409 - Conflict: There is a service new already." in cli.fails("service", "create", "new")
    assert "400 - BadRequest: name cannot be" in cli.fails("service", "create", "a/b")

    done = cli.works("service", "info", "new")
    assert done.out.startswith("Service: new account: acme created: less than a minute ago last spawn: - ")
    assert done.value("last image push").startswith("sha256:")
    assert done.out.endswith("cluster: localhost image tag/digest: latest")
    assert "404 - NotFound: There is no service nothing" in cli.fails("service", "info", "nothing")

    backend = cli.backend("new")
    assert "409 - ServiceInUse: 1 of its backends run; terminate them first." in cli.fails(
        "service", "delete", "new", "-y"
    )
    cli.works("terminate", "-f", backend)
    eventually_blocking(lambda: cli("service", "delete", "new", "-y").out.endswith("Deleted service: new"))
    assert cli.works("service", "list").out == "other svc"
    assert "404 - NotFound: There is no service new" in cli.fails("service", "delete", "new", "-y")


def test_images(cli: Cli, server: DevServer) -> None:
    cli.log_in({"api_token": {"account": "painter", "token": TOKEN}})
    out = cli.works("images", "svc").out
    assert out.startswith("Found the following images:")
    digests = re.findall(r"(sha256:[0-9a-f]{64}) (latest|old) (\S+Z) (\S+)", out)
    assert [(tag, repository) for _, tag, _, repository in digests] == [
        ("latest", "painter/svc"),
        ("old", "painter/svc"),
    ]
    assert cli.works("service", "images", "svc").out == out
    assert "404 - NotFound: There is no service nothing" in cli.fails("images", "nothing")

    use = cli.works("service", "use-image", "svc", "-i", "old").out
    assert use.startswith("Updated svc to use image old Run jamsocket service info svc")
    assert cli.works("service", "use-image", "svc/prod", "-i", "latest").out.startswith("Updated svc/prod to use")
    assert "There is no image with the tag nothing." in cli.fails("service", "use-image", "svc", "-i", "nothing")
    assert "Missing required flag" in cli.fails("service", "use-image", "svc", code=2)
    environments = cli.works("service", "info", "svc").out.partition("Environments: ")[2]
    assert "default cluster: localhost image tag/digest: old" in environments
    assert "prod cluster: localhost image tag/digest: latest" in environments
    assert info(server, cli.backend("svc"))["image_digest"] == digests[1][0]
    assert info(server, cli.backend("svc/prod"))["image_digest"] == digests[0][0]


def test_spawn_of_the_first_version(cli: Cli, server: DevServer) -> None:
    done = cli.works("spawn", "svc")
    assert done.out.startswith("Backend spawned! backend ID: ")
    assert done.value("backend status") == "Loading"
    assert httpx.get(done.value("backend url")).text == "hi"
    done = cli.works("spawn", "svc/prod", "-l", "lock", "-g", "60", "-e", "A=b")
    assert done.value("spawned") == "true"
    known = info(server, done.value("backend ID"))
    assert (known["key"], known["environment_name"]) == ("lock", "prod")
    wait(server, known["id"], "ready")
    again = cli.works("spawn", "svc/prod", "-l", "lock")
    assert (again.value("spawned"), again.value("backend status")) == ("false", "Ready")
    assert again.value("backend ID") == known["id"] == cli.backend("svc/prod", "-k", "lock")
    assert "404 - NotFound: There is no service nothing" in cli.fails("spawn", "nothing")
    assert "400 - BadRequest: spawn.executable.env.PORT: the name is reserved." in cli.fails(
        "spawn", "svc", "-e", "PORT=1"
    )


def test_login_with_a_token(cli: Cli) -> None:
    already = "You are already logged in as account {}. To log into a different account, run jamsocket logout first."
    assert cli.works("login").out == already.format("acme")
    assert cli.works("logout").out == "Logged out"
    assert cli.login() is None
    assert "No user credentials found. Log in with jamsocket login" in cli.fails("backend", "list")

    assert "Token must contain a period." in cli.fails("login", "-t", "123")
    assert cli.fails("login", "-t", "wrong.token").startswith("Your credentials may have expired.")
    assert cli.login() is None
    assert cli.works("login", "-t", TOKEN).out == 'Logged in using API token as "-"'
    assert cli.login() == {"api_token": {"account": "-", "token": TOKEN}}
    assert cli.works("login").out == already.format("-")
    assert cli.works("service", "list").out == "other svc"


def test_a_token_that_is_wrong(cli: Cli) -> None:
    cli.log_in({"api_token": {"account": "acme", "token": "wrong.token"}})
    for command in ("backend list", "service list", "connect svc", "logs nobody", "images svc"):
        assert cli.fails(*command.split()) == "Your credentials may have expired. Please try logging in again."


def test_a_session(cli: Cli) -> None:
    """What the client keeps after a login in the browser."""
    who = {"user_id": "u", "selected_account": "acme", "user_is_admin": True, "user_email": "a@example.com"}
    cli.log_in({"user_session": {"uuid": "s-1", "token": TOKEN, **who}})
    assert cli.works("login").out.startswith("You are already logged in as account acme.")
    assert cli.works("service", "list").out == "other svc"
    assert cli.works("logout").out == "Logged out"
    assert cli.login() is None
