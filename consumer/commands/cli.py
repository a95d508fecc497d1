"""The command line.

Exit codes: 0 done; 1 the command found something wrong; 2 wrong usage or wrong setting; 130 interrupted; 141 the reader
of the output has gone.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from consumer import __version__
from consumer.commands import output
from consumer.commands.api.cli import api
from consumer.commands.audit.cli import audit
from consumer.commands.connectors.cli import connectors, grants
from consumer.commands.dead_letters.cli import letters
from consumer.commands.explain.cli import explain
from consumer.commands.init.cli import init
from consumer.commands.plan.cli import plan
from consumer.commands.replay.cli import replay
from consumer.commands.shared.options import (
    AsJson,
    Brokers,
    ConfigFile,
    ConnectUrl,
    Group,
    MappingFile,
    MetricsPort,
    Prefix,
    RedisUrl,
    Topics,
    Workers,
    rules_of,
    settings_of,
)
from consumer.commands.shared.stop import Stop
from consumer.commands.shared.usage import UsageError, refusal, renamed
from consumer.commands.snapshot.cli import snapshot
from consumer.commands.status.cli import status
from consumer.commands.tail.cli import tail
from consumer.errors import CdcError, ConfigError
from consumer.settings.extras import refusal as extra_refusal

app = typer.Typer(
    name="cdc-consumer",
    help="Makes Redis follow a relational database, with Debezium and Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(connectors)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
    workers: Workers = 1,
    metrics_port: MetricsPort = None,
    log_format: Annotated[str | None, typer.Option(help="auto, json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Consume the topics and keep Redis up to date, until SIGTERM."""
    from consumer.commands.run import service

    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        topics=topics,
        group=group_id,
        redis_url=redis_url,
        metrics_port=metrics_port,
        log={"format": log_format, "level": log_level},
    )
    rules = rules_of(settings)
    stop = Stop()
    stop.listen(spawns=workers > 1)
    if workers == 1:
        service.run(settings, rules, stop)
    else:
        from consumer.commands.run.workers import supervise

        ended = supervise(settings, rules, workers, stop)
        if ended.code:
            _print_error(ended.problem, ended.advice)
            raise typer.Exit(ended.code)
    if stop.by == signal.SIGINT:
        raise typer.Exit(130)


@app.command()
def record(
    topics: Annotated[list[str], typer.Argument(help="Topics to record, from their beginning to their present end.")],
    to: Annotated[Path, typer.Option("--to", help="File to write; gzip if it ends in .gz.")],
    config_file: ConfigFile = None,
    bootstrap_servers: Brokers = None,
) -> None:
    """Write the records of topics to a file, with their bytes unchanged."""
    from consumer.source import recording
    from consumer.source.topic_reader import read_to_end

    settings = settings_of(config_file, brokers=bootstrap_servers)
    count = recording.write(read_to_end(settings.kafka, topics), to)
    typer.echo(f"{count} records of {len(topics)} topics in {to}", err=True)


@app.command()
def check(
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
    connect_url: ConnectUrl = None,
) -> None:
    """Check every server in the settings: ok, warning or failure, and what to do. Changes nothing."""
    from consumer.commands.shared import finding as findings
    from consumer.commands.shared.check.run import check as checked
    from consumer.commands.shared.screen import Screen, summary

    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        topics=topics,
        group=group_id,
        redis_url=redis_url,
        connect_url=connect_url,
    )
    rules = rules_of(settings)
    found, screen = [], Screen()
    for finding in checked(settings, rules):
        found.append(finding)
        if as_json:
            typer.echo(findings.to_json(finding))
        else:
            screen.show(finding)
    if not as_json:
        screen.show(summary(found, f"{len(found)} findings"))
    raise typer.Exit(findings.exit_code(found))


@app.command("mapping")
def show_mapping(config_file: ConfigFile = None, mapping_file: MappingFile = None) -> None:
    """Print the mapping as complete TOML, as a start for a mapping file."""
    from consumer.mapping import file as mapping

    settings = settings_of(config_file, mapping_file)
    typer.echo(mapping.to_toml(mapping.load(settings.mapping, settings.mapping_option)), nl=False)


app.command()(status)
app.add_typer(letters)
app.command()(plan)
app.command()(tail)
app.command()(replay)
app.command()(snapshot)
app.command()(audit)
app.command()(explain)
app.command()(api)
app.command()(grants)
app.command()(init)


def _print_error(problem: str, advice: str) -> None:
    typer.echo(f"cdc-consumer: {problem}", err=True)
    if advice:
        typer.echo(f"  what to do: {advice}", err=True)


def main() -> None:
    """Start the program. An error ends as one sentence and an exit code, never as a traceback."""
    output.prepare()
    try:
        code = _run(sys.argv[1:])
    except BrokenPipeError:  # of the output: every other pipe's end is noticed by its reader
        output.drop()
        code = output.GONE
    except OSError as error:
        if not output.is_write_error(error):
            raise
        output.drop()
        _print_error(f"the output could not be written: {error.strerror}", "")
        code = 1
    sys.exit(code)


def _run(given: list[str]) -> int:
    """Run the command; its exit code."""
    arguments, notes = renamed(given)
    for note in notes:
        _print_error(note, "")
    program = typer.main.get_command(app)
    try:
        return int(program.main(arguments, prog_name="cdc-consumer", standalone_mode=False) or 0)
    except SystemExit as end:
        # The command line library ends so if a pipe breaks: with 1, which means here that something wrong was found.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise
    except UsageError as error:
        if not arguments or type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(str(error), err=True)
        else:
            _print_error(str(refusal(error, program, arguments)), "")
        return 2
    except ModuleNotFoundError as error:
        if (missing := extra_refusal(error)) is None:
            raise
        _print_error(str(missing), "")
        return 2
    except CdcError as error:
        _print_error(str(error), error.advice)
        return 2 if isinstance(error, ConfigError) else 1


if __name__ == "__main__":
    main()
