"""Who we are and where the API is: design §2, "Rules that hold everywhere"."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from jamsocket import AsyncJamsocket, ConfigError, Jamsocket
from jamsocket.config import is_loopback
from tests.support.clients import Maker

CREDENTIALS: dict[str, Any] = {"account": "acme", "token": "tok-1", "service": "whiteboard"}
VARIABLES = {"JAMSOCKET_ACCOUNT": "acme", "JAMSOCKET_TOKEN": "tok-1", "JAMSOCKET_SERVICE": "whiteboard"}


def problems_of(cls: Any, **arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        cls(**arguments)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return str(caught.value)


def test_credentials_mean_production(make: Maker) -> None:
    client = make.cls(**CREDENTIALS)
    assert (
        repr(client)
        == f"{make.cls.__name__}(api_url='https://api.jamsocket.com', account='acme', service='whiteboard')"
    )


def test_dev_means_the_dev_server(make: Maker) -> None:
    assert "api_url='http://localhost:8080', account='-', service='-'" in repr(make.cls(dev=True))
    assert "api_url='http://localhost:8081'" in repr(make.cls(dev=True, port=8081))


def test_an_environment_is_shown() -> None:
    assert "environment='staging'" in repr(Jamsocket(**CREDENTIALS, environment="staging"))


def test_all_that_is_missing_is_named_at_once(make: Maker) -> None:
    text = problems_of(make.cls)
    for name in ("account", "token", "service"):
        assert f"{name} is missing" in text
    assert "dev=True" in text


@pytest.mark.parametrize("extra", [{"account": "a"}, {"token": "t"}, {"service": "s"}, {"environment": "e"}])
def test_dev_with_credentials_is_refused(make: Maker, extra: dict[str, Any]) -> None:
    assert next(iter(extra)) in problems_of(make.cls, dev=True, **extra)


def test_dev_with_api_url_is_refused(make: Maker) -> None:
    assert "api_url" in problems_of(make.cls, dev=True, api_url="http://localhost:1")


def test_port_without_dev_is_refused(make: Maker) -> None:
    assert "dev=True" in problems_of(make.cls, **CREDENTIALS, port=8080)


@pytest.mark.parametrize("port", [0, -1, 65536, "8080", 80.0, True])
def test_a_port_that_is_none_is_refused(make: Maker, port: Any) -> None:
    assert repr(port) in problems_of(make.cls, dev=True, port=port)


def test_a_slash_in_the_service_names_the_environment_argument(make: Maker) -> None:
    assert "environment" in problems_of(make.cls, **{**CREDENTIALS, "service": "whiteboard/staging"})


@pytest.mark.parametrize("name", ["account", "service", "environment"])
@pytest.mark.parametrize("value", ["", " ", ".", "..", "a\nb", 3, "a/b"])
def test_names_that_are_none_are_refused(name: str, value: Any) -> None:
    assert name in problems_of(Jamsocket, **{**CREDENTIALS, name: value})


@pytest.mark.parametrize("token", ["", "tok 1", "tok-1\n", "tök", "\x00", 5])
def test_a_malformed_token_is_refused_and_not_shown(token: Any) -> None:
    text = problems_of(Jamsocket, **{**CREDENTIALS, "token": token})
    assert "token" in text
    assert not (isinstance(token, str) and token.strip("\x00\n ") and token in text)


@pytest.mark.parametrize("service", ["x/y", "", "\n"])
def test_a_traceback_with_locals_shows_no_token(make: Maker, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "tok-" + "planted"
    variables = {**VARIABLES, "JAMSOCKET_SERVICE": service, "JAMSOCKET_TOKEN": token}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for attempt in (
        lambda: make.cls(account="acme", token=token, service=service),
        lambda: make.cls.from_env(),
        lambda: make.cls.from_env(dict(variables)),
        lambda: make.cls(account="acme", token=token, service="s", timeout=-1),
    ):
        try:
            attempt()
        except ValueError as error:
            ours = traceback.TracebackException.from_exception(error, capture_locals=True)
            frames = [frame for frame in ours.stack if "tests" not in frame.filename]
            assert frames
            assert token not in "".join(traceback.StackSummary.from_list(frames).format())
            assert token not in str([frame.locals for frame in frames])
        else:
            pytest.fail("it should have raised")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://api.example.com",
        "https://",
        "https://api.example.com:99999",
        "https://api.example.com:x",
        "https://api.example.com/?a=b",
        "https://api.example.com/#a",
        "https://user:secret-pw@api.example.com",
        "https://api example.com",
        "https://[::1",
        "https://a..b",
        "https://" + "a" * 64 + ".example.com",
        "https://256.256.256.256",
        5,
    ],
)
def test_an_api_url_that_is_none_is_refused(make: Maker, url: Any) -> None:
    text = problems_of(make.cls, **CREDENTIALS, api_url=url)
    assert "api_url" in text
    assert "secret-pw" not in text


def test_the_token_does_not_go_over_plain_http_to_another_machine(make: Maker) -> None:
    assert "allow_insecure_http" in problems_of(make.cls, **CREDENTIALS, api_url="http://api.example.com")
    make.cls(**CREDENTIALS, api_url="http://api.example.com", allow_insecure_http=True)


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "http://127.0.0.1:1", "http://127.8.9.1", "http://[::1]:5", "http://a.localhost"]
)
def test_plain_http_to_this_machine_is_fine(url: str) -> None:
    assert f"api_url={url!r}" in repr(Jamsocket(**CREDENTIALS, api_url=url))


def test_a_trailing_slash_does_not_matter() -> None:
    assert "api_url='https://example.com/base'" in repr(Jamsocket(**CREDENTIALS, api_url="https://example.com/base/"))


@pytest.mark.parametrize("host", ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "example", "::2", ""])
def test_what_is_not_this_machine(host: str) -> None:
    assert not is_loopback(host)


def test_several_problems_come_in_one_error() -> None:
    text = problems_of(Jamsocket, account="", token="a b", service="x/y", api_url="nonsense")
    assert all(name in text for name in ("account", "token", "service", "api_url"))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": float("inf")}, ValueError),
        ({"timeout": "10"}, TypeError),
        ({"timeout": 1e10}, ValueError),
        ({"timeout": 10**400}, ValueError),
        ({"timeout": True}, TypeError),
        ({"max_retries": -1}, ValueError),
        ({"max_retries": 1.5}, TypeError),
        ({"max_retries": True}, TypeError),
        ({"http_client": object()}, TypeError),
    ],
)
def test_options_that_are_none_are_refused(make: Maker, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        make.cls(dev=True, **options)


# ── from_env ──


def test_credentials_from_the_environment(make: Maker) -> None:
    client = make.cls.from_env({**VARIABLES, "JAMSOCKET_ENVIRONMENT": "staging", "JAMSOCKET_API_URL": "https://x.test"})
    for part in ("api_url='https://x.test'", "account='acme'", "service='whiteboard'", "environment='staging'"):
        assert part in repr(client)


def test_os_environ_is_the_default(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAMSOCKET_DEV", "true")
    monkeypatch.setenv("JAMSOCKET_DEV_PORT", "8123")
    assert "http://localhost:8123" in repr(make.cls.from_env())


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", "Yes"])
def test_dev_wins_over_credentials(word: str) -> None:
    environ = {**VARIABLES, "JAMSOCKET_DEV": word, "JAMSOCKET_API_URL": "https://x.test"}
    assert "api_url='http://localhost:8080', account='-'" in repr(Jamsocket.from_env(environ))


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "", "FALSE"])
def test_dev_switched_off(word: str) -> None:
    assert "account='acme'" in repr(Jamsocket.from_env({**VARIABLES, "JAMSOCKET_DEV": word}))


def test_any_other_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="JAMSOCKET_DEV must be true or false"):
        Jamsocket.from_env({**VARIABLES, "JAMSOCKET_DEV": "maybe"})


def test_every_variable_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        AsyncJamsocket.from_env({"JAMSOCKET_SERVICE": ""})
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "JAMSOCKET_ACCOUNT",
        "JAMSOCKET_TOKEN",
        "JAMSOCKET_SERVICE",
    ]


def test_missing_and_malformed_come_together() -> None:
    with pytest.raises(ConfigError) as caught:
        Jamsocket.from_env({"JAMSOCKET_SERVICE": "a/b", "JAMSOCKET_TOKEN": "two words", "JAMSOCKET_API_URL": "x"})
    text = str(caught.value)
    for name in ("JAMSOCKET_ACCOUNT", "JAMSOCKET_TOKEN", "JAMSOCKET_SERVICE", "JAMSOCKET_API_URL"):
        assert name in text
    assert "JAMSOCKET_ENVIRONMENT" in text, "the way out of 'a/b'"
    assert "two words" not in text


@pytest.mark.parametrize("port", ["http", "0", "70000", "8080.0", "-1"])
def test_a_dev_port_that_is_none(port: str) -> None:
    with pytest.raises(ConfigError, match="JAMSOCKET_DEV_PORT"):
        Jamsocket.from_env({"JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": port})


def test_a_malformed_dev_and_what_else_is_malformed() -> None:
    with pytest.raises(ConfigError) as caught:
        Jamsocket.from_env({"JAMSOCKET_DEV": "maybe", "JAMSOCKET_DEV_PORT": "x"})
    assert [problem.split()[0] for problem in caught.value.problems] == ["JAMSOCKET_DEV", "JAMSOCKET_DEV_PORT"]


def test_the_options_are_those_of_the_constructor(make: Maker) -> None:
    with pytest.raises(ConfigError, match="allow_insecure_http"):
        make.cls.from_env({**VARIABLES, "JAMSOCKET_API_URL": "http://api.example.com"})
    environ = {**VARIABLES, "JAMSOCKET_API_URL": "http://api.example.com"}
    client = make.cls.from_env(environ, allow_insecure_http=True, timeout=3, max_retries=0)
    assert client._session.options.timeout == 3
    assert client._session.options.max_retries == 0
