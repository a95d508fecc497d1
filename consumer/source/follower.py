"""Reads topics from some offset on, without an end, with a client outside of any group. It commits nothing."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from heapq import merge

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumer.errors import ServerUnavailable
from consumer.events.record import SourceRecord
from consumer.pipeline.kafka_outage import KafkaOutage
from consumer.pipeline.protocols import Observer
from consumer.settings.sections import Kafka
from consumer.source.bounds import Bound, End
from consumer.source.clients.connections import DeferringConnections, poll
from consumer.source.clients.kafka import failed, open_consumer, topics
from consumer.source.range_reader import resolve
from consumer.source.topic_selection import Selection

# How often new topics and partitions are looked for; without records also whether a broker still answers.
_LOOK_S = 10.0
_QUIET_S = 3.0
_POLL_RECORDS = 500


class TopicFollower:
    """Follows the topics of ``selection`` from ``begin`` on, and those that are created later from their beginning."""

    def __init__(self, settings: Kafka, selection: Selection, begin: Bound, repeat_s: float) -> None:
        """Connect. A lasting outage is logged every ``repeat_s`` seconds.

        Raises:
            ConfigError: a broker answered, but refuses these settings, or ``begin`` names an unknown partition.
            ServerUnavailable, ServerError: from the broker.
        """
        self._settings = settings
        self._selection = selection
        self._outage = KafkaOutage(Observer(), repeat_s=repeat_s)
        spans = resolve(settings, selection.topics, begin, End())
        self._known = {TopicPartition(span.topic, span.partition) for span in spans}
        self._looked_at = self._read_at = time.monotonic()
        self._consumer = open_consumer(
            settings,
            kafka_client=DeferringConnections,
            auto_offset_reset="earliest",
            max_poll_records=_POLL_RECORDS,
        )
        self._begin({TopicPartition(span.topic, span.partition): span.begin for span in spans})

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        """The next records, or none after ``timeout_s`` or while the brokers are away; that is logged.

        Raises:
            ServerError: reading can't continue.
        """
        if self._outage.rest_s > 0:
            time.sleep(min(self._outage.rest_s, timeout_s))
            return []
        try:
            self._look()  # first: an error after the poll would lose its records
            polled = poll(self._consumer, timeout_s)
        except (KafkaError, OSError) as error:
            self._failed(failed(error))
            return []
        except ServerUnavailable as error:
            self._failed(error)
            return []
        if polled:
            self._read_at = time.monotonic()
            self._outage.worked()
        # Each partition keeps its order, whatever the times are.
        return list(merge(*polled.values(), key=lambda record: record.timestamp_ms))

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close(autocommit=False)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, ServerUnavailable):
            raise error
        self._outage.failed(error)

    def _look(self) -> None:
        """Ask for the topics now and then. The client polls without an error while brokers are away; this has one."""
        now = time.monotonic()
        if now - self._looked_at < (_LOOK_S if now - self._read_at < _QUIET_S else _QUIET_S):
            return
        self._looked_at = now
        present = topics(self._settings)
        self._outage.worked()
        if new := self._new(present):
            self._known |= new
            self._begin(dict.fromkeys(new, 0))

    def _new(self, present: Mapping[str, int]) -> set[TopicPartition]:
        names = [name for name in present if self._selection.takes(name, self._settings.topics)]
        return {TopicPartition(name, at) for name in names for at in range(present[name])} - self._known

    def _begin(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions too."""
        positions = {part: self._consumer.position(part) for part in self._assigned()}
        self._consumer.assign([*positions, *offsets])
        for part, offset in {**positions, **offsets}.items():
            self._consumer.seek(part, offset)

    def _assigned(self) -> Collection[TopicPartition]:
        return self._consumer.assignment() or ()
