"""Settings: flags, then environment variables ``CDC_…``, then a TOML file, then defaults for a developer's machine.

Nested names are joined by ``__`` in the environment and are tables in TOML: ``CDC_KAFKA__GROUP_ID`` is ``group_id``
under ``[kafka]``. Every setting is described in ``docs/settings.md``, which a test keeps complete.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from consumer.errors import ConfigError

PREFIX = "CDC_"
_TOPIC = r"^[a-zA-Z0-9._-]*$"
# Sections of commands that are yet to come; a deployment may have them set already.
_LATER = {"DATABASE", "API"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Security(_Section):
    """How to speak to Kafka: nothing set means plaintext."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str | None = None
    password: SecretStr | None = None
    ca: Path | None = Field(None, description="file of the certificate authority")
    certificate: Path | None = Field(None, description="file of this client's certificate")
    key: Path | None = Field(None, description="file of this client's key")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.protocol.startswith("SASL") and (self.user is None or self.password is None):
            raise ValueError(f"{self.protocol} needs a user and a password")
        return self


class Kafka(_Section):
    """The cluster, the group and the topics."""

    bootstrap_servers: str = Field("localhost:9092", description="host:port, comma separated")
    group_id: str = Field("cdc-consumer", min_length=1, description="the consumer group")
    topic_prefix: str = Field(
        "trading", min_length=1, pattern=_TOPIC, description="Debezium's topic.prefix: letters, digits, . _ and -"
    )
    topics: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="exact topic names, comma separated; else every <prefix>.<db or schema>.<captured table>",
    )
    security: Security = Security()
    instance_id: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        pattern=r"^[a-zA-Z0-9._-]+$",
        description="this process among the group's, always the same: letters, digits, . _ and -",
    )
    out_of_range: Literal["halt", "earliest"] = Field(
        "halt", description="what to do if the next record is gone: halt, or go on from the earliest"
    )
    history_days: int = Field(
        7, ge=0, le=36_500, description="how many days of single changes the topics should hold, for a replay"
    )
    max_poll_records: int = Field(500, ge=1, le=100_000, description="records taken in one step")
    commit_interval_ms: int = Field(1000, ge=0, description="how often finished offsets are committed")
    linger_ms: int = Field(
        0, ge=0, le=60_000, description="how long to wait for other events of the same database transaction"
    )
    session_timeout_ms: int = Field(
        10_000, ge=1000, le=300_000, description="silence after which the group gives us up"
    )
    max_poll_interval_ms: int = Field(300_000, ge=1000, description="longest time between two polls")
    fetch_max_bytes: int = Field(52_428_800, ge=1024, description="bytes of one answer of a broker")
    max_partition_fetch_bytes: int = Field(
        1_048_576, ge=1024, description="bytes of one partition in an answer; small is slow"
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _hosts(cls, value: str) -> str:
        if not all(re.fullmatch(r"\S+:\d{1,5}", part.strip()) for part in value.split(",")):
            raise ValueError("should be host:port, comma separated")
        return value

    @field_validator("topics")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in value if not re.fullmatch(r"[a-zA-Z0-9._-]+", name)]:
            raise ValueError(f"{wrong[0]!r} can't be a topic's name")
        return value

    @field_validator("topics", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Redis(_Section):
    """Where the keys are."""

    url: SecretStr = Field(SecretStr("redis://localhost:6379/0"), description="redis:// or rediss://")
    timeout_ms: int = Field(5000, ge=10, description="how long one answer may take")
    tracking: bool = Field(True, description="follow writes under wildcard keys; else one SCAN pass per batch")


class Registry(_Section):
    """The schema registry; needed for Avro only."""

    url: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="base of Confluent's API, http:// or https://, no password in it",
    )
    user: str | None = None
    password: SecretStr | None = None
    ca: Path | None = Field(None, description="file of the certificate authority")
    timeout_ms: int = Field(5000, ge=10, description="how long one answer may take")


class Connect(_Section):
    """Kafka Connect, for the commands that manage connectors, and for ``check``."""

    url: str = Field(
        "http://localhost:8083", pattern=r"^https?://\S+$", description="its REST API, http:// or https://"
    )


class Source(_Section):
    """What to make of changes that tell less than they should."""

    accept_missing_before: bool = Field(
        False, description="take an update without its old row image as a change of every owned column"
    )


class DeadLetters(_Section):
    """Where records go that can't be applied, and how many of a topic may before it is no longer a matter of rows."""

    topic: str | None = Field(None, pattern=_TOPIC, description="their Kafka topic; else <prefix>.dlq")
    in_a_row: int = Field(
        50, ge=0, description="so many of a topic one after the other, one more halts; 0: the first one halts"
    )
    share: float = Field(0.1, ge=0, le=1, description="this share of a topic's last 1000 records, one more halts")


class Guard(_Section):
    """What outranks a stored version."""

    epoch: int = Field(0, ge=0, le=2**31, description="the operator's: a higher one outranks every stored version")
    lineage_gap_ms: int = Field(
        5000, ge=0, description="how much later a lower position must be to mean that the log began again"
    )
    tombstone_ttl_s: int = Field(30 * 86400, ge=1, description="how long a deleted user's version is kept")


class Metrics(_Section):
    """Prometheus metrics and probes of ``run``."""

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104  # scraped from outside
    port: int = Field(9108, ge=0, le=65535, description="port to listen on; 0 turns it off")


class Log(_Section):
    """What is written to stderr."""

    format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = "info"


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
    source: Source = Source()
    dead_letters: DeadLetters = DeadLetters()
    guard: Guard = Guard()
    metrics: Metrics = Metrics()
    log: Log = Log()


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
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

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
        known = {each.upper() for each in Settings.model_fields} | _LATER
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
