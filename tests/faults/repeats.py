"""How many records lie in Kafka a second time: what Debezium sent again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from consumer.sections import Kafka
from consumer.topic_reader import read_to_end
from tests.stack import Stack


def repeats(stack: Stack, topics: Sequence[str]) -> int:
    """Streamed records whose place in the database's log was there before, in the same topic for the same key."""
    settings = Kafka(bootstrap_servers=stack.kafka.bootstrap_servers)
    seen, count = set[bytes](), 0
    for record in read_to_end(settings, topics):
        if record.value is None:
            continue
        envelope = msgspec.json.decode(record.value)
        source = envelope["source"]
        place = [record.topic, envelope["op"], source.get("file"), source.get("pos"), source.get("row")]
        row = envelope["after"] or envelope["before"]
        identity = msgspec.json.encode([*place, source.get("sequence"), row])
        count += identity in seen
        seen.add(identity)
    return count
