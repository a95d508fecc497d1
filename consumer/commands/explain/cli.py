"""``cdc-consumer explain``: what happened to one user, and the values that Redis holds of the user."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    Begin,
    Brokers,
    ConfigFile,
    DatabaseUrl,
    Finish,
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

if TYPE_CHECKING:
    from consumer.commands.shared.explain.asked import Asked
    from consumer.commands.shared.explain.timeline import Window

_LAST = 5


def explain(
    user: Annotated[str, typer.Argument(help="The user, as live:123.")],
    begin: Begin = "",
    end: Finish = "",
    full: Annotated[bool, typer.Option("--full", help="Show each value, what set it, and all plans.")] = False,
    last: Annotated[
        int | None, typer.Option("--last", help="How many of the last changes to show; without a range 5.", min=0)
    ] = None,
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
    """Show what happened to a user: with --from or --to each change in this range, else the last changes and values.

    It changes nothing. Exit code 1 if there is no topic with the user's changes.
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
    from consumer.commands.shared.explain.asked import Asked

    rules = rules_of(settings)
    asked = Asked(settings, rules, schemas_of(settings), user_of(user, "USER", rules))
    window = _window(begin, end)
    if window is not None and not full:
        lacking = _show_timeline(asked, window, last, as_json=as_json)
    else:
        lacking = _show_values(asked, window, last, as_json=as_json, is_full=full)
    if lacking:
        raise typer.Exit(1)


def _window(begin: str, end: str) -> Window | None:
    """The range; None if there is none.

    Raises:
        ConfigError: it is no range.
    """
    if not (begin or end):
        return None
    from consumer.commands.shared.explain.timeline import Window
    from consumer.source.bounds import check_order

    window = Window(bound_of(begin or "beginning", "--from"), bound_of(end or "end", "--to"))
    check_order(window.begin, window.end)
    return window


def _show_timeline(asked: Asked, window: Window, last: int | None, *, as_json: bool) -> str:
    """Show what happened in a range; answers the topics that are missing, or ""."""
    from consumer.commands.explain.timeline_report import json_lines, parts
    from consumer.commands.shared.explain.run import timeline
    from consumer.commands.shared.screen import Screen

    found, screen = timeline(asked, window), Screen()
    if last is not None:
        found = replace(found, steps=found.steps[max(0, len(found.steps) - last) :])
    if as_json:
        for each in json_lines(found):
            typer.echo(each)
    else:
        screen.show(*parts(found, screen.width))
    return found.lacking


def _show_values(asked: Asked, window: Window | None, last: int | None, *, as_json: bool, is_full: bool) -> str:
    """Show the user's values, and the last changes or those of a range; answers the topics that are missing, or ""."""
    from consumer.commands.explain import overview, report
    from consumer.commands.shared.explain.run import explain as explained
    from consumer.commands.shared.explain.timeline import Window
    from consumer.commands.shared.screen import Screen

    shown, screen = window or Window(), Screen()
    most = _LAST if last is None and window is None else last
    # The values of now follow from all changes up to now.
    known = explained(asked, Window(begin=shown.begin), last=0 if as_json or is_full else most or 0)
    within = [each for each in known.history.changes if shown.holds(each.record)]
    changes = within if most is None else within[max(0, len(within) - most) :]
    if as_json:
        typer.echo(report.to_json(known, changes))
    elif is_full:
        screen.show(*report.parts(known, changes, len(within)), report.summary(known))
    else:
        screen.show(*overview.parts(known, asked.table.table, screen.width))
    return known.lacking
