"""Recovery when Redis has less than it acknowledged: nothing is applied until Redis is rebuilt.

Either an operator rebuilds Redis (``replay --rebuild``), or this member rebuilds its own partitions from the topics,
without publishing messages, and then resumes where it stopped. In both cases the wait ends when Redis has offsets of
the partitions again. Each member handles only its own partitions, so several members rebuild at the same time. A member
that gets a partition that is not finished starts its rebuild again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from consumer.events.record import Partition
from consumer.pipeline.checkpoint import Checkpoint
from consumer.pipeline.protocols import Observer, Rebuild, Sink, Source
from consumer.pipeline.retry import REDIS, Reminder, Retry

EMPTIED = "Redis was emptied"
REBUILD = "cdc-consumer replay --rebuild --yes"
"""The command for the operator. The log, the docs and a test contain the same text."""

_log = structlog.get_logger(__name__)
_POLL_S = 0.5


class Recovery:
    """Waits, or lets ``rebuild`` work, until no partition of ``checkpoint`` is lost."""

    def __init__(
        self, sink: Sink, checkpoint: Checkpoint, observer: Observer, reminder: Reminder, rebuild: Rebuild | None
    ) -> None:
        self._sink = sink
        self._checkpoint = checkpoint
        self._observer = observer
        self._reminder = reminder
        self._rebuild = rebuild
        self._rebuilding: Mapping[Partition, int] = {}
        self._stopped_at: Mapping[Partition, int] = {}

    def wait(self, source: Source, retry: Retry, should_stop: Callable[[], bool]) -> None:
        """Returns when no partition is lost any more, or when told to stop. The member stays in the group meanwhile.

        Raises:
            ServerUnavailable, Reconnected: Redis or Kafka could not be asked; call this again.
            ServerError: the rebuild can't continue.
        """
        try:
            while (lost := self._checkpoint.lost) and not should_stop():
                self._report(lost)
                self._store_stops(retry)
                if self._rebuild is not None:
                    self._continue_rebuild(self._rebuild, lost, retry)
                source.idle(_POLL_S)
                self._checkpoint.look_again(source, retry)
        finally:
            if self._rebuild is not None and self._rebuilding:
                self._rebuild.stop()
                self._rebuilding = {}
        if not self._checkpoint.lost:
            self._end(retry)

    def _continue_rebuild(self, rebuild: Rebuild, lost: Mapping[Partition, int], retry: Retry) -> None:
        """Store the offsets of finished partitions in Redis; start the rebuild if lost partitions are not in it."""
        replay_key, done = rebuild.finished() if self._rebuilding else ("", ())
        if ready := {part: at for part, at in lost.items() if part.number in done}:
            is_same = ready.items() <= self._rebuilding.items()
            if is_same and retry(REDIS, lambda: self._sink.store_offsets(ready, replay_key)):
                return
            self._rebuilding = {}  # the assignment has changed, or Redis was emptied once more
        if not lost.items() <= self._rebuilding.items():
            self._rebuilding = dict(self._checkpoint.ends(lost))
            rebuild.start(self._rebuilding)

    def _report(self, lost: Mapping[Partition, int]) -> None:
        action = "it is rebuilt from the topics" if self._rebuild else f"waiting for {REBUILD}"
        self._observer.emptied(f"{EMPTIED}, {action}")
        if self._reminder.is_due(""):
            _log.error(
                "Redis has less than it acknowledged: it was emptied, is another server, or its offsets were deleted."
                " Nothing is applied until it is rebuilt",
                action="redis.emptied",
                since=self._reminder.since,
                partitions=len(lost),
                advice=action if self._rebuild else REBUILD,
            )

    def _store_stops(self, retry: Retry) -> None:
        """Store in Redis where each partition of this member has stopped, also those that are not lost.

        Nothing is applied from any partition. This is repeated, because Redis may be emptied again.
        """
        stops = self._checkpoint.published_up_to
        retry(REDIS, lambda: self._sink.store_stop_offsets(stops))
        self._stopped_at = {**self._stopped_at, **stops}

    def _end(self, retry: Retry) -> None:
        if self._stopped_at:
            retry(REDIS, lambda: self._sink.delete_stop_offsets(self._stopped_at))
            self._stopped_at = {}
        if self._reminder.is_on:
            lasted_s = round(self._reminder.lasted_s, 1)
            self._reminder.is_over()
            _log.info("Redis is rebuilt; records are applied again", action="redis.rebuilt", waited_s=lasted_s)
        self._observer.emptied("")
