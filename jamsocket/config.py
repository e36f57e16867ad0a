"""Who we are and where the API is: the constructor's rules, `from_env`, the dev/production switch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from attrs import field, frozen

from .errors import ConfigError
from .http11 import Origin
from .retry import check_seconds
from .secret import Secret, conceal

PRODUCTION_URL = "https://api.jamsocket.com"
DEV_PORT = 8080
DEV_NAME = "-"
"""What the dev server is told as account and service: it has only one of each."""

_VARIABLE_NAMES = ("DEV", "DEV_PORT", "ACCOUNT", "TOKEN", "SERVICE", "ENVIRONMENT", "API_URL")

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off", ""}


@frozen
class Config:
    """Everything the client knows about its place in the world. Immutable; its repr shows no token."""

    api_url: str
    account: str
    service: str
    environment: str | None = None
    token: Secret | None = field(default=None, repr=False)

    def describe(self) -> str:
        """What may be shown of it."""
        parts = [f"api_url={self.api_url!r}", f"account={self.account!r}", f"service={self.service!r}"]
        if self.environment is not None:
            parts.append(f"environment={self.environment!r}")
        return ", ".join(parts)

    @property
    def is_https(self) -> bool:
        return urlsplit(self.api_url).scheme == "https"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(urlsplit(self.api_url).hostname or "")


class _Names(NamedTuple):
    """What the settings are called where the user wrote them, so that errors speak their language."""

    account: str = "account"
    token: str = "token"
    service: str = "service"
    environment: str = "environment"
    api_url: str = "api_url"
    port: str = "port"


@frozen
class Options:
    """How patient the client is: seconds for each phase of a request, and how often it is tried again."""

    timeout: float
    max_retries: int

    def __attrs_post_init__(self) -> None:
        check_seconds("timeout", self.timeout)
        _check_count("max_retries", self.max_retries)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}.")
    if value < 0:
        raise ValueError(f"{name} must be 0 or more, not {value}.")


_ARGUMENTS = _Names()
_VARIABLES = _Names(
    account="JAMSOCKET_ACCOUNT",
    token="JAMSOCKET_TOKEN",
    service="JAMSOCKET_SERVICE",
    environment="JAMSOCKET_ENVIRONMENT",
    api_url="JAMSOCKET_API_URL",
    port="JAMSOCKET_DEV_PORT",
)


def from_arguments(
    *,
    account: object = None,
    token: object = None,
    service: object = None,
    environment: object = None,
    api_url: object = None,
    dev: object = False,
    port: object = None,
    allow_insecure_http: bool = False,
) -> Config:
    """The configuration that the constructor's arguments describe; raises `ConfigError` naming all that is wrong."""
    if not isinstance(dev, bool):
        raise ConfigError(f"dev must be True or False, not {type(dev).__name__}.")
    given = {
        "account": account,
        "token": token,
        "service": service,
        "environment": environment,
        "api_url": api_url,
    }
    if dev:
        mixed = [name for name, value in given.items() if value is not None]
        if mixed:
            raise ConfigError(
                f"dev=True cannot be combined with {', '.join(mixed)}: the dev server has no accounts and no tokens. "
                "Leave dev out to use credentials (with api_url for an address of your own)."
            )
        problems: list[str] = []
        number = _read_port(port, _ARGUMENTS, problems)
        if problems:
            raise ConfigError(problems)
        return Config(api_url=f"http://localhost:{number}", account=DEV_NAME, service=DEV_NAME)
    problems = []
    if port is not None:
        problems.append("port needs dev=True; use api_url for the address of another server.")
    return _credentials(given, _ARGUMENTS, allow_insecure_http, problems)


def is_true(word: str) -> bool:
    """Whether a variable's word means yes."""
    return word.strip().lower() in _TRUE


def read_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """The variables that matter, the token concealed; one that is empty is left out."""
    names = [f"JAMSOCKET_{name}" for name in _VARIABLE_NAMES]
    found = {name: environ[name] for name in names if environ.get(name, "").strip()}
    return {name: conceal(value) if name == _VARIABLES.token else value for name, value in found.items()}


