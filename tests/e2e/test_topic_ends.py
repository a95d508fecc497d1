"""A refresh waits for topics and partitions that were made after it had connected, on a real broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import NewPartitions

from consumer.commands.shared.catch_up import CatchUp, CatchUpLimits, wait_for_catch_up
from consumer.errors import Place
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import Partition
from consumer.source.clients.kafka import beginning_offsets, end_offsets, open_consumer, topics
from consumer.source.topic_ends import Topics
from consumer.source.topic_selection import Known, select
from tests.e2e.test_earlier import write
from tests.e2e.topic import Topic
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.unit.commands.test_catch_up import DatabaseStub, place

pytestmark = pytest.mark.stack
SOON = CatchUpLimits(settle_s=0.3, limit_s=1.0, look_s=0.05)


@pytest.fixture
def topic(stack: Stack, topic_prefix: str) -> Iterator[Topic]:
    found = Topic(stack, topic_prefix)
    yield found
    found.close()


def opened(topic: Topic) -> Topics:
    settings = topic.settings()
    return Topics(settings, select(Known(topics(settings)), settings, ["live_users", "demo_users"]), NO_SCHEMAS)


def passage(ends: Topics) -> CatchUp:
    return wait_for_catch_up(DatabaseStub(place(5)), ends, SOON, lambda: False)


def test_a_partition_that_came_later_is_waited_for(topic: Topic) -> None:
    topic.make()
    write(topic, range(3))
    topic.commit(3)
    with opened(topic) as ends:
        assert passage(ends).behind == frozenset()
        with topic._admin() as admin:
            admin.create_partitions({topic.name: NewPartitions(2)})
        write(topic, range(60, 62), partition=1)
        assert passage(ends).behind == {Partition(topic.name, 1)}
        topic.commit(2, 1)
        assert passage(ends).behind == frozenset()


def test_a_topic_that_came_later_is_waited_for(topic: Topic, stack: Stack) -> None:
    topic.make()
    write(topic, range(3))
    topic.commit(3)
    later = Topic(stack, topic.prefix)
    later.name = f"{topic.prefix}.trading.demo_users"
    other = Topic(stack, topic.prefix)
    other.name = f"{topic.prefix}.trading.nobodys"
    try:
        with opened(topic) as ends:
            assert passage(ends).behind == frozenset()
            for each in (later, other):
                each.make()
                write(each, range(2))
            assert passage(ends).behind == {Partition(later.name, 0)}
            later.commit(2)
            eventually(lambda: passage(ends).behind == frozenset(), 20)
    finally:
        later.close()
        other.close()


def test_a_partition_whose_leader_is_not_known_is_waited_for(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client leaves it out: ends raised KeyError, and a replay by time skipped its records."""
    topic.make(partitions=2)
    for number in (0, 1):
        write(topic, range(3), partition=number)
    parts = [TopicPartition(topic.name, number) for number in (0, 1)]
    consumer = open_consumer(topic.settings())
    cluster = consumer._client.cluster
    leader_of, asked = cluster.leader_for_partition, [0]

    def leader(part: TopicPartition) -> int | None:
        asked[0] += 1
        elected = asked[0] > 3 or part == parts[0]
        return leader_of(part) if elected else -1

    try:
        monkeypatch.setattr(cluster, "leader_for_partition", leader)
        assert end_offsets(consumer, parts) == dict.fromkeys(parts, 3)
        asked[0] = 0
        assert beginning_offsets(consumer, parts) == dict.fromkeys(parts, 0)
        asked[0] = 0
        found: Mapping[TopicPartition, Any] = consumer.offsets_for_times(dict.fromkeys(parts, 0))
        assert [found[part].offset for part in parts] == [0, 0]
    finally:
        consumer.close(autocommit=False)


def test_a_place_after_the_end_of_a_topic_that_was_made_again_has_no_change(topic: Topic) -> None:
    topic.make()
    write(topic, range(3))
    with opened(topic) as ends:
        places = [Place(topic.name, 0, offset) for offset in (1, 2, 3, 9_000)]
        assert sorted(place.offset for place in ends.changes(places)) == [1, 2]


def test_the_reply_to_an_earlier_request_hides_no_topic(topic: Topic) -> None:
    """The client has asked about no topic at all; that reply counts for the next request too."""
    topic.make()
    write(topic, range(3))
    with opened(topic) as ends:
        assert ends.ends() == {Partition(topic.name, 0): 3}
        client = ends._consumer._client
        ends._consumer.assign([])
        client.cluster.request_update()
        client.cluster._last_refresh_ms = 0
        client._maybe_refresh_metadata()
        assert client._metadata_refresh_in_progress
        ends.look()
        assert ends.ends() == {Partition(topic.name, 0): 3}
