"""Rebuilds a member's own partitions in a thread, with a worker of ``replay``, while the loop keeps the membership.

Nothing is published. Records from the given offsets on are not read: the loop applies them afterwards.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from consumer.commands.replay.summary import Summary
from consumer.commands.replay.waiting import retried
from consumer.commands.replay.work import Finished, Interrupted, RedisReplaced, Wanted
from consumer.commands.replay.worker import Worker
from consumer.errors import RecordsGone
from consumer.events.record import Partition
from consumer.events.topic_tables import TopicTables
from consumer.mapping.rules import Rules
from consumer.settings.sources import Settings
from consumer.sink.view import RedisView
from consumer.source.bounds import Beginning, Offsets
from consumer.source.range_reader import resolve

_log = structlog.get_logger(__name__)
_MEMORY = 64 * 2**20
"""Bytes that the folds may keep in memory; more is written to a file."""
_JOIN_S = 10.0
_T = TypeVar("_T")


class BackgroundRebuild:
    """Implements :class:`consumer.pipeline.protocols.Rebuild`. ``rules``: with the databases that are consumed.
    ``tables``: the known tables of each topic.
    """

    def __init__(self, settings: Settings, rules: Rules, tables: TopicTables) -> None:
        self._settings = settings
        self._rules = rules
        self._tables = tables
        self._run: _Run | None = None

    def start(self, ends: Mapping[Partition, int]) -> None:
        self.stop()
        pairs = self._tables.pairs({part.topic for part in ends})
        self._run = _Run(self._settings, self._rules, pairs, dict(ends))
        self._run.thread.start()

    def finished(self) -> tuple[str, Collection[int]]:
        return self._run.finished() if self._run is not None else ("", ())

    def stop(self) -> None:
        if self._run is not None:
            self._run.should_stop.set()
            self._run = None

    def close(self) -> None:
        """Stop the rebuild, and wait until it has ended."""
        run = self._run
        self.stop()
        if run is not None:
            run.thread.join(_JOIN_S)


@dataclass(slots=True)
class _Run:
    """One rebuild up to the offsets ``ends``, in its own thread."""

    settings: Settings
    rules: Rules
    tables: Sequence[tuple[str, str]]
    ends: Mapping[Partition, int]
    should_stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _replay_key: str = ""
    _done: frozenset[int] = frozenset()
    _error: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run_until_done, name="rebuild", daemon=True)

    def finished(self) -> tuple[str, Collection[int]]:
        with self._lock:
            if self._error is not None:
                raise self._error
            return self._replay_key, self._done

    def _run_until_done(self) -> None:
        try:
            while True:
                try:
                    self._rebuild_all()
                    return
                except RedisReplaced:
                    _log.warning("Redis was restarted or emptied: the rebuild starts again", action="replay.again")
                except RecordsGone as error:
                    _log.warning("the rebuild starts again", action="replay.again", error=str(error))
        except Interrupted:
            return
        except BaseException as error:  # :meth:`finished` raises it in the loop's thread
            with self._lock:
                self._error = error

    def _rebuild_all(self) -> None:
        """Rebuild one partition number after the other. The results are valid while the replay key exists."""
        replay_key = secrets.token_hex(8)
        with closing(RedisView(self.settings.redis)) as view:
            run = self._retried(view.run)
            self._retried(lambda: view.create_replay_key(replay_key))
        with self._lock:
            self._replay_key, self._done = replay_key, frozenset()
        names = sorted({part.topic for part in self.ends})
        spans = self._retried(lambda: resolve(self.settings.kafka, names, Beginning(), Offsets(self.ends)))
        wanted = Wanted(
            tuple(spans),
            is_rebuild=True,
            is_dry=False,
            memory=_MEMORY,
            replay_key=replay_key,
            run=run,
            tables=tuple(self.tables),
        )
        worker = Worker(self.settings, self.rules, wanted, self._report, self.should_stop.is_set)
        try:
            for number in sorted({span.partition for span in spans}):
                worker.replay(number, {}, Summary())
        finally:
            worker.close()

    def _report(self, message: object) -> None:
        if not isinstance(message, Finished):
            return
        with self._lock:
            self._done |= {message.number}
        found = message.summary
        _log.info(
            "a partition is rebuilt",
            action="redis.rebuilding",
            partition=message.number,
            records=found.records,
            unusable=found.unusable,
            **{name.replace(" ", "_"): count for name, count in found.counts.items() if name in _COUNTED},
        )

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        return retried(attempt, self.should_stop.is_set)


_COUNTED = ("created", "corrected")
