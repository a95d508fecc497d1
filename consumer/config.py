"""Settings: flags, then environment variables ``CDC_…``, then a TOML file, then defaults for a developer's machine.

Nested names are joined by ``__`` in the environment and are tables in TOML: ``CDC_KAFKA__GROUP_ID`` is ``group_id``
under ``[kafka]``. A secret may be in a file: ``CDC_REDIS__URL_FILE``, or ``url_file``. Every setting is described in
``docs/settings.md``, which a test keeps complete.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from consumer.errors import ConfigError
from consumer.secret_files import with_secrets
from consumer.sections import (
    Api,
    Audit,
    Connect,
    Database,
    DeadLetters,
    Guard,
    Kafka,
    Log,
    Metrics,
    Redis,
    Registry,
    Snapshot,
    Source,
    Tracing,
)

PREFIX = "CDC_"


class Settings(BaseSettings):
    """All settings of every command."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    mapping: Path | None = Field(None, description="TOML file of the mapping; without one, the reference")
    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    registry: Registry = Registry()
    connect: Connect = Connect()
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

    @property
    def dead_letter_topic(self) -> str:
        """The topic of dead letters."""
        return self.dead_letters.topic or f"{self.kafka.topic_prefix}.dlq"


class _Environment(EnvSettingsSource):
    def __call__(self) -> dict[str, Any]:
        return with_secrets(super().__call__(), Settings, PREFIX)


class _File(TomlConfigSettingsSource):
    def __call__(self) -> dict[str, Any]:
        return with_secrets(super().__call__(), Settings, PREFIX)


def load(flags: Mapping[str, Any] | None = None, file: Path | None = None) -> Settings:
    """The settings in force. ``flags`` are nested as the settings are; those that are None were not given.

    Raises:
        ConfigError: naming the first setting at fault and what is allowed there.

    """
    _refuse_unknown_sections(os.environ)
    if file is not None and not file.is_file():
        raise ConfigError("CDC_CONFIG", f"no such file: {file}", "a TOML file")

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
            return init_settings, _Environment(settings_cls), _File(settings_cls, toml_file=file)

    try:
        return _FromFile(**_given(flags or {}))
    except ValidationError as error:
        raise _config_error(error) from None
    except (ValueError, OSError) as error:
        # Not readable, not TOML, or an environment variable that should be a table.
        raise ConfigError(f"{file or 'environment'}", str(error), "TOML tables as in docs/settings.md") from None


def _refuse_unknown_sections(environment: Mapping[str, str]) -> None:
    """The settings library passes over a section that it does not know, and a misspelt one would go unseen."""
    for name in sorted(environment):
        section, nested, _ = name.removeprefix(PREFIX).partition("__")
        known = {each.upper() for each in Settings.model_fields}
        if name.startswith(PREFIX) and nested and section.upper() not in known:
            sections = ", ".join(
                f"{PREFIX}{each.upper()}__…" for each, field in Settings.model_fields.items() if field.default
            )
            raise ConfigError(name, "no such section", sections)


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """``flags`` without those that were not given, and without sections that are empty then."""
    given: dict[str, Any] = {}
    for name, value in flags.items():
        kept = _given(value) if isinstance(value, Mapping) else value
        if kept is not None and kept != {}:
            given[name] = kept
    return given


def _config_error(error: ValidationError) -> ConfigError:
    first = error.errors(include_url=False, include_context=False)[0]
    path = [str(part) for part in first["loc"]]
    problem = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        problem = "no such setting"
    known = _section(path[:-1])
    allowed = "one of " + ", ".join(sorted(known)) if first["type"] == "extra_forbidden" and known else ""
    if not allowed and path[-1] in known:
        allowed = known[path[-1]].description or ""
    return ConfigError(f"{PREFIX}{'__'.join(path).upper()}", problem, allowed)


def _section(path: list[str]) -> dict[str, Any]:
    model: type[BaseModel] = Settings
    for name in path:
        field = model.model_fields.get(name)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return {}
        model = field.annotation
    return dict(model.model_fields)
