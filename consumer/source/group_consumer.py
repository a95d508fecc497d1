"""Reads records as a member of a consumer group, and handles rebalances, lost connections and missing offsets.

The client library is hidden behind :class:`Member`, except for the names of its errors. There are two libraries
(docs/decisions/0021-second-kafka-client.md).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import structlog
from kafka.errors import (
    NoBrokersAvailable,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from consumer.errors import CdcError, ConfigError, ServerUnavailable
from consumer.events.record import Partition, SourceRecord, first_partitions
from consumer.pipeline.kafka_outage import KafkaOutage
from consumer.pipeline.policy import OTHER_DATABASE, failure, rule_for
from consumer.pipeline.protocols import BegunCommit, Observer, Start
from consumer.pipeline.retry import REPEAT_S
from consumer.settings.sections import Kafka
from consumer.source.clients.handshake import probe_broker
from consumer.source.clients.kafka import failed, topics
from consumer.source.clients.kafka import refused as refused_by
from consumer.source.clients.kafka_python_member import KafkaPythonMember
from consumer.source.clients.member import Member, OnPartitions
from consumer.source.group_commits import GroupCommits
from consumer.source.partition_watch import PartitionWatch
from consumer.source.topic_selection import Selection, refused

_log = structlog.get_logger(__name__)
_KEEP_ALIVE_S = 0.5
_TOPICS_AGE_S = 5.0
_PARTITIONS_AGE_S = 1.0
_MOST_NAMES = 10


class KafkaSource:
    """A member of a consumer group. ``on_revoked`` is called while the partitions' offsets can still be committed."""

    def __init__(
        self,
        settings: Kafka,
        tables: Sequence[str],
        on_revoked: OnPartitions,
        observer: Observer | None = None,
        repeat_s: float = REPEAT_S,
    ) -> None:
        """Connect. ``tables``: the tables of the mapping. A lasting outage is logged every ``repeat_s`` seconds.

        Raises:
            ConfigError: a broker answered, but refuses these settings.
            ServerUnavailable: no broker answered.

        """
        self._settings = settings
        self._tables = tables
        self._on_revoked = on_revoked
        self._observer = observer or Observer()
        self._kafka_outage = KafkaOutage(self._observer, repeat_s=repeat_s)
        self._has_joined = False
        self._repeat_s = repeat_s
        self._began_at = time.monotonic()
        self._is_paused = False
        self._early_records: list[SourceRecord] = []
        self._databases: frozenset[str] = frozenset()
        self._refused: Sequence[str] = ()
        self._topics_at = self._partitions_at = time.monotonic()
        self._generations: dict[Partition, int] = {}
        self._assignments = 0
        self._member = _open(settings)
        self._commits = GroupCommits(self._member, self._kafka_outage, self._observer, self._cause)
        self._watch = PartitionWatch(settings)

    def subscribe(self, selection: Selection) -> None:
        """Join the group, for the selected topics and for later topics that match their pattern."""
        self._databases = selection.databases
        self._report_refused(selection.refused)
        self._member.subscribe(self._settings.topics, selection.pattern, self._assigned, self._revoked)

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        if self._is_paused:
            self._is_paused = False
            self._member.resume()
            self._watch.forget_stuck()
        if self._early_records:
            early, self._early_records = self._early_records, []
            return early
        return self._poll(timeout_s)

    def _poll(self, timeout_s: float) -> list[SourceRecord]:
        if (rest_s := self._kafka_outage.rest_s) > 0:
            time.sleep(min(rest_s, timeout_s))
            return []
        try:
            self._check_partitions()  # first: an error of it must not come when records were taken
            records = self._read(timeout_s)
        except CdcError:
            raise
        except Exception as error:
            self._watch.forget_stuck()
            self._handle_failure(error)
            return []
        if not records and not self._is_paused:
            self._watch.polled_nothing()
        self._check_connection()
        self._check_topics()
        return records

    def _read(self, timeout_s: float) -> list[SourceRecord]:
        try:
            return self._member.read(timeout_s)
        except NoOffsetForPartitionError as error:
            # The group has no offsets of these partitions: read from the oldest record.
            fresh = [Partition(*part) for part in error.args[0]]
            self._member.seek({part: extent.oldest for part, extent in self._member.extents(fresh).items()})
        except OffsetOutOfRangeError as error:
            self._jump(error)
        return []

    def _jump(self, error: OffsetOutOfRangeError) -> None:
        """The next record does not exist: it was deleted, or the topic was created again and ends before it."""
        wanted = {Partition(*part): offset for part, offset in error.args[0].items()}
        topics = {part.topic for part in wanted}  # the client names one partition at a time
        self._commits.deleted.doubt([part for part in self._member.assignment() if part.topic in topics])
        if self._settings.out_of_range == "halt":
            where = ", ".join(f"{part.topic}[{part.number}]@{offset}" for part, offset in wanted.items())
            raise failure("Kafka", error, f"the committed offset is out of range: {where}") from None
        earliest = {part: extent.oldest for part, extent in self._member.extents(wanted).items()}
        self._member.seek(earliest)
        for part, offset in wanted.items():
            _log.warning(
                "the next record does not exist any more; reading continues at the earliest record",
                action="offset.jumped",
                topic=part.topic,
                partition=part.number,
                wanted=offset,
                goes_on_at=earliest[part],
            )
            if earliest[part] < offset:  # the topic was created again: what was read and is in flight is of the old one
                self._begin_generation([part])
            self._revoke([part])
            self._observer.jumped(part, offset, earliest[part])

    def _handle_failure(self, error: Exception) -> None:
        """Record a temporary failure.

        Raises:
            ConfigError: the group was never joined, and the failure is due to a setting.
            ServerError: the failure is permanent.

        """
        is_setting = rule_for(error).is_setting
        if is_setting and not self._has_joined:
            raise refused_by(self._settings, error) from None
        found = failed(error)
        if not isinstance(found, ServerUnavailable):
            raise found from None
        self._kafka_outage.failed(found, self._cause() if is_setting else "")

    def _check_connection(self) -> None:
        """While brokers are away the client polls without an error, so the connection is checked here."""
        # Joining takes some time; but if it takes long, there is no connection to the coordinator.
        is_joining = not self._has_joined and time.monotonic() - self._began_at < self._repeat_s
        if not is_joining and not self._member.is_connected():
            away = failure("Kafka", NoBrokersAvailable(), "no connection to the group's coordinator")
            self._kafka_outage.unconnected(away, self._cause)
        elif unanswered := self._watch.unanswered:
            away = failure(
                "Kafka",
                NoBrokersAvailable(),
                f"no answer from the leader of {first_partitions(sorted(unanswered), _MOST_NAMES)}",
            )
            self._kafka_outage.unconnected(away, lambda: away.problem)
        else:
            self._kafka_outage.worked()

    def _check_partitions(self) -> None:
        """Once a second: go on with the checks for partitions that are not read."""
        if time.monotonic() - self._partitions_at < _PARTITIONS_AGE_S:
            return
        self._partitions_at = time.monotonic()
        if not self._member.is_connected():
            self._watch.forget()
            return
        # While a member joins again, the client still has its partitions, and reads none of them.
        ours = {part: found for part, found in self._member.readings().items() if part in self._generations}
        if stuck := self._watch.step(ours):
            _log.warning(
                "partitions are not read although they have records; reading begins again at the same place",
                action="partitions.stuck",
                partitions=first_partitions(sorted(stuck), _MOST_NAMES),
            )
            self._member.begin_again(stuck)

    def _check_topics(self) -> None:
        """Every few seconds: report new topics of another database with the same prefix."""
        if self._settings.topics or time.monotonic() - self._topics_at < _TOPICS_AGE_S:
            return
        self._topics_at = time.monotonic()
        try:
            present = self._member.topics()
        except Exception:  # if it matters, reading fails too, and that is reported
            return
        self._report_refused(refused(present, self._settings, self._tables, self._databases))

    def _report_refused(self, topics: Sequence[str]) -> None:
        for topic in sorted(set(topics) - set(self._refused)):
            _log.error(
                "a topic of another database has the same prefix and is not consumed",
                action="topic.refused",
                topic=topic,
                consumed=", ".join(sorted(self._databases)),
                advice=OTHER_DATABASE,
            )
        self._refused = tuple(topics)
        self._observer.refused(self._refused)

    def _cause(self) -> str:
        """Why a certificate or a password that worked before is refused now; "" if it is accepted."""
        try:
            probe_broker(self._settings)
        except ConfigError as error:
            return str(error)
        return ""

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        return self._commits.commit(offsets)

    def begin_commit(self, offsets: Mapping[Partition, int]) -> BegunCommit:
        return self._commits.begin(offsets)

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
            # If the offset is out of range, reading continues at the oldest record, or was halted.
            begins = offset if offset is not None and oldest <= offset <= end else oldest
            # To halt at the next start too, the group must keep the offset that is out of range.
            is_kept = offset in (None, begins) or self._settings.out_of_range == "halt"
            found[part] = Start(begins, oldest, offset is None, is_kept)
        return found

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self._drop_early(offsets)
        ours = self._member.assignment()
        self._member.seek({part: offset for part, offset in offsets.items() if part in ours})

    def idle(self, seconds: float) -> None:
        self._is_paused = True
        while seconds > 0:
            self._member.pause(self._member.assignment())
            step = min(seconds, _KEEP_ALIVE_S)
            # Records of a partition that was assigned just now may arrive before the pause; the next poll returns them.
            early = self._poll(step)  # it may drop those of the steps before
            self._early_records += early
            seconds -= step

    def lag(self) -> Mapping[Partition, int | None]:
        left = self._watch.left(self._member.readings())
        # If only some leaders do not answer, the numbers of the other partitions are known.
        is_away = self._kafka_outage.is_on and not self._watch.unanswered
        return dict.fromkeys(left) if is_away else left

    def close(self) -> None:
        self._member.close()
        self._watch.close()  # it may wait for a leader, and the group must not wait for that

    def _revoked(self, partitions: Sequence[Partition]) -> None:
        if not partitions:
            return
        _log.info("partitions revoked", action="group.revoked", partitions=len(partitions))
        try:
            self._revoke(partitions)
        finally:
            self._drop_early(partitions)
            for part in partitions:
                self._generations.pop(part, None)

    def _revoke(self, partitions: Sequence[Partition]) -> None:
        """Let the pipeline commit what is done, and forget the partitions."""
        with self._commits.in_rebalance():
            self._on_revoked(partitions)

    def _assigned(self, partitions: Sequence[Partition]) -> None:
        _log.info("partitions assigned", action="group.assigned", partitions=len(partitions))
        self._has_joined = True
        self._begin_generation(partitions)
        self._observer.assigned(partitions)
        if self._is_paused:
            self._member.pause(partitions)

    def _begin_generation(self, partitions: Sequence[Partition]) -> None:
        """The partitions are started again: what was read of them and is not applied yet is dropped."""
        self._drop_early(partitions)
        self._commits.deleted.trust(partitions)
        self._assignments += 1
        self._generations.update(dict.fromkeys(partitions, self._assignments))

    def _drop_early(self, partitions: Collection[Partition]) -> None:
        self._early_records = [each for each in self._early_records if (each.topic, each.partition) not in partitions]


def _open(settings: Kafka) -> Member:
    if settings.client == "kafka-python":
        return KafkaPythonMember(settings)
    from consumer.source.clients.confluent_member import ConfluentMember

    topics(settings)  # connect once with kafka-python, so that connection errors are the same for both clients
    return ConfluentMember(settings)
