"""``cdc-consumer snapshot``: lets Debezium read a table, or some users, again while changes continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    Brokers,
    ConfigFile,
    DatabaseUrl,
    Group,
    MappingFile,
    Prefix,
    RedisUrl,
    Topics,
    Users,
    need_database,
    rules_of,
    schemas_of,
    settings_of,
)
from consumer.errors import ConfigError
from consumer.mapping.keys import UserId
from consumer.settings import sources as config

if TYPE_CHECKING:
    from consumer.commands.snapshot.request import Notification, Scan, SnapshotProgress
    from consumer.mapping.rules import Rules
    from consumer.source.topic_selection import Selection

_AUDIT = (
    "no audit follows, because CDC_DATABASE__URL is not set: a row that a snapshot read can be older than it looks;"
    " run cdc-consumer audit"
)


def snapshot(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Tables, such as live_users or trading.live_users.")
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="Only rows that match this SQL condition.")] = None,
    users: Users = None,
    authoritative: Annotated[
        bool, typer.Option("--authoritative", help="Overwrite values in Redis, instead of only adding missing ones.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the running snapshot, or remove TABLES from it.")] = False,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Request an incremental snapshot over Debezium's signal topic, and follow it to its end.

    `run` applies the rows that the snapshot reads, as it applies changes. Exit code 1 if a table was not read to its
    end. After --authoritative, an audit of these users follows if the database is configured; exit code 1 if it finds
    differences.
    """
    from consumer.commands.snapshot import run as incremental
    from consumer.commands.snapshot.request import told_json, told_text
    from consumer.sink import group_databases
    from consumer.source.consumed_topics import selected

    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        topics=topics,
        group=group_id,
        redis_url=redis_url,
        database_url=database_url,
    )
    rules = rules_of(settings)
    _refuse_contradictions(tables or [], where, users or [], authoritative=authoritative, stop=stop)
    incremental.check_named(tables or [], rules)
    audits = authoritative and _may_audit(settings)
    chosen = [_user(each) for each in users or []]
    selection = selected(settings, rules, schemas_of(settings), group_databases.load) if tables or chosen else None
    if stop:
        incremental.end(settings, incremental.collections(selection, rules, tables or []) if selection else [])
        typer.echo("the stop was requested; a command that follows the snapshot will report it", err=True)
        return
    assert selection is not None  # noqa: S101  # without tables and users it was refused
    scans = _scans(selection, rules, tables or [], where, chosen)

    def report(received: Notification) -> None:
        if as_json:
            typer.echo(told_json(received))
        else:
            typer.echo(told_text(received), err=True)

    def prepare() -> None:
        if authoritative:
            count = incremental.make_authoritative(settings, rules, selection, scans, chosen)
            typer.echo(f"{count} users are marked: the next whole row of each overwrites Redis", err=True)

    try:
        progress = incremental.take(settings, scans, prepare, report, lambda text: typer.echo(text, err=True))
    except KeyboardInterrupt:
        typer.echo("not followed any more; if it was requested already, it continues. --stop ends it", err=True)
        raise typer.Exit(130) from None
    is_well = _report_unread(progress)
    if audits:
        is_well = _audited(settings, rules, scans, chosen, as_json=as_json) and is_well
    elif authoritative:
        typer.echo(_AUDIT, err=True)
    if not is_well:
        raise typer.Exit(1)


def _may_audit(settings: config.Settings) -> bool:
    """Whether the database is configured; if it is, its packages must be installed before the snapshot is requested."""
    if settings.database.url is None:
        return False
    need_database(settings)
    return True


def _audited(
    settings: config.Settings, rules: Rules, scans: Sequence[Scan], users: Sequence[UserId], *, as_json: bool
) -> bool:
    """Whether an audit of the users that were read finds no differences; it reports them as `audit` does."""
    from consumer.commands.audit import finding as findings
    from consumer.commands.audit.run import Audit
    from consumer.commands.audit.shown import Results
    from consumer.commands.audit.users import UserSelection
    from consumer.commands.shared.stop import Stop
    from consumer.observability.progress import Progress

    stop = Stop()
    stop.listen()
    user_selection = UserSelection(tuple(users), () if users else tuple(scan.table for scan in scans))
    with (
        Audit(settings, rules, schemas_of(settings), user_selection, stop) as audit,
        Progress(action="audit.progress", unit="users") as progress,
    ):
        result = audit.whole(Results(as_json=as_json).say, progress)
    if stop():
        raise typer.Exit(130)
    typer.echo(findings.summary_json(result) if as_json else findings.summary_text(result), err=not as_json)
    return result.is_clean


def _report_unread(progress: SnapshotProgress) -> bool:
    """Whether every table was read to its end; the others are reported."""
    unread = progress.unread()
    for name, why in unread.items():
        typer.echo(f"{name} was not read to its end: {why}", err=True)
    if len(unread) < len(progress.collections):
        typer.echo("the rows that were read are in the topics; run applies them", err=True)
    return not unread


def _refuse_contradictions(
    tables: Sequence[str], where: str | None, users: Sequence[str], *, authoritative: bool, stop: bool
) -> None:
    if stop and (where or users or authoritative):
        raise ConfigError(
            "--stop", "stops a snapshot, or removes whole tables from it", fix="give it with TABLES or alone"
        )
    if tables and users:
        raise ConfigError("--user", "the user already decides the table", fix="give TABLES or --user")
    if not (tables or users or stop):
        raise ConfigError("TABLES", "missing", fix="name tables, or --user live:123")
    if where and not tables:
        raise ConfigError("--where", "needs tables", fix="name TABLES with it")
    if where and authoritative:
        raise ConfigError("--authoritative", "it is not known which users match a condition", fix="remove --where")


def _scans(
    selection: Selection, rules: Rules, tables: Sequence[str], where: str | None, users: Sequence[UserId]
) -> list[Scan]:
    from consumer.commands.snapshot.request import Scan, condition_of
    from consumer.commands.snapshot.run import collections

    if tables:
        return [Scan(name, where or "") for name in collections(selection, rules, tables)]
    scans = []
    for user_type in sorted({user.user_type for user in users}):
        table = next((each for each in rules.tables if each.user_type == user_type), None)
        if table is None:
            known = ", ".join(sorted(each.user_type for each in rules.tables))
            raise ConfigError(
                "--user", f"no table has users of the type {user_type}", allowed=f"users of the types {known}"
            )
        (name,) = collections(selection, rules, [table.table])
        scans.append(Scan(name, condition_of(table, sorted(user for user in users if user.user_type == user_type))))
    return scans


def _user(text: str) -> UserId:
    try:
        return UserId.from_text(text)
    except ValueError as error:
        raise ConfigError("--user", f"{text!r} {error}", allowed="a type and a number, such as live:123") from None
