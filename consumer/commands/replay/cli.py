"""``cdc-consumer replay``: topics read again between two bounds, and Redis brought to what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    Begin,
    Brokers,
    ConfigFile,
    DryRun,
    Group,
    MappingFile,
    Prefix,
    RedisUrl,
    Tables,
    Topics,
    Users,
    Workers,
    Yes,
    bound_of,
    rules_of,
    settings_of,
)
from consumer.errors import ConfigError


def replay(
    begin: Begin,
    end: Annotated[str, typer.Option("--to", help="Where to end, said the same way; what lies there is not read.")],
    tables: Tables = None,
    users: Users = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Fold, then write each user once, whole.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove users whom the log does not know.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    publish: Annotated[bool, typer.Option("--publish", help="Publish the messages of what is applied.")] = False,
    resume: Annotated[Path | None, typer.Option(help="File of how far it is; made, or gone on with.")] = None,
    memory: Annotated[str, typer.Option(help="What it may take: 512M, 2G.")] = "512M",
    workers: Workers = 1,
    show: Annotated[int, typer.Option(help="Of so many keys a dry run shows the fields.", min=0)] = 20,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
) -> None:
    """Read topics again, and bring Redis to what they say; without --yes only say what that would change."""
    from consumer.commands.replay import summary as replay_summary
    from consumer.commands.replay.order import Order
    from consumer.commands.replay.run import replay as carried_out
    from consumer.commands.replay.worker import Interrupted
    from consumer.commands.shared.stop import Stop
    from consumer.source.bounds import parse_size

    if dry_run and yes:
        raise ConfigError("--yes", "nothing is changed in a dry run", fix="give one of --yes and --dry-run")
    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        topics=topics,
        group=group_id,
        redis_url=redis_url,
    )
    rules = rules_of(settings)
    order = Order(
        bound_of(begin, "--from"),
        bound_of(end, "--to"),
        tuple(tables or ()),
        tuple(users or ()),
        is_rebuild=rebuild,
        prunes=prune,
        is_dry=not yes,
        publishes=publish,
        resume=resume,
        memory=parse_size(memory, "--memory"),
        workers=workers,
        shown=show,
    )
    stop = Stop()
    stop.listen(spawns=workers > 1)
    try:
        found = carried_out(settings, rules, order, stop)
    except Interrupted:
        kept = "the same command goes on" if resume else "nothing is kept of how far it was, without --resume FILE"
        typer.echo(f"cdc-consumer: interrupted; {kept}", err=True)
        raise typer.Exit(130) from None
    way, shown = "rebuild" if rebuild else "apply", replay_summary.to_json if as_json else replay_summary.to_text
    typer.echo(shown(found, way, is_dry=order.is_dry))
    if found.unusable:
        raise typer.Exit(1)
