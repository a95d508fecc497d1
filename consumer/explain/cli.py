"""``cdc-consumer explain``: one user, for a person who has to know what happened."""

from __future__ import annotations

from typing import Annotated

import typer

from consumer.options import (
    AsJson,
    Brokers,
    ConfigFile,
    DatabaseUrl,
    MappingFile,
    Prefix,
    RedisUrl,
    rules_of,
    schemas_of,
    settings_of,
    user_of,
)


def explain(
    user: Annotated[str, typer.Argument(help="The user, as live:123.")],
    last: Annotated[int, typer.Option("--last", help="Of so many changes the plans are shown.", min=0)] = 5,
    begin: Annotated[
        str, typer.Option("--from", help="Where to begin in the topics: beginning, or a time.")
    ] = "beginning",
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    group_id: Annotated[str | None, typer.Option("--group-id", help="The group that keeps Redis right.")] = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """What stands in Redis for a user, which change set it, and what is still to come. Changes nothing."""
    from consumer.explain import report
    from consumer.explain.run import explain as explained
    from consumer.replay.bounds import parse_bound

    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        group=group_id,
        redis_url=redis_url,
        database_url=database_url,
    )
    rules = rules_of(settings)
    wanted = user_of(user, "USER", rules)
    known = explained(settings, rules, schemas_of(settings), wanted, parse_bound(begin, "--from"))
    typer.echo((report.to_json if as_json else report.to_text)(known, last))
