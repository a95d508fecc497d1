"""Keys by prefix: the index and the scan answer alike, and what is written meanwhile goes too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis
import structlog
from pydantic import SecretStr

from consumer.mapping.reference import reference
from consumer.settings.sections import Guard, Redis
from consumer.sink.index.key_index import TrackedIndex
from consumer.sink.index.scan_index import KeyIndex, ScanIndex
from consumer.sink.index.tracking import READ_TIMEOUT_S
from consumer.sink.keyspace import OneKeyspace
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.conftest import ONE_SERVER
from tests.support.redis_view import eventually

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


def test_while_nothing_happens_the_connection_is_checked_and_the_index_stays(tracked: TrackedIndex) -> None:
    with structlog.testing.capture_logs() as logs:
        time.sleep(2.5 * READ_TIMEOUT_S)
    assert tracked.is_warm
    assert [each["action"] for each in logs] == []


def test_what_is_touched_between_two_look_ups_of_one_user_goes_with_either(
    client: redis.Redis, tracked: TrackedIndex
) -> None:
    """Two batches are in flight at a time, so two windows of one user may be open."""
    both = [MINE, "financial_summary:live:11:"]
    tracked.matching([MINE])
    tracked.matching(both)
    client.set(f"{MINE}late", "x")
    time.sleep(0.2)
    tracked.close_windows([MINE], ())
    tracked.close_windows(both, [MINE])
    eventually(lambda: not client.exists(f"{MINE}late"))


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
    index.close_windows([MINE], [MINE])
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
    index.close_windows([MINE], ())
    time.sleep(0.1)
    assert client.exists(f"{MINE}day", f"{MINE}late") == 2
    assert set(index.matching([MINE])[MINE]) == {f"{MINE}day", f"{MINE}late"}
    index.close()


def test_a_key_written_after_the_window_stays(client: redis.Redis, tracked: TrackedIndex) -> None:
    tracked.matching([MINE])
    tracked.close_windows([MINE], [MINE])
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


def test_a_server_that_refuses_is_asked_again_after_a_pause(client: redis.Redis) -> None:
    """Each time costs a connection. The index is warm when the account has the right."""
    client.execute_command("ACL", "SETUSER", "narrow", "on", ">x", "~*", "&*", "+@all", "-client")
    connection = client.get_connection_kwargs()
    narrow = redis.Redis(host=connection["host"], port=connection["port"], username="narrow", password="x")
    index = TrackedIndex(narrow, HEADS, keys=OneKeyspace(client), again_s=3.0)
    try:
        with structlog.testing.capture_logs() as lines:
            before = client.info("stats")["total_connections_received"]
            index.start()
            time.sleep(2.0)
            assert client.info("stats")["total_connections_received"] - before == 1
            client.execute_command("ACL", "SETUSER", "narrow", "+client")
            eventually(lambda: index.is_warm)
        assert [line["action"] for line in lines] == ["index.lost", "index.ready"]
    finally:
        index.close()
        narrow.close()
        client.execute_command("ACL", "DELUSER", "narrow")


def test_flushing_the_server_empties_the_index(client: redis.Redis, tracked: TrackedIndex) -> None:
    client.flushall()
    eventually(lambda: not tracked.matching([MINE])[MINE])


def names(index: TrackedIndex) -> set[str]:
    """What is known of one user, for a change that is refused."""
    found = set(index.matching([MINE])[MINE])
    index.close_windows([MINE], ())
    return found


def test_a_key_that_expired_or_was_removed_is_forgotten(client: redis.Redis) -> None:
    """The server tells of it as it tells of a write; one that was written again meanwhile stays."""
    index = TrackedIndex(client, HEADS, check_s=0.1)
    index.start()
    eventually(lambda: index.is_warm)
    for number in range(50):
        client.set(f"{MINE}short-{number}", "x", px=50)
        client.set(f"{MINE}removed-{number}", "x")
        client.set(f"{MINE}stays-{number}", "x")
    client.delete(*(f"{MINE}removed-{number}" for number in range(50)))
    client.set(f"{MINE}removed-7", "again")
    left = {f"{MINE}stays-{number}" for number in range(50)} | {f"{MINE}removed-7"}
    eventually(lambda: set(client.keys(f"{MINE}*")) == left)
    eventually(lambda: names(index) == left)
    index.close()


def test_keys_that_live_for_a_while_do_not_pile_up(client: redis.Redis) -> None:
    """Hour after hour other names: never more at once than are kept track of, and many times as many in all."""
    index = TrackedIndex(client, HEADS, limit=300, check_s=0.05, again_s=0.1)
    index.start()
    eventually(lambda: index.is_warm)
    with structlog.testing.capture_logs() as lines:
        for number in range(20):
            short = [f"{MINE}{number}-{each}" for each in range(100)]
            for name in short:
                client.set(name, "x", px=30)
            eventually(lambda short=short: not client.exists(*short))  # type: ignore[misc]
            eventually(lambda: not names(index))
    assert [line for line in lines if line["action"] in ("index.full", "index.lost")] == []
    assert index.state == "warm"
    index.close()


def test_more_keys_than_are_kept_track_of_are_scanned_for(client: redis.Redis) -> None:
    """Once, and not for ever: when they are fewer they are known again."""
    client.mset({f"{MINE}{number}": "x" for number in range(3)})
    index = TrackedIndex(client, HEADS, limit=4, again_s=0.1)
    with structlog.testing.capture_logs() as lines:
        index.start()
        eventually(lambda: index.is_warm)
        client.mset({f"{MINE}{number}": "x" for number in range(3, 6)})
        eventually(lambda: any(line["action"] == "index.full" for line in lines))
        eventually(lambda: not index.is_warm)
        assert index.state == "full"
        assert len(index.matching([MINE])[MINE]) == 6
        index.close_windows([MINE], [MINE])
        eventually(lambda: not client.keys(f"{MINE}*"))
        eventually(lambda: index.state == "warm")
    told = [line["action"] for line in lines if line["log_level"] != "debug"]
    assert told == ["index.full", "index.ready"]
    client.set(f"{MINE}late", "x")
    eventually(lambda: names(index) == {f"{MINE}late"})
    index.close()


def test_what_was_to_be_cleared_when_it_became_too_much_is_cleared(client: redis.Redis) -> None:
    """A window was open; after that, keys of the same user are left alone."""
    index = TrackedIndex(client, HEADS, limit=4, again_s=0.1)
    index.start()
    eventually(lambda: index.is_warm)
    index.matching([MINE])
    client.set(f"{MINE}late", "x")
    other = "financial_summary:live:2:"
    client.mset({f"{other}{number}": "x" for number in range(9)})
    eventually(lambda: index.state == "full")
    eventually(lambda: not client.exists(f"{MINE}late"))
    client.set(f"{MINE}fresh", "x")
    client.delete(*(f"{other}{number}" for number in range(8)))
    eventually(lambda: index.state == "warm")
    assert client.exists(f"{MINE}fresh")
    index.close()


@pytest.mark.parametrize(("tracking", "state"), [(True, "warm"), (False, "off")])
def test_a_sink_knows_the_state_of_its_index(redis_url: str, tracking: bool, state: str) -> None:
    with closing(RedisSink(Redis(url=SecretStr(redis_url), tracking=tracking), Guard(), reference())) as sink:
        assert sink.index_state() == ("cold" if tracking else "off")
        sink.reach()
        eventually(lambda: sink.index_state() == state)
