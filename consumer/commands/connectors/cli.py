"""``connect``: manages the connectors in connect/ over Kafka Connect's REST API; and ``grants``."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    ConfigFile,
    ConnectUrl,
    DatabaseUrl,
    MetricsPort,
    Prefix,
    placeholders_of,
    settings_of,
)
from consumer.errors import ConfigError, ServerError

if TYPE_CHECKING:
    from consumer.commands.connectors.diff import Difference
    from consumer.settings.sources import Settings
    from consumer.source.connect.client import ConnectApi, Connector

# For a moment after a change Connect still reports the previous state (measured: 0.03 s), and a task that can't run may
# need a moment to fail.
_STEADY_S = 2.0

connectors = typer.Typer(
    name="connect", help="Manage the connectors in connect/ over Kafka Connect's REST API.", no_args_is_help=True
)

Files = Annotated[list[Path], typer.Argument(help="Connector files, such as connect/mysql.json.")]
Wait = Annotated[float, typer.Option(help="How long to wait until the tasks run, in seconds.", min=0)]
Restart = Annotated[bool, typer.Option("--restart", help="Restart failed connectors and tasks, and nothing else.")]


@connectors.command()
def apply(
    files: Files,
    config_file: ConfigFile = None,
    connect_url: ConnectUrl = None,
    wait_s: Wait = 60.0,
    restart: Restart = False,
) -> None:
    """Create or update connectors, with placeholders filled from the environment, and wait until their tasks run.

    If Connect refuses one of them, nothing is changed. A connector that already has the file's settings is not touched.
    """
    settings, wanted = _load(files, connect_url, config_file)
    with _open(settings) as api:
        changed = [connector for connector in wanted if _differences(api, connector) != []]
        refused = [connector for connector in changed if _is_refused(api, connector)]
        if refused:
            raise typer.Exit(1)
        for connector in wanted:
            if connector in changed:
                api.apply(connector)
            elif restart and api.status(connector.name).failed:
                api.restart_failed(connector.name)
            else:
                api.wait_running(connector.name, wait_s)
                typer.echo(f"{connector.name} unchanged")
                continue
            api.wait_running(connector.name, wait_s, _STEADY_S)
            typer.echo(f"{connector.name} runs")


@connectors.command()
def status(
    names: Annotated[list[str] | None, typer.Argument(help="Names of connectors; without names, all.")] = None,
    config_file: ConfigFile = None,
    connect_url: ConnectUrl = None,
    wait_s: Wait = 60.0,
    restart: Restart = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of connectors and tasks, and why one failed. Exit code 1 if one failed or does not exist."""
    from consumer.source.connect import status as connector_status

    is_well = True
    with _open(settings_of(config_file, connect_url=connect_url)) as api:
        present = api.names()
        if not (names or present):
            _print_error("there are no connectors")
        for name in names or present:
            if name not in present:
                _print_error(f"{name}: does not exist; existing connectors: {', '.join(present) or 'none'}")
                is_well = False
                continue
            api.connector(name)  # adds its secrets to the redaction: a trace may contain them
            found = api.status(name)
            if restart and found.failed:
                api.restart_failed(name)
                try:
                    api.wait_running(name, wait_s, _STEADY_S)
                except ServerError as error:
                    _print_error(str(error))
                found = api.status(name)
            is_well &= not found.failed
            causes = found.causes(api.redaction)
            typer.echo((connector_status.to_json if as_json else connector_status.to_text)(name, found, causes))
    if not is_well:
        raise typer.Exit(1)


@connectors.command()
def diff(files: Files, config_file: ConfigFile = None, connect_url: ConnectUrl = None, as_json: AsJson = False) -> None:
    """Show differences between files and running connectors, secrets as ***. Exit code 1 if there are any."""
    from consumer.commands.connectors import diff as connector_diff

    is_same = True
    settings, wanted = _load(files, connect_url, config_file)
    with _open(settings) as api:
        for connector in wanted:
            found = _differences(api, connector)
            is_same &= found == []
            if as_json:
                typer.echo(connector_diff.to_json(connector.name, found is not None, found or []))
            elif found is None:
                typer.echo(f"{connector.name}: does not exist yet")
            else:
                typer.echo(f"{connector.name}: {f'{len(found)} settings differ' if found else 'no difference'}")
                for each in found:
                    typer.echo(connector_diff.to_text(each))
    if not is_same:
        raise typer.Exit(1)


