"""``cdc-consumer audit``: compares Redis with the database, and finds the causes of differences."""

from __future__ import annotations

import secrets
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    Brokers,
    ConfigFile,
    DatabaseUrl,
    Group,
    MappingFile,
    MetricsPort,
    Prefix,
    RedisUrl,
    Tables,
    Topics,
    Users,
    need_database,
    rules_of,
    schemas_of,
    settings_of,
    user_of,
)
from consumer.errors import ConfigError, ServerError

if TYPE_CHECKING:
    from consumer.commands.audit.users import UserSelection
    from consumer.mapping.rules import Rules


def audit(
    users: Users = None,
    tables: Tables = None,
    sample: Annotated[int, typer.Option(help="Only this many users of each table, chosen at random.", min=0)] = 0,
    seed: Annotated[int | None, typer.Option(help="Seed of the sample: one seed gives one sample.", min=0)] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Write wrong users again, through the guard.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Audit repeatedly, with metrics, until SIGTERM.")] = False,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Compare every user in the database with Redis; show differences and causes. Exit code 1 if one remains."""
    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        topics=topics,
        group=group_id,
        redis_url=redis_url,
        database_url=database_url,
        metrics_port=metrics_port,
    )
    need_database(settings)
    from consumer.commands.audit.exported import AuditMetrics
    from consumer.commands.audit.left_report import LeftReport, report_of
    from consumer.commands.audit.run import Audit
    from consumer.commands.audit.shown import Results
    from consumer.commands.audit.users import UserSelection
    from consumer.commands.audit.watch import watch as watch_for_ever
    from consumer.commands.shared.stop import Stop
    from consumer.observability.probes import serve
    from consumer.observability.progress import Progress

    rules = rules_of(settings)
    if sample and seed is None:
        seed = secrets.randbelow(2**32)
    named = tuple(user_of(each, "--user", rules) for each in users or ())
    user_selection = UserSelection(named, tuple(tables or ()), sample, repair, seed)
    _check(user_selection, rules)
    stop, results = Stop(), Results(as_json=as_json)
    stop.listen()
    if watch:
        metrics = AuditMetrics()
        end = serve(settings.metrics, metrics, lambda: True)
        try:
            watch_for_ever(settings, rules, schemas_of(settings), user_selection, metrics, results.say, stop)
        finally:
            end()
    else:
        try:
            with (
                Audit(settings, rules, schemas_of(settings), user_selection, stop) as one,
                Progress(action="audit.progress", unit="users") as progress,
            ):
                result = one.whole(results.say, progress)
        except ServerError:
            if stop():  # a hanging server may have delayed the check for a stop
                raise typer.Exit(130) from None
            raise
        if not stop():
            LeftReport(settings).leave(report_of(result, user_selection, time.time_ns() // 1_000_000))
            results.end(result)
            raise typer.Exit(0 if result.is_clean else 1)
    if stop.by == signal.SIGINT or not watch:
        raise typer.Exit(130)


def _check(user_selection: UserSelection, rules: Rules) -> None:
    known = [table.table for table in rules.tables]
    if unknown := set(user_selection.tables) - set(known):
        raise ConfigError("--table", f"not a user table: {min(unknown)}", allowed=", ".join(known))
    types = {table.user_type for table in user_selection.of(rules)}
    if others := [str(user) for user in user_selection.users if user.user_type not in types]:
        raise ConfigError(
            "--user", f"{others[0]} is in none of the tables of --table", fix="name users of the tables of --table"
        )
    if user_selection.users and user_selection.sample:
        raise ConfigError("--sample", "--user is given too", fix="give one of --user and --sample")
    if user_selection.seed is not None and not user_selection.sample:
        raise ConfigError("--seed", "there is no sample", fix="give --sample too")
