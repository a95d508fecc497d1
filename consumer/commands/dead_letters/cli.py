"""``cdc-consumer dead-letters``: what could not be applied, seen, tried again, or given up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from consumer.commands.shared.options import (
    AsJson,
    Brokers,
    ConfigFile,
    DryRun,
    Group,
    MappingFile,
    Prefix,
    RedisUrl,
    Tables,
    Users,
    Yes,
    rules_of,
    schemas_of,
    settings_of,
    time_of,
)
from consumer.errors import ConfigError, Place
from consumer.mapping.keys import UserId
from consumer.settings import sources as config

if TYPE_CHECKING:
    from consumer.pipeline.letter_state import Choice, LetterStates, Released, Unapplied

letters = typer.Typer(name="dead-letters", help="Records that could not be applied.", no_args_is_help=True)

_T = TypeVar("_T")

OfTopic = Annotated[list[str] | None, typer.Option("--topic", help="Only records of this topic; may be repeated.")]
OfReason = Annotated[list[str] | None, typer.Option("--reason", help="Only these, as undecodable; may be repeated.")]
Begin = Annotated[str | None, typer.Option("--from", help="Only letters written at this time or later, or 10m ago.")]
End = Annotated[str | None, typer.Option("--to", help="Only letters written before this time.")]


@letters.command("list")
def list_(
    topic: OfTopic = None,
    reason: OfReason = None,
    table: Tables = None,
    user: Users = None,
    begin: Begin = None,
    end: End = None,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    group_id: Group = None,
) -> None:
    """The records that wait here, each once. Changes nothing."""
    from consumer.commands.dead_letters import report as letter_report

    settings = settings_of(config_file, None, brokers=bootstrap_servers, prefix=topic_prefix, group=group_id)
    choice = _choice((), topic, reason, table, user, begin, end)
    box = _box(settings)
    chosen = choice.of(box.open())
    if as_json:
        for each in chosen:
            typer.echo(letter_report.to_json(each))
    elif chosen:
        _print_table(chosen)
    typer.echo(f"{len(chosen)} of {len(box.open())} in {settings.dead_letter_topic}", err=True)


@letters.command()
def show(
    place: Annotated[str, typer.Argument(help="Where the record lay, as list prints it.")],
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    group_id: Group = None,
) -> None:
    """One record, its headers and what was said of it. Columns that the mapping takes no values of are hidden."""
    from consumer.commands.dead_letters import report as letter_report
    from consumer.commands.dead_letters.hidden import visible

    settings = settings_of(config_file, mapping_file, brokers=bootstrap_servers, prefix=topic_prefix, group=group_id)
    rules = rules_of(settings)
    (found,) = _placed([place], _box(settings))
    record = visible(found.record, found.last.tables, rules, schemas_of(settings))
    typer.echo((letter_report.shown_json if as_json else letter_report.shown_text)(found, record))


@letters.command()
def replay(
    places: Annotated[list[str] | None, typer.Argument(help="Where they lay, as list prints it.")] = None,
    topic: OfTopic = None,
    reason: OfReason = None,
    table: Tables = None,
    user: Users = None,
    begin: Begin = None,
    end: End = None,
    everything: Annotated[bool, typer.Option("--all", help="All that wait here.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Give them up: note them as dealt with.")] = False,
    publish: Annotated[bool, typer.Option(help="Publish the messages of what is applied.")] = True,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
) -> None:
    """Put records through the pipeline again, and note what was dealt with. The version guard decides.

    Without --yes only say what would become of them. Exit code 1 if something stays.
    """
    from consumer.commands.dead_letters import report as letter_report
    from consumer.commands.dead_letters.actions import LetterActions
    from consumer.sink.group_memory import recall
    from consumer.source.followed_topics import selected

    if dry_run and yes:
        raise ConfigError("--yes", "nothing is changed in a dry run", fix="give one of --yes and --dry-run")
    settings = settings_of(
        config_file, mapping_file, brokers=bootstrap_servers, prefix=topic_prefix, group=group_id, redis_url=redis_url
    )
    choice = _choice(places or (), topic, reason, table, user, begin, end)
    if choice.is_everything != everything:
        fix = "name places, or filters such as --user live:123, or --all alone"
        raise ConfigError("replay", "it is not clear which records", fix=fix)
    is_dry = not yes
    box = _box(settings)
    _placed(places or (), box, may_be_done=True)
    waiting = box.open()
    results: list[Released] = []

    def say(found: Sequence[Released]) -> None:
        results.extend(found)
        for each in found:
            typer.echo((letter_report.released_json if as_json else letter_report.released_text)(each))

    rules, schemas = rules_of(settings), schemas_of(settings)
    if not discard:  # as `run`, which leaves out rows of other databases
        rules = replace(rules, databases=selected(settings, rules, schemas, recall).databases)
    trial = LetterActions(settings, rules, schemas, is_dry=is_dry, is_silent=not publish)
    if discard:
        trial.discard(choice.of(waiting), say)
    else:
        trial.release(choice.of(waiting), say)
    prefix = "would be: " if is_dry else ""
    typer.echo(f"{prefix}{letter_report.summary(results)}", err=True)
    if is_dry and not dry_run:
        typer.echo("nothing was done; --yes does it", err=True)
    if not all(each.is_done for each in results):
        raise typer.Exit(1)


def _box(settings: config.Settings) -> LetterStates:
    """What lies in the topic; what is in it beside this group's letters is said."""
    from consumer.source.letter_reader import read_letters

    box = read_letters(settings.kafka, settings.dead_letter_topic)
    if not box.has_topic:
        name = settings.dead_letter_topic
        typer.echo(f"there is no topic {name}: nothing was ever written to it, or it has another name", err=True)
    for group, count in sorted(box.others.items()):
        typer.echo(f"{count} letters of the group {group}, which only --group-id {group} shows", err=True)
    if box.strange:
        typer.echo(f"{box.strange} records that are no letters of this program", err=True)
    return box


