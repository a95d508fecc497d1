"""``cdc-consumer explain``: one user, for a person who has to know what happened."""

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
    last: Annotated[int, typer.Option("--last", help="Of so many changes the plans are shown.", min=0)] = 5,
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
    """What stands in Redis for a user, which change set it, and what is still to come. Changes nothing."""
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
