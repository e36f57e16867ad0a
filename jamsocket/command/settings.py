"""Options, environment variables and the official CLI's login file -> the variables that make a client. No I/O.

Options win over the environment, the environment over the file. What is malformed is for `Jamsocket.from_env` to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, cast

from attrs import evolve, field, frozen

from ..config import DEV_NAME, DEV_PORT, is_true

LOGIN_FILE = "~/.jamsocket/config.json"

_PREFIX = "JAMSOCKET_"
# Sent where somebody has to be named, and nobody is asked who it is.
_NOBODY = DEV_NAME


class UsageError(ValueError):
    """What was given does not fit together."""


class Needs(IntEnum):
    """What a command has to know of its caller."""

    NOTHING = 0
    ACCOUNT = 1
    SERVICE = 2


@frozen
class Options:
    """What the command line says; what it does not say is None."""

    account: str | None = None
    token: str | None = field(default=None, repr=False)
    service: str | None = None
    environment: str | None = None
    api_url: str | None = None
    dev: bool | None = None
    port: int | None = None
    allow_insecure_http: bool = False

    def at(self, place: str | None) -> Options:
        """The options with a service that was named as SERVICE or SERVICE/ENVIRONMENT."""
        if place is None:
            return self
        if self.service is not None:
            raise UsageError("Name the service once: as SERVICE or with --service.")
        return evolve(self, service=place)

    def split(self) -> Options:
        """The options with SERVICE/ENVIRONMENT in its two parts."""
        if self.service is None or "/" not in self.service:
            return self
        service, _, environment = self.service.partition("/")
        if self.environment is not None:
            raise UsageError("Name the environment once: in SERVICE/ENVIRONMENT or with --environment.")
        return evolve(self, service=service, environment=environment)


@frozen
class Login:
    """Who is logged in with the official CLI."""

    account: str | None
    token: str = field(repr=False)
    is_session: bool = False

    def serves(self, account: str | None) -> bool:
        """Whether its token is one for this account. A person's may be for several, an API token is for one."""
        return self.is_session or account in {None, self.account}


def read_login(text: str) -> Login:
    """What the login file says; raises `ValueError`, which does not repeat it, if it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    found = [name for name in ("api_token", "user_session") if isinstance(data, dict) and name in data]
    if len(found) != 1:
        raise ValueError("it has to have either api_token or user_session")
    (kind,) = found
    entry: object = cast("dict[str, object]", data)[kind]
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    account, token = fields.get("account" if kind == "api_token" else "selected_account"), fields.get("token")
    if not isinstance(token, str) or not token:
        raise ValueError(f"its {kind} has no token")
    if account is not None and not isinstance(account, str):
        raise ValueError(f"the account in its {kind} is not a string")
    return Login(account, token, is_session=kind == "user_session")


def variables(
    options: Options, environ: Mapping[str, str], login: Callable[[], Login | None], needs: Needs
) -> dict[str, str]:
    """The variables for `Jamsocket.from_env`.

    Args:
        options: the command line.
        environ: the environment.
        login: reads the login file; called only if the account or the token is still missing.
        needs: what the command has to know; the rest is filled in.

    Raises:
        UsageError: if options contradict each other.
    """
    options = options.split()
    given = {
        name: value
        for name in ("account", "token", "service", "environment", "api_url")
        if (value := getattr(options, name)) is not None
    }
    found = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(_PREFIX) and value.strip()
    }
    _choose_server(options, given, found)
    if "service" in given:
        found.pop("environment", None)  # that one is of the environment's own service
    if is_true(found.get("dev", "")):
        merged = _on_dev_server(given, found)
    else:
        merged = {**found, **given}
        if needs > Needs.NOTHING and not {"account", "token"} <= merged.keys():
            _log_in(merged, login())
        if needs == Needs.NOTHING:
            merged = {"account": _NOBODY, "token": _NOBODY, **merged}
        if needs < Needs.SERVICE:
            merged = {"service": _NOBODY, **merged}
    return {_PREFIX + name.upper(): value for name, value in merged.items()}


def _choose_server(options: Options, given: Mapping[str, str], found: dict[str, str]) -> None:
    """Whether it is the dev server, by what was said last: the command line, then the environment."""
    if options.dev is False and options.port is not None:
        raise UsageError("--port is the dev server's; leave out --no-dev.")
    if options.dev or options.port is not None:
        if "api_url" in given:
            raise UsageError("Either --api-url or the dev server (--dev, --port), not both.")
        found["dev"] = "true"
    elif options.dev is False or given.keys() & {"account", "token", "api_url"}:
        found["dev"] = "false"
    if options.port is not None:
        found["dev_port"] = str(options.port)


def _on_dev_server(given: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    port = found.get("dev_port", str(DEV_PORT))
    if not given:
        return {"dev": "true", "dev_port": port}
    # It has services and perhaps a token: it is then reached like any other server. The environment's credentials are
    # for another.
    return {"api_url": f"http://localhost:{port}", "account": DEV_NAME, "token": _NOBODY, "service": DEV_NAME, **given}


def _log_in(merged: dict[str, str], login: Login | None) -> None:
    if login is None:
        return
    if "token" not in merged and login.serves(merged.get("account")):
        merged["token"] = login.token
    if "account" not in merged and login.account is not None:
        merged["account"] = login.account
