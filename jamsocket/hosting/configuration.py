"""`[tool.jamsocket]` in pyproject.toml -> what the development server is started with."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from attrs import field, frozen

from .errors import DevServerError
from .services import Service

_SERVICE = ("command", "tags", "env", "static-tokens", "watch")
_SERVER = ("host", "port", "proxy-port", "data-dir", "allowed-hosts", "public-url", "public-api-url", "services")


@frozen
class Configuration:
    """What a pyproject.toml says; what it does not is None or empty.

    `services` is one service, which stands for every name, or several by name.
    """

    services: Service | Mapping[str, Service] | None = None
    host: str | None = None
    port: int | None = None
    proxy_port: int | None = None
    data_dir: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    public_url: str | None = None
    public_api_url: str | None = None
    watch: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(factory=dict[str, str], repr=False)


def find(start: Path) -> Path | None:
    """The pyproject.toml of this folder, or of the nearest one above, that has a `[tool.jamsocket]`."""
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if path.is_file() and _table(path) is not None:
            return path
    return None


def read(path: Path) -> Configuration:
    """What a pyproject.toml says of the development server.

    Paths in it, and the commands, are relative to its folder.

    Raises:
        DevServerError: if it is not TOML, or says what cannot be; the message names the place.
    """
    table = _table(path)
    if table is None:
        return Configuration()
    reader = _Reader(path)
    reader.only(table, "", (*_SERVER, *_SERVICE))
    services: Service | dict[str, Service] | None = None
    common = Service(("",), env=reader.texts(table, "", "env"), watch=reader.paths(table, "", "watch"))
    if "services" in table:
        if "command" in table:
            raise reader.error("command", "give either one command or [tool.jamsocket.services.NAME] tables, not both")
        tables = reader.table(table, "", "services")
        if not tables:
            raise reader.error("services", "is empty: name at least one service, with its command")
        services = {
            name: reader.service(reader.table(tables, "services.", name), f"services.{name}.", common)
            for name in tables
        }
    elif "command" in table:
        services = reader.service(table, "", common)
    data_dir = reader.text(table, "", "data-dir")
    return Configuration(
        services=services,
        host=reader.text(table, "", "host"),
        port=reader.number(table, "", "port"),
        proxy_port=reader.number(table, "", "proxy-port"),
        data_dir=None if data_dir is None else path.parent / data_dir,
        allowed_hosts=reader.list_of_texts(table, "", "allowed-hosts"),
        public_url=reader.text(table, "", "public-url"),
        public_api_url=reader.text(table, "", "public-api-url"),
        watch=common.watch,
        env=common.env,
    )


class _Reader:
    """Reads values of the types that they must have, or says where one has another."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def error(self, name: str, problem: str) -> DevServerError:
        return DevServerError(f"{self._path}: tool.jamsocket.{name} {problem}.")

    def only(self, table: Mapping[str, Any], where: str, known: tuple[str, ...]) -> None:
        for name in table:
            if name not in known:
                raise self.error(f"{where}{name}", f"is unknown. There are: {', '.join(known)}")

    def service(self, table: Mapping[str, Any], where: str, common: Service) -> Service:
        if where:
            self.only(table, where, _SERVICE)
        if "command" not in table:
            raise self.error(f"{where}command", "is missing: the program that a backend runs, and its arguments")
        tags = self.table(table, where, "tags")
        static_tokens = table.get("static-tokens", False)
        if not isinstance(static_tokens, bool):
            raise self.error(f"{where}static-tokens", "must be true or false")
        return Service(
            self.command(table, where, "command"),
            tags={tag: self.command(tags, f"{where}tags.", tag) for tag in tags},
            env={**common.env, **self.texts(table, where, "env")},
            static_tokens=static_tokens,
            watch=tuple(dict.fromkeys((*common.watch, *self.paths(table, where, "watch")))),
            directory=self._path.parent,
        )

    def command(self, table: Mapping[str, Any], where: str, name: str) -> list[str]:
        value: object = table[name]
        if isinstance(value, str):
            try:
                words = shlex.split(value)
            except ValueError as error:
                raise self.error(f"{where}{name}", f"cannot be split into words ({error})") from None
        else:
            words = list(self.list_of_texts(table, where, name))
        if not words:
            raise self.error(f"{where}{name}", "is empty")
        return words

    def paths(self, table: Mapping[str, Any], where: str, name: str) -> tuple[Path, ...]:
        return tuple(self._path.parent / path for path in self.list_of_texts(table, where, name))

    def table(self, table: Mapping[str, Any], where: str, name: str) -> Mapping[str, Any]:
        value: object = table.get(name, {})
        if not isinstance(value, dict):
            raise self.error(f"{where}{name}", "must be a table")
        return cast("dict[str, Any]", value)

    def texts(self, table: Mapping[str, Any], where: str, name: str) -> dict[str, str]:
        texts = self.table(table, where, name)
        for key, value in texts.items():
            if not isinstance(value, str):
                raise self.error(f"{where}{name}.{key}", "must be a string")
        return dict(texts)

    def list_of_texts(self, table: Mapping[str, Any], where: str, name: str) -> tuple[str, ...]:
        value: object = table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in cast("list[object]", value)):
            raise self.error(f"{where}{name}", "must be a list of strings")
        return tuple(cast("list[str]", value))

    def text(self, table: Mapping[str, Any], where: str, name: str) -> str | None:
        value: object = table.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.error(f"{where}{name}", "must be a string")
        return value

    def number(self, table: Mapping[str, Any], where: str, name: str) -> int | None:
        value: object = table.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self.error(f"{where}{name}", "must be a whole number")
        return value


def _table(path: Path) -> Mapping[str, Any] | None:
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DevServerError(f"{path} cannot be read: {error}.") from None
    tool: object = data.get("tool", {})
    table: object = cast("dict[str, object]", tool).get("jamsocket") if isinstance(tool, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise DevServerError(f"{path}: tool.jamsocket must be a table.")
    return cast("dict[str, Any]", table)
