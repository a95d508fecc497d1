"""How far a group is, on every kind of Redis: never written where what was written before is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from consumer.events.record import Partition
from consumer.mapping.reference import reference
from consumer.settings.sections import Guard
from consumer.sink.group_offsets import hash_of, replay_key_of
from consumer.sink.keyspace import keyspace
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from tests.integration.redis.conftest import settings_of

ONE, TWO = Partition("t.db.live_users", 3), Partition("u", 0)
REPLAY_KEY = "c0ffee"


@pytest.fixture
def sink(redis_url: str) -> Iterator[RedisSink]:
    with closing(RedisSink(settings_of(redis_url), Guard(), reference(), "g")) as sink:
        sink.reach()
        yield sink


@pytest.fixture
def view(redis_url: str) -> Iterator[RedisView]:
    with closing(RedisView(settings_of(redis_url))) as view:
        yield view


def test_offsets_go_on_where_they_are_known(sink: RedisSink, view: RedisView, client: redis.Redis) -> None:
    assert sink.store_offsets({ONE: 41, TWO: 7})
    assert sink.advance({ONE: 42})
    assert sink.advance({})
    assert sink.stored_offsets() == view.offsets("g") == {ONE: 42, TWO: 7}


def test_an_offset_is_never_lowered(sink: RedisSink) -> None:
    """A member that Kafka has dropped may not know it yet, and still stores its own, lower offset."""
    assert sink.store_offsets({ONE: 100, TWO: 7})
    assert sink.advance({ONE: 9, TWO: 8})
    assert sink.stored_offsets() == {ONE: 100, TWO: 8}


def test_offsets_do_not_come_back_to_an_emptied_server(sink: RedisSink, client: redis.Redis) -> None:
    """The next commit hid that Redis was emptied."""
    sink.store_offsets({ONE: 41, TWO: 7})
    client.flushall()
    assert not sink.advance({ONE: 42})
    assert sink.stored_offsets() == {}
    sink.store_offsets({TWO: 8})
    assert not sink.advance({ONE: 42, TWO: 9}), "all or nothing"
    assert sink.stored_offsets() == {TWO: 8}


def test_a_rebuild_makes_known_what_was_not_unless_it_was_emptied_since(
    sink: RedisSink, view: RedisView, client: redis.Redis
) -> None:
    sink.store_offsets({ONE: 41})
    view.create_replay_key(REPLAY_KEY)
    assert view.replay_key_exists(REPLAY_KEY)
    assert sink.store_offsets({ONE: 50, TWO: 9}, REPLAY_KEY)
    assert sink.stored_offsets() == {ONE: 41, TWO: 9}, "what a member says of itself stays"
    client.flushall()
    assert not view.replay_key_exists(REPLAY_KEY)
    assert not sink.store_offsets({ONE: 50, TWO: 9}, REPLAY_KEY)
    assert sink.stored_offsets() == {}


def test_one_part_that_was_emptied_is_enough(
    sink: RedisSink, view: RedisView, client: redis.Redis, redis_url: str
) -> None:
    """Of a cluster one master alone can be: all that lies in its part of the slots is gone."""
    with closing(keyspace(settings_of(redis_url))) as keys:
        part = keys.parts[-1]
    sink.store_offsets({ONE: 41, TWO: 7})
    view.create_replay_key(REPLAY_KEY)
    client.delete(hash_of("g", part), replay_key_of(REPLAY_KEY, part))
    assert sink.stored_offsets() == {}
    assert not sink.advance({ONE: 42})
    assert not view.replay_key_exists(REPLAY_KEY)
    assert not sink.store_offsets({ONE: 42, TWO: 7}, REPLAY_KEY)
    assert sink.stored_offsets() == {}
    view.create_replay_key(REPLAY_KEY)
    assert sink.store_offsets({ONE: 42, TWO: 7}, REPLAY_KEY)
    assert sink.stored_offsets().keys() == {ONE, TWO}
    view.remove_replay_key(REPLAY_KEY)
    assert not view.replay_key_exists(REPLAY_KEY)


def test_where_members_have_stopped(sink: RedisSink, view: RedisView, client: redis.Redis) -> None:
    sink.store_stop_offsets({ONE: 41, TWO: 7})
    assert view.stopped("g") == {ONE: 41, TWO: 7}
    sink.delete_stop_offsets([ONE])
    assert view.stopped("g") == {TWO: 7}
    assert sink.stored_offsets() == {}, "that is no progress"
