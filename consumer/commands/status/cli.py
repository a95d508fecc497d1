"""``cdc-consumer status``: whether all is well, on one screen."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    Brokers,
    ConfigFile,
    ConnectUrl,
    Group,
    Prefix,
    RedisUrl,
    settings_of,
)

if TYPE_CHECKING:
    from consumer.commands.shared.screen import Screen
    from consumer.commands.shared.status.facts import Limits
    from consumer.commands.shared.status.judgement import Line

_PAUSE_S = 2.0


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Refresh the screen until Ctrl-C.")] = False,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
    connect_url: ConnectUrl = None,
) -> None:
    """Show on one screen whether all is well: connectors, members of the group, Redis, dead letters, the last audit.

    Exit code 1 if something is not well. Asks every server, waits at most a few seconds, and changes nothing.
    """
    settings = settings_of(
        config_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        group=group_id,
        redis_url=redis_url,
        connect_url=connect_url,
    )
    from consumer.commands.shared.finding import exit_code
    from consumer.commands.shared.screen import Screen
    from consumer.commands.shared.status.facts import Limits
    from consumer.commands.shared.status.judgement import judged
    from consumer.commands.shared.status.rounds import Surveys
    from consumer.commands.status.present import json_lines, parts

    surveys, limits, screen = Surveys(settings), Limits.of(settings), Screen()

    def look() -> tuple[Sequence[Line], int]:
        facts = surveys.facts()
        return judged(facts, limits), facts.now_ms

    def show(lines: Sequence[Line], now_ms: int) -> None:
        if as_json:
            for each in json_lines(lines, limits, now_ms):
                typer.echo(each)
        else:
            screen.show(*parts(lines, limits, now_ms))

    if watch:
        _watch(look, show, screen, limits, is_live=screen.is_terminal and not as_json)
    lines, now_ms = look()
    show(lines, now_ms)
    raise typer.Exit(exit_code(each.finding for each in lines))


def _watch(
    look: Callable[[], tuple[Sequence[Line], int]],
    show: Callable[[Sequence[Line], int], None],
    screen: Screen,
    limits: Limits,
    *,
    is_live: bool,
) -> None:
    """Show it again and again. On a terminal the screen stays in its place; else one is printed after the other."""
    from rich.live import Live

    from consumer.commands.shared.stop import Stop
    from consumer.commands.status.present import parts

    stop = Stop()
    stop.listen()
    if is_live:
        with Live(console=screen.console, auto_refresh=False) as live:
            while not stop():
                lines, now_ms = look()
                live.update(screen.drawn(*parts(lines, limits, now_ms)), refresh=True)
                stop.wait(_PAUSE_S)
    while not stop():
        show(*look())
        stop.wait(_PAUSE_S)
    raise typer.Exit(130 if stop.by == signal.SIGINT else 0)
