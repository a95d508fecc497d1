"""Records that can't be applied, on a real broker: where they end up, and when the program stops instead."""

from __future__ import annotations

import signal

import pytest
from msgspec import structs

from tests.e2e.feed import POISON, Feed, deposit, poison
from tests.support.redis_view import Listener, eventually

pytestmark = pytest.mark.stack
MANY = 10_000


def test_one_among_ten_thousand_is_a_dead_letter_and_its_user_is_healed_by_their_next_change(feed: Feed) -> None:
    at = MANY // 2
    records = [deposit(number, number) for number in range(MANY)]
    records[at] = poison(at, at)
    feed.redis.hset(f"user:{{live:{at}}}:config", mapping={"group": "old", "extra": "kept"})
    feed.send(*records)
    with feed.running() as process:
        eventually(lambda: feed.committed() == MANY, 60)
        (letter,) = feed.letters()
        assert (letter.key, letter.value) == (records[at].key, POISON)
        headers = dict(letter.headers)
        assert headers["trace"] == b"abc"
        assert headers["__connect.errors.topic"].decode() == feed.topic
        assert headers["__connect.errors.offset"] == str(at).encode()
        assert headers["cdc.user"] == f"live:{at}".encode()
        assert headers["cdc.reason"] == b"undecodable"
        assert not any(b"hunter2" in value for value in headers.values())
        assert "hunter2" not in process.said()
        applied = sum(1 for _ in feed.redis.scan_iter(match="user_balance:live:*", count=1000))
        assert applied == MANY - 1
        assert feed.field(at, "group") == "old"
        listener = Listener(feed.redis)
        feed.send(deposit(at, MANY, group="VIP"))
        eventually(lambda: feed.field(at, "group") == "VIP")
        assert feed.field(at, "wallet_balance") == "10000.50"
        assert feed.field(at, "extra") == "kept"
        assert "group_updates" in [channel for channel, _ in listener.heard(at)]
        listener.close()
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert feed.committed() == MANY + 1


def test_where_every_record_is_poisoned_it_halts_and_the_offset_stays(feed: Feed) -> None:
    feed.send(*(poison(number, number) for number in range(MANY)))
    for _ in range(2):
        said = feed.halted()
        assert f"51 records of {feed.topic} in a row can't be applied" in said
        assert f"{feed.topic}[0]@0" in said
    assert feed.committed() is None
    assert feed.letters() == []


def test_the_first_halts_where_none_are_tolerated(feed: Feed) -> None:
    feed.send(deposit(1, 0), poison(2, 1))
    assert f"{feed.topic}[0]@1" in feed.halted(CDC_DEAD_LETTERS__IN_A_ROW="0")
    assert feed.committed() == 1


def test_a_key_of_the_wrong_type_is_a_dead_letter_of_that_user_alone(feed: Feed) -> None:
    feed.redis.set("user:{live:2}:config", "no hash")
    feed.send(deposit(1, 0), deposit(2, 1, group="VIP"), deposit(2, 2), deposit(3, 3))
    with feed.running():
        eventually(lambda: feed.committed() == 4)
        assert [dict(letter.headers)["cdc.reason"] for letter in feed.letters()] == [b"redis_wrongtype"] * 2
        assert feed.field(3, "wallet_balance") == "10000.50"
        feed.redis.delete("user:{live:2}:config")
        feed.send(deposit(2, 4, group="VIP"))
        eventually(lambda: feed.redis.hget("user:{live:2}:config", "group") == "VIP")


def test_a_record_too_large_for_the_topic_of_dead_letters_ends_it_and_is_not_passed(feed: Feed) -> None:
    feed.make(feed.dead_letters, max_message_bytes="2000")
    feed.send(deposit(1, 0), poison(2, 1, b"x" * 5000), deposit(3, 2))
    said = feed.halted()
    assert f"{feed.dead_letters} refuses the dead letter of {feed.topic}[0]@1" in said
    assert f"raise max.message.bytes of {feed.dead_letters}" in said
    assert feed.committed() == 1
    admin = feed.stack.kafka.admin()
    admin.delete_topics([feed.dead_letters])
    admin.close()
    with feed.running():
        eventually(lambda: feed.committed() == 3)
        (letter,) = feed.letters()
        assert letter.value == b"x" * 5000


def test_a_topic_of_dead_letters_that_refuses_a_letter_ends_it_and_nothing_is_passed(feed: Feed) -> None:
    """A compacted topic takes no record without a key."""
    feed.make(feed.dead_letters, cleanup_policy="compact")
    feed.send(deposit(1, 0), structs.replace(poison(2, 1), key=None))
    said = feed.halted()
    assert f"{feed.dead_letters} refuses the dead letter" in said
    assert "InvalidRecord" in said
    assert feed.committed() == 1


def test_a_broker_away_is_waited_for_before_a_letter_counts(feed: Feed) -> None:
    with feed.running() as process:
        feed.send(deposit(1, 0))
        eventually(lambda: feed.field(1, "group"))
        feed.send(poison(2, 1), deposit(3, 2))
        feed.stack.kafka.freeze()
        try:
            eventually(lambda: "kafka.waiting" in process.said() or "poll.retry" in process.said(), 40)
        except AssertionError:
            pass  # the letter went out before the broker froze: then there was nothing to wait for
        finally:
            feed.stack.kafka.thaw()
        eventually(lambda: feed.committed() == 3, 60)
        assert {letter.value for letter in feed.letters()} == {POISON}


def test_a_topic_of_dead_letters_that_can_not_be_made_is_a_wrong_setting(feed: Feed) -> None:
    with feed.running(CDC_DEAD_LETTERS__TOPIC="..") as process:
        assert process.wait() == 2
    assert "CDC_DEAD_LETTERS__TOPIC" in process.said()
    assert "Traceback" not in process.said()
