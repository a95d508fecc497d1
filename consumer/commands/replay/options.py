"""The options of a replay, the check whether it is possible, and the identity of a replay that is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from consumer.errors import ConfigError
from consumer.mapping.file import to_toml
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.settings import times
from consumer.settings.sources import Settings
from consumer.source.bounds import Beginning, Bound, End, check_order


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of a replay. ``memory``: for all workers together, in bytes."""

    begin: Bound
    end: Bound
    tables: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    is_rebuild: bool = False
    prunes: bool = False
    is_dry: bool = True
    publishes: bool = False
    resume: Path | None = None
    memory: int = 512 * 2**20
    workers: int = 1
    shown: int = 20

    @property
    def is_whole(self) -> bool:
        """Whether the whole log is read; only then the users who are not in the log are known."""
        return self.is_rebuild and not (self.tables or self.users) and (self.begin, self.end) == (Beginning(), End())


def check(options: ReplayOptions, rules: Rules) -> None:
    """Refuse options that are not possible, or that do nothing.

    Raises:
        ConfigError: names the option.
    """
    if unknown := set(options.tables) - set(rules.captured()):
        raise ConfigError("--table", f"not a table of the mapping: {min(unknown)}", allowed=", ".join(rules.captured()))
    for text in options.users:
        try:
            user = UserId.from_text(text)
            if str(user) != text:
                raise ValueError(f"should be {user}")
        except ValueError as error:
            raise ConfigError("--user", f"{text!r} {error}", allowed="a type and a number, such as live:123") from None
        _check_type(user, options.tables, rules)
    check_order(options.begin, options.end)
    if options.prunes and not options.is_whole:
        raise ConfigError(
            "--prune",
            "a part of the log does not show who is missing in it",
            fix="give --rebuild without a range and without filters",
        )
    if options.publishes and (options.is_rebuild or options.is_dry):
        fix = "remove --rebuild, and give --yes"
        raise ConfigError("--publish", "a rebuild and a dry run publish nothing", fix=fix)


def check_resumable(text: str, bound: Bound, option: str) -> None:
    """Refuse a time that another start of the same command takes for another time. ``text``: ``bound`` as given.

    Raises:
        ConfigError: names the option, and the time to give instead.
    """
    if times.is_relative(text):
        raise ConfigError(
            option, f"{text!r} is another time at each start, but --resume needs the same", fix=f"give {bound}"
        )


def _check_type(user: UserId, tables: Sequence[str], rules: Rules) -> None:
    """Refuse a user whose rows are in none of the tables that are read."""
    types = {each.table: {each.user_type} for each in rules.tables}
    every = set().union(*types.values())
    types |= {each.table: {each.user_type} if each.user_type else every for each in rules.linked}
    if user.user_type not in every:
        raise ConfigError(
            "--user",
            f"no table of the mapping has users such as {user}",
            allowed=f"users of the types {', '.join(sorted(every))}",
        )
    if tables and not any(user.user_type in types[table] for table in tables):
        fix = "name a table of this type of user"
        raise ConfigError("--user", f"{user} is in none of --table {', '.join(tables)}", fix=fix)


def identity(settings: Settings, rules: Rules, options: ReplayOptions, cluster: str) -> dict[str, str]:
    """The parts that must be equal to resume a replay, with names that an operator knows.

    ``cluster``: the id of the Kafka cluster.
    """
    flags = {
        "--rebuild": options.is_rebuild,
        "--prune": options.prunes,
        "--yes": not options.is_dry,
        "--publish": options.publishes,
        "CDC_SOURCE__ACCEPT_MISSING_BEFORE": rules.accept_missing_before,
    }
    parts = {
        "--from": str(options.begin),
        "--to": str(options.end),
        "--table": ", ".join(sorted(options.tables)),
        "--user": ", ".join(sorted(options.users)),
        "--mapping": hashlib.sha256(to_toml(rules).encode()).hexdigest()[:16],
        "CDC_GUARD__EPOCH": str(rules.epoch),
        "CDC_GUARD__CLOCK_MS": str(settings.guard.clock_ms),
        "CDC_SOURCE__UNAVAILABLE_PLACEHOLDER": rules.placeholder,
        "CDC_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "CDC_KAFKA__TOPICS": ", ".join(sorted(settings.kafka.topics)),
        "CDC_SOURCE__DATABASE": ", ".join(sorted(settings.source.database)),
        "the Kafka cluster": cluster,
        "the database of CDC_REDIS__URL": _database(settings.redis.url.get_secret_value()),
    }
    return parts | {name: "given" for name, is_given in flags.items() if is_given}


def _database(url: str) -> str:
    """Only the database's number, because the rest of the URL may contain a password and a changing address."""
    parts = urlsplit(url)
    return parse_qs(parts.query).get("db", [parts.path.rpartition("/")[2] or "0"])[0]
