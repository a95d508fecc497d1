"""What every source keeps, on a real broker with either client, and the group in memory that other tests use.

The group in memory stands for Kafka where a test needs to say when the group shares out its partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import pytest

from consumer.events.record import Partition, SourceRecord
from consumer.pipeline.protocols import Source
from consumer.source.clients.kafka import topics
from consumer.source.group_consumer import KafkaSource
from consumer.source.topic_selection import Known, select
from tests.e2e.topic import Topic
from tests.support.group import Group, GroupSource
from tests.support.redis_view import eventually

OnRevoked = Callable[[Sequence[Partition]], None]


class World(Protocol):
    """A topic of two partitions, and a group that follows it."""

    name: str

    def send(self, count: int, partition: int) -> None: ...

    def committed(self, partition: int) -> int | None: ...

    def join(self, on_revoked: OnRevoked) -> Source: ...


class InMemory:
    def __init__(self) -> None:
        self.name = "t.trading.live_users"
        self._group = Group(partitions=[Partition(self.name, 0), Partition(self.name, 1)])

    def send(self, count: int, partition: int) -> None:
        first = len(self._group.log[Partition(self.name, partition)])
        self._group.send(SourceRecord(self.name, partition, first + at, 1, None, b"x") for at in range(count))

    def committed(self, partition: int) -> int | None:
        return self._group.committed.get(Partition(self.name, partition))

    def join(self, on_revoked: OnRevoked) -> Source:
        source: GroupSource = self._group.member(on_revoked)
        source.subscribe()
        return source


class OnBroker:
    def __init__(self, topic: Topic) -> None:
        topic.make(partitions=2)
        self.name = topic.name
        self._topic = topic

    def send(self, count: int, partition: int) -> None:
        self._topic.send(count, partition)

    def committed(self, partition: int) -> int | None:
        return self._topic.committed(partition)

    def join(self, on_revoked: OnRevoked) -> Source:
        settings, tables = self._topic.settings(), ["live_users"]
        source = KafkaSource(settings, tables, on_revoked)
        source.subscribe(select(Known(topics(settings)), settings, tables))
        return source


@pytest.fixture(
    params=[
        "in memory",
        pytest.param("kafka-python", marks=pytest.mark.stack),
        pytest.param("confluent", marks=pytest.mark.stack),
    ]
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "in memory":
        yield InMemory()
        return
    prefix = request.getfixturevalue("topic_prefix")
    topic = Topic(request.getfixturevalue("stack"), prefix, request.param)
    try:
        yield OnBroker(topic)
    finally:
        topic.close()


class Member:
    """A member that keeps what it reads of each assignment, and what is taken from it.

    ``when_revoked`` is called before it is taken.
    """

    def __init__(self, world: World) -> None:
        self._parts = [Partition(world.name, 0), Partition(world.name, 1)]
        self.read: list[list[int]] = [[], []]
        self.revoked: list[Partition] = []
        self.when_revoked: OnRevoked = lambda _: None
        self._seen: list[int | None] = [None, None]
        self._has_left = False
        self.source = world.join(self._on_revoked)

    def leave(self) -> None:
        if not self._has_left:
            self._has_left = True
            self.source.close()

    def _on_revoked(self, partitions: Sequence[Partition]) -> None:
        self.when_revoked(partitions)
        self.revoked += partitions

    def poll(self) -> None:
        found = self.source.poll(0.05)
        generations = self.generations
        for part, (seen, now) in enumerate(zip(self._seen, generations, strict=True)):
            if now != seen:
                self.read[part] = []
        self._seen = generations
        for record in found:
            self.read[record.partition].append(record.offset)

    def reads(self, *wanted: list[int]) -> None:
        """Poll until these and no others were read of the partitions."""

        def has_read() -> bool:
            self.poll()
            return self.read == list(wanted)

        eventually(has_read, 30, f"wanted {wanted}")

    @property
    def generations(self) -> list[int | None]:
        """Of each partition, None where it is not this member's."""
        assignment = self.source.assignment()
        return [assignment.get(part) for part in self._parts]


