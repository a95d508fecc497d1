"""What may happen to Kafka and to Redis while a replay goes on, and to the file with its progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from consumer.errors import RecordsGone
from consumer.events.record import SourceRecord
from consumer.source.bounds import Beginning, End, Span
from consumer.source.range_reader import check_present, read, resolve
from tests.e2e.process import Process
from tests.e2e.replaying import DELETED, DEPOSIT, GROUP, Ground, of_user
from tests.e2e.topic import EITHER_CLIENT, Topic
from tests.support.redis_server import RedisServer, program
from tests.support.redis_view import Listener, eventually

pytestmark = pytest.mark.stack
ALL = ("--from", "beginning", "--to", "end")
REBUILD = ("--rebuild", "--prune", "--yes")
ORPHAN = "user:{live:900000}:config"
# Every key but those of the orphan, whose id is longer than those of the users.
KEYS_OF_USERS = [f"~*live:{'?' * count}{end}" for count in (1, 2, 3) for end in ("", "}*")]


def spans_of(topic: Topic) -> Sequence[Span]:
    """The range of five records."""
    topic.make()
    topic.send(5)
    return resolve(topic.settings(), [topic.name], Beginning(), End())


@EITHER_CLIENT
def test_records_that_are_deleted_before_they_are_read_end_the_reading(topic: Topic) -> None:
    spans = spans_of(topic)
    check_present(topic.settings(), spans)
    topic.delete_before(3)
    with pytest.raises(RecordsGone, match=r"live_users\[0\]@0 on were deleted"):
        list(read(topic.settings(), spans))
    with pytest.raises(RecordsGone, match=r"live_users\[0\]@0 on were deleted"):
        check_present(topic.settings(), spans)
    left = [replace(span, begin=3) for span in spans]
    assert [record.offset for _, records, _ in read(topic.settings(), left) for record in records] == [3, 4]


@EITHER_CLIENT
def test_a_topic_that_was_created_again_and_ends_before_the_range_ends_the_reading(topic: Topic) -> None:
    """Before, the replay waited for ever for the records up to the old end."""
    spans = spans_of(topic)
    topic.delete()
    topic.make()
    topic.send(2)
    with pytest.raises(RecordsGone, match=r"live_users\[0\]@2 on were deleted"):
        list(read(topic.settings(), spans))
    with pytest.raises(RecordsGone, match=r"live_users\[0\]@4 on were deleted"):
        list(read(topic.settings(), [replace(span, begin=4) for span in spans]))


def test_records_that_are_deleted_before_a_resume_prune_nobody_and_let_nobody_go_on(ground: Ground) -> None:
    ground.send([of_user(DEPOSIT, user, user) for user in range(3000)])
    ground.redis.hset(ORPHAN, "group", "nobody's")
    ground.redis.hset(f"{offsets(ground)}:stopped", f"{ground.topic()}:1", 1000)
    arguments = (*REBUILD, "--resume", str(ground.folder / "state"))
    assert ground.interrupted_at("cdc:replay:*", *arguments) == 130
    ground.delete_before(500, partition=1)
    said = ground.replayed(*arguments, code=1)["said"]
    assert f"{ground.topic()}[1]@0 on were deleted" in said
    assert "new file" in said
    assert ground.redis.exists(ORPHAN)
    assert not ground.redis.exists(offsets(ground))


def offsets(ground: Ground) -> str:
    """The key of the group's offsets."""
    return f"cdc:offsets:{ground.environment['CDC_KAFKA__GROUP_ID']}"


@pytest.fixture
def server(ground: Ground) -> Iterator[RedisServer]:
    """A Redis of this test alone."""
    server = RedisServer(program("machine"), ground.folder / "redis")
    server.start()
    yield server
    server.end()


