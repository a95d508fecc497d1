"""Records from Kafka, as a member of a consumer group: what is done about all that may come between.

Nothing of a client is seen here but the names of errors; there are two (docs/decisions/0021-second-kafka-client.md).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import structlog
from kafka.errors import CommitFailedError, NoBrokersAvailable, NoOffsetForPartitionError, OffsetOutOfRangeError

from consumer.errors import CdcError, ConfigError, ServerUnavailable
from consumer.events.record import Partition, SourceRecord
from consumer.pipeline.interruption import Interruption
from consumer.pipeline.policy import failure, rule_for
from consumer.pipeline.protocols import Observer, Start
from consumer.pipeline.retry import REPEAT_S
from consumer.settings.sections import Kafka
from consumer.source.clients.handshake import shake_hands
from consumer.source.clients.kafka import failed, topics
from consumer.source.clients.kafka import refused as refused_by
from consumer.source.clients.kafka_python_member import KafkaPythonMember
from consumer.source.clients.member import Member, OnPartitions
from consumer.source.topic_selection import Selection, refused

_log = structlog.get_logger(__name__)
_KEEP_ALIVE_S = 0.5
_LOOK_S = 5.0


class KafkaSource:
    """A member of a consumer group. ``on_revoked`` is called while the partitions may still be committed."""

    def __init__(
        self,
        settings: Kafka,
        tables: Sequence[str],
        on_revoked: OnPartitions,
        observer: Observer | None = None,
        repeat_s: float = REPEAT_S,
    ) -> None:
        """Connect. ``tables`` are those of the mapping. An interruption is said again every ``repeat_s`` seconds.

        Raises:
            ConfigError: a broker answered, but not to these settings.
            ServerUnavailable: no broker answered.

        """
        self._settings = settings
        self._tables = tables
        self._on_revoked = on_revoked
        self._observer = observer or Observer()
        self._interruption = Interruption(self._observer, repeat_s=repeat_s)
        self._has_joined = False
        self._repeat_s = repeat_s
        self._began_at = time.monotonic()
        self._is_held = False
        self._ahead: list[SourceRecord] = []
        self._databases: frozenset[str] = frozenset()
        self._refused: Sequence[str] = ()
        self._looked_at = time.monotonic()
        self._generations: dict[Partition, int] = {}
        self._assignments = 0
        self._member = _open(settings)

    def subscribe(self, selection: Selection) -> None:
        """Join the group, for the topics that were selected and those that match their pattern later."""
        self._databases = selection.databases
        self._say_refused(selection.refused)
        self._member.subscribe(self._settings.topics, selection.pattern, self._assigned, self._revoked)

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        if self._is_held:
            self._is_held = False
            self._member.resume()
        if self._ahead:
            ahead, self._ahead = self._ahead, []
            return ahead
        return self._poll(timeout_s)

    def _poll(self, timeout_s: float) -> list[SourceRecord]:
        if (rest_s := self._interruption.rest_s) > 0:
            time.sleep(min(rest_s, timeout_s))
            return []
        try:
            records = self._read(timeout_s)
        except CdcError:
            raise
        except Exception as error:
            self._wait_out(error)
            return []
        self._look_at_connection()
        self._look_at_topics()
        return records

    def _read(self, timeout_s: float) -> list[SourceRecord]:
        try:
            return self._member.read(timeout_s)
        except NoOffsetForPartitionError as error:
            # The group has no offsets of these partitions: everything that Kafka still holds.
            fresh = [Partition(*part) for part in error.args[0]]
            self._member.seek({part: extent.oldest for part, extent in self._member.extents(fresh).items()})
        except OffsetOutOfRangeError as error:
            self._jump(error)
        return []

    def _jump(self, error: OffsetOutOfRangeError) -> None:
        """The next record is gone: deleted before it was read, or the topic was made anew and ends before it."""
        wanted = {Partition(*part): offset for part, offset in error.args[0].items()}
        if self._settings.out_of_range == "halt":
            where = ", ".join(f"{part.topic}[{part.number}]@{offset}" for part, offset in wanted.items())
            raise failure("Kafka", error, f"the committed offset is out of range: {where}") from None
        earliest = {part: extent.oldest for part, extent in self._member.extents(wanted).items()}
        self._member.seek(earliest)
        for part, offset in wanted.items():
            _log.warning(
                "the next record is gone; going on from the earliest",
                action="offset.jumped",
                topic=part.topic,
                partition=part.number,
                wanted=offset,
                goes_on_at=earliest[part],
            )
            self._on_revoked([part])  # what was done is committed and forgotten
            if earliest[part] < offset:  # of a topic that was made anew: what is at hand is the old one's
                self._begin_generation([part])
            self._observer.jumped(part, offset, earliest[part])

    def _wait_out(self, error: Exception) -> None:
        """Take note of a failure that may pass.

        Raises:
            ConfigError: it never worked, and a setting is to blame.
            ServerError: it will not pass.

        """
        is_setting = rule_for(error).is_setting
        if is_setting and not self._has_joined:
            raise refused_by(self._settings, error) from None
        found = failed(error)
        if not isinstance(found, ServerUnavailable):
            raise found from None
        self._interruption.failed(found, self._cause() if is_setting else "")

    def _look_at_connection(self) -> None:
        """A client polls without a word while brokers are away."""
        # Joining takes its time; but who can't for long has no coordinator to join at.
        is_joining = not self._has_joined and time.monotonic() - self._began_at < self._repeat_s
        if is_joining or self._member.is_connected():
            self._interruption.worked()
        else:
            away = failure("Kafka", NoBrokersAvailable(), "no connection to the group's coordinator")
            self._interruption.unconnected(away, self._cause)

    def _look_at_topics(self) -> None:
        """Now and then: topics of another database that have come under the prefix."""
        if self._settings.topics or time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = time.monotonic()
        try:
            present = self._member.topics()
        except Exception:  # what matters of it is met, and told, where records are read
            return
        self._say_refused(refused(present, self._settings, self._tables, self._databases))

    def _say_refused(self, topics: Sequence[str]) -> None:
        for topic in sorted(set(topics) - set(self._refused)):
            _log.error(
                "a topic of another database lies under the prefix and is not followed",
                action="topic.refused",
                topic=topic,
                followed=", ".join(sorted(self._databases)),
                advice="keep that database out of the connector's table.include.list; if it is the right one, set"
                " CDC_SOURCE__DATABASE",
            )
        self._refused = tuple(topics)
        self._observer.refused(self._refused)

    def _cause(self) -> str:
        """A certificate or a password that was good before."""
        try:
            shake_hands(self._settings)
        except ConfigError as error:
            return str(error)
        return ""

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        ours = self._member.assignment()
        wanted = {partition: offset for partition, offset in offsets.items() if partition in ours}
        if not wanted:
            return not offsets
        try:
            self._member.commit(wanted)
        except CommitFailedError as error:
            _log.warning("commit refused: the partitions are another member's now", action="commit.lost")
            self._observer.uncommitted(failed(error))
            return False
        except Exception as error:
            found = failed(error)
            if not isinstance(found, ServerUnavailable):
                raise found from None
            if rule_for(error).is_setting:  # then heartbeats are refused too, which a client keeps to itself
                self._interruption.failed(found, self._cause())
            else:
                self._observer.uncommitted(found)
            # One that timed out may land all the same, in order: it says nothing that is not true.
            _log.info("commit put off", action="commit.later", error=type(error).__name__)
            return False
        return True

    def assignment(self) -> Mapping[Partition, int]:
        ours = self._member.assignment()
        return {part: generation for part, generation in self._generations.items() if part in ours}

    def starts(self, partitions: Collection[Partition]) -> Mapping[Partition, Start]:
        try:
            extents, committed = self._member.extents(partitions), self._member.committed(partitions)
        except Exception as error:
            raise failed(error) from None
        found = {}
        for part, (oldest, end) in extents.items():
            offset = committed[part]
            # Out of range: reading goes on at the oldest, or has been halted.
            begins = offset if offset is not None and oldest <= offset <= end else oldest
            found[part] = Start(begins, oldest, offset is None)
        return found

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self._drop_ahead(offsets)
        ours = self._member.assignment()
        self._member.seek({partition: offset for partition, offset in offsets.items() if partition in ours})

    def idle(self, seconds: float) -> None:
        self._is_held = True
        while seconds > 0:
            self._member.pause(self._member.assignment())
            step = min(seconds, _KEEP_ALIVE_S)
            # What a partition that was assigned this moment brings is kept for the next poll.
            self._ahead += self._poll(step)
            seconds -= step

    def lag(self) -> Mapping[Partition, int]:
        return self._member.lag()

    def close(self) -> None:
        self._member.close()

    def _revoked(self, partitions: Sequence[Partition]) -> None:
        if not partitions:
            return
        _log.info("partitions revoked", action="group.revoked", partitions=len(partitions))
        try:
            self._on_revoked(partitions)
        finally:
            self._drop_ahead(partitions)
            for part in partitions:
                self._generations.pop(part, None)

    def _assigned(self, partitions: Sequence[Partition]) -> None:
        _log.info("partitions assigned", action="group.assigned", partitions=len(partitions))
        self._has_joined = True
        self._drop_ahead(partitions)
        self._begin_generation(partitions)
        self._observer.assigned(partitions)
        if self._is_held:
            self._member.pause(partitions)

    def _begin_generation(self, partitions: Sequence[Partition]) -> None:
        self._assignments += 1
        self._generations.update(dict.fromkeys(partitions, self._assignments))

    def _drop_ahead(self, partitions: Collection[Partition]) -> None:
        self._ahead = [record for record in self._ahead if (record.topic, record.partition) not in partitions]


def _open(settings: Kafka) -> Member:
    if settings.client == "kafka-python":
        return KafkaPythonMember(settings)
    from consumer.source.clients.confluent_member import ConfluentMember

    topics(settings)  # so that what is wrong with a connection is told the same, whichever client it is
    return ConfluentMember(settings)
