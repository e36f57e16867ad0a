"""The commands about services and their images."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import Jamsocket
from .calling import ERROR, AsJSON, calls_api, fail
from .output import print_document, print_facts, print_line, print_table, print_words, text
from .settings import Needs

app = typer.Typer(help="List, show, create and delete services.", no_args_is_help=True)

ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help="The service's name.", show_default=False)]


@app.command("list")
@calls_api()
def list_services(jamsocket: Jamsocket, as_json: AsJSON = False) -> None:
    """List the account's services, one name a line."""
    names = sorted(jamsocket.services())
    if as_json:
        print_document(names)
        return
    for name in names:
        print_words(name)


@app.command("info")
@calls_api(Needs.SERVICE)
def service_info(jamsocket: Jamsocket, as_json: AsJSON = False) -> None:
    """A service, with its environments."""
    service = jamsocket.service_info()
    if as_json:
        print_document(service.to_dict())
        return
    print_facts(
        [
            ("name", service.name),
            ("account", service.account_name),
            ("created", service.created_at),
            ("last spawned", service.last_spawned_at),
            ("image name", service.image_name),
            ("last image", service.last_image_digest),
            ("uploaded", service.last_image_upload_time),
        ]
    )
    print_line("")
    print_table(
        ["ENVIRONMENT", "IMAGE TAG", "CLUSTER", "CREATED", "LAST SPAWNED"],
        [
            (each.name, each.image_tag, each.cluster, each.created_at, each.last_spawned_at)
            for each in service.environments
        ],
    )


@app.command("create")
@calls_api()
def create_service(jamsocket: Jamsocket, name: ServiceName, as_json: AsJSON = False) -> None:
    """Create a service, with the environment `default` and no image."""
    jamsocket.create_service(name)
    done(f"Created {name}.", as_json)


@app.command("delete")
@calls_api()
def delete_service(
    jamsocket: Jamsocket,
    name: ServiceName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Delete a service and its environments.

    It cannot be undone, so it asks before.
    """
    if not yes:
        confirm(f"Delete the service {text(name)} and its environments for good?")
    jamsocket.delete_service(name)
    done(f"Deleted {name}.", as_json)


@calls_api(Needs.SERVICE)
def images(jamsocket: Jamsocket, as_json: AsJSON = False) -> None:
    """List a service's newest images."""
    found = jamsocket.images()
    if as_json:
        print_document([image.to_dict() for image in found])
        return
    print_table(
        ["TAG", "DIGEST", "UPLOADED", "REPOSITORY"],
        [(image.tag, image.digest, image.upload_time, image.repository) for image in found],
    )


@calls_api(Needs.SERVICE)
def use_image(
    jamsocket: Jamsocket,
    tag: Annotated[str, typer.Option("--image", "-i", "--tag", "-t", help="The image's tag or digest.")],
    as_json: AsJSON = False,
) -> None:
    """Choose the image of a service's environment.

    Backends that are spawned from now on run it.
    """
    jamsocket.use_image(tag)
    done(f"New backends run {tag}.", as_json)


def confirm(question: str) -> None:
    """Ends the command unless the answer is yes. typer's own question writes to standard output."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        fail("Nothing was done.", ERROR)


def done(sentence: str, as_json: bool) -> None:
    """Says that it is done."""
    print_document({"status": "ok"}) if as_json else print_words(sentence)
