"""Keys by prefix: the index and the scan answer alike, and what is written meanwhile goes too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis
import structlog
from pydantic import SecretStr

from consumer.key_index import TrackedIndex
from consumer.keyspace import OneKeyspace
from consumer.reference import reference
from consumer.scan_index import KeyIndex, ScanIndex
from consumer.sections import Guard, Redis
from consumer.sink import RedisSink
from tests.contract.conftest import ONE_SERVER
from tests.redis_view import eventually

pytestmark = [*ONE_SERVER]

HEADS = ("financial_summary:",)
MINE = "financial_summary:live:1:"


KINDS = [
    pytest.param(lambda client: ScanIndex(OneKeyspace(client), HEADS), id="scan"),
    pytest.param(lambda client: TrackedIndex(client, HEADS), id="tracking"),
]


@pytest.fixture
def tracked(client: redis.Redis) -> Iterator[TrackedIndex]:
    client.mset({f"{MINE}day": "x", "financial_summary:live:11:day": "x", "financial_summary:nobody": "x"})
    index = TrackedIndex(client, HEADS)
    index.start()
    eventually(lambda: index.is_warm)
    yield index
    index.close()


def test_what_was_there_before_the_start_is_known(tracked: TrackedIndex) -> None:
    assert tracked.matching([MINE]) == {MINE: (f"{MINE}day",)}


def test_scan_and_index_answer_alike(client: redis.Redis, tracked: TrackedIndex) -> None:
    scan: KeyIndex = ScanIndex(OneKeyspace(client), HEADS)
    asked = [MINE, "financial_summary:live:11:", "financial_summary:live:12:"]
    assert {prefix: list(keys) for prefix, keys in tracked.matching(asked).items()} == scan.matching(asked)


def test_a_later_write_is_told(client: redis.Redis, tracked: TrackedIndex) -> None:
    client.set(f"{MINE}week", "x")
    time.sleep(0.2)
    assert set(tracked.matching([MINE])[MINE]) == {f"{MINE}day", f"{MINE}week"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_written_inside_the_window_is_cleared(
    client: redis.Redis, kind: Callable[[redis.Redis], ScanIndex | TrackedIndex]
) -> None:
    index = kind(client)
    index.start()
    if isinstance(index, TrackedIndex):
        eventually(lambda: index.is_warm)
    index.matching([MINE])
    client.set(f"{MINE}late", "x")
    client.set("financial_summary:live:11:late", "x")
    index.settle([MINE], [MINE])
    eventually(lambda: not client.exists(f"{MINE}late"))
    assert client.exists("financial_summary:live:11:late")
    index.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_plan_clears_nothing_and_its_keys_are_still_known(
    client: redis.Redis, kind: Callable[[redis.Redis], ScanIndex | TrackedIndex]
) -> None:
    client.set(f"{MINE}day", "x")
    index = kind(client)
    index.start()
    if isinstance(index, TrackedIndex):
        eventually(lambda: index.is_warm)
    index.matching([MINE])
    client.set(f"{MINE}late", "x")
    time.sleep(0.1)
    index.settle([MINE], ())
    time.sleep(0.1)
    assert client.exists(f"{MINE}day", f"{MINE}late") == 2
    assert set(index.matching([MINE])[MINE]) == {f"{MINE}day", f"{MINE}late"}
    index.close()


def test_a_key_written_after_the_window_stays(client: redis.Redis, tracked: TrackedIndex) -> None:
    tracked.matching([MINE])
    tracked.settle([MINE], [MINE])
    time.sleep(0.2)
    client.set(f"{MINE}fresh", "x")
    time.sleep(0.2)
    assert client.exists(f"{MINE}fresh")


def test_a_lost_connection_is_made_again_and_nothing_is_missed(client: redis.Redis, tracked: TrackedIndex) -> None:
    tracked.matching([MINE])  # a window is open when the connection goes
    with structlog.testing.capture_logs() as lines:
        for each in client.client_list():
            if "t" in each["flags"] or "B" in each["flags"]:
                client.client_kill_filter(_id=each["id"])
        client.set(f"{MINE}meanwhile", "x")
        eventually(lambda: any(line["action"] == "index.lost" for line in lines))
        eventually(lambda: tracked.is_warm)
    assert not client.exists(f"{MINE}meanwhile")


def test_flushing_the_server_empties_the_index(client: redis.Redis, tracked: TrackedIndex) -> None:
    client.flushall()
    eventually(lambda: not tracked.matching([MINE])[MINE])


def test_more_keys_than_are_kept_track_of_are_scanned_for(client: redis.Redis) -> None:
    client.mset({f"{MINE}{number}": "x" for number in range(3)})
    index = TrackedIndex(client, HEADS, limit=4)
    with structlog.testing.capture_logs() as lines:
        index.start()
        eventually(lambda: index.is_warm)
        client.mset({f"{MINE}{number}": "x" for number in range(3, 6)})
        eventually(lambda: any(line["action"] == "index.full" for line in lines))
    assert not index.is_warm
    assert len(index.matching([MINE])[MINE]) == 6
    index.settle([MINE], [MINE])
    eventually(lambda: not client.keys(f"{MINE}*"))
    index.close()


@pytest.mark.parametrize(("tracking", "state"), [(True, "warm"), (False, "off")])
def test_a_sink_knows_the_state_of_its_index(redis_url: str, tracking: bool, state: str) -> None:
    with closing(RedisSink(Redis(url=SecretStr(redis_url), tracking=tracking), Guard(), reference())) as sink:
        assert sink.index_state() == ("cold" if tracking else "off")
        sink.reach()
        eventually(lambda: sink.index_state() == state)
