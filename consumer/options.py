"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from consumer import config, log, mapping
from consumer.errors import ConfigError
from consumer.keys import UserId

if TYPE_CHECKING:
    from consumer.avro import Schemas
    from consumer.rules import Rules

_PASSWORD = re.compile(r"://[^/@]*:[^/@]+@|[?&]password=")


def without_password(param: typer.CallbackParam, url: str | None) -> str | None:
    """A URL from the command line, which everybody on the machine can read.

    Raises:
        ConfigError: there is a password in it.

    """
    if url is not None and _PASSWORD.search(url):
        name = param.opts[0]
        raise ConfigError(name, "holds a password, and everybody sees the command line", "the setting, or its …_FILE")
    return url


ConfigFile: TypeAlias = Annotated[
    Path | None, typer.Option("--config", envvar="CDC_CONFIG", help="TOML file of settings.")
]
Brokers: TypeAlias = Annotated[str | None, typer.Option("--bootstrap-servers", help="host:port, comma separated.")]
Prefix: TypeAlias = Annotated[str | None, typer.Option("--topic-prefix", help="Debezium's topic.prefix.")]
MappingFile: TypeAlias = Annotated[
    Path | None, typer.Option("--mapping", help="TOML file of the mapping; else the reference.")
]
RedisUrl: TypeAlias = Annotated[
    str | None,
    typer.Option("--redis-url", help="redis://host:port/db, without a password.", callback=without_password),
]
DatabaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="mysql://…, mariadb://… or postgresql://…, a read-only account without its password.",
        callback=without_password,
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def settings_of(
    file: Path | None,
    mapping_file: Path | None,
    *,
    brokers: str | None = None,
    prefix: str | None = None,
    group: str | None = None,
    redis_url: str | None = None,
    database_url: str | None = None,
    metrics_port: int | None = None,
) -> config.Settings:
    """The settings in force, with the log set up as they say; options that were not given are None.

    Raises:
        ConfigError: as :func:`consumer.config.load`.
    """
    kafka = {"bootstrap_servers": brokers, "topic_prefix": prefix, "group_id": group}
    flags = {
        "mapping": mapping_file,
        "kafka": kafka,
        "redis": {"url": redis_url},
        "database": {"url": database_url},
        "metrics": {"port": metrics_port},
    }
    settings = config.load(flags, file)
    log.configure(settings.log)
    return settings


def rules_of(settings: config.Settings) -> Rules:
    """The mapping in force, with what the settings say of it."""
    return replace(
        mapping.load(settings.mapping),
        epoch=settings.guard.epoch,
        accept_missing_before=settings.source.accept_missing_before,
        placeholder=settings.source.unavailable_placeholder,
    )


def user_of(text: str, option: str, rules: Rules) -> UserId:
    """The user that an option names; ``option`` is what an error calls it.

    Raises:
        ConfigError: it names none that the mapping has a table for.
    """
    try:
        user = UserId.from_text(text)
    except ValueError as error:
        raise ConfigError(option, f"{text!r} {error}", "a type and a number, such as live:123") from None
    types = [table.user_type for table in rules.tables]
    if user.user_type not in types:
        raise ConfigError(option, f"no table holds users of the type {user.user_type}", ", ".join(types))
    return user


def schemas_of(settings: config.Settings, file: Path | None = None) -> Schemas:
    """Where Avro's schemas come from: the file, else the registry that is configured, else nowhere."""
    from consumer import recording
    from consumer.avro import NO_SCHEMAS, KnownSchemas

    if file is not None:
        return KnownSchemas(recording.read_schemas(file))
    if settings.registry.url is None:
        return NO_SCHEMAS
    from consumer.registry import Registry

    return Registry(settings.registry)
