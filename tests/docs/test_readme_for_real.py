"""The section "Run it for real" of the README, line by line, on the real servers."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis

from consumer.connect.placeholder import PLACEHOLDER
from tests.docs.markdown import PROJECT, blocks
from tests.docs.test_readme import FOR_REAL, README, commands, in_this_environment
from tests.stack.registration import delete_topics
from tests.stack.stack import Stack
from tests.stack.trading import Trading

LIMIT_S = 60.0
_COMMANDS = [command for text in blocks(README, "sh") for command in commands(text)]
EXPORTED = [
    word.partition("=")[0] for line in _COMMANDS if line.startswith("export ") for word in shlex.split(line)[1:]
]


def _one(pattern: str) -> list[str]:
    (found,) = (command for command in _COMMANDS if command in FOR_REAL and re.search(pattern, command))
    return in_this_environment(found)


@pytest.fixture
def environment(stack: Stack, topic_prefix: str) -> dict[str, str]:
    """What the README exports, with the values of these servers; nothing else of this program's."""
    known = {
        **stack.mysql.connector_values(),
        **stack.connect.exports(),
        **stack.kafka.exports(),
        **stack.redis.exports(),
        "CDC_TOPIC_PREFIX": topic_prefix,
        "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
        "CDC_CONNECT_BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_MASK_SALT": secrets.token_hex(8),
        "CDC_DATABASE__URL": stack.mysql.url,
    }
    # Of what the README leaves at its default, these differ here because many tests share the servers.
    shared = {
        "CDC_MYSQL_PORT": known["CDC_MYSQL_PORT"],
        "CDC_MYSQL_SERVER_ID": str(10_000 + secrets.randbelow(2_000_000_000)),
        "CDC_KAFKA__GROUP_ID": f"group-{topic_prefix}",
        "CDC_METRICS__PORT": "0",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CDC_")}
    return inherited | {name: known[name] for name in EXPORTED} | shared


@pytest.fixture
def cleaned(stack: Stack, topic_prefix: str) -> Iterator[None]:
    """Afterwards the connector and its topics are gone."""
    yield
    with stack.connect.api() as api:
        if f"{topic_prefix}-mysql" in api.names():
            api.delete(f"{topic_prefix}-mysql")
    delete_topics(stack, topic_prefix)


@pytest.mark.stack
@pytest.mark.usefixtures("cleaned")
def test_the_commands_work_one_after_the_other(
    trading: Trading, redis_client: redis.Redis, environment: dict[str, str]
) -> None:
    applied = subprocess.run(
        _one("connect apply"), cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert applied.returncode == 0, applied.stderr
    _, verb, *channels = _one("SUBSCRIBE")
    assert verb == "SUBSCRIBE"
    subscriber = redis_client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe(*channels)
    running = subprocess.Popen(_one("cdc-consumer run"), cwd=PROJECT, env=environment, stderr=subprocess.PIPE)
    try:
        trading.insert("live_users", id=123, wallet_balance="10000.5", group="VIP")
        message = _first_message(subscriber)
        assert (message["event_type"], message["user_id"]) == ("user_created", 123)
        config = redis_client.execute_command(*_one("HGETALL")[1:])
        assert (config["wallet_balance"], config["group"]) == ("10000.50", "VIP")
        assert redis_client.execute_command(*_one("redis-cli GET")[1:]) == "10000.50"
        redis_client.hset("user:{live:123}:config", "group", "by hand")
        replay = _ran("cdc-consumer replay", environment)
        assert replay.returncode == 0, replay.stderr
        assert "group: 'by hand' -> 'VIP'" in replay.stdout
        audit = _ran("cdc-consumer audit", environment)
        assert audit.returncode == 1, audit.stderr
        assert "overwritten" in audit.stdout
        explain = _ran("cdc-consumer explain", environment)
        assert explain.returncode == 0, explain.stderr
        assert "changed by hand, or by another program: group" in explain.stdout
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=30)
        assert running.returncode == 0, said.decode()
    finally:
        running.kill()
        running.wait()
        subscriber.close()


def _ran(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _one(command), cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _first_message(subscriber: redis.client.PubSub) -> dict[str, object]:
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if message := subscriber.get_message(timeout=1.0):
            return dict(json.loads(message["data"]))
    raise AssertionError(f"no message within {LIMIT_S:g} s")


def test_every_exported_name_is_one_that_somebody_reads() -> None:
    placeholders = {match["name"] for match in PLACEHOLDER.finditer((PROJECT / "connect" / "mysql.json").read_text())}
    settings = set(re.findall(r"`(CDC_[A-Z_]+)`", (PROJECT / "docs" / "settings.md").read_text()))
    assert set(EXPORTED) <= placeholders | settings
    needed = {
        match["name"]
        for match in PLACEHOLDER.finditer((PROJECT / "connect" / "mysql.json").read_text())
        if match["default"] is None
    }
    assert needed <= set(EXPORTED)
