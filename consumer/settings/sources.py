"""Settings: flags, then environment variables ``CDC_…``, then a TOML file, then defaults for a development machine.

Nested names are joined by ``__`` in the environment and are tables in TOML: ``CDC_KAFKA__GROUP_ID`` is ``group_id``
under ``[kafka]``. A secret may be in a file: ``CDC_REDIS__URL_FILE``, or ``url_file``. Every setting is described in
``docs/settings.md``; a test compares that page with the settings.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, PrivateAttr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from consumer.errors import ConfigError
from consumer.settings.faults import fault
from consumer.settings.secret_files import with_secrets
from consumer.settings.sections import (
    Api,
    Audit,
    Connect,
    Database,
    DeadLetters,
    Guard,
    Kafka,
    Log,
    Metrics,
    Prometheus,
    Redis,
    Registry,
    Snapshot,
    Source,
    Tracing,
)
from consumer.settings.values import File
from consumer.settings.variables import PREFIX, implied_settings, no_such, refuse_unknown, setting_names


class Settings(BaseSettings):
    """All settings of every command."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    mapping: File = Field(None, description="TOML file of the mapping; empty: the reference mapping")
    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    registry: Registry = Registry()
    connect: Connect = Connect()
    prometheus: Prometheus = Prometheus()
    database: Database = Database()
    source: Source = Source()
    dead_letters: DeadLetters = DeadLetters()
    snapshot: Snapshot = Snapshot()
    guard: Guard = Guard()
    audit: Audit = Audit()
    metrics: Metrics = Metrics()
    api: Api = Api()
    tracing: Tracing = Tracing()
    log: Log = Log()

    _flags: frozenset[str] = PrivateAttr(frozenset())

    @property
    def mapping_option(self) -> str:
        """Where the mapping is named, for an error about its file."""
        return "--mapping" if "mapping" in self._flags else "CDC_MAPPING"

    @property
    def dead_letter_topic(self) -> str:
        """The Kafka topic for dead letters."""
        return self.dead_letters.topic or f"{self.kafka.topic_prefix}.dlq"

    @property
    def heartbeat_topics(self) -> tuple[str, ...]:
        """The Kafka topics with the connectors' heartbeats."""
        return self.source.heartbeat_topics or (f"__debezium-heartbeat.{self.kafka.topic_prefix}",)


class _Environment(EnvSettingsSource):
    def __call__(self) -> dict[str, Any]:
        return with_secrets(super().__call__(), Settings, PREFIX)


def load(flags: Mapping[str, Any] | None = None, file: Path | None = None, named: Collection[str] = ()) -> Settings:
    """The settings from all origins.

    ``flags``: nested as the settings are; None means not given. ``named``: environment variables that are no settings
    but that files of this command mention.

    Raises:
        ConfigError: the first wrong setting, and what is allowed there.

    """
    refuse_unknown(os.environ, Settings, named)
    of_file = {} if file is None else with_secrets(_read(file), Settings, PREFIX)

    class _FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            implied = InitSettingsSource(settings_cls, implied_settings(os.environ))
            in_file = InitSettingsSource(settings_cls, of_file)
            return init_settings, _Environment(settings_cls), in_file, implied

    try:
        given = _given(flags or {})
        settings = _FromFile(**given)
        settings._flags = frozenset(given)  # noqa: SLF001  # of this module, and only set here
        return settings
    except ValidationError as error:
        raise _config_error(error) from None
    except SettingsError as error:
        field = re.search(r'"(\w+)"', str(error))
        name = f"{PREFIX}{(field[1] if field else '').upper()}"
        raise ConfigError(name, "not a JSON object", fix=f"set {name}__… one by one") from None


def _read(file: Path) -> dict[str, Any]:
    """The settings in ``file``. It may be a pipe: a shell's ``<(…)``."""
    option = "CDC_CONFIG" if os.environ.get("CDC_CONFIG") == str(file) else "--config"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(file), f"not TOML, at line {line_of(error)}", fix="correct it there") from None
    except UnicodeDecodeError:
        raise ConfigError(str(file), "not UTF-8", allowed="a TOML file") from None
    except OSError as error:
        raise ConfigError(option, f"{file}: {error.strerror}", allowed="a TOML file") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; too many brackets
        raise ConfigError(str(file), "not TOML that can be read", allowed="a TOML file") from None


def line_of(error: tomllib.TOMLDecodeError) -> str:
    """The number of the line at which a file is not valid TOML."""
    found = re.search(r"at line (\d+)", str(error))
    return found[1] if found else "the last one"


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """``flags`` without those that are not given, and without sections that become empty."""
    given: dict[str, Any] = {}
    for name, value in flags.items():
        kept = _given(value) if isinstance(value, Mapping) else value
        if kept is not None and kept != {}:
            given[name] = kept
    return given


def _config_error(error: ValidationError) -> ConfigError:
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    name = f"{PREFIX}{'__'.join(path).upper()}"
    if first["type"] == "extra_forbidden":
        return no_such(name, set(setting_names(Settings)))
    found = fault(first, _section(path[:-1]).get(path[-1]))
    return ConfigError(name, found.problem, allowed=found.allowed, fix=found.fix)


def _section(path: list[str]) -> dict[str, FieldInfo]:
    model: type[BaseModel] = Settings
    for name in path:
        field = model.model_fields.get(name)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return {}
        model = field.annotation
    return dict(model.model_fields)
