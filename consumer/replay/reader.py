"""Ranges of topics read once, by a client that is in no group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumer.errors import ConfigError
from consumer.kafka_client import failed, open_admin, open_consumer, to_record, topics
from consumer.record import SourceRecord
from consumer.replay.bounds import At, Beginning, Bound, End, Offsets, Span
from consumer.sections import Kafka
from consumer.watermark import Partition

_log = structlog.get_logger(__name__)
_POLL_MS = 200
_AT_ONCE = 2000


def resolve(settings: Kafka, names: Sequence[str], begin: Bound, end: Bound) -> list[Span]:
    """The ranges between two bounds, in numbers, of every partition of the topics ``names``.

    Raises:
        ConfigError: a bound names a partition that is not there.
        ServerUnavailable, ServerError: of the broker.
    """
    counts = topics(settings)
    parts = [TopicPartition(name, number) for name in names for number in range(counts.get(name, 0))]
    for bound in (begin, end):
        if isinstance(bound, Offsets):
            if strange := bound.of.keys() - {Partition(part.topic, part.partition) for part in parts}:
                first = min(strange)
                raise ConfigError(
                    "--from, --to", f"{first.topic}[{first.number}] is no partition that is read here", ", ".join(names)
                )
            parts = [part for part in parts if Partition(part.topic, part.partition) in bound.of]
    consumer = open_consumer(settings)
    try:
        first, last = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
        begins, ends = (_offsets(consumer, bound, parts, first, last) for bound in (begin, end))
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)
    gone = sum(max(0, first[part] - begins[part]) for part in parts)
    if gone:
        _log.warning("the first records of the range are not there any more", action="replay.gone", offsets=gone)
    return [
        Span(part.topic, part.partition, max(begins[part], first[part]), min(ends[part], last[part])) for part in parts
    ]


def committed(settings: Kafka) -> Mapping[Partition, int]:
    """Where the live consumer's group is; asked without joining it.

    Raises:
        ServerUnavailable, ServerError: of the broker.
    """
    with open_admin(settings) as admin:
        try:
            found = admin.list_consumer_group_offsets(settings.group_id)
        except Exception as error:
            raise failed(error) from None
    return {
        Partition(part.topic, part.partition): offset.offset for part, offset in found.items() if offset.offset >= 0
    }


def read(settings: Kafka, spans: Sequence[Span]) -> Iterator[tuple[Span, Sequence[SourceRecord], int]]:
    """The records of ``spans``, in each partition's order, and how far each is read.

    Answers without records too, so that the caller may do something else while there are none.

    Raises:
        ServerUnavailable, ServerError: of the broker.
    """
    if settings.client == "confluent":
        from consumer.replay.confluent_reader import read as read_with_confluent

        yield from read_with_confluent(settings, spans)
        return
    left = {TopicPartition(span.topic, span.partition): span for span in spans if span.size}
    consumer = open_consumer(settings, auto_offset_reset="earliest", max_poll_records=_AT_ONCE)
    try:
        consumer.assign(list(left))
        for part, span in left.items():
            consumer.seek(part, span.begin)
        while left:
            polled = consumer.poll(timeout_ms=_POLL_MS)
            for part, span in list(left.items()):
                records = polled.get(part, ())
                if records and records[-1].offset >= span.end:
                    records = [record for record in records if record.offset < span.end]
                # The position passes transaction markers and compacted gaps; the last record's offset may not.
                position = consumer.position(part)
                yield span, [to_record(record) for record in records], min(position, span.end)
                if position >= span.end:
                    del left[part]
                    consumer.pause(part)
    except (KafkaError, OSError) as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)


def _offsets(
    consumer: KafkaConsumer,
    bound: Bound,
    parts: Sequence[TopicPartition],
    first: Mapping[TopicPartition, int],
    last: Mapping[TopicPartition, int],
) -> Mapping[TopicPartition, int]:
    match bound:
        case Beginning():
            return first
        case End():
            return last
        case At(ms):
            found = consumer.offsets_for_times(dict.fromkeys(parts, ms))
            # There is none of a time that no record has reached.
            return {part: last[part] if found.get(part) is None else found[part].offset for part in parts}
        case Offsets(of):
            return {part: of[Partition(part.topic, part.partition)] for part in parts}
