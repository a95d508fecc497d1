"""``cdc-consumer dead-letters``: records that could not be applied: list, show, apply again, or discard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

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
    parsed,
    rules_of,
    schemas_of,
    settings_of,
    time_of,
)
from consumer.errors import ConfigError, Place
from consumer.mapping.keys import UserId
from consumer.settings import sources as config

if TYPE_CHECKING:
    from consumer.pipeline.letter_state import Choice, LetterResult, LetterStates, Unapplied

letters = typer.Typer(name="dead-letters", help="Records that could not be applied.", no_args_is_help=True)

OfTopic = Annotated[list[str] | None, typer.Option("--topic", help="Only records of this topic; may be repeated.")]
OfReason = Annotated[list[str] | None, typer.Option("--reason", help="Only this reason; may be repeated.")]
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
    """List the records that could not be applied, each once. Changes nothing."""
    from consumer.commands.dead_letters import report as letter_report
    from consumer.commands.shared.screen import Screen

    settings = settings_of(config_file, None, brokers=bootstrap_servers, prefix=topic_prefix, group=group_id)
    choice = _choice((), topic, reason, table, user, begin, end)
    states = _read(settings)
    chosen = choice.of(states.open())
    if as_json:
        for each in chosen:
            typer.echo(letter_report.to_json(each))
    elif chosen:
        Screen().show(letter_report.table(chosen))
    typer.echo(f"{len(chosen)} of {len(states.open())} in {settings.dead_letter_topic}", err=True)


@letters.command()
def show(
    place: Annotated[str, typer.Argument(help="The record's place, as list prints it.")],
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    group_id: Group = None,
) -> None:
    """Show one record with its headers and problems. Columns whose values the mapping does not use are hidden."""
    from consumer.commands.dead_letters import report as letter_report
    from consumer.commands.shared.dead_letters.redacted import visible

    settings = settings_of(config_file, mapping_file, brokers=bootstrap_servers, prefix=topic_prefix, group=group_id)
    rules = rules_of(settings)
    wanted = _place(place)  # before a server is asked
    (found,) = _placed([wanted], _read(settings))
    record = visible(found.record, found.last.tables, rules, schemas_of(settings))
    typer.echo((letter_report.shown_json if as_json else letter_report.shown_text)(found, record))


@letters.command()
def replay(
    places: Annotated[list[str] | None, typer.Argument(help="The records' places, as list prints them.")] = None,
    topic: OfTopic = None,
    reason: OfReason = None,
    table: Tables = None,
    user: Users = None,
    begin: Begin = None,
    end: End = None,
    everything: Annotated[bool, typer.Option("--all", help="All open records.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Do not apply them: note them as handled.")] = False,
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
    """Apply records again, and note those that are handled. The version guard decides.

    Without --yes, only show the outcomes. Exit code 1 if a record stays open.
    """
    from consumer.commands.dead_letters import report as letter_report
    from consumer.commands.shared.dead_letters.actions import LetterActions
    from consumer.commands.shared.screen import Screen
    from consumer.sink import group_databases
    from consumer.source.consumed_topics import selected

    if dry_run and yes:
        raise ConfigError("--yes", "nothing is changed in a dry run", fix="give one of --yes and --dry-run")
    settings = settings_of(
        config_file, mapping_file, brokers=bootstrap_servers, prefix=topic_prefix, group=group_id, redis_url=redis_url
    )
    choice = _choice(places or (), topic, reason, table, user, begin, end)
    if choice.is_everything != everything:
        fix = "name places, or filters such as --user live:123, or --all alone"
        raise ConfigError("replay", "the choice of records is not clear", fix=fix)
    is_dry = not yes
    states = _read(settings)
    _placed([_place(each) for each in places or ()], states, may_be_done=True)
    found_open = states.open()
    results: list[LetterResult] = []
    screen = Screen()

    def say(found: Sequence[LetterResult]) -> None:
        results.extend(found)
        for each in found:
            if as_json:
                typer.echo(letter_report.result_json(each))
            else:
                screen.show(letter_report.shown_result(each))

    rules, schemas = rules_of(settings), schemas_of(settings)
    if not discard:  # as `run`, which does not apply rows of other databases
        rules = replace(rules, databases=selected(settings, rules, schemas, group_databases.load).databases)
    actions = LetterActions(settings, rules, schemas, is_dry=is_dry, is_silent=not publish)
    if discard:
        actions.discard(choice.of(found_open), say)
    else:
        actions.reapply(choice.of(found_open), say)
    prefix = "would be: " if is_dry else ""
    typer.echo(f"{prefix}{letter_report.summary(results)}", err=True)
    if is_dry and not dry_run:
        typer.echo("nothing was done; --yes does it", err=True)
    if not all(each.is_done for each in results):
        raise typer.Exit(1)


def _read(settings: config.Settings) -> LetterStates:
    """Read the dead letter topic; print what it contains besides this group's letters."""
    from consumer.source.letter_reader import read_letters

    states = read_letters(settings.kafka, settings.dead_letter_topic)
    if not states.has_topic:
        name = settings.dead_letter_topic
        typer.echo(f"there is no topic {name}: no letter was ever written, or it has another name", err=True)
    for group, count in sorted(states.others.items()):
        typer.echo(f"{count} letters of the group {group}, shown only with --group-id {group}", err=True)
    if states.strange:
        typer.echo(f"{states.strange} records that this program did not write", err=True)
    return states


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
        places=frozenset(map(_place, places)),
        topics=frozenset(topics or ()),
        reasons=frozenset(reasons or ()),
        tables=frozenset(tables or ()),
        users=frozenset(
            parsed("--user", each, UserId.from_text, "a type and a number, such as live:123") for each in users or ()
        ),
        since_ms=time_of(begin, "--from"),
        until_ms=time_of(end, "--to"),
    )


def _place(text: str) -> Place:
    return parsed("PLACE", text, Place.from_text, "a place as list prints it")


def _placed(wanted: Sequence[Place], states: LetterStates, *, may_be_done: bool = False) -> list[Unapplied]:
    """The open records at ``wanted``. ``may_be_done``: a handled one is no error, but is reported."""
    by_place = {each.place: each for each in states.open()}
    for missing in [each for each in wanted if each not in by_place]:
        if not (may_be_done and missing in states.known):
            raise ConfigError("PLACE", f"{missing} is not an open record", allowed="a place that list prints")
        typer.echo(f"{missing} was handled before", err=True)
    return [by_place[each] for each in wanted if each in by_place]
