"""The commands about backends: connect, status, wait, terminate, backends, info, logs, metrics."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from typing import Annotated, Any

import typer

from .. import (
    BackendState,
    ConnectDict,
    ConnectResponse,
    Jamsocket,
    JamsocketError,
    NotFoundError,
    SpawnDict,
    StatusStream,
)
from .calling import (
    AsJSON,
    BackendId,
    calls_api,
    code_of,
    complete_backend_id,
)
from .output import (
    EndsWithReader,
    Progress,
    complain,
    print_document,
    print_facts,
    print_json_line,
    print_line,
    print_table,
    print_words,
    remark,
    size,
    text,
)
from .settings import Needs, UsageError

Timeout = Annotated[float, typer.Option("--timeout", help="The longest wait, in seconds; 0 to wait for ever.", min=0)]


@calls_api(Needs.SERVICE)
def connect(
    jamsocket: Jamsocket,
    key: Annotated[
        str | None, typer.Option("--key", "-k", help="What the backend is for; the one that holds the key is returned.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="The name by which it shall know the user.")] = None,
    auth: Annotated[
        str | None, typer.Option("--auth", "-a", metavar="JSON", help="What else it shall know of the user.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable for it. May be repeated.")
    ] = None,
    idle: Annotated[
        int | None, typer.Option("--idle", "-i", help="How long it may be without connections, in seconds.")
    ] = None,
    lifetime: Annotated[int | None, typer.Option("--lifetime", "-l", help="How long it may live, in seconds.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", "-t", help="The image to run.")] = None,
    cluster: Annotated[str | None, typer.Option("--cluster", "-c", help="The cluster to run on.")] = None,
    no_spawn: Annotated[bool, typer.Option("--no-spawn", help="Start none: only one that holds the key.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the URL works.")] = False,
    timeout: Timeout = 60.0,
    as_json: AsJSON = False,
) -> None:
    """Get a backend, and write its URL.

    It is the one that holds the key, or a new one. The URL lets its bearer in; it is all that goes to standard output.
    """
    request: ConnectDict = {"key": key, "user": user, "auth": _read_auth(auth)}
    spawn: SpawnDict = {
        "tag": tag,
        "cluster": cluster,
        "lifetime_limit_seconds": lifetime,
        "max_idle_seconds": idle,
        "executable": {"env": _read_env(env)} if env else None,
    }
    chosen = {name: value for name, value in spawn.items() if value is not None}
    if no_spawn:
        if key is None:
            raise UsageError("--no-spawn needs a --key: without one it is always a new backend.")
        if chosen:
            raise UsageError("--no-spawn starts no backend: leave out what says how to start one.")
        request["spawn"] = False
    elif chosen:
        request["spawn"] = spawn
    connection: ConnectResponse
    if wait:
        with Progress("Waiting until the backend is ready…"):
            connection = jamsocket.connect_ready(request, timeout=timeout or None)
    else:
        connection = jamsocket.connect(request)
    if as_json:
        print_document(connection.to_dict())
        return
    status = "ready" if wait else connection.status
    remark(f"{text(connection.backend_id)}  {text(status)}  {'spawned' if connection.spawned else 'ran already'}")
    print_line(connection.url)


def _read_auth(auth: str | None) -> Any:
    if auth is None:
        return None
    try:
        value = json.loads(auth)
    except (ValueError, RecursionError):
        raise UsageError('--auth must be JSON, for example \'{"role": "editor"}\'.') from None
    if not isinstance(value, dict):
        raise UsageError('--auth must be a JSON object, for example \'{"role": "editor"}\'.')
    return value  # pyright: ignore[reportUnknownVariableType]


def _read_env(env: list[str]) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in env]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError("--env must be NAME=VALUE.")  # without repeating it: values may be secrets
    return {name: value for name, _, value in pairs}


@calls_api(Needs.NOTHING)
def status(
    jamsocket: Jamsocket,
    backend_id: BackendId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Every status, past ones and those to come, up to the end.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """The status of a backend."""
    if not follow:
        state = jamsocket.status(backend_id)
        print_document(state.to_dict()) if as_json else print_state(state)
        return
    with jamsocket.statuses(backend_id) as states, EndsWithReader(states.close) as reader:
        for state in states:
            print_json_line(state.to_dict()) if as_json else print_state(state)
    if reader.is_gone:
        raise BrokenPipeError


def print_state(state: BackendState) -> None:
    """A state on one line: when, what, and why."""
    why = [
        getattr(state, "termination_reason", None),
        getattr(state, "termination_kind", None),
        "exited with an error" if getattr(state, "exit_error", None) else None,
    ]
    print_words(state.time, word_of(state), *filter(None, why))


def word_of(state: BackendState) -> str:
    """The server's word for a state."""
    return state.raw_status if state.status == "unknown" else state.status