@pytest.fixture
def waiting(ground: Ground, server: RedisServer) -> Iterator[tuple[Ground, Process]]:
    """A rebuild that has written every user, and waits because Redis refuses to show it the orphan."""
    with server.connect() as client:
        own = replace(ground, redis=client, environment={**ground.environment, "CDC_REDIS__URL": server.url})
        own.send([of_user(DEPOSIT, user, user) for user in range(300)])
        client.hset(ORPHAN, "group", "nobody's")
        client.hset(f"{offsets(own)}:stopped", f"{own.topic()}:1", 100)
        keys = ["~cdc:*", "~financial_summary:*", *KEYS_OF_USERS]
        client.execute_command("ACL", "SETUSER", "default", "resetkeys", *keys)
        child = own.started(*REBUILD)
        eventually(lambda: not child.running or "replay.waiting" in child.said(), 60)
        assert child.running, child.said()
        assert all(own.config(user) for user in range(300))
        yield own, child
        child.close()


def test_a_redis_that_does_not_answer_in_the_last_step_is_waited_for(waiting: tuple[Ground, Process]) -> None:
    """Before, the whole rebuild was lost, and the members that waited for it went on waiting."""
    ground, child = waiting
    ground.redis.execute_command("ACL", "SETUSER", "default", "allkeys")
    assert child.wait(60) == 0, child.said()
    assert not ground.redis.exists(ORPHAN)
    assert ground.redis.hgetall(offsets(ground)) == {f"{ground.topic()}:1": "100"}
    assert not ground.redis.exists(f"{offsets(ground)}:stopped")


def test_a_redis_that_comes_back_with_the_replay_s_key_but_without_its_last_writes_is_noticed(
    waiting: tuple[Ground, Process], server: RedisServer
) -> None:
    """Nobody has written since, so no connection notices the restart."""
    ground, child = waiting
    for user in range(100, 200):
        ground.redis.delete(f"user:{{live:{user}}}:config", f"cdc:{{live:{user}}}", f"user_balance:live:{user}")
    ground.redis.save()
    server.end()
    server.start()
    assert child.wait(60) == 0, child.said()
    assert "replay.again" in child.said()
    assert ground.users() == set(range(300))


@pytest.fixture
def listener(ground: Ground) -> Iterator[Listener]:
    listener = Listener(ground.redis)
    yield listener
    listener.close()


def test_after_redis_was_emptied_no_message_goes_out_twice(ground: Ground, listener: Listener) -> None:
    """The replay begins again, but what it had published stays published."""
    ground.send([of_user(change, user, user) for change in (DEPOSIT, GROUP) for user in range(3000)])
    arguments = (*ALL, "--yes", "--publish")
    assert ground.interrupted_at("user:*:config", *arguments, act=ground.redis.flushall) == 0
    assert "replay.again" in (ground.folder / "replay.err").read_text()
    assert ground.users() == set(range(3000))
    told = Counter((channel, body["event_id"]) for channel, body in listener.heard())
    assert len(told) >= 6000
    assert set(told.values()) == {1}


def test_each_record_of_an_apply_is_counted_once(ground: Ground) -> None:
    """A tombstone whose delete is gone is a change; a record of a user who was not ordered counts too."""

    def tombstone(user: int) -> SourceRecord:
        return structs.replace(of_user(DELETED, user, 0), value=None)

    unreadable = structs.replace(of_user(GROUP, 4, 1), value=b"{")
    ground.send(
        [tombstone(1), tombstone(2), tombstone(4), of_user(DEPOSIT, 3, 1), of_user(DELETED, 3, 2), tombstone(3)]
    )
    ground.send([unreadable])
    for way in ((), ("--yes",)):
        found = ground.replayed(*ALL, *way, code=1)
        assert (found["records"], found["unusable"], found["counts"]["tombstones"]) == (7, 1, 1)
        assert sum(found["counts"].values()) == 6
        found = ground.replayed(*ALL, *way, "--user", "live:1")
        assert (found["records"], found["unusable"], sum(found["counts"].values())) == (7, 0, 7)


def test_a_time_that_moves_is_refused_with_a_file_to_resume_from(ground: Ground) -> None:
    state = ground.folder / "state"
    said = ground.replayed("--from", "10m", "--to", "end", "--resume", str(state), code=2)["said"]
    assert "--from" in said
    assert not state.exists()
