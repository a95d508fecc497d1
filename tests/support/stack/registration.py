"""A connector that lives for one test: its own prefix, its own server id, its topics deleted after it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from consumer.source.connect.client import Connector, load_connector
from tests.support.stack.login import DATABASE, PROJECT
from tests.support.stack.mysql import MySql
from tests.support.stack.postgres import Postgres
from tests.support.stack.stack import Stack
from tests.support.stack.wire import Record, read

Database: TypeAlias = MySql | Postgres


@dataclass(frozen=True, slots=True)
class Registration:
    """A running connector whose initial snapshot is complete: from here on changes are streamed."""

    connector: Connector
    prefix: str

    def topic(self, table: str) -> str:
        return f"{self.prefix}.{DATABASE}.{table}"


def load(stack: Stack, database: Database, prefix: str, **values: str) -> Connector:
    """The connector file of ``database`` for this stack; ``values`` are placeholders to set otherwise."""
    known = {
        **database.connector_values(),
        "CDC_TOPIC_PREFIX": prefix,
        "CDC_CONNECT_BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_MASK_SALT": secrets.token_hex(8),
        # Two connectors with one id throw each other off the server, and a slot has one reader.
        f"CDC_{database.name.upper()}_SERVER_ID": str(10_000 + secrets.randbelow(2_000_000_000)),
        "CDC_POSTGRES_SLOT": prefix,
    }
    return load_connector(PROJECT / "connect" / f"{database.name}.json", known | values)


@contextmanager
def registered(
    stack: Stack, database: Database, prefix: str, overrides: Mapping[str, str] | None = None, **values: str
) -> Iterator[Registration]:
    """Apply the connector and wait for the end of its snapshot. ``overrides`` replace lines of its config."""
    loaded = load(stack, database, prefix, **values)
    connector = loaded.model_copy(update={"config": loaded.config | dict(overrides or {})})
    with stack.connect.api() as api:
        api.apply(connector)
        try:
            api.wait_running(connector.name)
            read(stack.kafka, [f"{prefix}.notifications"], is_snapshot_complete, timeout_s=60)
            yield Registration(connector, prefix)
        finally:
            api.delete(connector.name)
            if isinstance(database, Postgres) and database.runtime.running:
                database.drop_slot(connector.config["slot.name"])
            delete_topics(stack, prefix)


def delete_topics(stack: Stack, prefix: str) -> None:
    """Delete every topic of a prefix, the heartbeat's too."""
    admin = stack.kafka.admin()
    try:
        mine = [topic for topic in admin.list_topics() if prefix in topic.split(".")]
        if mine:
            admin.delete_topics(mine)
    finally:
        admin.close()


def is_snapshot_complete(records: list[Record]) -> bool:
    """By the bytes: the text is the same in every format. Each table's end is told too, as TABLE_SCAN_COMPLETED."""
    values = [each.value or b"" for each in records]
    return any(b"Initial Snapshot" in value and re.search(b"(?<!_)COMPLETED", value) for value in values)
