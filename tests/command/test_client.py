"""The commands that call the API, against the dev server and against servers that misbehave."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jamsocket import Jamsocket
from jamsocket.hosting import DevServer, Limits
from tests.hosting.support import MUTE, POLITE
from tests.support.faults import (
    FaultServer,
    close,
    event,
    finish,
    hang,
    raw,
    reset,
    respond,
    state,
    stream,
    until,
    write,
)
from tests.test_services import BACKEND, CALLS, SERVICE

from .support import Shell

TOKEN = "tok-planted-secret"
CONNECT = "/v2/service/acme/whiteboard/connect"
CONNECTION = {
    "backend_id": "b1",
    "spawned": True,
    "status": "scheduled",
    "token": "planted-connection-token",
    "url": "https://b1.example.com/planted-connection-token/",
    "secret_token": "planted-secret-token",
    "status_url": "https://api.example.com/v2/backend/b1/status",
}


# The installed program: completion goes by its name.
PROGRAM = str(Path(sys.executable).with_name("jamsocket"))


# ── Against the dev server ──


@pytest.fixture(scope="module")
def dev() -> Iterator[DevServer]:
    services = {"board": POLITE, "mute": MUTE}
    with DevServer(services, port=0, proxy_port=0, limits=Limits(metrics_interval=0.1)) as server:
        yield server


@pytest.fixture
def shell(tmp_path: Path, dev: DevServer) -> Shell:
    return Shell(tmp_path, JAMSOCKET_DEV="true", JAMSOCKET_DEV_PORT=str(dev.port))


@pytest.fixture
def client(dev: DevServer) -> Iterator[Jamsocket]:
    with Jamsocket(dev=True, port=dev.port) as client:
        yield client


def test_connect_writes_the_url_and_nothing_else(shell: Shell, client: Jamsocket) -> None:
    done = shell("connect", "-k", "a key", "--wait", "-u", "ada", "-a", '{"role": "editor"}', "-e", "A=b=c", "-i", "60")
    assert done.code == 0
    url = done.out.removesuffix("\n")
    assert httpx.get(url).text == "hi"
    assert re.search(r"\w+  ready  spawned", done.err)
    assert url.split("/")[3] not in done.err
    again = shell("connect", "--key", "a key", "--json").json
    assert again["spawned"] is False
    assert client.backend_info(again["backend_id"]).key == "a key"
    client.terminate(again["backend_id"], hard=True)


def test_a_life(shell: Shell) -> None:
    connection = shell("connect", "board", "--json").json
    backend = connection["backend_id"]
    waited = shell("wait", backend)
    assert (waited.code, waited.out.split()[-1]) == (0, "ready")
    assert shell("wait", backend, "--json").json["status"] == "ready"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  ready\n", shell("status", backend).out)
    assert shell("status", backend, "--json").json["status"] == "ready"

    rows = [line.split() for line in shell("backends").out.splitlines()]
    assert rows[0] == ["ID", "SERVICE", "KEY", "STATUS", "CREATED", "CLUSTER"]
    assert [backend, "board", "-", "ready"] in [row[:4] for row in rows]
    assert backend in [each["id"] for each in shell("backends", "--json").json]

    ended = shell("terminate", backend, "--hard")
    assert (ended.code, ended.out, ended.err) == (0, f"{backend}  terminating\n", "")
    followed = shell("status", "--follow", "--json", backend)
    statuses = [each["status"] for each in followed.lines]
    assert statuses[0] == "scheduled"
    assert statuses[-2:] == ["hard-terminating", "terminated"]
    last = shell("status", "-f", backend).out.splitlines()[-1]
    assert last.endswith("  terminated  external  hard  exited with an error")
    assert backend not in shell("backends").out

    history = shell("info", backend, "--json").json
    assert [each["status"] for each in history["statuses"]] == statuses
    told = shell("info", backend).out
    assert re.search(r"^service +board$", told, re.MULTILINE)
    assert re.search(r"terminated +external +hard +137$", told, re.MULTILINE)

    again = shell("terminate", backend)
    assert (again.code, again.out) == (0, "")
    assert again.err == f"jamsocket: warning: {backend} is not running\n"
    assert shell("wait", backend).code == 4
    assert f"jamsocket: Backend {backend} is terminated (external," in shell("wait", backend).err


def test_terminating_several(shell: Shell, client: Jamsocket) -> None:
    one, other = (client.connect().backend_id for _ in range(2))
    done = shell("terminate", one, "no-such", other, "-f", "--json")
    assert done.code == 3
    assert [each["outcome"] for each in done.json] == ["terminating", "error", "terminating"]
    assert "There is no backend no-such." in done.json[1]["error"]
    assert "There is no backend no-such." in done.err
    assert shell("terminate", one, other, "--json").json[0]["outcome"] in {"not running", "terminating"}


def test_time_runs_out(shell: Shell, client: Jamsocket) -> None:
    backend = shell("connect", "mute", "--json").json["backend_id"]
    done = shell("wait", backend, "--timeout", "0.5")
    assert (done.code, done.out) == (5, "")
    assert "was not ready within 0.5 s; its last status was 'waiting'." in done.err
    assert shell("connect", "mute", "--wait", "--timeout", "0.5").code == 5
    for running in client.backends():
        client.terminate(running.id, hard=True)


def test_logs_and_metrics(shell: Shell, dev: DevServer) -> None:
    backend = shell("connect", "mute", "--json").json["backend_id"]
    with shell.start("logs", backend) as logs, shell.start("metrics", backend, "--json") as metrics:
        assert logs.stdout
        assert logs.stdout.readline() == "mute\n", "a line is there at once"
        assert metrics.stdout
        assert '"cpu_used": ' in metrics.stdout.readline()
        shell("terminate", backend, "--hard")
        for process in (logs, metrics):
            _, err = process.communicate(timeout=20)
            assert (process.returncode, err) == (0, ""), "it ends with the backend"
    assert shell("logs", backend, "--json").lines == [{"line": "mute"}]
    measured = shell("metrics", backend).out
    assert re.search(r"^CPU +\d+\.\d%  memory [\d.]+ MiB used  [\d.]+ GiB available$", measured, re.MULTILINE)


def test_services_and_images(shell: Shell) -> None:
    assert shell("services", "list").out == "board\nmute\n"
    assert shell("services", "list", "--json").json == ["board", "mute"]
    assert shell("services", "create", "new").out == "Created new.\n"
    assert "new" in shell("services", "list").out
    assert shell("services", "create", "new").code == 1
    assert shell("services", "delete", "new", stdin="n\n").code == 1
    assert "new" in shell("services", "list").out
    asked = shell("services", "delete", "new", stdin="y\n")
    assert (asked.code, asked.out) == (0, "Deleted new.\n")
    assert asked.err == "Delete the service new and its environments for good? [y/N] "
    assert shell("services", "create", "new", "--json").json == {"status": "ok"}
    assert shell("services", "delete", "new", "-y", "--json").json == {"status": "ok"}
    info = shell("services", "info", "board").out
    assert re.search(r"^name +board$", info, re.MULTILINE)
    assert re.search(r"^default +latest +localhost", info, re.MULTILINE)
    assert shell("services", "info", "--json", "--service", "mute").json["name"] == "mute"
    (image,) = shell("images", "mute", "--json").json
    assert shell("images", "mute").out.split("\n")[1].split()[:2] == ["latest", image["digest"]]
    assert shell("use-image", "board", "-i", "latest").out == "New backends run latest.\n"
    assert shell("use-image", "board/blue", "-t", "latest", "--json").json == {"status": "ok"}
    assert shell("use-image", "board", "-i", "nope").code == 3
    assert shell("services", "info", "nope").code == 3


def test_completion(shell: Shell, client: Jamsocket) -> None:
    backend = client.connect().backend_id

    def complete(words: str) -> list[str]:
        env = {"_JAMSOCKET_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run([PROGRAM], env=shell.env(**env), capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout.split()

    assert {"dev", "connect", "use-image"} <= set(complete("jamsocket "))
    assert complete("jamsocket ser") == ["services"]
    assert backend in complete("jamsocket status ")
    assert backend in complete(f"jamsocket terminate x {backend[:3]}")
    assert complete("jamsocket status zzz") == []
    assert complete("jamsocket status --port 1 ") == [], "nobody there: no ids, and no error"
    client.terminate(backend, hard=True)


def test_show_completion(shell: Shell) -> None:
    for name in ("bash", "sh"):
        command = [name, "-c", f"{PROGRAM} --show-completion; true"]
        done = subprocess.run(command, env=shell.env(), capture_output=True, text=True, check=False)
        assert ("_JAMSOCKET_COMPLETE=complete_bash" in done.stdout) == (name == "bash")


# ── Against servers that misbehave ──


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        for _, _, method, path, answer in CALLS.values():
            server.on(method, path, [respond(200, answer)])
        server.on("POST", CONNECT, [respond(200, CONNECTION)])
        server.on("GET", "/v2/backend/b1/status", [respond(200, state("ready"))])
        server.on("POST", "/v2/backend/b1/terminate", [respond(200, {"status": "ok"})])
        yield server


@pytest.fixture
def acme(tmp_path: Path, server: FaultServer) -> Shell:
    return Shell(
        tmp_path,
        JAMSOCKET_ACCOUNT="acme",
        JAMSOCKET_TOKEN=TOKEN,
        JAMSOCKET_SERVICE="whiteboard",
        JAMSOCKET_API_URL=server.url,
    )


def test_what_connect_sends(acme: Shell, server: FaultServer) -> None:
    acme("connect")
    acme(
        "connect",
        "-k",
        "k",
        "-u",
        "u",
        "-a",
        '{"a": 1}',
        "-e",
        "A=b",
        "-e",
        "C=",
        "-i",
        "1",
        "-l",
        "2",
        "-t",
        "t",
        "-c",
        "c",
    )
    acme("connect", "-k", "k", "--no-spawn")
    everything = {
        "key": "k",
        "user": "u",
        "auth": {"a": 1},
        "spawn": {
            "tag": "t",
            "cluster": "c",
            "lifetime_limit_seconds": 2,
            "max_idle_seconds": 1,
            "executable": {"env": {"A": "b", "C": ""}},
        },
    }
    assert [request.json for request in server.requests] == [{}, everything, {"key": "k", "spawn": False}]


@pytest.mark.parametrize(
    "arguments",
    [
        ["whiteboard/staging"],
        ["--service", "whiteboard/staging"],
        ["whiteboard", "--environment", "staging"],
        ["--environment", "staging"],
    ],
)
def test_an_environment(acme: Shell, server: FaultServer, arguments: list[str]) -> None:
    path = "/v2/service/acme/whiteboard/staging/connect"
    server.on("POST", path, [respond(200, CONNECTION)])
    assert acme("connect", *arguments).code == 0
    assert server.requests[0].path == path


def test_the_login_file(tmp_path: Path, server: FaultServer) -> None:
    shell = Shell(tmp_path, JAMSOCKET_API_URL=server.url)
    logins = [
        '{"api_token": {"account": "acme", "token": "tok-file"}}',
        '{"user_session": {"uuid": "u", "token": "tok-file", "user_id": "x", "selected_account": "acme"}}',
    ]
    for text in logins:
        path = shell.log_in(text)
        before = path.stat()
        assert shell("backends").code == 0
        assert server.requests[-1].path == "/v2/account/acme/backends"
        assert server.requests[-1].headers["authorization"] == "Bearer tok-file"
        assert (path.read_text(), path.stat().st_mtime_ns) == (text, before.st_mtime_ns), "it is never written"
    shell("backends", JAMSOCKET_TOKEN="tok-env")
    assert server.requests[-1].headers["authorization"] == "Bearer tok-env"
    shell("backends", "--token", "tok-option", JAMSOCKET_TOKEN="tok-env")
    assert server.requests[-1].headers["authorization"] == "Bearer tok-option"


def test_without_credentials(tmp_path: Path, server: FaultServer) -> None:
    shell = Shell(tmp_path, JAMSOCKET_API_URL=server.url)
    done = shell("connect")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    for word in ("JAMSOCKET_ACCOUNT is missing", "JAMSOCKET_TOKEN is missing", "JAMSOCKET_SERVICE is missing", "--dev"):
        assert word in done.err
    assert "There is no login of the official CLI" in done.err
    assert shell("status", "b1").code == 0, "it needs none"
    shell.log_in('{"api_token": {"account": "acme", "token": "tok-planted"}')
    refused = shell("backends")
    assert refused.code == 2
    assert "config.json is not a login of the official CLI: it is not JSON." in refused.err
    shell.log_in('{"api_token": {"account": "acme", "token": "tok-planted"}}')
    refused = shell("backends", "--account", "another")
    assert refused.code == 2
    assert "is for another account" in refused.err
    assert "planted" not in refused.err
    assert len(server.requests) == 1


USAGE = [
    ["connect", "--no-spawn"],
    ["connect", "-k", "k", "--no-spawn", "-i", "5"],
    ["connect", "-a", "planted"],
    ["connect", "-a", "[1]"],
    ["connect", "-e", "planted"],
    ["connect", "-e", "=planted"],
    ["connect", "a/b", "--service", "c"],
    ["connect", "a/b", "--environment", "c"],
    ["connect", "--dev", "--api-url", "http://localhost:1"],
    ["connect", "--api-url", "http://example.com"],
    ["status", ""],
    ["logs", ".."],
    ["services", "create", ""],
]


@pytest.mark.parametrize("arguments", USAGE)
def test_wrong_usage(acme: Shell, server: FaultServer, arguments: list[str]) -> None:
    done = acme(*arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("jamsocket: ")
    assert "planted" not in done.err
    assert server.requests == []


def test_plain_http_to_another_machine(acme: Shell) -> None:
    refused = acme("backends", "--api-url", "http://example.com")
    assert refused.code == 2
    assert "everyone on the way could read the token" in refused.err
    assert "or --allow-insecure-http on a network that you trust" in refused.err


@pytest.mark.parametrize("arguments", [["status"], ["connect", "--bogus"], ["bogus"], ["wait", "b", "--timeout", "-1"]])
def test_usage_that_typer_refuses(acme: Shell, arguments: list[str]) -> None:
    assert acme(*arguments).code == 2


CALLERS = [["backends"], ["info", "b1"], ["services", "list"], ["services", "info"], ["images"], ["connect"]]
CALLERS += [["services", "create", "notes"], ["services", "delete", "-y", "notes"], ["use-image", "-i", "v2"]]
CALLERS += [["logs", "b1"], ["metrics", "b1"]]


@pytest.mark.parametrize("arguments", CALLERS)
def test_errors_are_one_line_and_a_code(acme: Shell, server: FaultServer, arguments: list[str]) -> None:
    refusals = [(404, 3), (401, 1), (409, 1)]
    places = [(method, path) for _, _, method, path, _ in CALLS.values()]
    places += [("POST", CONNECT), ("GET", "/v2/backend/b1/logs/stream"), ("GET", "/v2/backend/b1/metrics/stream")]
    for status, code in refusals:
        for method, path in places:
            server.on(method, path, [respond(status, {"error": {"message": f"no\nwith {TOKEN}", "code": "Why"}})])
        done = acme(*arguments)
        assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
        assert done.err.startswith("jamsocket: ")
        assert "Why" in done.err
        assert TOKEN not in done.err


@pytest.mark.parametrize(
    "answer",
    [
        [respond(200, {**CONNECTION, "spawned": "yes"})],
        [raw(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\nplanted-connection-token"), close],
        [respond(500, CONNECTION)],
    ],
)
def test_no_error_shows_a_connection_url(acme: Shell, server: FaultServer, answer: Any) -> None:
    server.on("POST", CONNECT, answer)
    done = acme("connect")
    assert (done.code, done.out) == (1, "")
    assert "planted" not in done.err


def test_the_log_file_of_a_backend_without_ids_that_is_cut(acme: Shell, server: FaultServer) -> None:
    server.on("GET", "/v2/backend/b1/logs/stream", stream(write(b"data: one\n\n"), reset))
    done = acme("logs", "b1")
    assert (done.code, done.out) == (1, "one\n")
    assert "cut after 1 line, and others may be missing" in done.err


def test_lines_are_written_as_they_are(acme: Shell, server: FaultServer) -> None:
    lines = ["", "  blanks ", "\x1b[31mred\x1b[0m", "é 🎨", "[bold]no markup[/bold] :smile:"]
    server.on(
        "GET", "/v2/backend/b1/logs/stream", stream(*(write(f"data: {each}\n\n".encode()) for each in lines), finish)
    )
    assert acme("logs", "b1").out == "".join(each + "\n" for each in lines)
    assert [each["line"] for each in acme("logs", "b1", "--json").lines] == lines
    narrow = acme("logs", "b1", PYTHONIOENCODING="ascii")
    assert (narrow.code, r"\xe9 \U0001f3a8" in narrow.out) == (0, True)


def test_names_cannot_move_the_cursor(acme: Shell, server: FaultServer) -> None:
    evil = "\x1b[2J[red]x[/red]\r\n"
    server.on("GET", "/v2/backend/b1", [respond(200, {**BACKEND, "key": evil})])
    server.on("GET", "/v2/service/acme/whiteboard", [respond(200, {**SERVICE, "image_name": evil})])
    for arguments in (["info", "b1"], ["services", "info"]):
        done = acme(*arguments)
        assert done.code == 0
        assert "\x1b" not in done.out
        assert "[2J[red]x[/red]" in done.out


def test_an_unknown_status_and_unknown_fields_come_through(acme: Shell, server: FaultServer) -> None:
    server.on("GET", "/v2/backend/b1/status", [respond(200, {"status": "paused", "mood": "fine"})])
    assert acme("status", "b1").out == "-  paused\n"
    assert acme("status", "b1", "--json").json == {"status": "paused", "mood": "fine"}
    server.on("GET", "/v2/backend/b1", [respond(200, {**BACKEND, "region": "eu"})])
    assert acme("info", "b1", "--json").json["region"] == "eu"


# ── Terminals, pipes, signals ──


def test_colours_only_in_a_terminal(acme: Shell) -> None:
    code, shown = acme.in_terminal("status", "b1")
    assert code == 0
    assert "\x1b[1;32mready" in shown
    for done in (acme.in_terminal("status", "b1", NO_COLOR="1"), acme.in_terminal("status", "b1", TERM="dumb")):
        assert "32m" not in done[1]
    assert "\x1b" not in acme("status", "b1").out
    assert "\x1b" not in acme("backends").out


@pytest.fixture
def slow(server: FaultServer) -> None:
    """The backend b1 is starting until somebody has waited for it for a while."""
    go_on = threading.Event()
    path = "/v2/backend/b1/status/stream"
    server.on("GET", "/v2/backend/b1/status", [respond(200, state("starting"))])
    server.on("GET", path, stream(event("starting"), until(go_on), event("ready"), hang))

    def get_ready() -> None:
        server.wait_for(lambda: len([each for each in server.requests if each.path == path]) == 2, 30)
        threading.Timer(0.5, go_on.set).start()

    threading.Thread(target=get_ready).start()


@pytest.mark.usefixtures("slow")
def test_progress_is_a_line_for_each_status(acme: Shell) -> None:
    done = acme("wait", "b1", "--json")
    assert (done.code, done.json["status"]) == (0, "ready")
    assert done.err.splitlines()[:2] == ["Waiting until b1 is ready…", "starting"]


@pytest.mark.usefixtures("slow")
def test_progress_in_a_terminal(acme: Shell) -> None:
    code, shown = acme.in_terminal("wait", "b1")
    assert code == 0
    assert "Waiting until b1 is ready… starting" in shown
    assert re.search(r"ready\S*\r\n$", shown)


@pytest.mark.parametrize("command", [["logs", "b1"], ["status", "--follow", "b1"], ["wait", "b1"], ["metrics", "b1"]])
def test_ctrl_c(acme: Shell, server: FaultServer, command: list[str]) -> None:
    for path in ("logs", "metrics", "status"):
        server.on("GET", f"/v2/backend/b1/{path}/stream", stream(hang))
    server.on("GET", "/v2/backend/b1/status", [respond(200, state("starting"))])
    with acme.start(*command) as process:
        assert server.wait_for(lambda: any(request.path.endswith("/stream") for request in server.requests))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err in {"", "Waiting until b1 is ready…\n"}


def test_a_reader_that_goes(acme: Shell, server: FaultServer) -> None:
    """`| head -1`: also if there is no second line to write."""
    path = "/v2/backend/b1/logs/stream"
    for script in (stream(write(b"data: one\n\n"), hang), stream(write(b"data: x\n\n" * 100_000), finish)):
        server.on("GET", path, script)
        with acme.start("logs", "b1") as process:
            assert process.stdout
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(20) == 141
            assert process.stderr
            assert process.stderr.read() == ""


def test_a_reader_that_was_never_there(acme: Shell) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        for command in (["backends"], ["status", "b1", "--json"], ["connect"]):
            with acme.start(*command, stdout=theirs) as process:
                assert process.wait(20) == 141
                assert process.stderr
                assert "Broken" not in process.stderr.read()
    finally:
        os.close(theirs)


def test_no_command_but_dev_waits_for_aiohttp() -> None:
    code = "import sys; sys.argv = ['jamsocket', '--version']\nfrom jamsocket.command import app\n"
    code += "print([name for name in ('aiohttp', 'psutil') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_tells_the_exit_codes(acme: Shell) -> None:
    words = " ".join(acme("--help").out.split())
    for code in ("0 success", "3 there is no such backend", "4 the backend is terminated", "5 time ran out"):
        assert code in words
    for command in ("connect", "logs"):
        shown = acme(command, "--help", JAMSOCKET_TOKEN="tok-planted-secret").out
        assert "JAMSOCKET_TOKEN" in shown
        assert "planted" not in shown
