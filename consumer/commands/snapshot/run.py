"""``snapshot``: an incremental snapshot asked for and followed to its end, and before it, where that is asked for,
every user marked whom its reads may overwrite.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from consumer.commands.snapshot import present
from consumer.commands.snapshot.marks import mark_users
from consumer.commands.snapshot.request import Notification, Scan, SnapshotProgress, execute, notification, stop
from consumer.errors import CdcError, ConfigError, ServerError, ServerUnavailable
from consumer.events.topic_tables import is_taken
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.settings.sources import Settings
from consumer.sink.keyspace import keyspace
from consumer.sink.redis_sink import RedisSink
from consumer.source.connect.client import ConnectApi
from consumer.source.signals import Signals
from consumer.source.topic_reader import ends
from consumer.source.topic_selection import Selection

_POLL_S = 0.5
# Longer than Debezium takes to look at its signals (5 s), so that whoever waits is told what for.
_PATIENCE_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_IDLE = "nothing new is told: without writes MySQL and MariaDB take up to 45 s, or until their next write"
_UNHEARD = f"{_IDLE}; a connector that has just started may not have heard the signal"
_SILENT = "look at the connector (cdc-consumer check) and its signal.* and notification.* settings, then ask again"

Tell = Callable[[Notification], None]
Say = Callable[[str], None]


def collections(selection: Selection, rules: Rules, tables: Sequence[str]) -> list[str]:
    """The tables as Debezium names them, ``<db or schema>.<table>``, by the topics that are followed.

    Raises:
        ConfigError: a table has no topic, or no rule names it.
    """
    return [_collection(table, selection, rules) for table in tables]


def _collection(table: str, selection: Selection, rules: Rules) -> str:
    database, _, name = table.rpartition(".")
    if database and name in rules.captured():
        if not is_taken(selection.databases, database):
            followed = ", ".join(sorted(selection.databases))
            raise ConfigError("TABLE", f"{table}: rows of {database} are left out", allowed=f"tables of {followed}")
        return table
    if table not in rules.captured():
        raise ConfigError("TABLE", f"no rule names the table {table!r}", allowed=", ".join(rules.captured()))
    carrying = [topic for topic in selection.topics if table in selection.tables.of(topic)]
    found = {selection.tables.database(topic, table) for topic in carrying} - {""}
    if len(found) != 1:
        several = f"several databases have it: {', '.join(sorted(found))}" if found else "no topic is known to carry it"
        fix = f"name its database or schema too, such as trading.{table}"
        raise ConfigError("TABLE", f"{table}: {several}", fix=fix)
    return f"{found.pop()}.{table}"


def topic_of(scan: Scan, selection: Selection) -> str:
    """The topic in which the rows of a scan will lie.

    Raises:
        ConfigError: there is none that is followed.
    """
    found = [topic for topic in selection.topics if scan.table in selection.tables.of(topic)]
    database = scan.collection.rpartition(".")[0]
    if len(found) != 1 or not is_taken(selection.databases, database):
        raise ConfigError(
            "TABLE", f"no topic that is followed carries {scan.collection}", fix="name a table that is followed"
        )
    return found[0]


def make_authoritative(
    settings: Settings, rules: Rules, selection: Selection, scans: Sequence[Scan], users: Sequence[UserId]
) -> int:
    """Mark ``users``, or else all users of the tables of whom anything stands in Redis; answers how many.

    Raises:
        ConfigError: a table's rows are no users, or are not followed.
        ServerError: from Redis or Kafka; some may be marked.
    """
    tables = [(scan, _users_table(rules, scan.table), topic_of(scan, selection)) for scan in scans]
    sink = RedisSink(settings.redis, settings.guard, rules, settings.kafka.group_id)
    with closing(sink), closing(keyspace(settings.redis)) as keys:
        sink.reach()

        def mark_users_of(table: UserTable, topic: str) -> int:
            chosen: Iterable[UserId] = [user for user in users if user.user_type == table.user_type]
            return mark_users(
                chosen or present.users(keys, rules.names, table.user_type),
                table,
                topic,
                sink,
                rules,
                ends=lambda: ends(settings.kafka, topic),
                versions=lambda found: present.versions(keys, rules.names, found, table.table),
            )

        return sum(mark_users_of(table, topic) for _, table, topic in tables)


def _users_table(rules: Rules, name: str) -> UserTable:
    table = rules.table(name)
    if table is None:
        raise ConfigError("--authoritative", f"rows of {name} set no state of a user", fix="name tables of users")
    return table


def take(
    settings: Settings, scans: Sequence[Scan], prepare: Callable[[], None], tell: Tell, say: Say
) -> SnapshotProgress:
    """Ask for the snapshot and follow it to its end. Interrupted, it goes on without us.

    ``prepare`` is called as soon as it is known that it can be followed, before it is asked for.

    Raises:
        ServerUnavailable: Kafka went away, or nothing was told for too long.
        ServerError: the connector failed.
    """
    course = SnapshotProgress(f"cdc-{secrets.token_hex(6)}", tuple(scan.collection for scan in scans))
    with Signals(settings.kafka, settings.snapshot) as signals:
        prepare()
        signals.send(execute(course.number, scans))
        _follow(settings, signals, course, tell, say)
    return course


def end(settings: Settings, names: Sequence[str]) -> None:
    """Ask for the end of the snapshot that runs, or that it leaves these tables out. Nothing answers to that.

    Raises:
        ServerUnavailable, ServerError: from Kafka.
    """
    with Signals(settings.kafka, settings.snapshot) as signals:
        signals.send(stop(f"cdc-{secrets.token_hex(6)}", names))


def _follow(settings: Settings, signals: Signals, course: SnapshotProgress, tell: Tell, say: Say) -> None:
    heard_at = asked_at = time.monotonic()
    while not course.is_over:
        for value in signals.poll(_POLL_S):
            told = notification(value)
            if not course.is_over and told is not None and course.take(told):
                heard_at = asked_at = time.monotonic()
                tell(told)
        now = time.monotonic()
        if not course.is_over and now - asked_at >= _PATIENCE_S:
            asked_at = now
            if (failure := _failed(settings)) is not None:
                raise failure
            say(_IDLE if course.has_begun else _UNHEARD)
        if not course.is_over and now - heard_at >= settings.snapshot.silence_s:
            raise ServerUnavailable(
                "Debezium", f"told nothing of the snapshot for {settings.snapshot.silence_s:g} s", _SILENT
            )


def _failed(settings: Settings) -> ServerError | None:
    """A connector of ours that has failed, as far as Connect can be asked."""
    try:
        with ConnectApi(settings.connect, timeout=_CONNECT_TIMEOUT_S) as api:
            for name in api.names():
                connector = api.connector(name)
                status = api.status(name)
                if connector.config.get("topic.prefix") == settings.kafka.topic_prefix and status.failed:
                    return ServerError(
                        f"connector {name}",
                        f"failed, and with it the snapshot: {api.first_cause(status)}",
                        "restart its task, then ask again without --authoritative: the marks stand, and what it had"
                        " read so far may be sent late",
                    )
    except CdcError:
        return None
    return None
