"""A look-up in the indexes of several nodes, of which one fails: no window of the others stays open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from consumer.sink.cluster.topology import Node, Topology
from consumer.sink.index.cluster_index import ClusterIndex
from consumer.sink.index.key_index import TrackedIndex
from consumer.sink.keyspace import Keyspace

A, B = Node("a", 1), Node("b", 2)
HEADS = ["financial_summary:"]
PREFIX = "financial_summary:live:7:"


class NoKeys:
    """A node that has no keys, or that is away."""

    def __init__(self) -> None:
        self.is_away = False

    def scan(self, _: str) -> Iterator[str]:
        if self.is_away:
            raise redis.ConnectionError("away")
        return iter(())


def index(*, is_warm: bool, keys: NoKeys) -> TrackedIndex:
    """An index without its thread; every PING is answered at once."""
    client = redis.Redis(port=1)
    made = TrackedIndex(client, HEADS, keys=cast(Keyspace, keys))
    made._warm = is_warm

    def ping() -> None:
        made._answered("PONG")

    made._tracking = cast(Any, SimpleNamespace(has_news=lambda: False, ping=ping))
    return made


@pytest.fixture
def indexes() -> tuple[ClusterIndex, TrackedIndex, NoKeys]:
    """Of two nodes: A's is warm, and B scans."""
    topology = SimpleNamespace(masters=(A, B), look=lambda: None)
    both, keys = ClusterIndex(cast(Topology, topology), cast(Keyspace, NoKeys()), HEADS, limit=10), NoKeys()
    warm = index(is_warm=True, keys=NoKeys())
    both._indexes = {A: warm, B: index(is_warm=False, keys=keys)}
    return both, warm, keys


def written_is_found(both: ClusterIndex, warm: TrackedIndex) -> Sequence[str]:
    warm._told([f"{PREFIX}day"])
    return both.matching([PREFIX])[PREFIX]


def test_a_look_up_that_fails_on_one_node(indexes: tuple[ClusterIndex, TrackedIndex, NoKeys]) -> None:
    both, warm, keys = indexes
    keys.is_away = True
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            both.matching([PREFIX])
    keys.is_away = False
    assert warm._names.open == frozenset()
    assert written_is_found(both, warm) == (f"{PREFIX}day",)


@pytest.mark.parametrize("is_first", [True, False])
def test_windows_that_one_node_can_not_close(
    indexes: tuple[ClusterIndex, TrackedIndex, NoKeys], is_first: bool
) -> None:
    both, warm, keys = indexes
    both._indexes = dict(sorted(both._indexes.items(), reverse=is_first))
    both.matching([PREFIX])
    keys.is_away = True
    with pytest.raises(redis.ConnectionError):
        both.close_windows([PREFIX], {PREFIX})
    assert warm._names.open == frozenset()


def test_what_a_scan_could_not_clear_is_cleared_when_the_names_are_known() -> None:
    keys = NoKeys()
    cleared: list[str] = []
    tracked = index(is_warm=False, keys=keys)
    keys.unlink = cleared.extend  # type: ignore[attr-defined]
    tracked.matching([PREFIX])
    keys.is_away = True
    with pytest.raises(redis.ConnectionError):
        tracked.close_windows([PREFIX], {PREFIX})
    assert tracked.prefixes_to_clear() == {PREFIX}
    keys.is_away, tracked._warm = False, True
    keys.scan = lambda _: iter([f"{PREFIX}late"])  # type: ignore[method-assign]
    other = "financial_summary:live:8:"
    tracked.matching([other])
    tracked.close_windows([other], {other})
    assert cleared == [f"{PREFIX}late"]
    assert tracked.prefixes_to_clear() == set()
