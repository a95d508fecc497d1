"""``snapshot``: requests an incremental snapshot and follows it to its end. If ordered, first marks every user whom its
rows may overwrite.
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
from consumer.events.topic_tables import is_consumed
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
# Longer than the 5 s in which Debezium polls its signals; then the command reports what it waits for.
_REPORT_AFTER_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_IDLE = "no news: while nothing is written, MySQL and MariaDB take up to 45 s, or until the next write"
_UNHEARD = f"{_IDLE}; a connector that has just started may have missed the signal"
_SILENT = "check the connector (cdc-consumer check) and its signal.* and notification.* settings, then try again"

Report = Callable[[Notification], None]
Say = Callable[[str], None]


def check_named(tables: Sequence[str], rules: Rules) -> None:
    """Refuse a table that the mapping does not name, with or without its database before it; asks no server.

    Raises:
        ConfigError: no rule names a table.
    """
    known = rules.captured()
    for table in tables:
        if table not in known and table.rpartition(".")[2] not in known:
            raise ConfigError("TABLE", f"no rule names the table {table!r}", allowed=", ".join(known))


def collections(selection: Selection, rules: Rules, tables: Sequence[str]) -> list[str]:
    """The tables with Debezium's names, ``<db or schema>.<table>``, by the topics that are consumed.

    Raises:
        ConfigError: a table has no topic, or the mapping does not name it.
    """
    return [_collection(table, selection, rules) for table in tables]


def _collection(table: str, selection: Selection, rules: Rules) -> str:
    database, _, name = table.rpartition(".")
    if database and name in rules.captured():
        if not is_consumed(selection.databases, database):
            consumed = ", ".join(sorted(selection.databases))
            raise ConfigError("TABLE", f"{table}: rows of {database} are not applied", allowed=f"tables of {consumed}")
        return table
    check_named([table], rules)
    carrying = [topic for topic in selection.topics if table in selection.tables.of(topic)]
    found = {selection.tables.database(topic, table) for topic in carrying} - {""}
    if len(found) != 1:
        several = f"several databases have it: {', '.join(sorted(found))}" if found else "no known topic contains it"
        fix = f"name its database or schema too, such as trading.{table}"
        raise ConfigError("TABLE", f"{table}: {several}", fix=fix)
    return f"{found.pop()}.{table}"


def topic_of(scan: Scan, selection: Selection) -> str:
    """The topic for the rows of a scan.

    Raises:
        ConfigError: no consumed topic contains the table.
    """
    found = [topic for topic in selection.topics if scan.table in selection.tables.of(topic)]
    database = scan.collection.rpartition(".")[0]
    if len(found) != 1 or not is_consumed(selection.databases, database):
        raise ConfigError(
            "TABLE", f"no consumed topic contains {scan.collection}", fix="name a table whose topic is consumed"
        )
    return found[0]


def make_authoritative(
    settings: Settings, rules: Rules, selection: Selection, scans: Sequence[Scan], users: Sequence[UserId]
) -> int:
    """Mark ``users``, or else all users of the tables with values in Redis; answers the number of marks.

    Raises:
        ConfigError: a table is not a user table, or its topic is not consumed.
        ServerError: from Redis or Kafka; some users may be marked.
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
        raise ConfigError("--authoritative", f"{name} is not a user table", fix="name user tables")
    return table


def take(
    settings: Settings, scans: Sequence[Scan], prepare: Callable[[], None], report: Report, say: Say
) -> SnapshotProgress:
    """Request the snapshot and follow it to its end. If this is interrupted, the snapshot continues.

    ``prepare`` is called after the connections are open, and before the request.

    Raises:
        ServerUnavailable: Kafka went away, or no notification came for too long.
        ServerError: the connector failed.
    """
    progress = SnapshotProgress(f"cdc-{secrets.token_hex(6)}", tuple(scan.collection for scan in scans))
    with Signals(settings.kafka, settings.snapshot) as signals:
        prepare()
        signals.send(execute(progress.number, scans))
        _follow(settings, signals, progress, report, say)
    return progress


def end(settings: Settings, names: Sequence[str]) -> None:
    """Request the stop of the running snapshot, or the removal of these tables. Debezium does not confirm it.

    Raises:
        ServerUnavailable, ServerError: from Kafka.
    """
    with Signals(settings.kafka, settings.snapshot) as signals:
        signals.send(stop(f"cdc-{secrets.token_hex(6)}", names))


def _follow(settings: Settings, signals: Signals, progress: SnapshotProgress, report: Report, say: Say) -> None:
    received_at = reported_at = time.monotonic()
    while not progress.is_over:
        for value in signals.poll(_POLL_S):
            received = notification(value)
            if not progress.is_over and received is not None and progress.take(received):
                received_at = reported_at = time.monotonic()
                report(received)
        now = time.monotonic()
        if not progress.is_over and now - reported_at >= _REPORT_AFTER_S:
            reported_at = now
            if (failure := _failed(settings)) is not None:
                raise failure
            say(_IDLE if progress.has_begun else _UNHEARD)
        if not progress.is_over and now - received_at >= settings.snapshot.silence_s:
            raise ServerUnavailable(
                "Debezium", f"sent no notification of the snapshot for {settings.snapshot.silence_s:g} s", _SILENT
            )


def _failed(settings: Settings) -> ServerError | None:
    """The error for a failed connector with this topic.prefix; None if there is none, or Connect can't be asked."""
    try:
        with ConnectApi(settings.connect, timeout=_CONNECT_TIMEOUT_S) as api:
            for name in api.names():
                connector = api.connector(name)
                status = api.status(name)
                if connector.config.get("topic.prefix") == settings.kafka.topic_prefix and status.failed:
                    return ServerError(
                        f"connector {name}",
                        f"failed, so the snapshot failed too: {api.first_cause(status)}",
                        "restart its task, then run the command again without --authoritative: the marks remain, and"
                        " rows that it has read may be sent late",
                    )
    except CdcError:
        return None
    return None
