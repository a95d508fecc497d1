"""An upgrade in place: a Redis that version 0.1 filled is followed on, and nothing is lost or told again.

``tests/recordings/redis-0.1.json`` is what commit 9d7345b left of the first records of the demo's recording.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis

from consumer.events.record import SourceRecord
from consumer.guard.history import Histories
from consumer.guard.version import Version
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource, read
from tests.support.redis_view import Listener

ROOT = Path(__file__).parents[3]
RECORDS = list(read(ROOT / "demo/recordings/trading.jsonl.gz"))
KEPT: dict[str, Any] = json.loads((ROOT / "tests/recordings/redis-0.1.json").read_text())
DONE: int = KEPT["records"]


def restore(client: redis.Redis) -> None:
    """What version 0.1 left."""
    for key, kept in KEPT["keys"].items():
        if kept["type"] == "hash":
            client.hset(key, mapping=kept["value"])
        else:
            client.set(key, kept["value"])
        if kept["ttl"] >= 0:
            client.expire(key, kept["ttl"])


def follow(records: list[SourceRecord], sink: RedisSink) -> None:
    source = RecordedSource(records, step=3)
    pipeline = Pipeline(sink, reference(), history=Histories(None, 5000), commit_interval_s=0)
    pipeline.run(source, lambda: source.is_at_end)


def users(client: redis.Redis) -> dict[str, object]:
    """Every key that other services read."""
    keys = sorted(str(key) for key in client.keys("*"))
    return {
        key: client.hgetall(key) if client.type(key) == "hash" else client.get(key)
        for key in keys
        if not key.startswith("cdc:")
    }


def said(heard: Listener) -> list[tuple[str, object, object, object]]:
    """Every message without its id and place, which version 0.1 made otherwise."""
    return [(channel, told["event_type"], told["user_id"], told["updated_fields"]) for channel, told in heard.heard()]


def test_the_recording_has_what_the_upgrade_must_understand() -> None:
    versions = [
        value for key, kept in KEPT["keys"].items() if key.startswith("cdc:{") for value in kept["value"].values()
    ]
    assert any("|mysql:" in text for text in versions), "lineages and places of version 0.1"
    assert any(text.endswith("|d") for text in versions), "and a deleted user"


def test_what_version_0_1_applied_is_not_applied_again_and_what_follows_is(
    sink: RedisSink, client: redis.Redis, heard: Listener
) -> None:
    follow(RECORDS, sink)
    expected, all_said = users(client), said(heard)
    client.flushall()
    follow(RECORDS[:DONE], sink)
    said_before = len(said(heard)) - len(all_said)
    client.flushall()
    restore(client)
    told = len(said(heard))
    follow(RECORDS, sink)
    assert users(client) == expected
    assert said(heard)[told:] == all_said[said_before:]


def test_version_0_1_can_read_what_stands_after_the_upgrade() -> None:
    """A member of the old version may still run, or come back: eight parts, of which the last four are its own."""
    text = Version.from_text("0|s|t:1000500||1000000|t|0|50").to_text()
    parts = text.split("|")
    assert len(parts) == 8
    assert parts[4:] == ["1000000", "t", "0", "50"]
