"""The command line.

Exit codes: 0 done; 1 it ran and found something wrong; 2 wrong usage or setting; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from consumer import __version__, config, log, mapping
from consumer.api.cli import api
from consumer.audit.cli import audit
from consumer.batched import batched
from consumer.connect.cli import connectors
from consumer.errors import CdcError, ConfigError
from consumer.explain.cli import explain
from consumer.letters.cli import letters
from consumer.options import Brokers, ConfigFile, MappingFile, Prefix, RedisUrl, rules_of, schemas_of, settings_of
from consumer.snapshot.cli import snapshot
from consumer.stop import Stop

app = typer.Typer(
    name="cdc-consumer",
    help="Makes Redis follow a relational database, by way of Debezium and Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(connectors)

# As many records as `run` takes at once by default: events of one database transaction are joined within them.
_PLANNED_TOGETHER = 500
# What writing may end with although the program is right: the disk, a quota or a limit, not the network.
_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
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
    group_id: Annotated[str | None, typer.Option(help="The consumer group.")] = None,
    topics: Annotated[str | None, typer.Option(help="Exact topic names, comma separated.")] = None,
    redis_url: RedisUrl = None,
    workers: Annotated[int, typer.Option(help="Processes that share the partitions.", min=1)] = 1,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics and the probes; 0 for none.")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Follow the topics and keep Redis right, until SIGTERM."""
    from consumer import service

    settings = config.load(
        {
            "mapping": mapping_file,
            "kafka": {
                "bootstrap_servers": bootstrap_servers,
                "topic_prefix": topic_prefix,
                "group_id": group_id,
                "topics": topics,
            },
            "redis": {"url": redis_url},
            "metrics": {"port": metrics_port},
            "log": {"format": log_format, "level": log_level},
        },
        config_file,
    )
    rules = rules_of(settings)
    log.configure(settings.log)
    stop = Stop()
    stop.listen(spawns=workers > 1)
    if workers == 1:
        service.run(settings, rules, stop)
    else:
        from consumer.workers import supervise

        ended = supervise(settings, rules, workers, stop)
        if ended.code:
            _say(ended.problem, ended.advice)
            raise typer.Exit(ended.code)
    if stop.by == signal.SIGINT:
        raise typer.Exit(130)


@app.command()
def replay(
    begin: Annotated[str, typer.Option("--from", help="beginning, end, a time, or topic:partition:offset,…")],
    end: Annotated[str, typer.Option("--to", help="The same; what lies there is not read.")],
    tables: Annotated[list[str] | None, typer.Option("--table", help="Only this table; may be repeated.")] = None,
    users: Annotated[list[str] | None, typer.Option("--user", help="Only this user, as live:123.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Fold, then write each user once, whole.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove users whom the log does not know.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Change Redis, without being asked.")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="Publish the messages of what is applied.")] = False,
    resume: Annotated[Path | None, typer.Option(help="File of how far it is; made, or gone on with.")] = None,
    memory: Annotated[str, typer.Option(help="What it may take: 512M, 2G.")] = "512M",
    workers: Annotated[int, typer.Option(help="Processes that share the partitions.", min=1)] = 1,
    show: Annotated[int, typer.Option(help="Of so many keys a dry run shows the fields.", min=0)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object.")] = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    redis_url: RedisUrl = None,
) -> None:
    """Read topics again, and bring Redis to what they say; without --yes only say what that would change."""
    from consumer.replay import summary as replay_summary
    from consumer.replay.bounds import parse_bound, parse_size
    from consumer.replay.order import Order
    from consumer.replay.run import replay as carried_out
    from consumer.replay.worker import Interrupted

    if dry_run and yes:
        raise ConfigError("--yes", "nothing is changed in a dry run", "one of --yes and --dry-run")
    settings = settings_of(
        config_file, mapping_file, brokers=bootstrap_servers, prefix=topic_prefix, redis_url=redis_url
    )
    rules = rules_of(settings)
    order = Order(
        parse_bound(begin, "--from"),
        parse_bound(end, "--to"),
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


@app.command()
def record(
    topics: Annotated[list[str], typer.Argument(help="Topics to record, from their beginning to their end now.")],
    to: Annotated[Path, typer.Option("--to", help="File to write; gzip if it ends in .gz.")],
    config_file: ConfigFile = None,
    bootstrap_servers: Brokers = None,
) -> None:
    """Write the records of live topics to a file, bytes as on the wire."""
    from consumer import recording
    from consumer.topic_reader import read_to_end

    settings = config.load({"kafka": {"bootstrap_servers": bootstrap_servers}}, config_file)
    log.configure(settings.log)
    count = recording.write(read_to_end(settings.kafka, topics), to)
    typer.echo(f"{count} records of {len(topics)} topics in {to}", err=True)


@app.command()
def plan(
    file: Annotated[Path, typer.Argument(help="A recording, or what `kcat -J` prints; - for standard input.")] = Path(
        "-"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a record.")] = False,
    schemas: Annotated[
        Path | None, typer.Option(help="JSON file of Avro schemas by id, instead of a schema registry.")
    ] = None,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
) -> None:
    """The plan of recorded changes: what would be done, and why. Touches nothing; Avro asks the schema registry."""
    from consumer import recording
    from consumer.decision import Outcome, decide_all
    from consumer.report import to_json, to_text

    settings = config.load({"mapping": mapping_file}, config_file)
    rules = rules_of(settings)
    known = schemas_of(settings, schemas)
    is_any_rejected = False
    for batch in batched(recording.read(file), _PLANNED_TOGETHER):
        for source_record, decision in zip(batch, decide_all(batch, rules, known), strict=True):
            is_any_rejected |= decision.outcome is Outcome.REJECTED
            typer.echo(to_json(source_record, decision) if as_json else to_text(source_record, decision))
    if is_any_rejected:
        raise typer.Exit(1)


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
) -> None:
    """Look at every server in the settings: ok, warning or failure, and what to do. Changes nothing."""
    from consumer.check import findings
    from consumer.check.run import check as checked

    settings = settings_of(config_file, mapping_file)
    rules = rules_of(settings)
    found = []
    for finding in checked(settings, rules):
        found.append(finding)
        typer.echo(findings.to_json(finding) if as_json else findings.to_text(finding))
    raise typer.Exit(findings.exit_code(found))


@app.command("mapping")
def show_mapping(config_file: ConfigFile = None, mapping_file: MappingFile = None) -> None:
    """The mapping in force as TOML, complete: what a file of one's own may begin with."""
    typer.echo(mapping.to_toml(mapping.load(config.load({"mapping": mapping_file}, config_file).mapping)), nl=False)


app.add_typer(letters)
app.command()(snapshot)
app.command()(audit)
app.command()(explain)
app.command()(api)


def _say(problem: str, advice: str) -> None:
    typer.echo(f"cdc-consumer: {problem}", err=True)
    if advice:
        typer.echo(f"  what to do: {advice}", err=True)


def main() -> None:
    """The program's entry: errors end as one sentence and an exit code, never as a traceback."""
    try:
        app()
    except CdcError as error:
        _say(str(error), error.advice)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except OSError as error:
        if error.errno not in _UNWRITTEN:
            raise
        # What is still buffered would raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _say(f"the output could not be written: {error.strerror}", "")
        sys.exit(1)


if __name__ == "__main__":
    main()
