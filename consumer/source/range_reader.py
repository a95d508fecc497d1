"""Reads ranges of topics once, with a client outside of any group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from consumer.errors import CdcError, ConfigError, RecordsGone
from consumer.events.record import Partition, SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.bounds import At, Beginning, Bound, End, Offsets, Span
from consumer.source.clients.kafka import (
    beginning_offsets,
    end_offsets,
    failed,
    open_admin,
    open_consumer,
    topics,
)

_log = structlog.get_logger(__name__)
_POLL_MS = 200
_POLL_RECORDS = 2000
_SILENCE_S = 5.0

Portion: TypeAlias = tuple[Span, Sequence[SourceRecord], int]
"""A span, some of its records, and the offset up to which it is read."""


def resolve(
    settings: Kafka, names: Sequence[str], begin: Bound, end: Bound, *, may_be_later: bool = False
) -> list[Span]:
    """The ranges between two bounds, for every partition of the topics ``names``.

    ``may_be_later``: a time after the last record is no reason for a warning.

    Raises:
        ConfigError: a bound names a partition that does not exist.
        ServerUnavailable, ServerError: from the broker.
    """
    counts = topics(settings)
    parts = [TopicPartition(name, number) for name in names for number in range(counts.get(name, 0))]
    for bound in (begin, end):
        if isinstance(bound, Offsets):
            if unknown := bound.of.keys() - {Partition(part.topic, part.partition) for part in parts}:
                one = min(unknown)
                raise ConfigError(
                    "--from, --to",
                    f"{one.topic}[{one.number}] is not a partition of these topics",
                    allowed=f"partitions of {', '.join(names)}",
                )
            parts = [part for part in parts if Partition(part.topic, part.partition) in bound.of]
    consumer = open_consumer(settings)
    try:
        first, last = beginning_offsets(consumer, parts), end_offsets(consumer, parts)
        begins, ends = (_offsets(consumer, bound, parts, first, last) for bound in (begin, end))
        for option, bound, found in (("--from", begin, begins), ("--to", end, ends)):
            _warn_if_beyond(option, bound, found, last, may_be_later=may_be_later)
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)
    gone = sum(max(0, first[part] - begins[part]) for part in parts)
    if gone:
        _log.warning("the first records of the range were deleted", action="replay.gone", offsets=gone)
    return [
        Span(part.topic, part.partition, max(begins[part], first[part]), min(ends[part], last[part])) for part in parts
    ]


def committed(settings: Kafka) -> Mapping[Partition, int]:
    """The offsets of the consumer's group, asked without joining the group.

    Raises:
        ServerUnavailable, ServerError: from the broker.
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

    Also yields portions without records, so that the caller can do other work. ``on_silence`` is called every few
    seconds with the number of seconds without progress. Before the ends there are always more records, so no progress
    means that a broker is away, or that the records are gone.

    Raises:
        RecordsGone: records of ``spans`` that were not read yet do not exist any more.
        ServerUnavailable, ServerError: from the broker.
    """
    reached = {span: span.begin for span in spans}

    def silent(seconds: float) -> None:
        on_silence(seconds)
        try:
            check_present(settings, [replace(span, begin=at) for span, at in reached.items()])
        except RecordsGone:
            raise
        except CdcError:
            return  # a broker is away or starts; the client tries again by itself

    try:
        for span, records, position in watched(_portions(settings, spans), silent, time.monotonic):
            reached[span] = position
            yield span, records, position
    except OffsetOutOfRangeError as error:
        raise _gone(error.args[0]) from None
    except (KafkaError, OSError) as error:
        raise failed(error) from None


def check_present(settings: Kafka, spans: Sequence[Span]) -> None:
    """Check that Kafka still has the first and the last records of ``spans``.

    Raises:
        RecordsGone: it has not.
        ServerUnavailable, ServerError: from the broker.
    """
    parts = {TopicPartition(span.topic, span.partition): span for span in spans if span.size}
    consumer = open_consumer(settings)
    try:
        first, last = beginning_offsets(consumer, parts), end_offsets(consumer, parts)
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)
    gone = {part: span.begin for part, span in parts.items() if first[part] > span.begin or last[part] < span.end}
    if gone:
        raise _gone(gone)


def _gone(offsets: Mapping[TopicPartition, int]) -> RecordsGone:
    """The error for partitions without the records from these offsets on, or without later ones that were there."""
    where = ", ".join(f"{topic}[{number}]@{offset}" for (topic, number), offset in sorted(offsets.items()))
    problem = f"records from {where} on were deleted before they were read, or the topic was created again"
    return RecordsGone("Kafka", problem, "start the command again; a replay with --resume needs a new file")


def watched(
    portions: Iterator[Portion], on_silence: Callable[[float], None], clock: Callable[[], float]
) -> Iterator[Portion]:
    """``portions``, with calls of ``on_silence`` while none of them makes progress."""
    at: dict[tuple[str, int], int] = {}
    silent_s = reported_s = 0.0
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
            silent_s = reported_s = 0.0
        yield portion
        if silent_s >= reported_s + _SILENCE_S:
            reported_s = silent_s
            on_silence(silent_s)


def _portions(settings: Kafka, spans: Sequence[Span]) -> Iterator[Portion]:
    if settings.client == "confluent":
        from consumer.source.clients.confluent_reader import read as read_with_confluent

        yield from read_with_confluent(settings, spans)
        return
    left = {TopicPartition(span.topic, span.partition): span for span in spans if span.size}
    # A position that does not exist is an error. By itself the client would go on at the first record that exists.
    consumer = open_consumer(settings, auto_offset_reset="none", max_poll_records=_POLL_RECORDS)
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
                # The position also passes transaction markers and compacted gaps; the last record's offset may not.
                position = consumer.position(part)
                yield span, records, min(position, span.end)
                if position >= span.end:
                    del left[part]
                    consumer.pause(part)
    finally:
        consumer.close(autocommit=False)


def _warn_if_beyond(
    option: str,
    bound: Bound,
    found: Mapping[TopicPartition, int],
    last: Mapping[TopicPartition, int],
    *,
    may_be_later: bool,
) -> None:
    beyond = sorted(f"{part.topic}[{part.partition}]" for part in found if found[part] > last[part])
    is_later = isinstance(bound, At) and not may_be_later and found == last  # no record is that new, or there is none
    if beyond or (is_later and any(last.values())):
        _log.warning(
            "the bound is after the end: there are no records yet",
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
            # Kafka answers None for a time later than all records.
            return {part: last[part] if found.get(part) is None else found[part].offset for part in parts}
        case Offsets(of):
            return {part: of[Partition(part.topic, part.partition)] for part in parts}
