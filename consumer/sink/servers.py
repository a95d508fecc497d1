"""What the sink needs of Redis, be it one server or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from consumer.errors import ServerError
from consumer.events.record import Partition
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.sink.client import Server
from consumer.sink.index.scan_index import KeyIndex

Answers: TypeAlias = Callable[[], Sequence[Applied | ServerError]]
"""What became of plans, in their order, once it is known. To be called once."""


class Servers(Protocol):
    """One server or several. Beside what is said here, all but :meth:`reach` raise redis.RedisError."""

    index: KeyIndex
    """The keys of the prefixes that plans clear."""

    def reach(self) -> Server:
        """What they say of themselves.

        Raises:
            ServerUnavailable: they do not answer yet.
            ConfigError: they refuse these credentials, or can't keep the keys of this mapping.

        """
        ...

    def is_reachable(self) -> bool:
        """Whether they answer now."""
        ...

    def close(self) -> None:
        """Let the connections go."""
        ...

    def send(self, plans: Sequence[Plan], found: Mapping[str, Sequence[str]]) -> Answers:
        """Begin with the plans; no two are of one user and table. ``found``: the keys of the prefixes to clear.

        The answers are to be asked for before anything else is done here. Nobody need have begun till then. What failed
        for some of the plans alone is their answer, Reconnected too.

        Raises:
            Reconnected: nothing was done. The answers raise this too.

        """
        ...

    def remember(self, offsets: Mapping[Partition, int], canary: str = "") -> bool:
        """Keep them beside all that was applied before. With a ``canary`` only those that are not known yet, and none,
        which answers False, if it lives no more.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        """The same for partitions that are known; without any see whether that would work. False: some are not.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def recall(self) -> Mapping[Partition, int]:
        """What was remembered, by all servers there are.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def stop_at(self, offsets: Mapping[Partition, int]) -> None:
        """Keep, for whoever rebuilds Redis, where members have stopped.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def go_on_with(self, partitions: Collection[Partition]) -> None:
        """Forget that again.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def go_on(self) -> None:
        """The caller has taken note of Reconnected."""
        ...
