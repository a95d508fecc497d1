"""Avro with the ids of a schema registry: bytes, ids, schemas, schemas that evolved, and the registry's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from io import BytesIO
from random import Random
from typing import Any

import fastavro
import httpx
from msgspec import structs

from consumer.errors import ConfigError, ServerError, Undecodable
from consumer.events.avro import AvroSchema, KnownSchemas, no_such_schema, read_schema
from consumer.mapping.reference import reference
from consumer.settings.sections import Registry as RegistrySettings
from consumer.source.registry import Registry
from tests.fuzz import corpus
from tests.fuzz.damage import damaged_bytes, damaged_document, damaged_text
from tests.fuzz.decided import outcome_of
from tests.fuzz.target import Plain, check_error
from tests.fuzz.targets.records import plant

_PARTS: tuple[Any, ...] = (
    *("null", "boolean", "int", "long", "float", "double", "bytes", "string", "Envelope", "Value", "fixed", "enum"),
    *({"type": "array", "items": "null"}, {"type": "array", "items": ["null"]}, {"type": "map", "values": "int"}),
    *(
        {"type": "array", "items": {"type": "fixed", "name": "none", "size": 0}},
        {"type": "fixed", "name": "f", "size": 9},
    ),
    *({"type": "array", "items": {"type": "record", "name": "e", "fields": [{"name": "n", "type": "null"}]}},),
    *({"type": "array", "items": {"type": "array", "items": "long"}}, {"type": "enum", "name": "x", "symbols": []}),
    *(
        ["null", "string"],
        ["null"],
        [],
        {"type": {"type": {"type": "long"}}},
        {"type": "record", "name": "r", "fields": []},
    ),
    *(
        {"type": "bytes", "logicalType": "decimal", "precision": 99, "scale": 10**9},
        {"type": "long", "logicalType": "date"},
    ),
    *({"type": "long", "logicalType": "timestamp-micros", "connect.name": "io.debezium.time.Date"}, 10**12, -1),
)


class _Texts:
    """Schemas of which some may be no schemas: as a registry, each is read when a record names it."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._texts = texts

    def schema(self, number: int) -> AvroSchema:
        if number not in self._texts:
            raise no_such_schema(number, "in the registry")
        return read_schema(self._texts[number])


class Avro:
    """Records and the schemas that they name. ``schemas``: those that differ from the recorded ones, by id."""

    name = "avro"

    def __init__(self) -> None:
        self._rules = reference()
        self._texts = dict(corpus.avro_schemas())
        self._known = KnownSchemas(self._texts)

    def make(self, chance: Random) -> Plain:
        """A record with other bytes, another id, another schema, or of a schema that evolved."""
        record = chance.choice(corpus.avro())
        value = record.value or b""
        number, other = int.from_bytes(value[1:5], "big"), chance.choice(list(self._texts))
        schemas: dict[int, str] = {}
        kind = chance.random()
        if kind < 0.3:
            value = damaged_bytes(value, chance)
        elif kind < 0.4:
            value = value[: chance.randrange(len(value))]
        elif kind < 0.5:
            value = b"\0" + chance.choice([other, 0, 2**32 - 1, 7]).to_bytes(4, "big") + value[5:]
        elif kind < 0.55:
            schemas = {number: self._texts[other]}
        elif kind < 0.7:
            schemas = {number: damaged_schema(self._texts[number], chance)}
        else:
            schemas, value = self._evolved(number, value, chance)
        if chance.random() < 0.1:
            value = damaged_bytes(value, chance)
        return {"records": [corpus.plain(structs.replace(record, value=value))], "schemas": schemas}

    def attempt(self, given: Plain) -> str:
        records = [corpus.record_of(each) for each in given["records"]]
        schemas = _Texts(self._texts | given["schemas"]) if given["schemas"] else self._known
        return outcome_of(records, self._rules, schemas)

    def close(self) -> None:
        """Nothing is open."""

    def _evolved(self, number: int, value: bytes, chance: Random) -> tuple[dict[int, str], bytes]:
        """The same row, written with a schema that got, lost or changed a column."""
        text = self._texts[number]
        row = fastavro.schemaless_reader(BytesIO(value[5:]), _parsed(text), None)
        assert isinstance(row, dict)
        plant_text(row, chance)
        for _ in range(5):
            schema = evolved(json.loads(text), chance)
            body = BytesIO()
            try:
                fastavro.schemaless_writer(body, fastavro.parse_schema(deepcopy(schema)), row)
            except Exception:  # noqa: S112  # the row does not fit
                continue
            return {number: json.dumps(schema)}, value[:5] + body.getvalue()
        return {number: json.dumps(schema)}, value


