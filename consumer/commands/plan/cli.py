"""``cdc-consumer plan``: the options of the command."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer import __version__
from consumer.commands.shared.options import (
    AsJson,
    Begin,
    Brokers,
    ConfigFile,
    Finish,
    Group,
    MappingFile,
    Prefix,
    RedisUrl,
    Topics,
    bound_of,
    rules_of,
    schemas_of,
    settings_of,
)
from consumer.errors import ConfigError

if TYPE_CHECKING:
    from consumer.commands.shared.plan.inputs import Inputs
    from consumer.events.avro import Schemas
    from consumer.mapping.rules import Rules
    from consumer.settings.sources import Settings

_REFERENCE = "reference"
_WIDTHS = (80, 120)


def plan(
    file: Annotated[
        Path | None, typer.Argument(help="A recording, or the output of `kcat -J`; - for standard input (the default).")
    ] = None,
    begin: Begin = "",
    end: Finish = "",
    against: Annotated[
        str, typer.Option("--against", help="Compare with another mapping: a TOML file, or the word reference.")
    ] = "",
    against_recording: Annotated[
        Path | None, typer.Option("--against-recording", help="Compare with the decisions in a file of --save.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the decisions to this file; gzip if it ends in .gz.")
    ] = None,
    examples: Annotated[int, typer.Option(help="How many records that are decided otherwise to show.", min=0)] = 3,
    as_json: AsJson = False,
    schemas: Annotated[
        Path | None, typer.Option(help="JSON file of Avro schemas by id, instead of a schema registry.")
    ] = None,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
) -> None:
    """Show what would follow from recorded changes, or from live topics (--from), and why. Changes nothing.

    With --against or --against-recording it shows only what is decided otherwise. Exit code 1 if anything is.
    Avro needs the registry, or --schemas.
    """
    _check(file, begin, end, against, against_recording)
    read = (file, against_recording, mapping_file, Path(against), schemas, config_file)
    if save is not None and save in read:
        raise ConfigError("--save", f"{save} is read too", fix="give another file")
    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        topics=topics,
        group=group_id,
        redis_url=redis_url,
    )
    from consumer.commands.plan.run import Run

    rules, other = rules_of(settings), _other(settings, against)
    known = schemas_of(settings, schemas)
    inputs = _inputs(settings, rules, other, known, file, begin, end)
    run = Run(settings, rules, known, inputs, say=typer.echo, save=save, as_json=as_json)
    mapping = settings.mapping.name if settings.mapping else ""
    if other is not None:
        is_alike = run.against(other, (Path(against).name, mapping or _REFERENCE), examples, _width())
    elif against_recording is not None:
        now = f"{__version__} with {mapping}" if mapping else __version__
        is_alike = run.against_saved(against_recording, now, examples, _width())
    else:
        is_alike = run.show()
    if not is_alike:
        raise typer.Exit(1)


def _check(file: Path | None, begin: str, end: str, against: str, against_recording: Path | None) -> None:
    if against and against_recording is not None:
        raise ConfigError("--against", "--against-recording is given too", fix="give one of them")
    if not (begin or end):
        if file is None and sys.stdin is not None and sys.stdin.isatty():  # nobody types a recording
            raise ConfigError("FILE", "missing", fix="give a recording, or --from for the live topics")
        return
    option = "--from" if begin else "--to"
    if file is not None:
        raise ConfigError(option, "FILE is given too", fix="give FILE, or --from and --to for the live topics")
    if against_recording is not None:
        raise ConfigError(
            "--against-recording",
            "live topics are not read in the same batches again",
            fix="record the topics, and give the file of the recording",
        )


def _other(settings: Settings, against: str) -> Rules | None:
    if not against:
        return None
    from consumer.mapping import file as mapping

    try:
        return rules_of(settings, mapping.load(None if against == _REFERENCE else Path(against), "--against"))
    except ConfigError as error:
        if error.field != "--against":  # a key in the file
            raise
        raise ConfigError(error.field, error.problem, allowed=f"a TOML file, or the word {_REFERENCE}") from None


def _inputs(
    settings: Settings, rules: Rules, other: Rules | None, schemas: Schemas, file: Path | None, begin: str, end: str
) -> Inputs:
    from consumer.commands.shared.plan import inputs

    if not (begin or end):
        return inputs.of_recording(file or Path("-"))
    bounds = bound_of(begin or "beginning", "--from"), bound_of(end or "end", "--to")
    return inputs.of_topics(settings, rules, other, schemas, *bounds)


def _width() -> int:
    """The width of the terminal, within limits; of a pipe, what ``COLUMNS`` says, or 80."""
    least, most = _WIDTHS
    is_known = os.environ.get("COLUMNS", "").isdecimal() or os.isatty(1)
    return min(most, max(least, shutil.get_terminal_size((least, 24)).columns)) if is_known else least
