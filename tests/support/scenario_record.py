"""``python -m tests.support.scenario_record``: record the scenarios anew, from each database, in JSON and Avro."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from kafka import KafkaProducer
from msgspec import structs

from consumer.errors import CdcError, ConfigError
from consumer.events.avro import NO_SCHEMAS, KnownSchemas, Schemas
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Operation, Tombstone
from consumer.events.record import SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.topic_reader import read_to_end
from tests.support.scenario import Scenario
from tests.support.scenario_sql import by_sql, is_read, play, seed
from tests.support.stack import MissingTool, Stack
from tests.support.stack.kafka import PATIENT
from tests.support.stack.registration import Database, registered
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import TABLES, Trading
from tests.wire.formats import avro_converter, topics
from tests.wire.taken import PREFIX, Taken, save, saved, schema_number, schema_text

FORMATS = ("json", "avro")
_HEADER = "scenario"
_TIMEOUT_S = 60.0
_MARK = 1_000_000
_SALT = "0123456789"


def name_of(database: str, wire: str) -> str:
    """The recording's name."""
    return f"scenarios-{database}-{wire}"


def recorded(database: str, wire: str) -> tuple[dict[str, list[SourceRecord]], Schemas]:
    """The records of each scenario by its title, in their order, and the schemas that they name."""
    taken = saved(name_of(database, wire))
    found: dict[str, list[SourceRecord]] = defaultdict(list)
    for record in taken.records:
        found[(dict(record.headers)[_HEADER] or b"").decode()].append(record)
    return dict(found), taken.schemas


def lines_of(stack: Stack, wire: str) -> dict[str, str]:
    """The lines of the connector's file that a format replaces: none in JSON."""
    if wire == "json":
        return {}
    return avro_converter(stack, "key") | avro_converter(stack, "value") | {"decimal.handling.mode": "precise"}


def take(stack: Stack, database: Database) -> dict[str, Taken]:
    """Run every scenario once, with a connector of each format on the same log."""
    scenarios = by_sql()
    prefixes = {wire: f"scenarios_{database.name}_{wire}" for wire in FORMATS}
    with database.connect(database.logins.app) as connection, ExitStack() as exits:
        trading = Trading(connection, database.quote)
        for each in scenarios:
            if is_read(each, "read"):
                seed(trading, each)
        for wire, prefix in prefixes.items():
            lines = lines_of(stack, wire) | {"signal.poll.interval.ms": "100"}
            exits.enter_context(
                registered(
                    stack, database, prefix, lines, CDC_PARTITIONS="1", CDC_MASK_SALT=_SALT, CDC_HEARTBEAT_MS="0"
                )
            )
        trading.clear()
        for number, each in enumerate(scenarios):
            if not any(is_read(each, operation) for operation in ("read", "incremental")):
                seed(trading, each)
                _mark(trading, 2 * number)
                play(trading, each)
                _mark(trading, 2 * number + 1)
                trading.clear()
        (incremental,) = [each for each in scenarios if is_read(each, "incremental")]
        seed(trading, incremental)
        found = {
            name_of(database.name, wire): _taken(stack, prefix, scenarios, incremental)
            for wire, prefix in prefixes.items()
        }
        trading.clear()
    return found


def _mark(trading: Trading, number: int) -> None:
    """A row in every table, so that each topic says where a scenario begins (even) and ends (odd)."""
    mark = _MARK + number
    row = {"id": mark, "user_id": mark, "type": "deposit", "amount": 1}
    trading.insert("live_users", id=mark)
    trading.insert("demo_users", id=mark)
    trading.insert("user_transactions", transaction_id=f"M{mark}", **row)
    trading.insert("money_requests", request_id=f"M{mark}", **row)


