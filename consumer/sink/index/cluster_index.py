"""Finds the keys with a user's prefix on a cluster: one index for each node that is a master now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import redis

from consumer.sink.cluster.topology import Node, Topology
from consumer.sink.index.key_index import TrackedIndex
from consumer.sink.keyspace import Keyspace, NodeKeyspace


class ClusterIndex:
    """The names of all keys under ``heads``, as each master reports them; at most ``limit`` for each master."""

    def __init__(self, topology: Topology, keys: Keyspace, heads: Sequence[str], *, limit: int) -> None:
        self._topology = topology
        self._keys = keys
        self._heads = heads
        self._limit = limit
        self._indexes: dict[Node, TrackedIndex] = {}
        self._asked: Sequence[TrackedIndex] = ()
        self._last: Collection[str] = ()
        """The prefixes of the last look-up."""

    def start(self) -> None:
        """Start tracking on the known masters; on other masters when they appear."""
        self._follow()

    def close(self) -> None:
        """Stop tracking."""
        for index in self._indexes.values():
            index.stop()
        for index in self._indexes.values():
            index.close()

    @property
    def is_warm(self) -> bool:
        """Whether look-ups are answered without a scan."""
        return bool(self._indexes) and all(index.is_warm for index in self._indexes.values())

    @property
    def state(self) -> str:
        states = {index.state for index in self._indexes.values()}
        return "warm" if self.is_warm else "full" if "full" in states else "cold"

    def matching(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        # At each look-up, because only a new master reports the keys that it received.
        self._topology.look()
        self._follow()
        self._asked, self._last = tuple(self._indexes.values()), prefixes
        found: dict[str, tuple[str, ...]] = dict.fromkeys(prefixes, ())
        for number, index in enumerate(self._asked):
            try:
                keys_by_prefix = index.matching(prefixes)
            except BaseException:
                # Nobody will close the windows of this look-up, and in an open window no key becomes known.
                for asked in self._asked[:number]:
                    with suppress(redis.RedisError):
                        asked.close_windows(prefixes, ())
                raise
            for prefix, keys in keys_by_prefix.items():
                found[prefix] += tuple(keys)
        return found

    def close_windows(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        failures = []
        for index in self._asked:
            try:
                index.close_windows(prefixes, accepted)
            except redis.RedisError as error:  # the others have to be closed too
                failures.append(error)
        if failures:
            raise failures[0]

    def _follow(self) -> None:
        masters = self._topology.masters
        prefixes_to_clear: set[str] = set()
        for node in self._indexes.keys() - set(masters):
            index = self._indexes.pop(node)
            index.stop()
            prefixes_to_clear |= index.prefixes_to_clear()
        for node in masters:
            if node not in self._indexes:
                keys = NodeKeyspace(self._keys, self._topology, node)
                index = TrackedIndex(self._topology.client(node), self._heads, keys=keys, limit=self._limit)
                # Keys of these prefixes may have been written there since the last batch without a report.
                index.add_prefixes_to_clear(prefixes_to_clear | set(self._last))
                index.start()
                self._indexes[node] = index
