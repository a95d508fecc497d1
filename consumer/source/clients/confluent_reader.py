"""Reads ranges of topics once with confluent-kafka, if the settings select it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from confluent_kafka import Message, TopicPartition
from kafka.errors import OffsetOutOfRangeError

from consumer.events.record import SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.bounds import Span
from consumer.source.clients.confluent_client import by_name, named, open_consumer, to_record

_POLL_S = 0.2
_POLL_RECORDS = 2000
_END, _NO_SUCH_OFFSET = "_PARTITION_EOF", "_AUTO_OFFSET_RESET"


def read(settings: Kafka, spans: Sequence[Span]) -> Iterator[tuple[Span, Sequence[SourceRecord], int]]:
    """Reads for :func:`consumer.source.range_reader.read`.

    Raises:
        OffsetOutOfRangeError: the record at a position does not exist; for the partitions in ``args[0]``.
        KafkaError, OSError: from the broker, as kafka-python's.
    """
    left = {(span.topic, span.partition): span for span in spans if span.size}
    at = {part: span.begin for part, span in left.items()}
    # The EOF event's offset also passes transaction markers and compacted gaps; the last record's offset may not.
    consumer = open_consumer(settings, {"auto.offset.reset": "error", "enable.partition.eof": True})
    try:
        with named():
            consumer.assign([TopicPartition(*part, offset) for part, offset in at.items()])
        while left:
            with named():
                first = consumer.poll(_POLL_S)
                messages = [] if first is None else [first, *consumer.consume(_POLL_RECORDS - 1, 0)]
            found = _records(messages, at)
            for part, span in list(left.items()):
                records = found.get(part, [])
                if records and records[-1].offset >= span.end:
                    records = [record for record in records if record.offset < span.end]
                yield span, records, min(at[part], span.end)
                if at[part] >= span.end:
                    del left[part]
                    with named():
                        consumer.pause([TopicPartition(*part)])
    finally:
        consumer.close()


def _records(messages: Sequence[Message], at: dict[tuple[str, int], int]) -> dict[tuple[str, int], list[SourceRecord]]:
    """The records by partition; updates ``at``. Raises the client's errors, except for the end of a partition."""
    found: dict[tuple[str, int], list[SourceRecord]] = defaultdict(list)
    for message in messages:
        error = message.error()
        if error is None:
            record = to_record(message)
            part = record.topic, record.partition
            found[part].append(record)
            at[part] = record.offset + 1
        elif error.name() == _END:
            at[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0)
        elif error.name() == _NO_SUCH_OFFSET:
            part = str(message.topic()), int(message.partition() or 0)
            raise OffsetOutOfRangeError({part: at[part]})
        else:
            raise by_name(error)
    return found
