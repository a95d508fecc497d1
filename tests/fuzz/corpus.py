"""What the fuzzer damages: records of every wire format that real servers sent, of the demo, and of the scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import structs

from consumer.events.record import SourceRecord
from consumer.source import recording
from tests.support.scenario import load_all
from tests.support.stack.login import PROJECT
from tests.wire.formats import DOUBLES, FORMATS, RECORDINGS, Format
from tests.wire.taken import saved

MAPPINGS = (
    *(RECORDINGS / "field" / name for name in ("k-mapping.toml", "k-partitions.toml")),
    PROJECT / "tests" / "unit" / "mapping" / "broker.toml",
)


@cache
def plain_json() -> Sequence[SourceRecord]:
    """JSON without a schema."""
    records = [change.record(at) for scenario in load_all() for at, change in enumerate(scenario.changes)]
    records += _of(lambda each: not each.is_avro and not each.has_schema)
    records += recording.read(PROJECT / "demo" / "recordings" / "trading.jsonl.gz")
    for path in sorted((RECORDINGS / "field").glob("*.jsonl")):
        records += recording.read(path)
    return [each for each in records if each.value and each.value[:1] == b"{"]


@cache
def schema_json() -> Sequence[SourceRecord]:
    """JSON with a schema around the payload."""
    return [each for each in _of(lambda each: each.has_schema) if each.value]


@cache
def avro() -> Sequence[SourceRecord]:
    """Avro in Confluent's format, of one registry."""
    return [each for each in _of(lambda each: each.is_avro) if each.value]


@cache
def avro_schemas() -> Mapping[int, str]:
    """The schemas that the records in Avro name: an id is one schema in all recordings."""
    texts: dict[int, str] = {}
    for wire in (*FORMATS, *DOUBLES):
        texts |= saved(wire.name).texts
    return texts


@cache
def few() -> Sequence[SourceRecord]:
    """Some records of each kind, for what is tried on several of them."""
    every = plain_json()
    return [*every[:: max(1, len(every) // 40)], *schema_json()[::40]]


def _of(is_wanted: Any) -> list[SourceRecord]:
    wanted: list[Format] = [each for each in (*FORMATS, *DOUBLES) if is_wanted(each)]
    return [record for each in wanted for record in saved(each.name).records]


def plain(record: SourceRecord) -> dict[str, Any]:
    """A record as an input has it."""
    found = structs.asdict(record)
    return found if found["headers"] else {name: value for name, value in found.items() if name != "headers"}


def record_of(given: Mapping[str, Any]) -> SourceRecord:
    """The record of an input."""
    headers = tuple((str(name), value) for name, value in given.get("headers", ()))
    return SourceRecord(**{**given, "headers": headers})