@pytest.fixture
def members(world: World) -> Iterator[Callable[[], Member]]:
    """Makes members, which leave at the end."""
    made: list[Member] = []

    def make() -> Member:
        made.append(Member(world))
        return made[-1]

    yield make
    for member in made:
        member.when_revoked = lambda _: None
        member.leave()


def shared(*members: Member) -> Callable[[], bool]:
    """Whether, all of them polling, each partition is one member's, and each member has as many."""

    def are_shared() -> bool:
        for member in members:
            member.poll()
        return all(2 - member.generations.count(None) == 2 // len(members) for member in members)

    return are_shared


def passes_by(world: World, stays: Member, turn: Callable[[], object]) -> None:
    """Another member joins, reads, commits nothing and leaves; ``turn`` is what the one that stays does meanwhile."""
    other = Member(world)

    def has_joined() -> bool:
        turn()
        other.poll()
        return other.generations.count(None) == stays.generations.count(None) == 1

    eventually(has_joined, 30, "the group is not shared")
    other.leave()

    def has_all() -> bool:
        turn()
        return None not in stays.generations

    eventually(has_all, 30, "the group does not come back")


def test_a_group_without_offsets_begins_at_the_oldest_record(world: World, members: Callable[[], Member]) -> None:
    world.send(3, 0)
    member = members()
    member.reads([0, 1, 2], [])
    parts = [Partition(world.name, 0), Partition(world.name, 1)]
    assert {part: tuple(start) for part, start in member.source.starts(parts).items()} == dict.fromkeys(
        parts, (0, 0, True, True)
    )
    assert member.source.commit({parts[0]: 2})
    assert tuple(member.source.starts(parts)[parts[0]]) == (2, 0, False, True)


def test_an_assignment_begins_at_the_groups_offset(world: World, members: Callable[[], Member]) -> None:
    world.send(5, 0)
    first = members()
    first.reads([0, 1, 2, 3, 4], [])
    assert first.source.commit({Partition(world.name, 0): 3})
    first.leave()
    assert first.revoked == [], "who leaves is not told"
    members().reads([3, 4], [])


def test_a_commit_that_was_begun_is_answered_while_records_are_read(
    world: World, members: Callable[[], Member]
) -> None:
    world.send(5, 0)
    member = members()
    member.reads([0, 1, 2, 3, 4], [])
    answer = member.source.begin_commit({Partition(world.name, 0): 3})
    answers: list[bool | None] = [answer()]

    def is_answered() -> bool:
        member.poll()
        answers.append(answer())
        return answers[-1] is not None

    eventually(is_answered, 30)
    assert set(answers[:-1]) <= {None}
    assert answers[-1] is answer() is True
    assert world.committed(0) == 3
    second = member.source.begin_commit({Partition(world.name, 0): 4})
    assert member.source.commit({Partition(world.name, 0): 5}), "a commit that waits comes after the one before it"
    answer = second
    eventually(is_answered, 30)
    assert world.committed(0) == 5


@pytest.mark.stack
def test_a_commit_while_the_coordinator_is_not_known_is_made_or_fails(
    topic_prefix: str, request: pytest.FixtureRequest
) -> None:
    """kafka-python looks it up first, and its future is that of the look-up."""
    topic = Topic(request.getfixturevalue("stack"), topic_prefix, "kafka-python")
    try:
        world = OnBroker(topic)
        world.send(5, 0)
        member = Member(world)
        member.reads([0, 1, 2, 3, 4], [])
        member.source._member._consumer._coordinator.coordinator_dead("as this test wants it")  # type: ignore[attr-defined]
        answer = member.source.begin_commit({Partition(world.name, 0): 3})

        def is_answered() -> bool:
            member.poll()
            return answer() is not None

        eventually(is_answered, 30)
        assert answer() == (world.committed(0) == 3)
        member.leave()
    finally:
        topic.close()


def test_a_seek_drops_what_was_fetched_and_is_ignored_of_others_partitions(
    world: World, members: Callable[[], Member]
) -> None:
    world.send(5, 0)
    world.send(2, 1)
    member = members()
    member.reads([0, 1, 2, 3, 4], [0, 1])
    member.read = [[], []]
    member.source.seek({Partition(world.name, 0): 2, Partition("somebody.elses", 0): 1})
    member.reads([2, 3, 4], [])
    world.send(1, 0)
    world.send(1, 1)
    member.reads([2, 3, 4, 5], [2])


def test_a_generation_grows_with_every_assignment(world: World, members: Callable[[], Member]) -> None:
    member = members()
    assert member.generations == [None, None]
    eventually(shared(member), 30)
    before = [each or 0 for each in member.generations]
    passes_by(world, member, member.poll)
    after = [each or 0 for each in member.generations]
    assert min(after) > max(before)
    assert set(member.revoked) == {Partition(world.name, 0), Partition(world.name, 1)}


def test_a_partition_that_is_given_back_begins_at_the_groups_offset(
    world: World, members: Callable[[], Member]
) -> None:
    for partition in (0, 1):
        world.send(5, partition)
    member = members()
    member.reads([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    assert member.source.commit({Partition(world.name, 0): 2, Partition(world.name, 1): 3})
    eventually(lambda: (world.committed(0), world.committed(1)) == (2, 3))
    passes_by(world, member, member.poll)
    member.reads([2, 3, 4], [3, 4])


def test_offsets_are_committed_while_partitions_are_revoked_and_not_later(
    world: World, members: Callable[[], Member]
) -> None:
    world.send(5, 0)
    world.send(5, 1)
    member = members()
    member.reads([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    parts = [Partition(world.name, 0), Partition(world.name, 1)]
    seen: list[tuple[bool, bool]] = []

    def commit(partitions: Sequence[Partition]) -> None:
        is_mine = member.source.assignment().keys() >= set(partitions)
        seen.append((is_mine, member.source.commit(dict.fromkeys(partitions, 4))))

    member.when_revoked = commit
    other = members()
    eventually(shared(member, other), 30)
    assert set(seen) == {(True, True)}
    assert [world.committed(0), world.committed(1)] == [4, 4]
    (lost,) = (part for part in parts if part not in member.source.assignment())
    assert not member.source.commit({lost: 5})
    assert member.source.begin_commit({lost: 5})() is False
    assert world.committed(lost.number) == 4


def test_while_it_is_idle_nothing_is_lost(world: World, members: Callable[[], Member]) -> None:
    world.send(2, 0)
    member = members()
    member.reads([0, 1], [])
    world.send(3, 0)
    before = member.generations
    member.source.idle(0.3)
    assert member.generations == before
    member.reads([0, 1, 2, 3, 4], [])


def test_partitions_that_are_given_back_while_it_is_idle_begin_at_the_groups_offset(
    world: World, members: Callable[[], Member]
) -> None:
    for partition in (0, 1):
        world.send(3, partition)
    member = members()
    member.reads([0, 1, 2], [0, 1, 2])
    before = [each or 0 for each in member.generations]
    assert member.source.commit({Partition(world.name, 0): 1, Partition(world.name, 1): 2})
    passes_by(world, member, lambda: member.source.idle(0.05))
    assert member.read == [[0, 1, 2], [0, 1, 2]], "idle hands out nothing"
    assert min(each or 0 for each in member.generations) > max(before)
    assert set(member.revoked) == {Partition(world.name, 0), Partition(world.name, 1)}
    member.reads([1, 2], [2])


def test_a_partition_that_is_taken_away_while_it_is_idle_is_read_when_it_comes_back(
    world: World, members: Callable[[], Member]
) -> None:
    member = members()
    eventually(shared(member), 30)
    other = members()

    def has_given() -> bool:
        member.source.idle(0.05)
        other.poll()
        return other.generations.count(None) == member.generations.count(None) == 1

    eventually(has_given, 30, "the group is not shared")
    (given,) = (part for part, generation in enumerate(member.generations) if generation is None)
    member.poll()  # it goes on with the partition that it has
    other.leave()
    eventually(shared(member), 30)
    world.send(1, given)
    member.reads(*([0] if part == given else [] for part in (0, 1)))
