"""Secrets in files: from the environment and from TOML, and what is said of files that can't be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from consumer.errors import ConfigError
from consumer.settings.sources import load


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CDC_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("hunter2\n")
    return file


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    monkeypatch.setenv("CDC_KAFKA__SECURITY__PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("CDC_KAFKA__SECURITY__USER", "u")
    monkeypatch.setenv("CDC_KAFKA__SECURITY__PASSWORD_FILE", str(secret))
    monkeypatch.setenv("CDC_REGISTRY__PASSWORD_FILE", str(secret))
    settings = load()
    assert settings.kafka.security.password is not None
    assert settings.kafka.security.password.get_secret_value() == "hunter2"
    assert settings.registry.password is not None
    assert settings.registry.password.get_secret_value() == "hunter2"


def test_from_toml_and_the_environment_outranks_it(
    monkeypatch: pytest.MonkeyPatch, secret: Path, tmp_path: Path
) -> None:
    file = tmp_path / "cdc.toml"
    file.write_text(f'[redis]\nurl = "redis://of-the-file/0"\n[connect]\npassword_file = "{secret}"\n')
    secret.write_text("redis://:pass word @h/0")
    monkeypatch.setenv("CDC_REDIS__URL_FILE", str(secret))
    settings = load(file=file)
    assert settings.redis.url.get_secret_value() == "redis://:pass word @h/0"
    assert settings.connect.password is not None
    assert settings.connect.password.get_secret_value() == "redis://:pass word @h/0"


def test_both_is_an_error(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    monkeypatch.setenv("CDC_REDIS__URL_FILE", str(secret))
    monkeypatch.setenv("CDC_REDIS__URL", "redis://:hunter2@h/0")
    with pytest.raises(ConfigError, match=r"^CDC_REDIS__URL: both this and CDC_REDIS__URL_FILE are set") as refusal:
        load()
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "is empty"), (b" \n\n", "is empty"), (b"\xff\xfe", "not text")],
)
def test_a_file_that_can_not_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "other"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("CDC_KAFKA__SECURITY__PASSWORD_FILE", str(file))
    with pytest.raises(ConfigError, match=f"^CDC_KAFKA__SECURITY__PASSWORD_FILE: .*{file}.*{said}"):
        load()


def test_a_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CDC_REDIS__URL_FILE", str(tmp_path))
    with pytest.raises(ConfigError, match="Is a directory"):
        load()


def test_what_is_no_secret_is_in_no_file(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    monkeypatch.setenv("CDC_KAFKA__GROUP_ID_FILE", str(secret))
    with pytest.raises(ConfigError, match="CDC_KAFKA__GROUP_ID_FILE: no such setting"):
        load()


@pytest.mark.parametrize("environment", [{"CDC_API__TOKEN": ""}, {}])
def test_an_empty_name_counts_as_not_set(
    monkeypatch: pytest.MonkeyPatch, secret: Path, environment: dict[str, str]
) -> None:
    """Compose's ``${NAME:-}`` gives such."""
    monkeypatch.setenv("CDC_REDIS__URL_FILE", "")
    monkeypatch.setenv("CDC_REGISTRY__PASSWORD_FILE", "")
    monkeypatch.setenv("CDC_REGISTRY__PASSWORD", "given")
    secret.write_text("0123456789abcdef")
    monkeypatch.setenv("CDC_API__TOKEN_FILE", str(secret))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert settings.redis.url.get_secret_value() == "redis://localhost:6379/0"
    assert settings.registry.password is not None
    assert settings.registry.password.get_secret_value() == "given"
    assert settings.api.token is not None
    assert settings.api.token.get_secret_value() == "0123456789abcdef"
