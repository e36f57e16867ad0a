"""What the commands that call the API have in common: their options, the client, and errors as exit codes."""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .. import (
    BackendTerminatedError,
    ConfigError,
    Jamsocket,
    JamsocketError,
    NotFoundError,
    WaitTimeoutError,
)
from .output import complain
from .settings import LOGIN_FILE, Login, Needs, Options, UsageError, read_login, variables

ERROR, USAGE, NOT_FOUND, TERMINATED, TIMED_OUT = range(1, 6)
INTERRUPTED = 130
PIPE_CLOSED = 141

EXIT_CODES = (
    "Exit codes: 0 success; 1 the API or the network failed; 2 wrong usage or missing credentials; 3 there is no such "
    "backend, service or image; 4 the backend is terminated; 5 time ran out; 130 Ctrl-C; 141 the output was closed."
)


def _option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Which server, and who calls", show_default=False)


# The options of every command that calls the API; none has a default, so that the environment counts.
_SHARED: dict[str, Any] = {
    "account": Annotated[str | None, _option("--account", help="The account; or JAMSOCKET_ACCOUNT.")],
    "token": Annotated[
        str | None, _option("--token", help="The API token. Better in JAMSOCKET_TOKEN: other users see arguments.")
    ],
    "service": Annotated[
        str | None, _option("--service", help="The service, or SERVICE/ENVIRONMENT; or JAMSOCKET_SERVICE.")
    ],
    "environment": Annotated[
        str | None, _option("--environment", help="The service's environment; or JAMSOCKET_ENVIRONMENT.")
    ],
    "api_url": Annotated[
        str | None,
        _option("--api-url", help="The API's address, if it is not the hosted service; or JAMSOCKET_API_URL."),
    ],
    "dev": Annotated[
        bool | None, _option("--dev/--no-dev", help="Call the dev server on this machine; or JAMSOCKET_DEV=true.")
    ],
    "port": Annotated[
        int | None, _option("--port", help="The dev server's port, 8080 unless told; or JAMSOCKET_DEV_PORT.")
    ],
    "allow_insecure_http": Annotated[
        bool, _option("--allow-insecure-http", help="Let the token go over plain http to another machine.")
    ],
}

_VARIABLES_ONLY = "Set the variables, or JAMSOCKET_DEV=true to use the dev server."

AsJSON = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else, to standard output.")]

_PLACE = inspect.Parameter(
    "place",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    default=None,
    annotation=Annotated[
        str | None,
        typer.Argument(metavar="[SERVICE[/ENVIRONMENT]]", help="The service; else that of the options or variables."),
    ],
)


def calls_api(needs: Needs = Needs.ACCOUNT) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a command of a function that takes a client first.

    It gets the options that make the client and, if it needs a service, the argument SERVICE. Errors become a line on
    standard error and an exit code.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            survive_any_script(sys.stdout)
            with exit_codes():
                options = Options(**{name: values.pop(name) for name in _SHARED}).at(values.pop("place", None))
                with make_client(options, needs) as jamsocket:
                    function(jamsocket, **values)

        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        shared = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if name == "allow_insecure_http" else None,
                annotation=hint,
            )
            for name, hint in _SHARED.items()
        ]
        parameters = [*([_PLACE] if needs == Needs.SERVICE else []), *own]
        by_keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__annotations__ = {}
        command.__dict__["__signature__"] = inspect.Signature([*by_keyword, *shared])
        return command

    return decorate


def make_client(options: Options, needs: Needs, **patience: Any) -> Jamsocket:
    """The client that options, environment and login file describe."""
    problem = ""

    def login() -> Login | None:
        nonlocal problem
        try:
            found = read_login(Path(LOGIN_FILE).expanduser().read_text(encoding="utf-8"))
            problem = f"The login in {LOGIN_FILE} is for another account, or for none."
            return found
        except FileNotFoundError:
            problem = f"There is no login of the official CLI in {LOGIN_FILE} either."
        except OSError as error:
            problem = f"{LOGIN_FILE} cannot be read ({error.strerror})."
        except (ValueError, RuntimeError) as error:
            problem = f"{LOGIN_FILE} is not a login of the official CLI: {error}."
        return None

    found = variables(options, os.environ, login, needs)
    try:
        return Jamsocket.from_env(found, allow_insecure_http=options.allow_insecure_http, **patience)
    except ConfigError as error:
        # Variables are what `from_env` knows of; here there is more.
        problems = [
            one.replace(_VARIABLES_ONLY, "").replace("allow_insecure_http=True", "--allow-insecure-http").strip()
            for one in error.problems
        ]
        if any("is missing" in one for one in problems):
            problems.append("Give the options or set the variables, or use the dev server with --dev.")
        raise ConfigError([*problems, *([problem] if problem else [])]) from None


def survive_any_script(output: object) -> None:
    """Lets a terminal or pipe that cannot express a key or a log line have it escaped."""
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors="backslashreplace")


@contextmanager
def exit_codes() -> Generator[None]:
    """Turns what goes wrong in the block into a line on standard error and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        raise typer.Exit(PIPE_CLOSED) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (ConfigError, UsageError) as error:
        fail(error, USAGE)
    except JamsocketError as error:
        fail(error, code_of(error))
    except ValueError as error:  # an id or a number that the SDK refuses
        fail(error, USAGE)


def code_of(error: JamsocketError) -> int:
    """The exit code for an error."""
    match error:
        case NotFoundError():
            return NOT_FOUND
        case BackendTerminatedError():
            return TERMINATED
        case WaitTimeoutError():
            return TIMED_OUT
        case _:
            return ERROR


def fail(error: Exception | str, code: int) -> NoReturn:
    """Ends the command with a line on standard error."""
    complain(str(error))
    raise typer.Exit(code) from None


def _forget_output() -> None:
    """What is left in the buffer goes nowhere: Python would complain of it at its end."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def complete_backend_id(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Shell completion: the ids of what runs. Whatever goes wrong, there are none."""
    try:
        shared = {name: value for name, value in context.params.items() if name in _SHARED and value is not None}
        with make_client(Options(**shared), Needs.ACCOUNT, timeout=2.0, max_retries=0) as jamsocket:
            running = jamsocket.backends()
        return [
            (backend.id, f"{backend.service_name} {backend.key or ''}".strip())
            for backend in running
            if backend.id.startswith(incomplete)
        ]
    except Exception:
        return []


BackendId = Annotated[
    str, typer.Argument(metavar="ID", help="The backend's id.", autocompletion=complete_backend_id, show_default=False)
]
