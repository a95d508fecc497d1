"""How many records lie in Kafka a second time: what Debezium sent again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from consumer.settings.sections import Kafka
from consumer.source.topic_reader import read_to_end
from tests.support.stack import Stack


def repeats(stack: Stack, topics: Sequence[str]) -> int:
    """Streamed records of the same row and transaction, or else the same place in the log, as one before them."""
    settings = Kafka(bootstrap_servers=stack.kafka.bootstrap_servers)
    seen, count = set[int](), 0  # hashes: millions of rows take gigabytes
    for record in read_to_end(settings, topics):
        if record.value is None:
            continue
        envelope = msgspec.json.decode(record.value)
        source = envelope["source"]
        # After a failover the same transaction stands at another place.
        place = source.get("gtid") or [source.get("file"), source.get("pos")]
        change = [record.topic, envelope["op"], place, source.get("row"), source.get("sequence")]
        row = envelope["after"] or envelope["before"]
        identity = hash(msgspec.json.encode([*change, row]))
        count += identity in seen
        seen.add(identity)
    return count