def _taken(stack: Stack, prefix: str, scenarios: Sequence[Scenario], incremental: Scenario) -> Taken:
    """All records, once the incremental snapshot, which is asked for again and again, has read its row."""
    settings = Kafka(bootstrap_servers=stack.kafka.bootstrap_servers)
    deadline = time.monotonic() + _TIMEOUT_S
    producer = KafkaProducer(**PATIENT, bootstrap_servers=stack.kafka.bootstrap_servers, acks="all")
    collection = f"trading.{incremental.changes[0].table}"
    request = {"type": "execute-snapshot", "data": {"type": "INCREMENTAL", "data-collections": [collection]}}
    try:
        while True:
            producer.send(f"{prefix}.signals", key=prefix.encode(), value=json.dumps(request).encode(), partition=0)
            producer.flush(10)
            time.sleep(1.0)  # between two askings; what ends the wait are the records
            try:
                records = list(read_to_end(settings, topics(prefix)))
            except ConfigError:  # a topic comes with its first record
                records = []
            numbers = {schema_number(data) for each in records for data in (each.key, each.value)} - {0}
            texts = {number: schema_text(stack, number) for number in sorted(numbers)}
            found = split(records, KnownSchemas(texts) if texts else NO_SCHEMAS, scenarios)
            if not (missing := [each.title for each in scenarios if not found[each.title]]):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{prefix}: {len(records)} records have come, and none of {missing}")
    finally:
        producer.close()
    kept = [record for each in scenarios for record in _in_order(each, found[each.title], prefix)]
    named = {schema_number(data) for each in kept for data in (each.key, each.value)} - {0}
    return Taken(kept, {number: text for number, text in texts.items() if number in named})


def split(
    records: Sequence[SourceRecord], schemas: Schemas, scenarios: Sequence[Scenario]
) -> Mapping[str, list[SourceRecord]]:
    """The records of each scenario, by its title: between its marks, or read by a snapshot."""
    found: dict[str, list[SourceRecord]] = defaultdict(list)
    reads = {(each.changes[0].table, each.changes[0].operation): each for each in scenarios}
    current: dict[str, Scenario | None] = {}
    for record in records:
        event = parse(record, schemas)
        mark = _mark_of(event) if isinstance(event, ChangeEvent) else None
        if mark is not None:
            current[record.topic] = None if mark % 2 else scenarios[mark // 2]
        elif isinstance(event, ChangeEvent) and event.op is Operation.READ:
            one = reads.get((event.table, "incremental" if event.is_incremental else "read"))
            if one is not None and not found[one.title]:
                found[one.title].append(record)
        elif isinstance(event, ChangeEvent | Tombstone) and (scenario := current.get(record.topic)) is not None:
            found[scenario.title].append(record)
    return found


def _mark_of(event: ChangeEvent) -> int | None:
    """The mark's number; None of every other row, and of a mark that is deleted or read."""
    number = (event.after or {}).get("id")
    return number - _MARK if event.op is Operation.CREATE and isinstance(number, int) and number >= _MARK else None


def _in_order(scenario: Scenario, records: Sequence[SourceRecord], prefix: str) -> Iterator[SourceRecord]:
    """The records in the order of the scenario's changes, each topic's in its own; tombstones behind their deletes."""
    left = {table: deque(each for each in records if each.topic.endswith(f".{table}")) for table in TABLES}
    for change in scenario.changes:
        queue = left[change.table]
        yield _named(queue.popleft(), scenario, prefix)
        while queue and queue[0].value is None:
            yield _named(queue.popleft(), scenario, prefix)
    if more := [str(each.place) for queue in left.values() for each in queue]:
        raise ValueError(f"{scenario.title}: more records than changes: {', '.join(more)}")


def _named(record: SourceRecord, scenario: Scenario, prefix: str) -> SourceRecord:
    """Under one prefix, whatever it was, with a header that says what scenario it belongs to."""
    headers = (*record.headers, (_HEADER, scenario.title.encode()))
    return structs.replace(record, topic=record.topic.replace(prefix, PREFIX, 1), headers=headers)


def main(databases: Sequence[str]) -> int:
    """Answers the exit code."""
    for name in databases or DATABASES:
        try:
            with Stack.start((name,), (), registry=True) as stack:
                found = take(stack, stack.database(name))
        except (MissingTool, CdcError, TimeoutError) as error:
            print(error, file=sys.stderr)
            return 1
        save(found)
        for recording, taken in found.items():
            print(f"{recording}: {len(taken.records)} records, {len(taken.texts)} schemas")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