@calls_api(Needs.NOTHING)
def wait(jamsocket: Jamsocket, backend_id: BackendId, timeout: Timeout = 60.0, as_json: AsJSON = False) -> None:
    """Wait until a backend is ready.

    Exits with 4 if it is terminated instead, and with 5 if time runs out.
    """
    with Progress(f"Waiting until {backend_id} is ready…") as progress:
        states = jamsocket.statuses(backend_id)
        shower = threading.Thread(target=_show, args=(states, progress), daemon=True)
        shower.start()
        try:
            state = jamsocket.wait_until_ready(backend_id, timeout=timeout or None)
        finally:
            states.close()
            shower.join(1.0)
    print_document(state.to_dict()) if as_json else print_state(state)


def _show(states: StatusStream, progress: Progress) -> None:
    with contextlib.suppress(JamsocketError):  # what ends this ends the wait too, which tells it
        for state in states:
            progress.update(word_of(state))
            if state.status == "ready":
                return


@calls_api()
def terminate(
    jamsocket: Jamsocket,
    backend_ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID…", help="The backends' ids.", autocompletion=complete_backend_id, show_default=False
        ),
    ],
    hard: Annotated[
        bool, typer.Option("--hard", "--force", "-f", help="Kill the processes at once instead of asking them to end.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """End backends.

    One that is not running is a warning. An error with one does not keep the others alive.
    """
    outcomes: list[dict[str, str]] = []
    code = 0
    for backend_id in backend_ids:
        outcome = {"backend_id": backend_id}
        try:
            if is_terminated(jamsocket, backend_id):
                outcome["outcome"] = "not running"
                complain(f"warning: {backend_id} is not running")
            else:
                jamsocket.terminate(backend_id, hard=hard)
                outcome["outcome"] = "terminating"
        except JamsocketError as error:
            outcome |= {"outcome": "error", "error": str(error)}
            code = code or code_of(error)
            complain(str(error))
        outcomes.append(outcome)
        if not as_json and outcome["outcome"] == "terminating":
            print_words(backend_id, "terminating")
    if as_json:
        print_document(outcomes)
    if code:
        sys.stdout.flush()
        raise typer.Exit(code)


def is_terminated(jamsocket: Jamsocket, backend_id: str) -> bool:
    """Whether it is known that the backend is not running. `terminate` itself does not tell."""
    try:
        return jamsocket.status(backend_id).status == "terminated"
    except NotFoundError:
        return False  # then `terminate` has the word


@calls_api()
def backends(jamsocket: Jamsocket, as_json: AsJSON = False) -> None:
    """List the account's backends that are not terminated."""
    running = sorted(jamsocket.backends(), key=lambda backend: backend.created_at)
    if as_json:
        print_document([backend.to_dict() for backend in running])
        return
    print_table(
        ["ID", "SERVICE", "KEY", "STATUS", "CREATED", "CLUSTER"],
        [
            (each.id, each.service_name, each.key, each.status.status, each.created_at, each.cluster_name)
            for each in running
        ],
    )


@calls_api()
def info(jamsocket: Jamsocket, backend_id: BackendId, as_json: AsJSON = False) -> None:
    """All that is known of a backend, with its history.

    Also of one that is terminated.
    """
    backend = jamsocket.backend_info(backend_id)
    if as_json:
        print_document(backend.to_dict())
        return
    memory = backend.max_mem_bytes
    print_facts(
        [
            ("id", backend.id),
            ("service", backend.service_name),
            ("environment", backend.environment_name),
            ("account", backend.account_name),
            ("cluster", backend.cluster_name),
            ("key", backend.key),
            ("image", backend.image_digest),
            ("created", backend.created_at),
            ("most memory", None if memory is None else size(memory)),
        ]
    )
    print_line("")
    print_table(
        ["TIME", "STATUS", "REASON", "KIND", "EXIT CODE"],
        [
            (state.time, state.status, state.termination_reason, state.termination_kind, state.exit_code)
            for state in backend.statuses
        ],
    )


@calls_api()
def logs(jamsocket: Jamsocket, backend_id: BackendId, as_json: AsJSON = False) -> None:
    """What a backend writes, up to its end.

    With --json, one object for each line.
    """
    with jamsocket.logs(backend_id) as lines, EndsWithReader(lines.close) as reader:
        for line in lines:
            print_json_line({"line": line}) if as_json else print_line(line)
    if reader.is_gone:
        raise BrokenPipeError


@calls_api()
def metrics(jamsocket: Jamsocket, backend_id: BackendId, as_json: AsJSON = False) -> None:
    """What a backend uses, up to its end.

    With --json, one object for each measurement.
    """
    with jamsocket.metrics(backend_id) as measurements, EndsWithReader(measurements.close) as reader:
        for measured in measurements:
            if as_json:
                print_json_line(measured.to_dict())
            else:
                part = measured.cpu_used / measured.sys_cpu if measured.sys_cpu else 0.0
                used, available = size(measured.mem_used), size(measured.mem_available)
                print_words(f"CPU {part:6.1%}", f"memory {used} used", f"{available} available")
    if reader.is_gone:
        raise BrokenPipeError
