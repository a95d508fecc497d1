"""Settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from threading import Thread

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


def test_a_setting_under_both_of_its_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_GUARD__CLOCK_MS", "6")
    monkeypatch.setenv("CDC_GUARD__LINEAGE_GAP_MS", "5")
    with pytest.raises(ConfigError, match="CDC_GUARD__LINEAGE_GAP_MS: the setting is set under its other name too"):
        load()


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


def test_an_empty_name_of_a_file_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Compose's ``${NAME:-}`` gives such; the file of settings is asked then, as for every variable that is not set."""
    file = tmp_path / "cdc.toml"
    file.write_text('[redis]\nca = "of-the-file.pem"\n')
    for name in (
        "CDC_MAPPING",
        "CDC_KAFKA__SECURITY__CA",
        "CDC_REDIS__CA",
        "CDC_API__JWT__PUBLIC_KEY",
        "CDC_API__TOKEN",
    ):
        monkeypatch.setenv(name, "")
    settings = load(file=file)
    assert (settings.mapping, settings.kafka.security.ca, settings.api.jwt.public_key) == (None, None, None)
    assert settings.api.token is None
    assert settings.redis.ca == Path("of-the-file.pem")


def test_a_file_of_settings_may_be_a_pipe(tmp_path: Path) -> None:
    """As a shell's ``<(…)``, and /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=('\ufeff[kafka]\ngroup_id = "of-the-pipe"\n', "utf-8"))
    writer.start()
    assert load(file=pipe).kafka.group_id == "of-the-pipe"
    writer.join()
    assert load(file=Path(os.devnull)).kafka.group_id == "cdc-consumer"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (".", "Is a directory"),
        ("x" * 300, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("absent", "No such file or directory"),
    ],
)
def test_a_file_of_settings_that_can_not_be_read_is_refused_as_it_was_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(ConfigError) as refusal:
        load(file=Path(file))
    assert (refusal.value.field, refusal.value.problem) == ("--config", f"{file}: {said}")
    monkeypatch.setenv("CDC_CONFIG", file)
    with pytest.raises(ConfigError) as refusal:
        load(file=Path(file))
    assert refusal.value.field == "CDC_CONFIG"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CDC_KAFKA__BOOTSTRAP_SERVERS", "a:9092,h:99999"),
        ("CDC_KAFKA__BOOTSTRAP_SERVERS", "h:0"),
        ("CDC_REDIS__URL", "redis://localhost:99999/0"),
        ("CDC_REDIS__URL", "rediss+cluster://u:p@a:6379,[::1]:0/"),
        ("CDC_REGISTRY__URL", "http://h:123456789"),
        ("CDC_CONNECT__URL", "http://u:p@h:65536/"),
        ("CDC_PROMETHEUS__URL", "https://h:0?a=b"),
        ("CDC_DATABASE__URL", "mysql://u:p@h:70000/trading"),
    ],
)
def test_a_port_that_no_server_can_have_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A client would wait for it for ever, or call it no URL."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refusal:
        load()
    assert str(refusal.value) == f"{name}: not a port (allowed: ports from 1 to 65535)"


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://[::1]/0", "redis://u:99999@h:1/0", "redis://h:65535", "rediss://"]
)
def test_what_is_no_port_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CDC_REDIS__URL", url)
    assert load().redis.url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:hunter2@h:1/0?health_check_interval=5&{}=3",
        "rediss+cluster://u:hunter2@h:1,g/?{}=3#x",
        "redis+sentinel://u:hunter2@h:1/s/0?{}=3",
        "unix://u:hunter2@/run/redis.sock?{}=3",
    ],
)
@pytest.mark.parametrize("option", ["protocol", "decode_responses", "encoding", "legacy_responses", "retry"])
def test_an_option_of_redis_that_the_program_sets_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str, option: str
) -> None:
    """Replies would be read in another form, and the first batch would end the program."""
    monkeypatch.setenv("CDC_REDIS__URL", url.format(option))
    with pytest.raises(ConfigError) as refusal:
        load()
    assert str(refusal.value).startswith(f"CDC_REDIS__URL: the option {option} is set by the program itself")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("option", ["health_check_interval=5", "client_name=protocol", "ssl_cert_reqs=none", "x"])
def test_other_options_of_redis_are_left_to_its_client(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setenv("CDC_REDIS__URL", f"redis://u:protocol=3@h:1/0?{option}")
    assert load().redis.url.get_secret_value().endswith(option)


def test_a_password_with_a_mark_of_urls_is_not_taken_for_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's client takes everything up to the last @ for the account."""
    url = "mysql+pymysql://reader:20260101#x@db:3306/trading"
    monkeypatch.setenv("CDC_DATABASE__URL", url)
    found = load().database.url
    assert found is not None
    assert found.get_secret_value() == url


@pytest.mark.parametrize("protocol", [None, "SSL"])
@pytest.mark.parametrize("name", ["USER", "PASSWORD"])
def test_an_account_that_the_protocol_ignores_is_refused(
    monkeypatch: pytest.MonkeyPatch, protocol: str | None, name: str
) -> None:
    """The operator believes that the connection has an account."""
    monkeypatch.setenv(f"CDC_KAFKA__SECURITY__{name}", "hunter2")
    if protocol:
        monkeypatch.setenv("CDC_KAFKA__SECURITY__PROTOCOL", protocol)
    with pytest.raises(ConfigError) as refusal:
        load()
    assert refusal.value.field == "CDC_KAFKA__SECURITY"
    assert refusal.value.problem.startswith(f"{protocol or 'PLAINTEXT'} does not use a user or a password")
    assert refusal.value.fix == "set the protocol SASL_SSL or SASL_PLAINTEXT, or remove both"


@pytest.mark.parametrize("name", ["CDC_API__TOKEN", "CDC_API__VIEWER_TOKEN"])
def test_a_token_that_could_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0123456789abcde")
    with pytest.raises(ConfigError) as refusal:
        load()
    assert str(refusal.value) == f"{name}: too short (allowed: text of 16 characters or more)"
