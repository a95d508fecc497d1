"""Recordings of every format: taken from the real servers, kept in files, and read again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from msgspec import structs

from consumer.errors import ConfigError
from consumer.events.avro import NO_SCHEMAS, KnownSchemas, Schemas
from consumer.events.record import SourceRecord
from consumer.settings.sections import Kafka
from consumer.source import recording
from consumer.source.topic_reader import read_to_end
from tests.support.stack.stack import Stack
from tests.support.stack.trading import Trading
from tests.wire import changes
from tests.wire.formats import DOUBLES, FORMATS, RECORDINGS, Format, connectors, topics

_TIMEOUT_S = 60.0
PREFIX = "trading"


@dataclass(frozen=True, slots=True)
class Taken:
    """The records of all tables in one format, and the schemas they name."""

    records: list[SourceRecord]
    texts: Mapping[int, str]

    @property
    def schemas(self) -> Schemas:
        """The schemas as the decoder asks for them."""
        return KnownSchemas(self.texts) if self.texts else NO_SCHEMAS


def take(stack: Stack, trading: Trading, prefix: str) -> dict[str, Taken]:
    """Run the changes once, with a connector of each format on the same binlog."""
    changes.run(trading, changes.BEFORE)
    formats = {f"{prefix}{number}": each for number, each in enumerate((*FORMATS, *DOUBLES))}
    with connectors(stack, {name: each.config(stack) for name, each in formats.items()}):
        changes.run(trading, changes.CHANGES)
        with stack.mysql.connect() as connection:
            admin = Trading(connection)
            try:
                changes.run(admin, changes.EVOLUTION, changes.WIDENED, changes.NULLED, changes.END)
            finally:
                changes.run(admin, changes.RESTORED)
        return {each.name: _read(stack, name, each) for name, each in formats.items()}


def _read(stack: Stack, prefix: str, wire: Format) -> Taken:
    """All records, once the last insert is there; under one prefix, whatever it was."""
    settings = Kafka(bootstrap_servers=stack.kafka.bootstrap_servers)
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            records = list(read_to_end(settings, topics(prefix)))
        except ConfigError:  # a topic comes with its first record
            records = []
        if any(_is_last(record.key or b"") for record in records):
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{wire.name}: the last insert has not come; {len(records)} records have")
        time.sleep(0.2)
    renamed = [structs.replace(each, topic=each.topic.replace(prefix, PREFIX, 1)) for each in records]
    numbers = {number for each in records for number in (schema_number(each.key), schema_number(each.value)) if number}
    return Taken(renamed, {number: schema_text(stack, number) for number in sorted(numbers)})


def _is_last(key: bytes) -> bool:
    return key == b'{"id":%d}' % changes.LAST or (key[:1] == b"\0" and key.endswith(b"\xc6\x01"))


def schema_number(data: bytes | None) -> int:
    """The id of an Avro schema, 0 for JSON."""
    return int.from_bytes(data[1:5], "big") if data and data[0] == 0 else 0


def schema_text(stack: Stack, number: int) -> str:
    """A schema by Confluent's API."""
    return str(httpx.get(f"{stack.registry.url}/schemas/ids/{number}").raise_for_status().json()["schema"])


def save(found: Mapping[str, Taken]) -> None:
    """Write ``<format>.jsonl.gz``, and beside it the schemas of Avro."""
    RECORDINGS.mkdir(exist_ok=True)
    for name, taken in found.items():
        recording.write(taken.records, _path(name))
        if taken.texts:
            _schemas(name).write_text(json.dumps(taken.texts, indent=1) + "\n")


def saved(name: str) -> Taken:
    """The recording of a format."""
    texts = recording.read_schemas(_schemas(name)) if _schemas(name).exists() else {}
    return Taken(list(recording.read(_path(name))), texts)


def _path(name: str) -> Path:
    return RECORDINGS / f"{name}.jsonl.gz"


def _schemas(name: str) -> Path:
    return RECORDINGS / f"{name}.schemas.json"
