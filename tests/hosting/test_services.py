"""`Services`: which there are for whom, what each runs, and in which environment; over HTTP at the end."""

from __future__ import annotations

from typing import Any

import pytest

from jamsocket.hosting import Service
from jamsocket.hosting.engine import EngineError, Place
from jamsocket.hosting.services import Image, Services

from .support import POLITE, SMALL, serving

ONE, OLD, TWO = Service(["one"], tags={"old": ["one", "old"]}), ("one", "old"), Service(["two"])
ACME = Place("acme", "one")


def configured(remembered: int = 1000) -> Services:
    return Services({"one": ONE, "two": TWO}, 0, remembered)


def anything(remembered: int = 1000) -> Services:
    return Services(ONE, 0, remembered)


def refused(status: int, action: Any, *arguments: Any) -> str:
    with pytest.raises(EngineError) as caught:
        action(*arguments)
    assert caught.value.status == status
    return caught.value.message


def runs(services: Services, place: Place, tag: str | None = None) -> tuple[str, ...]:
    return services.image(place, tag).command


# ── Which there are ──


def test_configured_services_are_everybodys_and_others_are_not_there() -> None:
    services = configured()
    assert services.names("acme") == services.names("-") == ["one", "two"]
    assert runs(services, Place("acme", "two")) == ("two",)
    assert "the configuration names one, two" in refused(404, services.service, Place("acme", "three"))


def test_a_dash_is_the_first_of_several() -> None:
    services = configured()
    assert services.place(Place("-", "-", "prod")) == Place("-", "one", "prod")
    assert services.info("acme", "-")["name"] == "one"
    # With one command every name is a service, and this is one as well.
    assert anything().place(Place("-", "-")) == Place("-", "-")


def test_with_one_command_a_service_is_there_as_soon_as_it_is_used() -> None:
    services = anything()
    assert services.names("acme") == []
    refused(404, services.info, "acme", "whiteboard")
    services.spawned(Place("acme", "whiteboard"), 1)
    assert (services.names("acme"), services.names("other"), services.names("-")) == (
        ["whiteboard"],
        [],
        ["whiteboard"],
    )
    assert services.info("acme", "whiteboard")["last_spawned_at"] == "1970-01-01T00:00:00.001Z"


def test_a_created_service_runs_what_the_first_one_runs() -> None:
    services = configured()
    services.create("acme", "three", 1)
    assert (services.names("acme"), services.names("other")) == (["one", "three", "two"], ["one", "two"])
    assert runs(services, Place("acme", "three"), "old") == OLD
    refused(404, services.service, Place("other", "three"))
    for taken in ("three", "one", "-"):
        refused(409, services.create, "acme", taken, 2)
    services.delete("acme", "three", 3)
    assert services.names("acme") == ["one", "two"]
    refused(404, services.delete, "acme", "three", 4)


def test_a_configured_service_can_be_deleted_for_an_account_and_brought_back() -> None:
    services = configured()
    services.use_image(Place("acme", "two"), "latest", 1)
    services.delete("acme", "two", 1)
    assert (services.names("acme"), services.names("other")) == (["one"], ["one", "two"])
    for action in (services.service, lambda place: services.image(place, None)):
        refused(404, action, Place("acme", "two"))
    refused(404, services.info, "acme", "two")
    services.create("acme", "two", 2)
    assert runs(services, Place("acme", "two")) == ("two",)  # its own command, not the first one's
    assert services.info("acme", "two")["created_at"] == "1970-01-01T00:00:00.002Z"


# ── What they run ──


def test_tags_and_digests_name_images() -> None:
    services = configured()
    digest = services.image(ACME, "old").digest
    assert runs(services, ACME) == runs(services, ACME, "latest") == ("one",)
    assert runs(services, ACME, digest) == OLD
    assert "no image with the tag older" in refused(404, services.image, ACME, "older")
    refused(404, services.image, Place("acme", "two"), "old")
    listed = services.images("acme", "one")
    assert [(image["tag"], image["repository"]) for image in listed] == [("latest", "acme/one"), ("old", "acme/one")]
    assert listed[1]["digest"] == digest != listed[0]["digest"]


def test_a_digest_tells_commands_and_code_apart() -> None:
    digests = {
        Image(command, code).digest for command in (("a", "b"), ("a b",), ("a",), ("b", "a")) for code in ("", "1", "2")
    }
    assert len(digests) == 12
    assert Image(("a",), since_ms=1) == Image(("a",), since_ms=2)  # when it appeared does not matter


