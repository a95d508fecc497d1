"""``cdc-consumer replay``: reads topics between two bounds again, and brings Redis to their state."""

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
    Finish,
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
    begin: Begin = "",
    end: Finish = "",
    tables: Tables = None,
    users: Users = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Find each user's last state, write it once.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove users who are not in the topics.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    publish: Annotated[bool, typer.Option("--publish", help="Publish the messages of what is applied.")] = False,
    resume: Annotated[Path | None, typer.Option(help="File with the progress; created, or resumed from.")] = None,
    memory: Annotated[str, typer.Option(help="Memory limit, such as 512M or 2G.")] = "512M",
    workers: Workers = 1,
    show: Annotated[int, typer.Option(help="Number of keys whose fields a dry run shows.", min=0)] = 20,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
) -> None:
    """Read topics again, and bring Redis to their state; without --yes, only show what that would change.

    A rebuild reads from the beginning to the end, unless --from or --to are given.
    """
    from consumer.commands.replay import summary as replay_summary
    from consumer.commands.replay.options import ReplayOptions, check_resumable
    from consumer.commands.replay.run import replay as carried_out
    from consumer.commands.replay.work import Interrupted
    from consumer.commands.shared.stop import Stop
    from consumer.source.bounds import parse_size

    if dry_run and yes:
        raise ConfigError("--yes", "nothing is changed in a dry run", fix="give one of --yes and --dry-run")
    first, last = bound_of(begin or "beginning", "--from"), bound_of(end or "end", "--to")
    if resume:
        check_resumable(begin, first, "--from")
        check_resumable(end, last, "--to")
    if not rebuild and not (begin and end):
        missing = "--to" if begin else "--from"
        raise ConfigError(missing, "missing", fix="give --from and --to; only --rebuild works without them")
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
    options = ReplayOptions(
        first,
        last,
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
        found = carried_out(settings, rules, options, stop)
    except Interrupted:
        kept = "the same command resumes it" if resume else "the progress is lost, because --resume FILE was not given"
        typer.echo(f"cdc-consumer: interrupted; {kept}", err=True)
        raise typer.Exit(130) from None
    way, shown = "rebuild" if rebuild else "apply", replay_summary.to_json if as_json else replay_summary.to_text
    typer.echo(shown(found, way, is_dry=options.is_dry))
    if found.unusable:
        raise typer.Exit(1)
