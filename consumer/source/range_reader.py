"""Ranges of topics read once, by a client that is in no group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumer.errors import ConfigError
from consumer.events.record import Partition, SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.bounds import At, Beginning, Bound, End, Offsets, Span
from consumer.source.clients.kafka import (
    beginning_offsets,
    end_offsets,
    failed,
    open_admin,
    open_consumer,
    to_record,
    topics,
)

_log = structlog.get_logger(__name__)
_POLL_MS = 200
_AT_ONCE = 2000
_SILENCE_S = 5.0

Portion: TypeAlias = tuple[Span, Sequence[SourceRecord], int]
"""Of which range, the records, and how far it is read."""


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
                one = min(strange)
                raise ConfigError(
                    "--from, --to",
                    f"{one.topic}[{one.number}] is no partition that is read here",
                    allowed=f"partitions of {', '.join(names)}",
                )
            parts = [part for part in parts if Partition(part.topic, part.partition) in bound.of]
    consumer = open_consumer(settings)
    try:
        first, last = beginning_offsets(consumer, parts), end_offsets(consumer, parts)
        begins, ends = (_offsets(consumer, bound, parts, first, last) for bound in (begin, end))
        for option, bound, found in (("--from", begin, begins), ("--to", end, ends)):
            _say_if_beyond(option, bound, found, last)
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


def read(
    settings: Kafka, spans: Sequence[Span], on_silence: Callable[[float], None] = lambda _: None
) -> Iterator[Portion]:
    """The records of ``spans``, in each partition's order, and how far each is read.

    Answers without records too, so that the caller may do something else while there are none. ``on_silence`` is told
    every few seconds for how many nothing has come, which means that a broker is away: below the ends there is always
    more.

    Raises:
        ServerUnavailable, ServerError: of the broker.
    """
    return watched(_portions(settings, spans), on_silence, time.monotonic)


def watched(
    portions: Iterator[Portion], on_silence: Callable[[float], None], clock: Callable[[], float]
) -> Iterator[Portion]:
    """``portions``; the time that is waited for one that gets further is told."""
    at: dict[tuple[str, int], int] = {}
    silent_s = said_s = 0.0
    while True:
        began = clock()
        portion = next(portions, None)
        silent_s += clock() - began
        if portion is None:
            return
        span, _, position = portion
        part = span.topic, span.partition
        if position > at.get(part, span.begin):
            at[part] = position
            silent_s = said_s = 0.0
        yield portion
        if silent_s >= said_s + _SILENCE_S:
            said_s = silent_s
            on_silence(silent_s)


def _portions(settings: Kafka, spans: Sequence[Span]) -> Iterator[Portion]:
    if settings.client == "confluent":
        from consumer.source.clients.confluent_reader import read as read_with_confluent

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


def _say_if_beyond(
    option: str, bound: Bound, found: Mapping[TopicPartition, int], last: Mapping[TopicPartition, int]
) -> None:
    beyond = sorted(f"{part.topic}[{part.partition}]" for part in found if found[part] > last[part])
    is_later = isinstance(bound, At) and found == last  # no record has reached this time, or there is none
    if beyond or (is_later and any(last.values())):
        _log.warning(
            "the bound lies behind the end: nothing is there yet",
            action="replay.beyond",
            bound=f"{option} {bound}",
            partitions=beyond,
        )


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
