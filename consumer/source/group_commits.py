"""Commits of a group's member: which offsets may be committed now, and what the group's answers mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import structlog
from kafka.errors import CommitFailedError, KafkaTimeoutError, UnknownTopicOrPartitionError

from consumer.errors import ServerUnavailable
from consumer.events.record import Partition
from consumer.pipeline.kafka_outage import KafkaOutage
from consumer.pipeline.policy import rule_for
from consumer.pipeline.protocols import BegunCommit, Observer
from consumer.source.clients.kafka import failed
from consumer.source.clients.member import Member
from consumer.source.deleted_topics import DeletedTopics

_log = structlog.get_logger(__name__)
_COMMIT_S = 5.0


class GroupCommits:
    """``deleted`` holds back the offsets of topics that may have been deleted.

    ``cause`` finds out why Kafka refuses this account now, or answers "".
    """

    def __init__(self, member: Member, outage: KafkaOutage, observer: Observer, cause: Callable[[], str]) -> None:
        self._member = member
        self._outage = outage
        self._observer = observer
        self._cause = cause
        self._is_revoking = False
        self.deleted = DeletedTopics(member.extents)

    @contextmanager
    def in_rebalance(self) -> Iterator[None]:
        """Commits in this block are made in the callback of a rebalance."""
        self._is_revoking = True
        try:
            yield
        finally:
            self._is_revoking = False

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Commit and wait; as :meth:`consumer.pipeline.protocols.Source.commit`."""
        wanted, is_complete = self._committable(offsets)
        if not wanted:
            return not offsets

        def commit_now() -> bool:
            self._member.commit(wanted)
            return True

        return self._answer(commit_now, wanted) is True and is_complete

    def begin(self, offsets: Mapping[Partition, int]) -> BegunCommit:
        """As :meth:`commit`, without waiting."""
        wanted, is_complete = self._committable(offsets)
        if not wanted:
            return lambda: not offsets
        is_done, until = self._member.begin_commit(wanted), time.monotonic() + _COMMIT_S

        def is_done_in_time() -> bool:
            if is_done():
                return True
            if time.monotonic() > until:
                raise KafkaTimeoutError(f"no answer to a commit for {_COMMIT_S:.0f} s")
            return False

        def answer() -> bool | None:
            found = self._answer(is_done_in_time, wanted)
            return found and is_complete

        return answer

    def _committable(self, offsets: Mapping[Partition, int]) -> tuple[Mapping[Partition, int], bool]:
        """The offsets of this member's partitions that may be committed now, and whether these are all."""
        assignment = self._member.assignment()
        ours = {partition: offset for partition, offset in offsets.items() if partition in assignment}
        # No look-up in the callback of a rebalance: the group waits for it.
        wanted = self.deleted.committable(ours, may_ask=not self._is_revoking)
        return wanted, len(wanted) == len(ours)

    def _answer(self, is_done: Callable[[], bool], parts: Collection[Partition]) -> bool | None:
        """The answer to a commit, as :data:`BegunCommit`."""
        try:
            return is_done() or None
        except CommitFailedError as error:
            _log.warning("commit refused: the partitions are assigned to another member", action="commit.lost")
            self._observer.uncommitted(failed(error))
            return False
        except Exception as error:
            if isinstance(error, UnknownTopicOrPartitionError):
                self.deleted.doubt(parts)
            found = failed(error)
            if not isinstance(found, ServerUnavailable):
                raise found from None
            if rule_for(error).is_setting:  # heartbeats are refused too, and the client does not report that
                self._outage.failed(found, self._cause())
            else:
                self._observer.uncommitted(found)
            # A commit that timed out may still succeed later; that is harmless, because its offsets are correct.
            _log.info("commit failed; it is tried again later", action="commit.later", error=type(error).__name__)
            return False