def arguments_from(variables: Mapping[str, Any], *, allow_insecure_http: bool = False) -> dict[str, Any]:
    """The constructor's arguments that environment variables stand for.

    Raises:
        ConfigError: naming every variable that is missing or malformed.
    """
    word = variables.get("JAMSOCKET_DEV", "").strip().lower()
    port = variables.get(_VARIABLES.port)
    problems: list[str] = []
    if is_true(word):
        number = _read_port(port, _VARIABLES, problems)
        if problems:
            raise ConfigError(problems)
        return {"dev": True, "port": number}
    names = ("account", "token", "service", "environment", "api_url")
    given: dict[str, object] = {name: variables.get(getattr(_VARIABLES, name)) for name in names}
    wanted = dict(given)
    if word not in _FALSE:
        problems.append(f"JAMSOCKET_DEV must be true or false (or 1/0, yes/no, on/off), not {word!r}.")
        # Which of the two sets of variables is meant is unknown now: say what is malformed, not what is missing.
        _read_port(port, _VARIABLES, problems)
        wanted = {name: value for name, value in given.items() if value is not None}
    _credentials(wanted, _VARIABLES, allow_insecure_http, problems)
    return {**given, "allow_insecure_http": allow_insecure_http}


def _read_port(port: object, names: _Names, problems: list[str]) -> int:
    if port is None:
        return DEV_PORT
    if isinstance(port, str) and names is _VARIABLES and re.fullmatch(r"[0-9]{1,5}", port.strip()):
        port = int(port)
    if isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= 65535:
        return port
    problems.append(f"{names.port} must be a port, a whole number from 1 to 65535, not {port!r}.")
    return DEV_PORT


def _credentials(given: Mapping[str, object], names: _Names, allow_insecure_http: bool, problems: list[str]) -> Config:
    missing = [
        getattr(names, name) for name in ("account", "token", "service") if name in given and given[name] is None
    ]
    if missing:
        if names is _VARIABLES:
            instead = "Set the variables, or JAMSOCKET_DEV=true to use the dev server."
        else:
            instead = "Pass credentials, or dev=True to use the dev server."
        problems.extend(f"{name} is missing. {instead}" for name in missing)
    account = _name(given.get("account"), names.account, problems)
    service = _name(given.get("service"), names.service, problems, slash_hint=names.environment)
    environment = _name(given.get("environment"), names.environment, problems)
    token = _token(given.get("token"), names.token, problems)
    api_url = _api_url(given.get("api_url"), names, allow_insecure_http, problems)
    if problems or account is None or service is None:
        raise ConfigError(problems)
    return Config(api_url=api_url, account=account, service=service, environment=environment, token=token)


def _name(value: object, name: str, problems: list[str], *, slash_hint: str | None = None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        problems.append(f"{name} must be a string, not {type(value).__name__}.")
    elif not value.strip() or value in {".", ".."} or not value.isprintable():
        problems.append(f"{name} must be a name, not {value!r}.")
    elif "/" in value:
        hint = f" Name the environment with {slash_hint}." if slash_hint else ""
        problems.append(f"{name} must not contain a '/': {value!r}.{hint}")
    else:
        return value
    return None


def _token(value: object, name: str, problems: list[str]) -> Secret | None:
    if value is None:
        return None
    if not isinstance(value, Secret):
        problems.append(f"{name} must be a string, not {type(value).__name__}.")
        return None
    if not re.fullmatch(r"[\x21-\x7e]+", value.reveal()):
        # The value is not shown: most of it is still the secret.
        problems.append(f"{name} must be visible ASCII characters without spaces or line ends; was it copied whole?")
        return None
    return value


def _api_url(value: object, names: _Names, allow_insecure_http: bool, problems: list[str]) -> str:
    if value is None:
        return PRODUCTION_URL
    if not isinstance(value, str):
        problems.append(f"{names.api_url} must be a string, not {type(value).__name__}.")
        return PRODUCTION_URL
    url = _split(value)
    if url is None or url.scheme not in {"http", "https"} or not url.hostname:
        problems.append(f"{names.api_url} must be a URL like {PRODUCTION_URL}.")
    elif url.username is not None or url.password is not None:
        problems.append(f"{names.api_url} must not contain a user or password: the token is sent as a header.")
    elif url.query or url.fragment or "?" in value or "#" in value:
        problems.append(f"{names.api_url} must not have a query or a fragment.")
    elif url.scheme == "http" and not allow_insecure_http and not is_loopback(url.hostname):
        problems.append(
            f"{names.api_url} is plain http to another machine ({url.hostname}), so everyone on the way could read "
            "the token. Use https, or allow_insecure_http=True on a network that you trust."
        )
    else:
        return value.strip().rstrip("/")
    return PRODUCTION_URL


def _split(value: str) -> SplitResult | None:
    """The URL's parts, or None if it is not one."""
    value = value.strip()
    if not value.isprintable() or " " in value or "\\" in value:
        return None
    try:
        url = urlsplit(value)
        _ = url.port  # reading it is what checks it
    except ValueError:
        return None
    if Origin.of(value) is None:
        import httpx  # for names that are not plain; it is stricter, and what it refuses could never be sent

        try:
            httpx.URL(value).host.encode("idna")
        except (ValueError, httpx.InvalidURL):
            return None
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
