"""``replay``: reads topics between two bounds again, and brings Redis to their state."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from consumer.commands.replay.options import ReplayOptions, check, identity
from consumer.commands.replay.orphans import orphans
from consumer.commands.replay.processes import Task, in_processes
from consumer.commands.replay.ranges import is_rebuilt_from, ranges, up_to, warn_if_ahead
from consumer.commands.replay.state import ReplayState
from consumer.commands.replay.summary import Summary
from consumer.commands.replay.waiting import retried, short_sleep
from consumer.commands.replay.work import Finished, Reached, Read, RedisReplaced, Wanted
from consumer.commands.replay.worker import Worker
from consumer.commands.replay.writer import Writer
from consumer.errors import ConfigError, Place, ServerError, ServerUnavailable
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.record import Partition
from consumer.mapping.rules import Rules
from consumer.observability.progress import Progress
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.sink.comparison import Difference
from consumer.sink.group_offsets import lost
from consumer.sink.view import RedisView
from consumer.source.bounds import Span
from consumer.source.clients import kafka as kafka_client
from consumer.source.consumed_topics import say_if_uneven, selected
from consumer.source.letter_reader import read_letters
from consumer.source.range_reader import check_present, committed
from consumer.source.registry import Registry
from consumer.source.topic_selection import Selection

_log = structlog.get_logger(__name__)
# Memory of a worker besides its fold: Python, the client's buffers, SQLite's cache.
_BASE = 160 * 2**20
_LEAST = 16 * 2**20
_DRY = "nothing"
_POLL_S, _STOPS_WITHIN_S = 0.2, 3.0
"""Members check once a second whether Redis was emptied, and then store where they stopped."""

_T = TypeVar("_T")


def replay(settings: Settings, rules: Rules, options: ReplayOptions, should_stop: Callable[[], bool]) -> Summary:
    """Replay with ``options``.

    Raises:
        ConfigError: the options are not possible.
        Interrupted: told to stop; the progress is in the file of the options.
        ServerError: a server refuses.
    """
    check(options, rules)
    selection = _selection(settings, rules, should_stop, is_dry=options.is_dry)
    rules = replace(rules, databases=selection.databases)
    wanted = identity(settings, rules, options, kafka_client.cluster_id(settings.kafka))
    state = ReplayState(options.resume)
    try:
        view = RedisView(settings.redis)
        try:
            run = _Run(settings, rules, options, wanted, selection, view, state, should_stop)
            while True:
                try:
                    return run.replay_all()
                except RedisReplaced:
                    _log.warning("Redis was restarted or emptied: the replay starts again", action="replay.again")
        finally:
            view.close()
    finally:
        state.close()


def _selection(settings: Settings, rules: Rules, should_stop: Callable[[], bool], *, is_dry: bool) -> Selection:
    """The topics to read.

    Raises:
        ConfigError: a server refuses the settings, or the topics do not exist.
    """
    schemas: Schemas = NO_SCHEMAS
    with ExitStack() as exits:
        if settings.registry.url is not None:
            schemas = registry = exits.enter_context(closing(Registry(settings.registry)))
            with suppress(ServerUnavailable):
                registry.reach()

        def load_databases(settings: Settings) -> frozenset[str]:
            return retried(lambda: group_databases.load(settings), should_stop, is_dry=is_dry)

        found = selected(settings, rules, schemas, load_databases)
    if found.lacking:
        raise ConfigError("CDC_KAFKA__TOPICS", f"does not exist: {found.lacking}", allowed="topics of this cluster")
    say_if_uneven(found)
    return found


@dataclass(slots=True)
class _Run:
    """The parts and steps of one replay."""

    settings: Settings
    rules: Rules
    options: ReplayOptions
    identity: Mapping[str, str]
    selection: Selection
    view: RedisView
    state: ReplayState
    should_stop: Callable[[], bool]
    progress: Progress = field(init=False)

    def replay_all(self) -> Summary:
        run, replay_key = self._begin_or_resume()
        try:
            wanted = self._wanted(run, replay_key)
            found = self._replay_partitions(wanted)
            with closing(Writer(self.settings, self.rules, wanted, self.should_stop)) as writer:
                writer.reach()
                self._end(wanted, writer, found)
        except BaseException:
            if self.options.resume is None:
                self._remove_replay_key(replay_key)
            raise
        # Before end(): if the program is killed in between, the replay starts again, and no key remains.
        self._remove_replay_key(replay_key)
        self.state.end()
        return found

    def _begin_or_resume(self) -> tuple[str, str]:
        """The run ids of Redis, and the token of the replay's keys; both "" for a dry run, which creates no keys.

        The ends are read after the keys exist, so that everything that Redis loses later is before the ends.

        Raises:
            RecordsGone: the replay is resumed, and records that are left to read do not exist any more.
        """
        before, run = self.state.target(self.identity), self._retried(self.view.run)
        if self.options.is_dry:
            run, replay_key, is_same = "", "", before == _DRY
        else:
            was, _, replay_key = before.rpartition(" ")
            is_same = bool(replay_key) and was == run and self._retried(lambda: self.view.replay_key_exists(replay_key))
        if is_same:
            self._retried(lambda: check_present(self.settings.kafka, self._left()))
            return run, replay_key
        target = _DRY
        if not self.options.is_dry:
            replay_key = secrets.token_hex(8)
            self._retried(lambda: self.view.create_replay_key(replay_key))
            target = f"{run} {replay_key}"
        self.state.begin(self.identity, target, self._spans())
        return run, replay_key

    def _spans(self) -> list[Span]:
        options = self.options
        spans = self._retried(lambda: ranges(self.settings, self.rules, options, self.selection))
        stopped: Mapping[Partition, int] = {}
        if options.is_whole:
            # Records from there on are applied and published by the member that waits until Redis is rebuilt.
            stopped = self._stops()
            spans = [up_to(span, stopped) for span in spans]
        if not (options.is_dry or options.publishes):
            warn_if_ahead(spans, {**self._committed(), **stopped})
        return spans

    def _left(self) -> list[Span]:
        """The ranges that are left to read."""
        left = []
        for span in self.state.spans():
            is_needed = not self.options.is_rebuild or is_rebuilt_from(span.topic, self.selection.tables, self.rules)
            if is_needed and self.state.summary(span.partition) is None:
                offsets, _ = self.state.reached(span.partition)
                left.append(replace(span, begin=offsets.get(span.topic, span.begin)))
        return left

    def _stops(self) -> Mapping[Partition, int]:
        """The offsets at which members wait because Redis was emptied; waits a moment for members to store them."""
        group, until = self.settings.kafka.group_id, time.monotonic() + _STOPS_WITHIN_S
        while True:
            missing = lost(self._committed(), self._retried(lambda: self.view.offsets(group)))
            if not missing:
                return {}  # stored offsets may be of a member that has ended since
            stopped = self._retried(lambda: self.view.stopped(group))
            if missing <= stopped.keys() or time.monotonic() > until or self.should_stop():
                return stopped
            short_sleep(_POLL_S)

    def _committed(self) -> Mapping[Partition, int]:
        return self._retried(lambda: committed(self.settings.kafka))

    def _end(self, wanted: Wanted, writer: Writer, total: Summary) -> None:
        """What follows when every partition is done.

        Raises:
            RedisReplaced: writes of the replay may be lost.
        """
        if self.options.is_whole:
            self._find_orphans(wanted, writer, total)
        writer.check_end()
        if self.options.is_whole and not self.options.is_dry:
            self._store_offsets(wanted, writer)

    def _store_offsets(self, wanted: Wanted, writer: Writer) -> None:
        """Store in Redis the offsets of rebuilt partitions that the group has read and that Redis had lost."""
        stopped = self._retried(lambda: self.view.stopped(self.settings.kafka.group_id))
        has_read = self._committed().keys() | stopped.keys()
        writer.store_offsets({part: end for part, end in wanted.ends().items() if part in has_read}, stopped)

    def _remove_replay_key(self, replay_key: str) -> None:
        if replay_key:
            with suppress(ServerError):  # the key expires by itself, only later
                self.view.remove_replay_key(replay_key)

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        return retried(attempt, self.should_stop, is_dry=self.options.is_dry)

    def _wanted(self, run: str, replay_key: str) -> Wanted:
        options = self.options
        return Wanted(
            tuple(self.state.spans()),
            options.is_rebuild,
            options.is_dry,
            options.publishes,
            frozenset(options.users) or None,
            max(_LEAST, options.memory // options.workers - _BASE),
            options.shown,
            replay_key,
            run,
            self.selection.tables.pairs(self.selection.topics),
            frozenset(options.tables) or None,
            self._discarded(),
            self.state.published(),
        )

    def _replay_partitions(self, wanted: Wanted) -> Summary:
        options = self.options
        numbers = sorted({span.partition for span in wanted.spans})
        tasks: list[Task] = [(each, *self.state.reached(each)) for each in numbers if self.state.summary(each) is None]
        left = sum(
            span.end - offsets.get(span.topic, span.begin) for each, offsets, _ in tasks for span in wanted.of(each)
        )
        with Progress(action="replay.progress", unit="offsets") as self.progress:
            self.progress.begin("replay", max(0, left))
            if options.workers > 1:
                parts = (self.settings, self.rules, wanted, tasks, self._report, self.should_stop)
                in_processes(options.workers, *parts)
            else:
                self._replay_here(wanted, tasks)
        total = Summary()
        for number in numbers:
            total.include(self.state.summary(number) or Summary(), options.shown)
        total.not_found = sorted(set(options.users) - total.found)
        return total

    def _discarded(self) -> frozenset[Place]:
        """The places of records whose dead letters were discarded; empty if the letters can't be read."""
        try:
            return frozenset(read_letters(self.settings.kafka, self.settings.dead_letter_topic).discarded)
        except ServerError as error:
            _log.warning(
                "dead letters can't be read: those that were discarded count as not applied",
                action="replay.letters_unread",
                problem=error.problem,
            )
            return frozenset()

    def _replay_here(self, wanted: Wanted, tasks: Sequence[Task]) -> None:
        worker = Worker(self.settings, self.rules, wanted, self._report, self.should_stop)
        try:
            for task in tasks:
                worker.replay(*task)
        finally:
            worker.close()

    def _report(self, message: object) -> None:
        match message:
            case Read(offsets):
                self.progress.advance(offsets)
            case Reached(number, offsets, summary):
                self.state.reach(number, offsets, summary)
            case Finished(number, summary, users):
                self.state.finish(number, summary, users)

    def _find_orphans(self, wanted: Wanted, writer: Writer, total: Summary) -> None:
        # Without its table's topic, nothing is known of a user type.
        read = [table for span in wanted.spans for table in self.selection.tables.of(span.topic)]
        tables = {each.user_type: each.table for each in self.rules.tables if each.table in read}
        found = []
        for plan, key in orphans(self.view, self.rules, tables, self.state.users(), wanted.ends(), self._retried):
            found.append(plan)
            total.differ(Difference("orphan", key), self.options.shown)
        if not self.options.prunes or self.options.is_dry or not found:
            return
        if total.unusable or total.given_up:
            _log.warning("orphans stay: one may be the user of an unusable record", action="replay.not_pruned")
            return
        writer.remove(found, total)
