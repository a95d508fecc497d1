"""``cdc-consumer tail``: the options of the command."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    Begin,
    Brokers,
    ConfigFile,
    Group,
    MappingFile,
    Prefix,
    RedisUrl,
    Tables,
    Topics,
    Users,
    bound_of,
    rules_of,
    schemas_of,
    settings_of,
    user_of,
)
from consumer.errors import ConfigError

if TYPE_CHECKING:
    from consumer.commands.tail.run import Filter, Say
    from consumer.events.record import SourceRecord
    from consumer.mapping.rules import Rules
    from consumer.planning.decision import Decision

_COLOURS = {"planned": "green", "rejected": "red", "nothing": "bright_black", "ignored": "bright_black"}


def tail(
    users: Users = None,
    tables: Tables = None,
    channels: Annotated[
        list[str] | None, typer.Option("--channel", help="Only what is published on this channel; may be repeated.")
    ] = None,
    outcomes: Annotated[
        list[str] | None,
        typer.Option("--outcome", help="Only planned, nothing, ignored or rejected; may be repeated."),
    ] = None,
    begin: Begin = "end",
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
) -> None:
    """Show the decision about each change while it arrives, one line each, until Ctrl-C. Changes nothing.

    It reads beside the group, and starts at the end of the topics.
    """
    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        topics=topics,
        group=group_id,
        redis_url=redis_url,
    )
    from consumer.commands.shared.stop import Stop
    from consumer.commands.tail.run import tail as followed

    rules, start = rules_of(settings), bound_of(begin, "--from")
    wanted = _filter(rules, users or [], tables or [], channels or [], outcomes or [])
    stop = Stop()
    stop.listen()
    followed(settings, rules, schemas_of(settings), start, wanted, printer(rules, as_json=as_json), stop)
    if stop.by == signal.SIGINT:
        raise typer.Exit(130)


def _filter(rules: Rules, users: list[str], tables: list[str], channels: list[str], outcomes: list[str]) -> Filter:
    from consumer.commands.tail.run import Filter
    from consumer.planning.decision import Outcome

    known = {
        "--table": (tables, rules.captured()),
        "--channel": (channels, rules.channels()),
        "--outcome": (outcomes, tuple(Outcome)),
    }
    for option, (given, allowed) in known.items():
        if unknown := [each for each in given if each not in allowed]:
            raise ConfigError(option, f"no such {option.removeprefix('--')}: {unknown[0]}", allowed=", ".join(allowed))
    return Filter(
        frozenset(user_of(each, "--user", rules) for each in users),
        frozenset(tables),
        frozenset(channels),
        frozenset(map(Outcome, outcomes)),
    )


def printer(rules: Rules, *, as_json: bool) -> Say:
    """Prints a decision. On a terminal lines are short, and a line with the date comes before the first of each day."""
    from consumer.commands.tail.line import line_of, text
    from consumer.planning.plan_text import to_json

    is_terminal = sys.stdout.isatty()
    has_colour = is_terminal and not os.environ.get("NO_COLOR")
    last_date = ""

    def say(record: SourceRecord, decision: Decision) -> None:
        nonlocal last_date
        if as_json:
            typer.echo(to_json(record, decision))
            return
        line = line_of(record, decision, rules)
        if is_terminal and line.time[:10] != last_date:
            last_date = line.time[:10]
            typer.echo(f"{last_date}, times in UTC")
        before, outcome, after = text(line, shutil.get_terminal_size().columns if is_terminal else None)
        typer.echo(before + (typer.style(outcome, fg=_COLOURS[line.outcome]) if has_colour else outcome) + after)

    return say
