"""What lies before the records at hand, asked of a real broker: by time, by offset, and how far it is all there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka.admin import NewPartitions, NewTopic

from consumer.errors import ServerUnavailable
from consumer.events.avro import NO_SCHEMAS
from consumer.events.event import ChangeEvent
from consumer.source.earlier import KafkaEarlierRecords
from consumer.source.recording import read
from tests.e2e.topic import Topic
from tests.integration.pipeline.test_field_recordings import FOLDER
from tests.support.redis_view import eventually
from tests.support.stack import Stack

pytestmark = pytest.mark.stack
VALUE = next(read(FOLDER / "ae-failover-to-replica-lower.jsonl")).value
START_MS = 1_795_000_000_000
NEVER = 2**62


@pytest.fixture
def topic(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Topic]:
    found = Topic(stack, f"earlier-{abs(hash(request.node.name)) % 10**8}")
    yield found
    found.close()


@pytest.fixture
def earlier(topic: Topic) -> Iterator[KafkaEarlierRecords]:
    found = KafkaEarlierRecords(topic.settings(), NO_SCHEMAS)
    yield found
    found.close()


def write(
    topic: Topic, seconds: range, partition: int = 0, value: bytes | None = VALUE, key: bytes = b'{"id":7}'
) -> None:
    """A record a second."""
    with topic.producer() as producer:
        for second in seconds:
            at_ms = START_MS + 1000 * second
            producer.send(topic.name, value, key=key, partition=partition, timestamp_ms=at_ms).get(10)


def offsets(earlier: KafkaEarlierRecords, topic: Topic, begin: int, end: int) -> tuple[list[int], int]:
    found: list[ChangeEvent] = []
    reached = begin
    for changes, at in earlier.changes(topic.part, begin, end):
        found += changes
        reached = at
    return [each.place.offset for each in found], reached


def test_records_are_found_by_time_and_read_up_to_an_offset(topic: Topic, earlier: KafkaEarlierRecords) -> None:
    topic.make()
    write(topic, range(10))
    assert [earlier.offset_at(topic.part, START_MS + ms) for ms in (-5000, 0, 2500, 9000, 60_000)] == [0, 0, 3, 9, 10]
    assert earlier.offset_at(topic.part, -(2**63)) == 0
    assert offsets(earlier, topic, 3, 7) == ([3, 4, 5, 6], 7)
    assert offsets(earlier, topic, 7, 7) == ([], 7)


def test_a_topic_that_ends_before_the_offset_is_read_to_its_end(topic: Topic, earlier: KafkaEarlierRecords) -> None:
    """The offset is from before the topic was created again."""
    topic.make()
    write(topic, range(10))
    assert offsets(earlier, topic, 8, 48_213) == ([8, 9], 10)
    assert offsets(earlier, topic, 48_113, 48_213) == ([], 48_113)


def test_what_is_no_change_or_can_not_be_read_is_passed_over(topic: Topic, earlier: KafkaEarlierRecords) -> None:
    topic.make()
    write(topic, range(2))
    write(topic, range(2, 4), value=b"no JSON")
    write(topic, range(4, 5), value=None)
    write(topic, range(5, 6))
    assert offsets(earlier, topic, 0, 6) == ([0, 1, 5], 6)


def test_a_topic_that_was_always_so_tells_everything(topic: Topic, earlier: KafkaEarlierRecords) -> None:
    topic.make()
    write(topic, range(5))
    assert earlier.coverage(topic.part) == (START_MS, 0)


def test_a_topic_that_got_a_partition_tells_everything_since(topic: Topic, earlier: KafkaEarlierRecords) -> None:
    topic.make()
    write(topic, range(5))
    with topic._admin() as admin:
        admin.create_partitions({topic.name: NewPartitions(2)})
    write(topic, range(60, 62), partition=1)
    eventually(
        lambda: KafkaEarlierRecords(topic.settings(), NO_SCHEMAS).coverage(topic.part).laid_out_ms == START_MS + 60_000
    )


def test_only_the_last_partition_shows_it_because_another_may_be_empty_for_long(
    topic: Topic, earlier: KafkaEarlierRecords
) -> None:
    topic.make(partitions=3)
    write(topic, range(60, 62), partition=0)
    write(topic, range(5), partition=2)
    assert earlier.coverage(topic.part).laid_out_ms == START_MS


def test_the_last_partition_may_have_lost_its_oldest_records(topic: Topic, earlier: KafkaEarlierRecords) -> None:
    """Retention removes records of a busy partition, while an older record of a quiet one stays."""
    topic.make(partitions=2)
    write(topic, range(1), partition=0)
    write(topic, range(60, 65), partition=1)
    topic.delete_before(3, partition=1)
    assert earlier.coverage(topic.part).laid_out_ms == START_MS + 63_000


def test_where_the_oldest_records_were_deleted_the_first_one_left_tells_since_when(
    topic: Topic, earlier: KafkaEarlierRecords
) -> None:
    topic.make()
    write(topic, range(5))
    topic.delete_before(3)
    assert earlier.coverage(topic.part).kept_ms == START_MS + 3000
    assert offsets(earlier, topic, 0, 5) == ([3, 4], 5)


@pytest.mark.parametrize(("lag_ms", "is_known"), [("0", False), ("86400000", True)])
def test_a_compacted_topic_is_whole_for_its_compaction_lag(
    topic: Topic, earlier: KafkaEarlierRecords, lag_ms: str, is_known: bool
) -> None:
    configs = {"cleanup.policy": "compact", "min.compaction.lag.ms": lag_ms}
    with topic._admin() as admin:
        admin.create_topics([NewTopic(topic.name, 1, 1, topic_configs=configs)])
    eventually(topic._exists)
    write(topic, range(2))
    assert (earlier.coverage(topic.part).kept_ms < NEVER) == is_known


def test_a_broker_that_is_away_is_told_as_such(topic: Topic) -> None:
    away = KafkaEarlierRecords(topic.settings(bootstrap_servers="127.0.0.1:1"), NO_SCHEMAS)
    for ask in (lambda: away.offset_at(topic.part, 0), lambda: away.coverage(topic.part)):
        with pytest.raises(ServerUnavailable):
            ask()


def test_a_long_read_keeps_its_group_alive(
    topic: Topic, earlier: KafkaEarlierRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.source.earlier._KEEP_ALIVE_S", 0.0)
    topic.make()
    write(topic, range(3))
    called: list[int] = []
    earlier.keep_alive = lambda: called.append(1)
    offsets(earlier, topic, 0, 3)
    assert called
