"""The options that several commands share, each with one name and one help text, and the conversion of their values."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from consumer.errors import ConfigError, Undecodable
from consumer.settings import extras, variables
from consumer.settings import sources as config
from consumer.settings import times as moment

if TYPE_CHECKING:
    from consumer.events.avro import Schemas
    from consumer.mapping.keys import UserId
    from consumer.mapping.rules import Rules
    from consumer.source.bounds import Bound

_T = TypeVar("_T")
# A password may contain a slash, and drivers know several names for the parameter.
_PASSWORD = re.compile(r"://[^/@]*:[^@]+@|[?&](?:password|passwd|pass|sslpassword)=", re.IGNORECASE)
_USER = "a type and a number, such as live:123"


def without_password(param: typer.CallbackParam, url: str | None) -> str | None:
    """Refuse a URL with a password on the command line, because everybody on the machine can read command lines.

    Raises:
        ConfigError: the URL contains a password.

    """
    if url is not None and _PASSWORD.search(url):
        name = param.opts[0]
        fix = "put it in the setting, or in the file that the setting with …_FILE names"
        raise ConfigError(name, "contains a password, and everybody can read command lines", fix=fix)
    return url


def _file(text: str) -> Path | None:
    """An empty name counts as not given, as in the environment; a path would make it the present folder."""
    return Path(text) if text else None


ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", envvar="CDC_CONFIG", help="TOML file of settings.", parser=_file, metavar="<path>"),
]
MappingFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--mapping", help="TOML file of the mapping; default: the reference mapping.", parser=_file, metavar="<path>"
    ),
]
Brokers: TypeAlias = Annotated[str | None, typer.Option("--bootstrap-servers", help="host:port, comma separated.")]
Prefix: TypeAlias = Annotated[str | None, typer.Option("--topic-prefix", help="Debezium's topic.prefix.")]
Topics: TypeAlias = Annotated[str | None, typer.Option("--topics", help="Exact topic names, comma separated.")]
Group: TypeAlias = Annotated[str | None, typer.Option("--group-id", help="The consumer group that writes to Redis.")]
RedisUrl: TypeAlias = Annotated[
    str | None,
    typer.Option("--redis-url", help="redis://host:port/db, without a password.", callback=without_password),
]
DatabaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="mysql://…, mariadb://… or postgresql://…, of a read-only account, without its password.",
        callback=without_password,
    ),
]
ConnectUrl: TypeAlias = Annotated[
    str | None,
    typer.Option("--connect-url", help="Kafka Connect's REST API, without a password.", callback=without_password),
]
MetricsPort: TypeAlias = Annotated[
    int | None, typer.Option("--metrics-port", help="Port of /metrics and the probes; 0 for none.", min=0, max=65535)
]
Workers: TypeAlias = Annotated[int, typer.Option("--workers", help="Processes that share the partitions.", min=1)]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object per line.")]
Users: TypeAlias = Annotated[
    list[str] | None, typer.Option("--user", help="Only this user, such as live:123; may be repeated.")
]
Tables: TypeAlias = Annotated[list[str] | None, typer.Option("--table", help="Only this table; may be repeated.")]
Begin: TypeAlias = Annotated[
    str, typer.Option("--from", help="Where to begin: beginning, end, a time, 10m ago, or topic:partition:offset,…")
]
Finish: TypeAlias = Annotated[
    str, typer.Option("--to", help="Where to end, in the same form; the record there is not read.")
]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Make the changes.")]


def settings_of(
    file: Path | None,
    mapping_file: Path | None = None,
    *,
    brokers: str | None = None,
    prefix: str | None = None,
    topics: str | None = None,
    group: str | None = None,
    redis_url: str | None = None,
    database_url: str | None = None,
    connect_url: str | None = None,
    metrics_port: int | None = None,
    named: Collection[str] = (),
    **sections: Any,
) -> config.Settings:
    """The settings from all origins; sets up the log too. Options that were not given are None.

    ``sections``: options of one command, by section of the settings. ``named``: as in
    :func:`consumer.settings.sources.load`.

    Raises:
        ConfigError: as :func:`consumer.settings.sources.load`.
    """
    kafka = {"bootstrap_servers": brokers, "topic_prefix": prefix, "topics": topics, "group_id": group}
    flags = {
        "mapping": mapping_file,
        "kafka": kafka,
        "redis": {"url": redis_url},
        "database": {"url": database_url},
        "connect": {"url": connect_url},
        "metrics": {"port": metrics_port},
        **sections,
    }
    from consumer.observability import log

    settings = config.load(flags, file, named)
    log.configure(settings.log)
    return settings


def need_database(settings: config.Settings) -> None:
    """Raise an error if packages for the database are not installed; the URL itself is checked later.

    Raises:
        ConfigError: a package is not installed.
    """
    url = settings.database.url
    extras.need(extras.of_database(url.get_secret_value() if url is not None else ""), "CDC_DATABASE__URL")


def placeholders_of(settings: config.Settings) -> dict[str, str]:
    """The values of the placeholders of ``connect/``: from the environment, else from the settings."""
    kafka, url = settings.kafka, settings.database.url
    # Kafka Connect on another machine could not reach this setting's default, which is localhost.
    brokers = kafka.bootstrap_servers if "bootstrap_servers" in kafka.model_fields_set else None
    database = None if url is None else url.get_secret_value()
    return variables.placeholders(os.environ, kafka.topic_prefix, brokers, database)


def rules_of(settings: config.Settings, mapping: Rules | None = None) -> Rules:
    """The mapping, with the rules that are settings. ``mapping``: another one than that of the settings."""
    from consumer.events.event import PLACEHOLDER
    from consumer.mapping import file

    return replace(
        file.load(settings.mapping, settings.mapping_option) if mapping is None else mapping,
        epoch=settings.guard.epoch,
        accept_missing_before=settings.source.accept_missing_before,
        databases=frozenset(settings.source.database),
        placeholder=settings.source.unavailable_placeholder or PLACEHOLDER,
    )


def parsed(option: str, text: str, parse: Callable[[str], _T], allowed: str) -> _T:
    """Parse the value of an option; ``allowed``: the right form, for the error.

    Raises:
        ConfigError: ``parse`` raised ValueError.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(option, f"{text!r} {error}", allowed=allowed) from None


