"""What a worker of a replay is asked to do, and what it reports and raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from consumer.commands.replay.summary import Summary
from consumer.errors import Place
from consumer.events.record import Partition
from consumer.source.bounds import Span


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to replay, and how. ``users``: texts such as ``live:123``; None: all.

    ``memory``: bytes that one worker's folds may use. ``shown``: the number of keys whose differences are reported.
    ``replay_key``: the key whose loss shows that Redis was emptied; "" in a dry run. ``run``: the run ids of Redis when
    the replay began; others show that Redis was restarted. ``tables``: pairs of a topic and a table that it is known to
    contain. ``of_tables``: only rows of these tables are replayed; None: all. ``settled``: the places of records whose
    dead letters were discarded. ``published``: records below these offsets were published before the replay began
    again, and are not published a second time.
    """

    spans: tuple[Span, ...]
    is_rebuild: bool
    is_dry: bool
    publishes: bool = False
    users: frozenset[str] | None = None
    memory: int = 2**28
    shown: int = 20
    replay_key: str = ""
    run: str = ""
    tables: tuple[tuple[str, str], ...] = ()
    of_tables: frozenset[str] | None = None
    settled: frozenset[Place] = frozenset()
    published: Mapping[Partition, int] = field(default_factory=dict)

    def of(self, number: int) -> list[Span]:
        """The ranges of one partition number."""
        return [span for span in self.spans if span.partition == number]

    def ends(self) -> dict[Partition, int]:
        """The end of the range of each partition."""
        return {Partition(span.topic, span.partition): span.end for span in self.spans}


@dataclass(frozen=True, slots=True)
class Read:
    """Report: this number of offsets was read."""

    offsets: int


@dataclass(frozen=True, slots=True)
class Reached:
    """Report: in a partition number everything before these offsets, by topic, is done."""

    number: int
    offsets: dict[str, int]
    summary: Summary


@dataclass(frozen=True, slots=True)
class Finished:
    """Report: a partition number is finished.

    ``users``: its users in the log, as :func:`consumer.commands.replay.state.packed`.
    """

    number: int
    summary: Summary
    users: dict[str, bytes] = field(default_factory=dict)


Report: TypeAlias = Callable[[Read | Reached | Finished], None]


class Interrupted(Exception):
    """The replay was told to stop; the progress is kept."""


class RedisReplaced(Exception):
    """Redis was restarted or emptied: acknowledged writes may be lost."""
