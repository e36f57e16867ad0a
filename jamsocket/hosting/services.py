"""Which services there are, what each runs, and in which of its environments. No I/O and no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import define, evolve, field, frozen
from attrs.converters import optional

from .engine import EngineError, JSONObject, Place, not_found
from .lifecycle import iso

DEFAULT_TAG = "latest"
DEFAULT_ENVIRONMENT = "default"
# What a client without an account sends as account and service.
ANY = "-"
CLUSTER = "localhost"
_MAX_IMAGES = 50
_MAX_ENVIRONMENTS = 100


def _command(command: Sequence[str]) -> tuple[str, ...]:
    if isinstance(command, str):
        raise TypeError(f"a command is a list, the program and its arguments, not the string {command!r}")
    return tuple(command)


def _tags(tags: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {tag: _command(command) for tag, command in tags.items()}


def _paths(paths: Iterable[str | Path]) -> tuple[Path, ...]:
    return tuple(Path(path) for path in ((paths,) if isinstance(paths, str | Path) else paths))


@frozen
class Service:
    """What the backends of a service run, and how.

    Args:
        command: the program and its arguments; what `spawn.tag` calls "latest". `$PORT` in it stands for the port.
        tags: further commands, for other values of `spawn.tag` and `use_image`.
        env: variables that each backend gets; those in a request win.
        static_tokens: whether a connection URL's token stays the same as long as its backend, and stays in the path of
            the requests that the backend gets. It then knows neither `user` nor `auth`.
        watch: files and folders whose change ends the backends that run the old code.
        directory: where backends run; None for the server's own working directory.

    Example:
        >>> Service(["python", "backend.py"], env={"DEBUG": "1"}, watch=["backend.py"])
    """

    command: tuple[str, ...] = field(converter=_command)
    tags: Mapping[str, tuple[str, ...]] = field(factory=dict[str, tuple[str, ...]], converter=_tags, kw_only=True)
    env: Mapping[str, str] = field(factory=dict[str, str], kw_only=True, repr=False)  # it may hold secrets
    static_tokens: bool = field(default=False, kw_only=True)
    watch: tuple[Path, ...] = field(default=(), converter=_paths, kw_only=True)
    directory: Path | None = field(default=None, converter=optional(Path), kw_only=True)

    @property
    def commands(self) -> dict[str, tuple[str, ...]]:
        """All commands, by their tags."""
        return {DEFAULT_TAG: self.command, **self.tags}


@frozen
class Image:
    """What a backend runs. A process has no image: its command stands for one, and the state of the watched files."""

    command: tuple[str, ...]
    code: str = ""
    since_ms: int = field(default=0, eq=False)

    @property
    def digest(self) -> str:
        """Tells images apart."""
        text = "\0".join((*self.command, self.code))
        return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@define
class _Environment:
    created_ms: int
    tag: str = DEFAULT_TAG
    last_spawned_ms: int | None = None


@define
class _Record:
    """One service of one account."""

    account: str
    name: str
    source: str | None
    created_ms: int
    is_deleted: bool = False
    environments: dict[str, _Environment] = field(factory=dict[str, _Environment])

    def environment(self, name: str | None, now_ms: int) -> _Environment:
        environment = self.environments.setdefault(name or DEFAULT_ENVIRONMENT, _Environment(now_ms))
        if len(self.environments) > _MAX_ENVIRONMENTS:
            # Whoever connects makes them up; the one that every service has, comes first.
            del self.environments[list(self.environments)[1]]
        return environment


class Services:
    """The services of all accounts.

    Args:
        services: one service, which then stands for every name; or several by name, the first of which is also `-`.
            Each account has them all.
        now_ms: the time, in epoch milliseconds.
        remembered: how many services of how many accounts are remembered; the oldest are forgotten.
    """

    def __init__(self, services: Service | Mapping[str, Service], now_ms: int, remembered: int = 1000) -> None:
        self._any = services if isinstance(services, Service) else None
        self._named = {} if isinstance(services, Service) else dict(services)
        self._default = None if self._any else next(iter(self._named))
        self._code: dict[str | None, tuple[str, int]] = {}
        self._started_ms = now_ms
        self._remembered = remembered
        self._records: dict[tuple[str, str], _Record] = {}

    @property
    def configured(self) -> dict[str | None, Service]:
        """What there was from the start: by name, or under None if it stands for every name."""
        everything: dict[str | None, Service] = {None: self._any} if self._any else {}
        everything.update(self._named)
        return everything

    def place(self, place: Place) -> Place:
        """The same place, with the name that `-` stands for."""
        if place.service == ANY and self._default is not None:
            return evolve(place, service=self._default)
        return place

    def service(self, place: Place) -> Service:
        """What runs there; raises `EngineError` if there is no such service."""
        return self._service(self._find(place, may_begin=True))

    def image(self, place: Place, tag: str | None) -> Image:
        """What a tag or a digest means there (None: what the environment uses); raises `EngineError` for nothing."""
        record = self._find(place, may_begin=True)
        if tag is None:
            environment = record.environments.get(place.environment or DEFAULT_ENVIRONMENT)
            tag = environment.tag if environment else DEFAULT_TAG
        return self._image(record, tag)

    def spawned(self, place: Place, now_ms: int) -> None:
        """Takes note of a backend that is spawned there."""
        record = self._find(place, may_begin=True)
        self._remember(record)
        record.environment(None, now_ms)
        record.environment(place.environment, now_ms).last_spawned_ms = now_ms

    def names(self, account: str) -> list[str]:
        """The names of an account's services; of all accounts' for `-`."""
        records = [record for record in self._records.values() if account in {ANY, record.account}]
        gone = {record.name for record in records if record.is_deleted and record.account == account}
        present = {record.name for record in records if not record.is_deleted}
        return sorted((set(self._named) - gone) | present)

    def overview(self) -> list[JSONObject]:
        """Everything that is known of each account's services, those first that there were from the start."""
        places = dict.fromkeys([*((ANY, name) for name in self._named or (ANY,)), *self._records])
        records = [self._records.get(place) or self._find(Place(*place)) for place in places]
        return [
            {
                **self.info(record.account, record.name),
                "images": [
                    {"tag": tag, "digest": image.digest, "command": image.command}
                    for tag, image in self._images(record)
                ],
            }
            for record in records
            if not record.is_deleted
        ]

    def create(self, account: str, name: str, now_ms: int) -> None:
        """Adds a service; it runs what the first one runs. Raises `EngineError` if the name is taken."""
        record = self._records.get((account, name))
        if name == ANY or (record is None and name in self._named) or (record is not None and not record.is_deleted):
            raise EngineError(409, "Conflict", f"There is a service {name} already.")
        source = name if name in self._named else self._default
        created = _Record(account, name, source, now_ms)
        created.environment(None, now_ms)
        self._remember(created)

    def delete(self, account: str, name: str, now_ms: int) -> None:
        """Removes a service; raises `EngineError` if there is none."""
        record = self._find(self.place(Place(account, name)))
        if record.name in self._named:
            # The configuration has it, and would bring it back.
            self._remember(_Record(account, record.name, None, now_ms, is_deleted=True))
        else:
            self._records.pop((account, record.name), None)

    def use_image(self, place: Place, tag: str, now_ms: int) -> None:
        """Chooses the image of an environment; raises `EngineError` if there is no such service or image."""
        place = self.place(place)
        record = self._find(place)
        self._image(record, tag)
        self._remember(record)
        record.environment(None, now_ms)
        record.environment(place.environment, now_ms).tag = tag

    def info(self, account: str, name: str) -> JSONObject:
        """All that is known of a service; raises `EngineError` if there is none."""
        record = self._find(self.place(Place(account, name)))
        newest = self._images(record)[0][1]
        environments = record.environments or {DEFAULT_ENVIRONMENT: _Environment(record.created_ms)}
        spawned = [env.last_spawned_ms for env in environments.values() if env.last_spawned_ms is not None]
        return {
            "name": record.name,
            "account_name": record.account,
            "created_at": iso(record.created_ms),
            "last_spawned_at": _iso(max(spawned, default=None)),
            "last_image_upload_time": iso(newest.since_ms),
            "last_image_digest": newest.digest,
            "image_name": _image_name(record),
            "environments": [
                {
                    "name": name,
                    "image_tag": environment.tag,
                    "cluster": CLUSTER,
                    "created_at": iso(environment.created_ms),
                    "last_spawned_at": _iso(environment.last_spawned_ms),
                }
                for name, environment in environments.items()
            ],
        }

    def images(self, account: str, name: str) -> list[JSONObject]:
        """The images of a service, the newest first; raises `EngineError` if there is none."""
        record = self._find(self.place(Place(account, name)))
        return [
            {
                "repository": _image_name(record),
                "digest": image.digest,
                "tag": tag,
                "upload_time": iso(image.since_ms),
            }
            for tag, image in self._images(record)[:_MAX_IMAGES]
        ]

    def new_code(self, source: str | None, code: str, now_ms: int) -> None:
        """Takes note of what state the watched files of a configured service are in."""
        self._code[source] = (code, now_ms)

    def is_outdated(self, place: Place, image: Image) -> bool:
        """Whether the code of this image, which ran there, has changed."""
        record = self._records.get((place.account, place.service))
        if record is None or record.is_deleted:
            return False
        return image not in dict(self._images(record)).values()

    def _remember(self, record: _Record) -> None:
        self._records[record.account, record.name] = record
        if len(self._records) > self._remembered:
            del self._records[next(iter(self._records))]

    def _find(self, place: Place, *, may_begin: bool = False) -> _Record:
        place = self.place(place)
        record = self._records.get((place.account, place.service))
        if record is None and (place.service in self._named or (self._any and (may_begin or place.service == ANY))):
            source = place.service if place.service in self._named else None
            record = _Record(place.account, place.service, source, self._started_ms)
        if record is None or record.is_deleted:
            known = f" (the configuration names {', '.join(self._named)})" if self._named else ""
            raise not_found(f"service {place.service}{known}")
        return record

    def _service(self, record: _Record) -> Service:
        return self._any or self._named[record.source or record.name]

    def _image(self, record: _Record, tag: str) -> Image:
        for name, image in self._images(record):
            if tag in {name, image.digest}:
                return image
        raise not_found(f"image with the tag {tag}")

    def _images(self, record: _Record) -> list[tuple[str, Image]]:
        code, since_ms = self._code.get(record.source, ("", self._started_ms))
        return [(tag, Image(command, code, since_ms)) for tag, command in self._service(record).commands.items()]


def _iso(time_ms: int | None) -> str | None:
    return None if time_ms is None else iso(time_ms)


def _image_name(record: _Record) -> str:
    return f"{record.account}/{record.name}"