def user_of(text: str, option: str, rules: Rules) -> UserId:
    """Parse a user; ``option``: the option's name in an error.

    Raises:
        ConfigError: the text is no user, or the mapping has no table for this type.
    """
    from consumer.mapping.keys import UserId

    user = parsed(option, text, UserId.from_text, _USER)
    types = [table.user_type for table in rules.tables]
    if user.user_type not in types:
        known = ", ".join(f"{each}:…" for each in types)
        raise ConfigError(option, f"no table holds users of the type {user.user_type}", allowed=known)
    return user


def time_of(text: str | None, option: str) -> int | None:
    """Parse the time of an option, to UTC milliseconds; None if the option was not given.

    Raises:
        ConfigError: the text is no time.
    """
    return None if text is None else moment.parse(text, option, _now_ms())


def bound_of(text: str, option: str) -> Bound:
    """Parse a bound of the topics.

    Raises:
        ConfigError: the text is no bound.
    """
    from consumer.source.bounds import parse_bound

    return parse_bound(text, option, _now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def schemas_of(settings: config.Settings, file: Path | None = None) -> Schemas:
    """The source of Avro schemas: the file, else the configured registry, else none.

    Raises:
        ConfigError: the file can't be used.
    """
    from consumer.events.avro import NO_SCHEMAS, KnownSchemas
    from consumer.source import recording

    if file is not None:
        try:
            return KnownSchemas(recording.read_schemas(file))
        except Undecodable as error:
            raise ConfigError("--schemas", f"{file}: {error}", allowed="a JSON object of schema texts by id") from None
    if settings.registry.url is None:
        return NO_SCHEMAS
    from consumer.source.registry import Registry

    return Registry(settings.registry)
