"""Settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from consumer.commands import cli
from consumer.commands.run import service
from consumer.commands.shared.stop import Stop
from consumer.errors import ConfigError
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.settings.sources import load


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("CDC_")]:
        monkeypatch.delenv(name)


def test_defaults_work_on_a_developers_machine() -> None:
    settings = load()
    assert settings.kafka.bootstrap_servers == "localhost:9092"
    assert settings.kafka.group_id == "cdc-consumer"
    assert settings.kafka.topic_prefix == "trading"
    assert settings.redis.url.get_secret_value() == "redis://localhost:6379/0"
    assert settings.metrics.port == 9108


def test_flags_then_environment_then_file_then_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "cdc.toml"
    file.write_text('[kafka]\ngroup_id = "file"\ntopic_prefix = "file"\ntopics = ["a", "b"]\n[guard]\nepoch = 3\n')
    monkeypatch.setenv("CDC_KAFKA__GROUP_ID", "environment")
    monkeypatch.setenv("CDC_KAFKA__TOPIC_PREFIX", "environment")
    settings = load({"kafka": {"group_id": "flag", "topics": None}}, file)
    assert settings.kafka.group_id == "flag"
    assert settings.kafka.topic_prefix == "environment"
    assert settings.kafka.topics == ("a", "b")
    assert settings.guard.epoch == 3
    assert settings.metrics.port == 9108


@pytest.mark.parametrize("name", ["CDC_GUARD__CLOCK_MS", "CDC_GUARD__LINEAGE_GAP_MS"])
def test_how_much_clocks_may_differ_has_its_old_name_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "250")
    assert load().guard.clock_ms == 250


def test_topics_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_KAFKA__TOPICS", "a.b.c, d.e.f,")
    assert load().kafka.topics == ("a.b.c", "d.e.f")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CDC_KAFKA__BOOTSTRAP_SERVERS", "localhost", "host:port"),
        ("CDC_KAFKA__TOPIC_PREFIX", "", "empty (allowed: letters, digits, . _ and -)"),
        ("CDC_METRICS__PORT", "70000", "65535"),
        ("CDC_METRICS__PORT", "http", "whole number"),
        (
            "CDC_GUARD__TOMBSTONE_TTL_S",
            "99999999999999999",
            "out of range (allowed: whole numbers from 1 to 315360000)",
        ),
        ("CDC_LOG__LEVEL", "loud", "(allowed: debug, info, warning, error)"),
        ("CDC_KAFKA__SECURITY__PROTOCOL", "TLS", "(allowed: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)"),
        ("CDC_KAFKA__TOPCIS", "a", "(fix: CDC_KAFKA__TOPICS)"),
        ("CDC_CONNECT__URL", "nowhere", "http://"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refusal:
        load()
    assert refusal.value.field == name
    assert said in str(refusal.value)


def test_a_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_REDIS__URL", "redis://user:hunter2@host/0")
    assert "hunter2" not in repr(load())


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        load(file=tmp_path / "absent.toml")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("= no TOML")
    with pytest.raises(ConfigError, match=r"wrong\.toml"):
        load(file=wrong)


def test_the_mapping_reaches_the_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "reference"\nbalance_ttl_s = 60\n')
    settings = tmp_path / "cdc.toml"
    settings.write_text(f'mapping = "{file}"\n')
    given: list[Rules] = []
    monkeypatch.setattr(Stop, "listen", lambda stop, **options: None)
    monkeypatch.setattr("consumer.observability.log.configure", lambda settings: None)
    monkeypatch.setattr(service, "run", lambda settings, rules, stop: given.append(rules))
    cli.run(config_file=settings)
    assert given == [replace(reference(), balance_ttl_s=60)]
