"""Options, variables and the login file: who wins, without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from jamsocket.command.settings import Login, Needs, Options, UsageError, read_login, variables

ENV = {"JAMSOCKET_ACCOUNT": "env-account", "JAMSOCKET_TOKEN": "env-token", "JAMSOCKET_SERVICE": "env-service"}
LOGIN = Login("file-account", "file-token")


def found(environ: dict[str, str], login: Login | None = None, needs: Needs = Needs.SERVICE, **options: Any) -> Any:
    given = variables(Options(**options), environ, lambda: login, needs)
    return {name.removeprefix("JAMSOCKET_").lower(): value for name, value in given.items()}


def test_options_win_over_the_environment_and_that_over_the_file() -> None:
    assert found(ENV, LOGIN) == {"account": "env-account", "token": "env-token", "service": "env-service"}
    assert found(ENV, LOGIN, account="a", token="t", service="s", environment="e", api_url="http://x") == {
        "account": "a",
        "token": "t",
        "service": "s",
        "environment": "e",
        "api_url": "http://x",
        "dev": "false",
    }
    assert found({}, LOGIN, service="s") == {"account": "file-account", "token": "file-token", "service": "s"}
    assert found({"JAMSOCKET_TOKEN": "env-token"}, LOGIN)["token"] == "env-token"
    assert found({"JAMSOCKET_TOKEN": "  "}, LOGIN)["token"] == "file-token", "what is empty is not set"


def test_the_file_is_read_only_when_something_is_missing() -> None:
    def login() -> Login:
        raise AssertionError("it should not have been read")

    variables(Options(), ENV, login, Needs.SERVICE)
    variables(Options(dev=True), {}, login, Needs.SERVICE)
    variables(Options(), {}, login, Needs.NOTHING)


def test_a_token_goes_with_its_account() -> None:
    assert "token" not in found({}, LOGIN, account="another")
    assert found({}, LOGIN, account="file-account")["token"] == "file-token"
    person = Login("selected", "file-token", is_session=True)
    assert found({}, person, account="another") == {"account": "another", "token": "file-token", "dev": "false"}
    assert found({}, person)["account"] == "selected"
    assert "account" not in found({}, Login(None, "t", is_session=True))


def test_what_a_command_does_not_need_is_filled_in() -> None:
    assert found({}, needs=Needs.NOTHING) == {"account": "-", "token": "-", "service": "-"}
    assert found({}, LOGIN, needs=Needs.ACCOUNT)["service"] == "-"
    assert found({}, needs=Needs.ACCOUNT) == {"service": "-"}
    assert found(ENV, needs=Needs.NOTHING)["account"] == "env-account"


def test_the_dev_server() -> None:
    dev = {"dev": "true", "dev_port": "8080"}
    assert found({}, dev=True) == dev
    assert found({}, port=81) == {**dev, "dev_port": "81"}
    assert found(ENV, dev=True) == dev
    assert found({"JAMSOCKET_DEV": "on", "JAMSOCKET_DEV_PORT": "82"}) == {**dev, "dev_port": "82"}
    assert found({"JAMSOCKET_DEV": "on", "JAMSOCKET_DEV_PORT": "82"}, port=83) == {**dev, "dev_port": "83"}
    assert found({"JAMSOCKET_DEV": "on", **ENV}, dev=False)["account"] == "env-account"
    assert found({"JAMSOCKET_DEV": "maybe"})["dev"] == "maybe", "for from_env to complain of"


@pytest.mark.parametrize("option", ["account", "token", "api_url"])
def test_credentials_on_the_command_line_are_not_for_the_dev_server_of_the_environment(option: str) -> None:
    assert found({"JAMSOCKET_DEV": "true", **ENV}, **{option: "x"})["dev"] == "false"


def test_the_dev_server_by_name() -> None:
    by_name = {"api_url": "http://localhost:8080", "account": "-", "token": "-", "service": "notes"}
    assert found(ENV, dev=True, service="notes") == by_name, "the environment's token is for another server"
    assert found({"JAMSOCKET_DEV": "1"}, service="notes/blue") == {**by_name, "environment": "blue"}
    assert found({}, dev=True, token="t", port=9) == {
        **by_name,
        "api_url": "http://localhost:9",
        "token": "t",
        "service": "-",
    }


def test_service_and_environment() -> None:
    assert found(ENV, service="s/e") == {**found(ENV), "service": "s", "environment": "e"}
    staging = {**ENV, "JAMSOCKET_ENVIRONMENT": "staging"}
    assert found(staging)["environment"] == "staging"
    assert "environment" not in found(staging, service="another"), "it is of the environment's own service"
    assert found(staging, environment="blue") == {**found(ENV), "environment": "blue"}
    assert Options().at("s/e").split() == Options(service="s", environment="e")
    assert Options(service="s").at(None) == Options(service="s")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dev": True, "api_url": "http://x"}, "not both"),
        ({"port": 1, "api_url": "http://x"}, "not both"),
        ({"dev": False, "port": 1}, "--port"),
        ({"service": "s/e", "environment": "e"}, "environment once"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        found({}, **options)


def test_a_service_named_twice() -> None:
    with pytest.raises(UsageError, match="once"):
        Options(service="s").at("s")


# ── The login file ──


def test_logins() -> None:
    assert read_login('{"api_token": {"account": "acme", "token": "t.1"}}') == Login("acme", "t.1")
    session = '{"user_session": {"uuid": "u", "token": "t", "selected_account": "acme", "user_email": "a@b.c"}}'
    assert read_login(session) == Login("acme", "t", is_session=True)
    assert read_login('{"user_session": {"token": "t", "selected_account": null}}').account is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        "{}",
        "[" * 100_000,
        '{"api_token": 5}',
        '{"api_token": {"account": "planted"}}',
        '{"api_token": {"account": "planted", "token": ""}}',
        '{"api_token": {"account": ["planted"], "token": "planted"}}',
        '{"api_token": {"account": "a", "token": "planted"}, "user_session": {"token": "planted"}}',
    ],
)
def test_what_is_no_login(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - each says something else
        read_login(text)
    assert str(caught.value)
    assert "planted" not in str(caught.value)


def test_no_repr_shows_a_token() -> None:
    assert "planted" not in repr(Login("a", "planted"))
    assert "planted" not in repr(Options(token="planted"))
