"""``cdc-consumer explain``: explains the values of one user."""

from __future__ import annotations

from typing import Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    Begin,
    Brokers,
    ConfigFile,
    DatabaseUrl,
    Group,
    MappingFile,
    Prefix,
    RedisUrl,
    Topics,
    bound_of,
    need_database,
    rules_of,
    schemas_of,
    settings_of,
    user_of,
)


def explain(
    user: Annotated[str, typer.Argument(help="The user, as live:123.")],
    last: Annotated[int, typer.Option("--last", help="Show the plans of this many last changes.", min=0)] = 5,
    begin: Begin = "beginning",
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
    """Show a user's values in Redis, which change set each, and changes that are not applied yet. Changes nothing.

    Exit code 1 if there is no topic with the user's changes.
    """
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
    need_database(settings)
    from consumer.commands.explain import report
    from consumer.commands.explain.run import explain as explained

    rules = rules_of(settings)
    wanted, start = user_of(user, "USER", rules), bound_of(begin, "--from")
    known = explained(settings, rules, schemas_of(settings), wanted, start)
    typer.echo((report.to_json if as_json else report.to_text)(known, last))
    if known.lacking:
        raise typer.Exit(1)
