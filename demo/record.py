"""``python -m demo.record``: record the demo's topics anew, from a real Debezium on the real servers."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from consumer.errors import CdcError, ConfigError
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Operation
from consumer.events.record import SourceRecord
from consumer.settings.sections import Kafka
from consumer.source import recording
from consumer.source.topic_reader import read_to_end
from demo import admin, expectation, recorded, story
from tests.support.stack import MissingTool, Stack
from tests.support.stack.registration import registered

_BEFORE = "What stood in the database before anybody listened: Debezium reads it as a snapshot"
_TIMEOUT_S = 30.0


def main() -> int:
    """Answers the exit code."""
    try:
        with Stack.start() as stack:
            print(_record(stack))
    except MissingTool as missing:
        print(missing, file=sys.stderr)
        return 2
    except (CdcError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _record(stack: Stack) -> str:
    with stack.mysql.connect() as connection:
        # Rows first: there is a snapshot to read, and Debezium 3.5 fails on a server whose gtid_executed is empty.
        admin.run_all(connection, admin.EXISTING)
        chapters = [story.Chapter(_BEFORE, _log_end(connection))]
        known = set(expectation.of_database(connection, ()).users)
        with registered(stack, stack.mysql, recorded.PREFIX):
            for step in admin.STEPS:
                step.run(connection)
                chapters.append(story.Chapter(step.title, _log_end(connection)))
                known |= expectation.of_database(connection, ()).users.keys()
            records = _read(Kafka(bootstrap_servers=stack.kafka.bootstrap_servers))
        expectation.of_database(connection, known).save(recorded.EXPECTED)
    story.save(chapters, recorded.STORY)
    count = recording.write(in_order(records), recorded.RECORDING)
    return f"{count} records of {len(recorded.TOPICS)} topics in {recorded.RECORDING}"


def _log_end(connection: Any) -> str:
    """Where the binlog ends, in the form of ``SourcePosition.order``; beyond every row of what was committed."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW MASTER STATUS")
        file, position, *_ = cursor.fetchone()
    return f"{int(file.rpartition('.')[2]):010d}/{position:020d}/{9_999_999_999:010d}"


def _read(settings: Kafka) -> list[SourceRecord]:
    """All records, once the delete of the last step but one is there and nothing has come for a second."""
    deadline = time.monotonic() + _TIMEOUT_S
    seen: list[SourceRecord] = []
    while time.monotonic() < deadline:
        try:
            now = list(read_to_end(settings, recorded.TOPICS))
        except ConfigError:  # a table's topic is made by its first row
            now = []
        if len(now) == len(seen) and _is_complete(now):
            return now
        seen = now
        time.sleep(1)
    raise TimeoutError(f"after {_TIMEOUT_S:g} s the delete of live:8 has not come; {len(seen)} records have")


def _is_complete(records: Iterable[SourceRecord]) -> bool:
    events = (parse(record) for record in records)
    return any(
        isinstance(event, ChangeEvent) and event.op is Operation.DELETE and event.key.get("id") == 8 for event in events
    )


def in_order(records: Iterable[SourceRecord]) -> list[SourceRecord]:
    """The partitions merged as the database committed: a partition keeps its order, whatever the others do."""
    by_partition = sorted(records, key=lambda each: (each.topic, each.partition, each.offset))
    partitions = [_keyed(list(group)) for _, group in groupby(by_partition, lambda each: (each.topic, each.partition))]
    return [record for _, record in heapq.merge(*partitions, key=lambda keyed: keyed[0])]


def _keyed(records: Iterable[SourceRecord]) -> Iterator[tuple[tuple[Any, ...], SourceRecord]]:
    """Records of one partition with a key that never falls. A tombstone goes with the delete before it."""
    key: tuple[Any, ...] = ("", 0)
    for record in records:
        event = parse(record)
        if isinstance(event, ChangeEvent):
            # A changed key is a delete and an insert at one position: the delete first.
            key = max(key, (event.position.order, int(event.op is Operation.CREATE)))
        yield (*key, record.timestamp_ms, record.topic, record.partition, record.offset), record


if __name__ == "__main__":
    sys.exit(main())
