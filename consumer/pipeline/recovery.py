"""What follows where Redis has less than it acknowledged: nothing is applied until it has it again.

Either an operator rebuilds it (``replay --rebuild``), or this member rebuilds what is its own, from the topics and
without a message, and then goes on from where it was. Both end alike: the partitions are known to Redis again. Each
member sees to the partitions that it has, so several of them rebuild beside each other, and who gets a partition that
is not done yet begins with it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from consumer.events.record import Partition
from consumer.pipeline.checkpoint import Checkpoint
from consumer.pipeline.protocols import Observer, Rebuild, Sink, Source
from consumer.pipeline.retry import REDIS, Reminder, Retry, since

EMPTIED = "Redis was emptied"
REBUILD = "cdc-consumer replay --rebuild --yes"
"""What an operator runs then; as it stands here it is in the log, in the docs and in a test."""

_log = structlog.get_logger(__name__)
_LOOK_S = 0.5


class Recovery:
    """Waits, or has ``rebuild`` do it, until no partition of ``checkpoint`` is lost."""

    def __init__(
        self, sink: Sink, checkpoint: Checkpoint, observer: Observer, reminder: Reminder, rebuild: Rebuild | None
    ) -> None:
        self._sink = sink
        self._checkpoint = checkpoint
        self._observer = observer
        self._reminder = reminder
        self._rebuild = rebuild
        self._under_way: Mapping[Partition, int] = {}
        self._told: Mapping[Partition, int] = {}

    def wait(self, source: Source, retry: Retry, should_stop: Callable[[], bool]) -> None:
        """Returns when nothing is lost any more, or told to stop. Membership of the group is kept meanwhile.

        Raises:
            ServerUnavailable, Reconnected: Redis or Kafka could not be asked; to be called again.
            ServerError: the rebuild can't go on.
        """
        try:
            while (lost := self._checkpoint.lost) and not should_stop():
                self._say(lost)
                self._tell(retry)
                if self._rebuild is not None:
                    self._go_on_with_rebuild(self._rebuild, lost, retry)
                source.idle(_LOOK_S)
                self._checkpoint.look_again(source, retry)
        finally:
            if self._rebuild is not None and self._under_way:
                self._rebuild.stop()
                self._under_way = {}
        if not self._checkpoint.lost:
            self._end(retry)

    def _go_on_with_rebuild(self, rebuild: Rebuild, lost: Mapping[Partition, int], retry: Retry) -> None:
        """Have it begin with what is lost; what it has finished is known to Redis from then on."""
        canary, done = rebuild.finished() if self._under_way else ("", ())
        if ready := {part: at for part, at in lost.items() if part.number in done}:
            is_same = ready.items() <= self._under_way.items()
            if is_same and retry(REDIS, lambda: self._sink.remember(ready, canary)):
                return
            self._under_way = {}  # the partitions are others by now, or Redis was emptied once more
        if not lost.items() <= self._under_way.items():
            self._under_way = dict(self._checkpoint.ends(lost))
            rebuild.start(self._under_way)

    def _say(self, lost: Mapping[Partition, int]) -> None:
        waits = "it is rebuilt from the topics" if self._rebuild else f"waiting for {REBUILD}"
        self._observer.emptied(f"{EMPTIED}, {waits}")
        if self._reminder.is_due(""):
            _log.error(
                "Redis has less than it acknowledged: it was emptied, is another one, or its key was removed."
                " Nothing is applied until it has it again",
                action="redis.emptied",
                since=since(self._reminder),
                partitions=len(lost),
                advice=waits if self._rebuild else REBUILD,
            )

    def _tell(self, retry: Retry) -> None:
        """Where each partition of this member has stopped, lost or not, for nothing is applied of any. Said each time,
        for Redis may be emptied again.
        """
        told = self._checkpoint.told
        retry(REDIS, lambda: self._sink.stop_at(told))
        self._told = {**self._told, **told}

    def _end(self, retry: Retry) -> None:
        if self._told:
            retry(REDIS, lambda: self._sink.go_on_with(self._told))
            self._told = {}
        if self._reminder.is_on:
            lasted_s = round(self._reminder.lasted_s, 1)
            self._reminder.is_over()
            _log.info("Redis has again what it had lost, going on", action="redis.rebuilt", waited_s=lasted_s)
        self._observer.emptied("")
