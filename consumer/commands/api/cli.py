"""``cdc-consumer api``: the health API and the console, until SIGTERM."""

from __future__ import annotations

import signal
import socket
from contextlib import closing
from typing import Annotated

import typer

from consumer.commands.shared.options import (
    Brokers,
    ConfigFile,
    ConnectUrl,
    DatabaseUrl,
    Group,
    MappingFile,
    Prefix,
    RedisUrl,
    Topics,
    need_database,
    rules_of,
    settings_of,
)
from consumer.settings import extras


def api(
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
    bootstrap_servers: Brokers = None,
    topic_prefix: Prefix = None,
    topics: Topics = None,
    group_id: Group = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    connect_url: ConnectUrl = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serve the health API, which says whether Redis is right for a user and corrects it, and the console."""
    settings = settings_of(
        config_file,
        mapping_file,
        brokers=bootstrap_servers,
        prefix=topic_prefix,
        topics=topics,
        group=group_id,
        redis_url=redis_url,
        database_url=database_url,
        connect_url=connect_url,
        api={"host": host, "port": port},
    )
    rules = rules_of(settings)
    extras.need("api", "api")
    need_database(settings)
    from consumer.commands.api.access import Access
    from consumer.commands.api.app import application
    from consumer.commands.api.health import Health
    from consumer.commands.api.limit import Limit
    from consumer.commands.api.server import serve
    from consumer.commands.shared.stop import Stop

    access = Access(settings.api)
    stop = Stop()
    stop.listen()
    with (
        closing(_open_listener(settings.api.host, settings.api.port)) as listener,
        closing(Health(settings, rules)) as health,
    ):
        health.start()
        if not stop():  # a hanging server may have delayed the check for a stop
            limit, console = Limit(settings.api.refreshes_per_minute), None
            if settings.api.console:
                from consumer.commands.api.console.start import console_of

                console = console_of(settings, rules, access, health, limit, stop)
            serve(application(health, access, limit, console), listener, stop)
    if stop.by == signal.SIGINT:
        raise typer.Exit(130)


def _open_listener(host: str, port: int) -> socket.socket:
    from consumer.observability.probes import listening

    with listening("CDC_API", host, port):
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
