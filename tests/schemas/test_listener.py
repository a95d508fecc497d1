"""The ear that tests share: a message that its schema does not allow fails whoever listens."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis

from tests.schemas.test_messages import BY_TYPE
from tests.support.redis_view import Listener, eventually


@pytest.fixture
def listener(client: redis.Redis) -> Iterator[Listener]:
    listener = Listener(client)
    yield listener
    listener.close()


def test_a_valid_message_is_heard(client: redis.Redis, listener: Listener) -> None:
    channel, body = BY_TYPE["balance_change"]
    client.publish(channel, json.dumps(body))
    eventually(lambda: listener.heard() == [(channel, body)])


@pytest.mark.parametrize(
    ("channel", "changes"),
    [("user_updates", {"password": "x"}), ("elsewhere", {}), ("user_updates", {"user_id": None})],
)
def test_an_invalid_one_fails_the_test(
    client: redis.Redis, listener: Listener, channel: str, changes: dict[str, object]
) -> None:
    client.publish(channel, json.dumps(BY_TYPE["balance_change"][1] | changes))
    with pytest.raises(AssertionError, match=channel):
        eventually(lambda: listener.heard() and False, seconds=2)