def _choice(
    places: Sequence[str],
    topics: Sequence[str] | None,
    reasons: Sequence[str] | None,
    tables: Sequence[str] | None,
    users: Sequence[str] | None,
    begin: str | None,
    end: str | None,
) -> Choice:
    from consumer.pipeline.letter_state import Choice

    return Choice(
        places=frozenset(_parsed("PLACE", each, Place.from_text, "a place as list prints it") for each in places),
        topics=frozenset(topics or ()),
        reasons=frozenset(reasons or ()),
        tables=frozenset(tables or ()),
        users=frozenset(
            _parsed("--user", each, UserId.from_text, "a type and a number, such as live:123") for each in users or ()
        ),
        since_ms=time_of(begin, "--from"),
        until_ms=time_of(end, "--to"),
    )


def _placed(places: Sequence[str], box: LetterStates, *, may_be_done: bool = False) -> list[Unapplied]:
    """Those at ``places``, each of which must wait; ``may_be_done``: one that was dealt with is only told."""
    by_place = {each.place: each for each in box.open()}
    wanted = [_parsed("PLACE", each, Place.from_text, "a place as list prints it") for each in places]
    for missing in [each for each in wanted if each not in by_place]:
        if not (may_be_done and missing in box.known):
            raise ConfigError("PLACE", f"{missing} does not wait here", allowed="one that list prints")
        typer.echo(f"{missing} was dealt with before", err=True)
    return [by_place[each] for each in wanted if each in by_place]


def _parsed(name: str, text: str, parse: Callable[[str], _T], allowed: str) -> _T:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(name, f"{text!r} {error}", allowed=allowed) from None


def _print_table(chosen: Sequence[Unapplied]) -> None:
    from consumer.commands.dead_letters.report import COLUMNS, cells, rows

    if not sys.stdout.isatty():
        typer.echo("\n".join(rows(chosen)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*COLUMNS, box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for each in chosen:
        table.add_row(*(Text(cell, overflow="fold") for cell in cells(each)))
    Console().print(table)