def test_environments_choose_their_images() -> None:
    services = configured()
    prod = Place("acme", "one", "prod")
    services.use_image(prod, "old", 1)
    assert (runs(services, ACME), runs(services, prod), runs(services, prod, "latest")) == (("one",), OLD, ("one",))
    assert runs(services, Place("other", "one", "prod")) == ("one",)
    assert "no image with the tag older" in refused(404, services.use_image, prod, "older", 2)
    services.use_image(Place("acme", "-"), services.image(ACME, "old").digest, 2)
    assert runs(services, ACME) == OLD
    # The default one is always there, and first: a client reads it at index 0.
    environments = services.info("acme", "one")["environments"]
    assert [environment["name"] for environment in environments] == ["default", "prod"]
    assert services.info("acme", "two")["environments"][0]["name"] == "default"


def test_new_code_is_a_new_image_and_makes_the_old_one_outdated() -> None:
    services = configured()
    before = services.image(ACME, None)
    services.spawned(ACME, 1)
    assert not services.is_outdated(ACME, before)
    services.new_code("one", "changed", 5)
    assert services.image(ACME, None).digest != before.digest
    assert services.is_outdated(ACME, before)
    assert not services.is_outdated(ACME, services.image(ACME, None))
    assert services.info("acme", "one")["last_image_upload_time"] == "1970-01-01T00:00:00.005Z"
    services.spawned(Place("acme", "two"), 6)
    assert not services.is_outdated(Place("acme", "two"), services.image(Place("acme", "two"), None))


# ── What is remembered ──


@pytest.mark.parametrize("make", [configured, anything])
def test_only_so_many_are_remembered(make: Any) -> None:
    services = make(20)
    for number in range(100):
        services.create("acme", f"new-{number}", number)
    for number in range(100):
        services.use_image(Place(f"account-{number}", "-"), "old", number)
        services.spawned(Place(f"account-{number}", "one"), number)
        services.delete(f"account-{number}", "one", number)
    assert len(services._records) <= 20
    for number in range(1000):
        services.spawned(Place("acme", "one", f"environment-{number}"), number)
    names = [environment["name"] for environment in services.info("acme", "one")["environments"]]
    assert len(names) == 100
    assert (names[0], names[-1]) == ("default", "environment-999")


# ── Over HTTP ──


@pytest.mark.asyncio
async def test_a_service_with_backends_cannot_be_deleted() -> None:
    async with serving({"one": POLITE, "two": SMALL}) as api:
        backend = (await api.connect({"key": "k"}, "acme/-/prod"))["backend_id"]
        await api.wait(backend, "ready")
        response, answer = await api.call("POST", "/v2/service/acme/one/delete")
        assert (response.status, answer["error"]["code"]) == (409, "ServiceInUse")
        # That of another account, of the same name, has none.
        assert (await api.call("POST", "/v2/service/other/one/delete"))[1] == {"status": "ok"}
        assert (await api.connect({}, "other/one", expect=404))["error"]["code"] == "NotFound"
        await api.terminate(backend)
        await api.wait(backend, "terminated")
        assert (await api.call("POST", "/v2/service/acme/one/delete", data=b""))[1] == {"status": "ok"}
        assert (await api.call("GET", "/v2/account/acme/services"))[1] == {"services": ["two"]}
        assert (await api.call("POST", "/v2/account/acme/service", json={"name": "one"}))[1] == {"status": "ok"}
        assert (await api.connect({}, "acme/one"))["spawned"]


@pytest.mark.asyncio
async def test_a_new_image_is_for_new_backends_and_a_tag_insists() -> None:
    async with serving({"svc": Service(SMALL, tags={"old": POLITE})}) as api:

        async def digest(connection: dict[str, Any]) -> str:
            return str((await api.call("GET", f"/v2/backend/{connection['backend_id']}"))[1]["image_digest"])

        first = await api.connect({"key": "k"})
        await api.call("POST", "/v2/service/-/svc/update", json={"image_tag": "old"})
        again = await api.connect({"key": "k"})
        assert (again["spawned"], again["backend_id"]) == (False, first["backend_id"])
        other = await api.connect({"key": "other"})
        assert await digest(other) != await digest(first)
        assert await digest(await api.connect({"key": "third", "spawn": {"tag": "latest"}})) == await digest(first)
        held = await api.connect({"key": "k", "spawn": {"tag": "old"}}, expect=409)
        assert held["error"]["code"] == "KeyHeld"
        assert (await api.connect({"key": "k", "spawn": {"tag": "latest"}}))["spawned"] is False
        assert (await api.connect({"spawn": {"tag": await digest(first)}}))["spawned"] is True
