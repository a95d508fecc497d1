"""Variables: whose each is, and that of two ways to say a value one is enough."""

from __future__ import annotations

import pytest

from consumer.commands.shared.options import placeholders_of
from consumer.errors import ConfigError
from consumer.settings import sources as config
from consumer.settings.variables import PLACEHOLDERS, implied_settings, placeholders
from consumer.source.connect.placeholder import PLACEHOLDER
from tests.docs.markdown import PROJECT

CONNECT = PROJECT / "connect"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("CDC_")]:
        monkeypatch.delenv(name)


def test_the_placeholders_are_those_of_the_files_in_connect() -> None:
    files = [*CONNECT.glob("*.json"), *CONNECT.glob("grants/*.sql")]
    assert files
    assert {match["name"] for file in files for match in PLACEHOLDER.finditer(file.read_text())} == PLACEHOLDERS


def test_the_topic_prefix_is_said_once_in_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TOPIC_PREFIX", "mine")
    assert config.load().kafka.topic_prefix == "mine"
    monkeypatch.setenv("CDC_KAFKA__TOPIC_PREFIX", "other")
    settings = config.load()
    assert settings.kafka.topic_prefix == "other"
    assert placeholders_of(settings)["CDC_TOPIC_PREFIX"] == "mine", "the connector's own name overrides"
    monkeypatch.delenv("CDC_TOPIC_PREFIX")
    assert placeholders_of(config.load())["CDC_TOPIC_PREFIX"] == "other"


def test_the_brokers_too_but_never_the_default_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "CDC_CONNECT_BOOTSTRAP_SERVERS" not in placeholders_of(config.load())
    monkeypatch.setenv("CDC_KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")
    assert placeholders_of(config.load())["CDC_CONNECT_BOOTSTRAP_SERVERS"] == "kafka:9092"
    monkeypatch.delenv("CDC_KAFKA__BOOTSTRAP_SERVERS")
    monkeypatch.setenv("CDC_CONNECT_BOOTSTRAP_SERVERS", "broker:9092")
    assert config.load().kafka.bootstrap_servers == "broker:9092"


@pytest.mark.parametrize(
    ("url", "kind", "found"),
    [
        ("mysql://cdc_reader:a%40b@db:3307/trading", "MYSQL", {"HOST": "db", "PORT": "3307", "DATABASE": "trading"}),
        ("mysql+pymysql://cdc_reader:a%40b@db/x%2Fy", "MYSQL", {"HOST": "db", "DATABASE": "x/y"}),
        ("mariadb://cdc_reader:a%40b@[::1]:3306/t", "MARIADB", {"HOST": "::1", "PORT": "3306", "DATABASE": "t"}),
        ("postgresql://cdc_reader:a%40b@db/t?options=-csearch_path%3Ds", "POSTGRES", {"HOST": "db", "DATABASE": "t"}),
        ("postgres://cdc_reader:a%40b@db/t", "POSTGRES", {"HOST": "db", "DATABASE": "t"}),
    ],
)
def test_a_database_url_fills_the_placeholders_of_its_connector(url: str, kind: str, found: dict[str, str]) -> None:
    named = {f"CDC_{kind}_{name}": value for name, value in found.items()}
    reader = {"CDC_READER_USER": "cdc_reader", "CDC_READER_PASSWORD": "a@b", "CDC_TOPIC_PREFIX": "trading"}
    assert placeholders({}, "trading", None, url) == named | reader
    given = {f"CDC_{kind}_HOST": "other", "CDC_READER_USER": ""}
    assert placeholders(given, "trading", None, url) == named | reader | {f"CDC_{kind}_HOST": "other"}


def test_what_is_no_url_fills_nothing() -> None:
    for url in ("mysql://h:x/y", "oracle://a:b@h/d", "", "http://[::1"):
        assert placeholders({}, "trading", None, url) == {"CDC_TOPIC_PREFIX": "trading"}


def test_the_placeholders_make_a_database_url() -> None:
    said = {"CDC_MYSQL_HOST": "db", "CDC_READER_PASSWORD": "a@b/c"}
    assert implied_settings(said)["database"]["url"] == "mysql://cdc_reader:a%40b%2Fc@db:3306/trading"
    said = {
        "CDC_POSTGRES_HOST": "::1",
        "CDC_POSTGRES_SCHEMA": "app",
        "CDC_READER_USER": "r",
        "CDC_READER_PASSWORD": "p",
        "CDC_POSTGRES_DATABASE": "d",
    }
    url = "postgresql://r:p@[::1]:5432/d?options=-csearch_path%3Dapp"
    assert implied_settings(said)["database"]["url"] == url


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"CDC_MYSQL_HOST": "db"},
        {"CDC_MYSQL_HOST": "db", "CDC_MARIADB_HOST": "db", "CDC_READER_PASSWORD": "p"},
        {"CDC_READER_PASSWORD": "p"},
    ],
)
def test_a_database_that_is_not_clear_is_not_guessed(said: dict[str, str]) -> None:
    assert "database" not in implied_settings(said)


def test_a_setting_outranks_what_is_implied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_MYSQL_HOST", "db")
    monkeypatch.setenv("CDC_READER_PASSWORD", "p")
    monkeypatch.setenv("CDC_DATABASE__URL", "mysql://a:b@c/d")
    url = config.load().database.url
    assert url is not None
    assert url.get_secret_value() == "mysql://a:b@c/d"


def test_names_of_a_service_without_its_host_are_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_CONSUMER_PORT_9108_TCP", "tcp://10.0.0.1:9108")
    with pytest.raises(ConfigError, match="CDC_CONSUMER_PORT_9108_TCP: no such setting"):
        config.load()
    monkeypatch.setenv("CDC_CONSUMER_SERVICE_HOST", "10.0.0.1")
    config.load()