def plant_text(envelope: dict[str, Any], chance: Random) -> None:
    """As :func:`plant`, but only in columns of text: others can't be written."""
    texts = {
        name: {column: value for column, value in row.items() if isinstance(value, str)}
        for name in ("before", "after")
        if isinstance(row := envelope.get(name), dict)
    }
    plant(texts, chance)
    for name, row in texts.items():
        envelope[name] |= {column: str(value) for column, value in row.items() if column in envelope[name]}


@cache
def _parsed(text: str) -> Any:
    return fastavro.parse_schema(json.loads(text))


def damaged_schema(text: str, chance: Random) -> str:
    """Another text: mostly JSON, and often still a schema."""
    if chance.random() < 0.2:
        return damaged_text(text, chance)
    return json.dumps(damaged_document(json.loads(text), chance, _PARTS))


def evolved(schema: Any, chance: Random) -> Any:
    """The schema after a few changes of the table or of the converter."""
    records = _records(schema)
    for record in [chance.choice(records) for _ in range(chance.choice([1, 1, 2, 3]))]:
        fields = record["fields"]
        kind = chance.random()
        if kind < 0.3:
            kinds = chance.choice([["null", "string"], ["null", "long"], ["null", "boolean"]] * 8 + [*_PARTS])
            added = {"name": f"added_{chance.randrange(9)}", "type": deepcopy(kinds), "default": None}
            fields.insert(chance.randrange(len(fields) + 1), added)
        elif kind < 0.5 and fields:
            del fields[chance.randrange(len(fields))]
        elif kind < 0.7 and fields:
            chance.choice(fields)["type"] = deepcopy(chance.choice(_PARTS))
        elif kind < 0.8:
            chance.shuffle(fields)
        elif fields:
            one = chance.choice(fields)
            one["type"] = (one["type"] or ["null"])[-1] if isinstance(one["type"], list) else ["null", one["type"]]
    return schema


def _records(schema: Any) -> list[dict[str, Any]]:
    found = []
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if isinstance(each.get("fields"), list):
                found.append(each)
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return found


class Answers:
    """A registry's answers: a status, a body, and what a record does with the schema in it."""

    name = "registry"
    _SECRET = "hunter2-of-the-registry"

    def __init__(self) -> None:
        self._rules = reference()
        self._given: Plain = {}
        settings = RegistrySettings.model_validate(
            {"url": "http://registry.invalid/apis/ccompat/v7", "user": "reader", "password": self._SECRET}
        )
        self._registry = Registry(settings, httpx.MockTransport(self._answer))
        self._registry.reach()

    def make(self, chance: Random) -> Plain:
        """An answer to the question for the schema of a good record."""
        record = chance.choice(corpus.avro())
        number = int.from_bytes((record.value or b"")[1:5], "big")
        text = corpus.avro_schemas()[number]
        body: Any = {"schema": text, "schemaType": chance.choice(["AVRO", "AVRO", "JSON", "PROTOBUF", None, 7])}
        if chance.random() < 0.6:
            body = {"schema": damaged_schema(text, chance) if chance.random() < 0.5 else text}
        if chance.random() < 0.1:
            body["references"] = chance.choice([[], [{"name": "x"}], None, {}, "x"])
        if chance.random() < 0.2:
            body = chance.choice([{"error_code": 40403}, {"error_code": 50001, "message": self._SECRET}, [], None, "x"])
        raw = json.dumps(body).encode()
        if chance.random() < 0.3:
            raw = damaged_bytes(raw, chance)
        status = chance.choice([200] * 8 + [204, 301, 302, 400, 401, 403, 404, 408, 422, 425, 429, 500, 502, 503, 599])
        return {"record": corpus.plain(record), "status": status, "body": raw}

    def attempt(self, given: Plain) -> str:
        self._given = given
        try:
            # Without what is kept of other inputs.
            self._registry._schemas.clear()
            return outcome_of([corpus.record_of(given["record"])], self._rules, self._registry)
        except (ServerError, ConfigError, Undecodable) as error:
            return check_error(error, must_not_have=(self._SECRET,))

    def close(self) -> None:
        self._registry.close()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/schemas/types"):
            return httpx.Response(200, json=["AVRO"])
        headers = {"Location": "http://other.invalid/"} if self._given["status"] in (301, 302) else {}
        return httpx.Response(self._given["status"], content=self._given["body"], headers=headers)
