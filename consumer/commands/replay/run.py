"""``replay``: reads topics between two bounds again, and brings Redis to their state."""

from __future__ import annotations

import secrets
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from consumer.commands.replay.options import ReplayOptions, check, identity
from consumer.commands.replay.processes import Task, in_processes
from consumer.commands.replay.state import ReplayState
from consumer.commands.replay.summary import Summary
from consumer.commands.replay.waiting import retried, short_sleep
from consumer.commands.replay.work import Finished, Reached, Read, RedisReplaced, Wanted
from consumer.commands.replay.worker import Worker
from consumer.errors import ConfigError, Place, ServerError, ServerUnavailable
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.record import Partition
from consumer.guard.version import Verdict
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.observability.progress import Progress
from consumer.pipeline.batch import batched
from consumer.planning.effect import Plan
from consumer.planning.rebuild import as_read, removal
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.sink.comparison import Difference, version_of
from consumer.sink.group_offsets import lost
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.bounds import Span
from consumer.source.clients import kafka as kafka_client
from consumer.source.consumed_topics import say_if_uneven, selected
from consumer.source.letter_reader import read_letters
from consumer.source.range_reader import committed, resolve
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
        replay_key = self._begin_or_resume()
        try:
            found = self._replay_partitions(replay_key)
        except BaseException:
            if self.options.resume is None:
                self._remove_replay_key(replay_key)
            raise
        if replay_key and not self._retried(lambda: self.view.replay_key_exists(replay_key)):
            raise RedisReplaced
        if replay_key and self.options.is_whole:
            self._store_offsets(replay_key)
        # Before end(): if the program is killed in between, the replay starts again, and no key remains.
        self._remove_replay_key(replay_key)
        self.state.end()
        return found

    def _begin_or_resume(self) -> str:
        """The token of the replay's keys; "" for a dry run, which creates none.

        The ends are read after the keys exist, so that everything that Redis loses later is before the ends.
        """
        before, run = self.state.target(self.identity), self._retried(self.view.run)
        if self.options.is_dry:
            if not before:
                self.state.begin(self.identity, _DRY, self._spans())
            return ""
        was, _, replay_key = before.rpartition(" ")
        if replay_key and was == run and self._retried(lambda: self.view.replay_key_exists(replay_key)):
            return replay_key
        replay_key = secrets.token_hex(8)
        self._retried(lambda: self.view.create_replay_key(replay_key))
        self.state.begin(self.identity, f"{run} {replay_key}", self._spans())
        return replay_key

    def _spans(self) -> list[Span]:
        spans = _spans(self.settings, self.rules, self.options, self.selection)
        stopped: Mapping[Partition, int] = {}
        if self.options.is_whole:
            # Records from there on are applied and published by the member that waits until Redis is rebuilt.
            stopped = self._stops()
            spans = [_up_to(span, stopped) for span in spans]
        _warn_if_ahead(self.settings, spans, self.options, stopped)
        return spans

    def _stops(self) -> Mapping[Partition, int]:
        """The offsets at which members wait because Redis was emptied; waits a moment for members to store them."""
        group, until = self.settings.kafka.group_id, time.monotonic() + _STOPS_WITHIN_S
        while True:
            has_read = self._retried(lambda: committed(self.settings.kafka))
            missing = lost(has_read, self._retried(lambda: self.view.offsets(group)))
            if not missing:
                return {}  # stored offsets may be of a member that has ended since
            stopped = self._retried(lambda: self.view.stopped(group))
            if missing <= stopped.keys() or time.monotonic() > until or self.should_stop():
                return stopped
            short_sleep(_POLL_S)

    def _store_offsets(self, replay_key: str) -> None:
        """Store in Redis the offsets of rebuilt partitions that the group has read and that Redis had lost."""
        group = self.settings.kafka.group_id
        stopped = self._retried(lambda: self.view.stopped(group))
        has_read = self._retried(lambda: committed(self.settings.kafka)).keys() | stopped.keys()
        ends = {Partition(span.topic, span.partition): span.end for span in self.state.spans()}
        rebuilt = {part: end for part, end in ends.items() if part in has_read}
        with closing(RedisSink(self.settings.redis, self.settings.guard, self.rules, group)) as sink:
            self._retried(sink.reach)
            if rebuilt and not self._retried(lambda: sink.store_offsets(rebuilt, replay_key)):
                raise RedisReplaced
            if stopped:
                self._retried(lambda: sink.delete_stop_offsets(stopped))

    def _remove_replay_key(self, replay_key: str) -> None:
        if replay_key:
            with suppress(ServerError):  # the key expires by itself, only later
                self.view.remove_replay_key(replay_key)

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        return retried(attempt, self.should_stop, is_dry=self.options.is_dry)

    def _replay_partitions(self, replay_key: str) -> Summary:
        options, spans = self.options, self.state.spans()
        wanted = Wanted(
            tuple(spans),
            options.is_rebuild,
            options.is_dry,
            options.publishes,
            frozenset(options.users) or None,
            max(_LEAST, options.memory // options.workers - _BASE),
            options.shown,
            replay_key,
            self.selection.tables.pairs(self.selection.topics),
            frozenset(options.tables) or None,
            self._discarded(),
        )
        numbers = sorted({span.partition for span in spans})
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
        if options.is_whole:
            self._find_orphans(spans, total)
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

    def _find_orphans(self, spans: Sequence[Span], total: Summary) -> None:
        ends = {Partition(span.topic, span.partition): span.end for span in spans}
        # Without its table's topic, nothing is known of a user type.
        read = [table for span in spans for table in self.selection.tables.of(span.topic)]
        tables = {each.user_type: each.table for each in self.rules.tables if each.table in read}
        orphans = []
        for plan, key in self._orphans(tables, ends):
            orphans.append(plan)
            total.differ(Difference("orphan", key), self.options.shown)
        if not self.options.prunes or self.options.is_dry or not orphans:
            return
        if total.unusable or total.given_up:
            _log.warning("orphans stay: one may be the user of an unusable record", action="replay.not_pruned")
            return
        sink = RedisSink(self.settings.redis, self.settings.guard, self.rules)
        try:
            sink.reach()
            for some in batched(orphans):
                for _, answer in sink.apply(some):
                    if isinstance(answer, Exception):
                        raise answer
                    total.count("orphan, newer by now" if answer.verdict is Verdict.STALE else "orphan removed")
        finally:
            sink.close()

    def _orphans(self, tables: dict[str, str], ends: dict[Partition, int]) -> Iterator[tuple[Plan, str]]:
        """For each orphan: the plan that removes it, and one of its keys."""
        known = self.state.users()
        candidates = (
            user for user in self.view.users(self.rules) if user.user_type in tables and not _is_in(known, user)
        )
        seen: set[UserId] = set()
        for some in batched(candidates):
            fresh = [user for user in dict.fromkeys(some) if user not in seen]
            seen.update(fresh)
            removals = [removal(user, tables[user.user_type], "", self.rules) for user in fresh]
            for plan, stored in zip(removals, self.view.stored_keys(removals), strict=True):
                version = version_of(stored)
                # A version of a record after the ends: the user is newer than this replay.
                is_older = version is None or version.offset < ends.get(
                    Partition(version.topic, version.partition), version.offset
                )
                if is_older and stored.present:
                    yield as_read(plan, stored.version), stored.present[0]


def _spans(settings: Settings, rules: Rules, options: ReplayOptions, selection: Selection) -> list[Span]:
    names = selection.carrying(options.tables or rules.captured())
    spans = resolve(settings.kafka, names, options.begin, options.end)
    users = {each.table for each in rules.tables}
    cut = [span for span in spans if span.begin and selection.tables.may_carry(span.topic, users)]
    if options.prunes and cut:
        problem = f"the first records of {cut[0].topic}[{cut[0].partition}] were deleted: users there may be missing"
        fix = "remove --prune: only a topic that is complete, or compacted from its first record on, has all users"
        raise ConfigError("--prune", problem, fix=fix)
    return spans


def _up_to(span: Span, stopped: Mapping[Partition, int]) -> Span:
    end = stopped.get(Partition(span.topic, span.partition), span.end)
    return Span(span.topic, span.partition, span.begin, max(span.begin, min(end, span.end)))


def _warn_if_ahead(
    settings: Settings, spans: Sequence[Span], options: ReplayOptions, stopped: Mapping[Partition, int]
) -> None:
    """Warn of changes that the replay applies before the live consumer: that then does not publish them."""
    if options.is_dry or options.publishes:
        return
    at = {**committed(settings.kafka), **stopped}
    ahead = sum(
        max(0, span.end - max(at[part], span.begin))
        for span in spans
        if (part := Partition(span.topic, span.partition)) in at
    )
    if ahead:
        _log.warning(
            "the live consumer is behind: changes that the replay applies first are not published",
            action="replay.ahead",
            records=ahead,
        )


def _is_in(known: dict[str, array[int]], user: UserId) -> bool:
    ids = known.get(user.user_type)
    if ids is None or user.id >= 2**64:
        return user.id >= 2**64
    at = bisect_left(ids, user.id)
    return at < len(ids) and ids[at] == user.id