@connectors.command()
def watch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of connectors; without names, all with this topic.prefix.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Check once, restart what may be restarted, and exit.")] = False,
    config_file: ConfigFile = None,
    topic_prefix: Prefix = None,
    connect_url: ConnectUrl = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Restart failed connectors and tasks, with growing pauses, if the cause is temporary.

    A permanent cause (a refused password, a lost log, a wrong setting) is reported, and there is no restart. Runs until
    SIGTERM.
    """
    from consumer.commands.connectors import watch as watching
    from consumer.commands.shared.stop import Stop
    from consumer.observability.connector_metrics import WatchMetrics
    from consumer.observability.probes import serve

    settings = settings_of(config_file, prefix=topic_prefix, connect_url=connect_url, metrics_port=metrics_port)
    metrics = WatchMetrics()
    with _open(settings) as api:
        watched = watching.ConnectorWatch(api, settings.kafka.topic_prefix, names or (), metrics, settings.log.repeat_s)
        if once:
            watching.once(watched)
            raise typer.Exit(1 if metrics.refused else 0)
        stop = Stop()
        stop.listen()
        end = serve(settings.metrics, metrics, lambda: True)
        try:
            watching.watch(watched, metrics, stop.wait, stop)
        finally:
            end()
    if stop.by == signal.SIGINT:
        raise typer.Exit(130)


def grants(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="mysql, mariadb or postgres.")],
    file: Annotated[
        Path | None,
        typer.Option("--file", help="SQL file that init wrote; default: the grants of the reference mapping."),
    ] = None,
    config_file: ConfigFile = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print the SQL that creates the connector's account and this program's, filled from the environment.

    No server is asked. The output contains the passwords: pipe it into the database's own client.
    """
    from consumer.commands.connectors.grants import Server, filled

    if server not in list(Server):
        raise ConfigError("SERVER", f"there are no grants for {server!r}", allowed=", ".join(Server))
    values = placeholders_of(settings_of(config_file, database_url=database_url))
    typer.echo(filled(_grants_text(server, file), Server(server), values), nl=False)


def _grants_text(server: str, file: Path | None) -> str:
    from consumer.commands.shared.connect_files import grants_text

    if file is None:
        return grants_text(server)
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("--file", f"{file}: {error.strerror}", allowed="an SQL file of `cdc-consumer init`") from None
    except UnicodeDecodeError:
        raise ConfigError("--file", f"{file}: not UTF-8", allowed="an SQL file of `cdc-consumer init`") from None


def _open(settings: Settings) -> ConnectApi:
    from consumer.source.connect.client import ConnectApi

    return ConnectApi(settings.connect)


def _load(files: Sequence[Path], connect_url: str | None, config_file: Path | None) -> tuple[Settings, list[Connector]]:
    """The settings, and the connectors with placeholders filled from the environment and the settings."""
    from consumer.source.connect.client import load_connector, read_connector

    named = {name for file in files for name in read_connector(file).placeholders()}
    settings = settings_of(config_file, connect_url=connect_url, named=named)
    values = placeholders_of(settings)
    return settings, [load_connector(file, values) for file in files]


def _differences(api: ConnectApi, connector: Connector) -> list[Difference] | None:
    """The differences between the file and the running connector; None if there is no such connector."""
    from consumer.commands.connectors.diff import differences

    running = api.find(connector.name)
    api.learn(connector)
    if running is None:
        return None
    return list(differences(connector.name, running.config, connector.config, api.redaction))


def _is_refused(api: ConnectApi, connector: Connector) -> bool:
    """Whether Connect refuses the configuration; its errors are printed by setting."""
    problems = api.validate(connector)
    if problems:
        _print_error(f"connector {connector.name}: Connect refuses {len(problems)} settings; nothing was changed")
    for setting, texts in problems.items():
        _print_error(f"  {setting}: {' '.join(texts)}")
    return bool(problems)


def _print_error(text: str) -> None:
    typer.echo(text, err=True)
