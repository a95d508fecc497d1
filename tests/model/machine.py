"""The state machine: histories as they happen, with the true database beside them, and what must hold in each."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model.follower import CLOCK_MS, Follower, LineageRule, OffsetRule, Rule, Stored
from tests.model.world import Kind, Record, World

_USERS = st.integers(0, 2)
_VALUES = st.one_of(st.none(), st.integers(1, 4))
_SOME = st.integers(1, 4)
_SECOND = 1000


class GuardMachine(RuleBasedStateMachine):
    """Everything that may happen, at random; what must hold is looked at after each step and at the end."""

    guard: Rule = OffsetRule()

    @initialize(kind=st.sampled_from(Kind), is_counted=st.booleans(), partitions=st.integers(1, 2))
    def begin(self, kind: Kind, is_counted: bool, partitions: int) -> None:
        self.world = World(kind, is_counted=is_counted, partitions=partitions)
        self.follower = Follower(self.guard, lambda: self.world.topic)
        self.kept = self.follower.redis.copy()
        self.zombies: list[list[Record]] = []
        self.backup: dict[int, int] = {}
        self.read_rows: list[tuple[int, int, int]] = []

    @rule(ms=st.integers(0, 20 * _SECOND))
    def time_passes(self, ms: int) -> None:
        self.world.now_ms += ms

    @rule(clocks=st.lists(st.integers(-1500, 1500), min_size=3, max_size=3))
    def clocks_are_set(self, clocks: list[int]) -> None:
        for server, clock_ms in zip(self.world.servers, clocks, strict=False):
            server.clock_ms = clock_ms
        # Kafka Connect writes nothing while its own clock repeats a time: decision 23 names the window if it does.
        self.world.now_ms += max(0, self.world.connect_clock_ms - clocks[2])
        self.world.connect_clock_ms = clocks[2]

    @rule(
        writer=st.integers(0, 1),
        values=st.lists(st.tuples(_USERS, _VALUES), min_size=1, max_size=4),
        took_s=st.integers(0, 15),
        is_compressed=st.booleans(),
    )
    def commit(self, writer: int, values: list[tuple[int, int | None]], took_s: int, is_compressed: bool) -> None:
        self.world.now_ms += 1  # no two commits in one millisecond
        self.world.commit(writer, values, took_s, is_compressed=is_compressed and self.world.kind is not Kind.POSTGRES)

    @rule(files=st.integers(1, 3), server=st.integers(0, 1))
    def rotate_log(self, files: int, server: int) -> None:
        self.world.servers[server % len(self.world.servers)].rotate(files)

    @rule(count=_SOME)
    def send(self, count: int) -> None:
        self._send(count)

    @rule(transactions=st.integers(1, 12))
    def send_again(self, transactions: int) -> None:
        self.world.rewind(transactions)

    @rule(sent=st.integers(0, 3), transactions=st.integers(0, 3), noted=st.integers(1, 3))
    def interrupt(self, sent: int, transactions: int, noted: int) -> None:
        self._write(lambda: self.world.interrupt(sent, transactions, noted))

    @precondition(lambda self: self.world.kind not in (Kind.NO_GTID, Kind.POSTGRES))
    @rule(resent=st.integers(0, 4))
    def failover(self, resent: int) -> None:
        self.world.failover(resent)

    @precondition(lambda self: self.world.is_all_sent())
    @rule()
    def begin_logs_again(self) -> None:
        self.world.now_ms += 2 * _SECOND
        self.world.begin_logs_again()

    @rule()
    def back_up(self) -> None:
        self.backup = {user: value for user, value in self.world.rows.items() if value is not None}

    @precondition(lambda self: self.world.is_all_sent())
    @rule()
    def restore_backup(self) -> None:
        self.world.now_ms += 5 * _SECOND
        self.world.restore(self.backup)

    @precondition(lambda self: self.world.is_all_sent())
    @rule()
    def snapshot(self) -> None:
        self.world.snapshot()

    @rule(user=_USERS)
    def chunk_is_read(self, user: int) -> None:
        if (value := self.world.rows.get(user)) is not None:
            self.read_rows.append((user, value, self.world.numbers[user]))

    @precondition(lambda self: self.read_rows)
    @rule()
    def chunk_is_sent(self) -> None:
        user, value, number = self.read_rows.pop(0)
        if self.world.rows.get(user) is not None:
            self.world.read_incrementally(user, value, number)

    @precondition(lambda self: self.world.is_all_sent())
    @rule()
    def make_topic_anew(self) -> None:
        self._follow()  # a deleted user of whom the record was not read stays in Redis: only an audit finds them
        self.world.now_ms += 5 * _SECOND
        self.zombies, self.read_rows = [], []
        self.world.make_topic_anew()
        self.world.now_ms += 30 * _SECOND
        self.follower.begin_topic_anew()
        self.kept = self.follower.redis.copy()  # Redis loses its last second, not half a minute

    @precondition(lambda self: len(self.world.topic.partitions) < 4)
    @rule()
    def add_partition(self) -> None:
        # Connect and the consumer take some seconds to notice, and between partitions times decide.
        self.world.now_ms += 30 * _SECOND
        # What is not read, or is read again because Redis lost it, is judged by a member that finds one partition more.
        for partition, records in enumerate(self.world.topic.partitions):
            read = min(at.get(partition, 0) for at in (self.follower.committed, self.follower.redis.offsets))
            self._excuse({each.user for at, each in records.items() if at >= read})
        self.world.add_partition()
        self.world.now_ms += 30 * _SECOND
        self.follower.restart()
        self.kept = self.follower.redis.copy()  # Redis loses its last second, not a minute

    @rule(partition=st.integers(0, 3), share=st.floats(0, 1))
    def compact(self, partition: int, share: float) -> None:
        topic = self.world.topic
        if partition < len(topic.partitions):
            gone = topic.compact(partition, int(topic.ends[partition] * share))
            self._excuse({change.user for change in gone})

    @rule(partition=st.integers(0, 3), count=st.integers(1, 6))
    def poll(self, partition: int, count: int) -> None:
        self.follower.poll(partition, count)

    @rule()
    def apply(self) -> None:
        member = self.follower.member
        batch, member.batch = member.batch, []
        self.follower.flush(batch)
        self.follower.commit()

    @rule(applied=st.integers(0, 3))
    def kill(self, applied: int) -> None:
        self.follower.flush(self.follower.member.batch[:applied])
        self.follower.restart()

    @rule()
    def freeze(self) -> None:
        self.zombies.append(self.follower.member.batch)
        self.follower.restart()

    @precondition(lambda self: self.zombies)
    @rule()
    def thaw(self) -> None:
        self.follower.flush(self.zombies.pop(0))

    @rule()
    def redis_syncs(self) -> None:
        self.kept = self.follower.redis.copy()

    @rule()
    def redis_loses_what_came_after(self) -> None:
        self.zombies = []  # they are told, and apply nothing
        self.follower.lose(self.kept)

    @rule(share=st.floats(0, 1), length=st.integers(1, 20), partition=st.integers(0, 3))
    def replay(self, share: float, length: int, partition: int) -> None:
        topic = self.world.topic
        if partition < len(topic.partitions):
            begin = int(self.follower.committed.get(partition, 0) * share)
            found = [each for each in self._committed_since(partition, begin) if each.offset < begin + length]
            if any(each.written_ms < topic.laid_out_ms for each in found):
                # Records of an older layout are judged by the present one. Decision 23 names this window: doubtful
                # copies are applied again, so such a replay must read on to the end.
                found = self._committed_since(partition, begin)
                self._excuse({each.user for each in found})
            histories = self.guard.member(lambda: self.world.topic)
            # Messages of what Redis has lost go out again where an operator asks for it.
            self.follower.flush(self.follower.decided(histories, found), publishes=not self.follower.is_behind)

    @rule(user=_USERS)
    def refresh(self, user: int) -> None:
        """A row is read in the database, and written once the consumer has passed what was read."""
        seen = self.follower.redis.users.get(user)
        value, number = self.world.rows.get(user), self.world.numbers.get(user, 0)
        self._follow()
        self.follower.write_read(user, seen, value, number)

    @invariant()
    def nothing_is_wrong(self) -> None:
        if hasattr(self, "follower"):
            faults = self.follower.faults + self.follower.told.faults
            assert not faults, faults

    def teardown(self) -> None:
        if not hasattr(self, "follower"):
            return
        for batch in self.zombies:
            self.follower.flush(batch)
        self._follow()
        self.nothing_is_wrong()
        for user, value in self.world.rows.items():
            stored = self.follower.redis.users.get(user, Stored(None, None, 0))
            is_right = stored.value == value or user in self.world.may_be_lost
            assert is_right, f"user {user} is {value}, Redis has {stored}"
        if not self.follower.excused:
            untold = [each for each in self.world.streamed if not self.follower.told.times.get(each)]
            assert not untold, f"never told: {untold}"

    def _committed_since(self, partition: int, begin: int) -> list[Record]:
        """The records of a partition from ``begin`` up to the committed offset."""
        end = self.follower.committed.get(partition, 0)
        return [each for at, each in sorted(self.world.topic.partitions[partition].items()) if begin <= at < end]

    def _follow(self) -> None:
        """All that the log has is sent, and all that was sent is applied."""
        self._send(10_000)
        for partition in range(len(self.world.topic.partitions)):
            self.follower.poll(partition, 10_000)
        self.apply()

    def _send(self, count: int) -> None:
        self._write(lambda: self.world.send(count))

    def _write(self, write: Callable[[], None]) -> None:
        """What is sent again into another partition, or a topic that was made anew, lies there for the first time.

        In a compacted topic what is not there may have been sent all the same.
        """
        world = self.world
        before = {change for change, layout in world.layout_of.items() if layout < world.layout}
        again = set(world.layout_of)
        ends = list(world.topic.ends)
        write()
        self._excuse(world.ambiguous)
        for partition, end in enumerate(ends):
            records = world.topic.partitions[partition]
            known = again if partition in world.topic.compacted else before
            for at, each in records.items():
                # Of what was committed before the topic was as it is, nobody knows whether it was sent then.
                is_older = each.event is not None and each.event.position.ts_ms - CLOCK_MS < world.topic.laid_out_ms
                if at >= end and (each.change in known or is_older):
                    self._excuse({each.user})

    def _excuse(self, users: object) -> None:
        self.follower.excused |= set(users)  # type: ignore[call-overload]


class LineageMachine(GuardMachine):
    """The same with the rule of version 0.1, which must be found wanting."""

    guard: Rule = LineageRule()
