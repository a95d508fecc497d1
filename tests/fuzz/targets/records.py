"""Records: their values in JSON without and with a schema, and their keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
from msgspec import structs

from consumer.events.avro import NO_SCHEMAS, KnownSchemas, Schemas
from consumer.events.record import SourceRecord
from consumer.guard.history import NO_HISTORY
from consumer.mapping.reference import reference
from tests.fuzz import corpus
from tests.fuzz.damage import any_value, damaged_bytes, damaged_document
from tests.fuzz.decided import Compacted, outcome_of
from tests.fuzz.target import CANARY, CANARY_NUMBER, Plain

_ENVELOPE: tuple[Any, ...] = (
    *("c", "u", "d", "r", "t", "m", "mysql", "postgresql", "mariadb", "incremental", "true", "last"),
    *("live_users", "demo_users", "user_transactions", "money_requests", "live_users_p1"),
    *('[null,"1"]', '["0/1","18446744073709551616"]', "0/FFFFFFFF", "a:1", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"),
)
_TYPES: tuple[Any, ...] = (
    *("int8", "int16", "int32", "int64", "float", "double", "boolean", "string", "bytes", "array", "map", "struct"),
    *("org.apache.kafka.connect.data.Decimal", "io.debezium.data.VariableScaleDecimal", "io.debezium.time.Date"),
    *("io.debezium.time.MicroTimestamp", "io.debezium.time.NanoTimestamp", "io.debezium.time.ZonedTimestamp"),
    *("org.apache.kafka.connect.data.Timestamp", "io.debezium.data.Bits", "io.debezium.time.Year"),
    *({"scale": "-2147483648"}, {"scale": "99"}, {"scale": "two"}, {"scale": "1000000000"}, {"scale": "०"}),
)
_KEYS: tuple[bytes | None, ...] = (
    *(None, b"", b"\0", b"\0\0\0\0\1", b"{}", b"[1]", b"7", b'{"id":0}', b'{"id":-1}', b'{"id":1.5}', b'{"id":1e3}'),
    *(b'{"id":18446744073709551616}', b'{"id":null}', b'{"id":"7"}', b'{"id":[7]}', b'{"ID":7}', b'{"id":7,"id":8}'),
    *(b'{"schema":null,"payload":{"id":7}}', b'{"schema":{},"payload":null}', b"\xef\xbb\xbf{}", b'{"id":true}'),
)


class Values:
    """Damaged values of one corpus."""

    def __init__(self, name: str, records: Callable[[], Sequence[SourceRecord]], words: tuple[Any, ...]) -> None:
        self.name = name
        self._records = records
        self._words = words
        self._rules = reference()

    def make(self, chance: Random) -> Plain:
        """One damaged record; some of them with others that are read together with it."""
        every = self._records()
        at = chance.randrange(len(every))
        first = structs.replace(every[at], value=self._damaged(every[at].value or b"", chance))
        if chance.random() < 0.1:
            first = structs.replace(first, key=chance.choice(_KEYS))
        others = every[at + 1 : at + chance.choice([1, 1, 1, 3, 4])]
        return [corpus.plain(each) for each in (first, *others)]

    def attempt(self, given: Plain) -> str:
        return outcome_of([corpus.record_of(each) for each in given], self._rules, NO_SCHEMAS)

    def close(self) -> None:
        """Nothing is open."""

    def _damaged(self, value: bytes, chance: Random) -> bytes:
        try:
            document = msgspec.json.decode(value)
        except msgspec.DecodeError:  # some recordings are of other converters
            document = None
        if document is None or chance.random() < 0.35:
            return damaged_bytes(value, chance)
        plant(document.get("payload", document), chance)
        return msgspec.json.encode(damaged_document(document, chance, self._words))


def plant(envelope: Any, chance: Random) -> None:
    """Put a value into the rows that no error may have."""
    for name in ("before", "after"):
        row = envelope.get(name) if isinstance(envelope, dict) else None
        if isinstance(row, dict) and chance.random() < 0.7:
            # Users are named in errors, by their ids.
            names = [each for each in row if each not in ("id", "user_id", "user_type")]
            row[chance.choice(names or ["margin"])] = chance.choice([CANARY, CANARY, CANARY_NUMBER])


class Keys:
    """Damaged keys, of tombstones, of records that can't be read, and of good ones."""

    name = "keys"

    def __init__(self) -> None:
        self._rules = reference()
        self._schemas: Schemas = KnownSchemas(corpus.avro_schemas())

    def make(self, chance: Random) -> Plain:
        """A record with a damaged key. ``compacted``: tombstones of the topic are of deletes that are gone."""
        records = chance.choice([corpus.plain_json(), corpus.schema_json(), corpus.avro()])
        record = chance.choice(records)
        value = chance.choice([None, None, b"{}", b"\xff", record.value])
        key = self._damaged(record.key, chance)
        return {
            "records": [corpus.plain(structs.replace(record, key=key, value=value))],
            "compacted": chance.random() < 0.7,
        }

    def attempt(self, given: Plain) -> str:
        records = [corpus.record_of(each) for each in given["records"]]
        history = Compacted() if given["compacted"] else NO_HISTORY
        return outcome_of(records, self._rules, self._schemas, history)

    def close(self) -> None:
        """Nothing is open."""

    def _damaged(self, key: bytes | None, chance: Random) -> bytes | None:
        if key is None or chance.random() < 0.15:
            return chance.choice(_KEYS)
        if key[:1] != b"{" or chance.random() < 0.3:
            return damaged_bytes(key, chance)
        document = msgspec.json.decode(key)
        if chance.random() < 0.4:
            return msgspec.json.encode(
                {chance.choice(["id", "ID", "user_id", "__dbz__physicalTableIdentifier"]): any_value(chance)}
            )
        return msgspec.json.encode(damaged_document(document, chance, _TYPES))


def json() -> Values:
    """The envelope in JSON without a schema."""
    return Values("json", corpus.plain_json, _ENVELOPE)


def json_schema() -> Values:
    """JSON with a schema around the payload."""
    return Values("json-schema", corpus.schema_json, (*_ENVELOPE, *_TYPES))
