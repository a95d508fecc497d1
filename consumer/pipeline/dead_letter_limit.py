"""The limit of dead letters: below it they are bad rows; above it the deployment is wrong, and the program halts."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

Judged: TypeAlias = Mapping[int, tuple[str, bool]]
"""Records by their index in a batch, in order: each one's topic, and whether it is a dead letter."""


@dataclass(frozen=True, slots=True)
class Limit:
    """For each topic: at most ``in_a_row``, and at most the share ``share`` of the last ``window`` records."""

    in_a_row: int
    share: float
    window: int = 1000


NONE = Limit(in_a_row=0, share=1.0)
"""No dead letter is allowed."""


class TooManyLetters(NamedTuple):
    """The first dead letter above the limit.

    ``begin``: its index in the batch; if too many came in a row, the index of the first of them in the batch.
    """

    begin: int
    problem: str


@dataclass(slots=True)
class TopicCounts:
    """The last records of one topic."""

    recent: deque[bool]
    bad: int = 0
    in_a_row: int = 0

    def add(self, is_bad: bool) -> None:
        """Count one record."""
        if len(self.recent) == self.recent.maxlen:
            self.bad -= self.recent[0]
        self.recent.append(is_bad)
        self.bad += is_bad
        self.in_a_row = self.in_a_row + 1 if is_bad else 0

    def add_good(self, count: int) -> None:
        """Count ``count`` records that are no dead letters."""
        self.recent.extend([False] * count)
        self.bad = sum(self.recent) if self.bad else 0
        self.in_a_row = 0


@dataclass(slots=True)
class DeadLetterCounter:
    """Counts topic by topic, so that a table with only bad records is noticed beside a table with good ones."""

    limit: Limit
    _topics: dict[str, TopicCounts] = field(default_factory=dict)

    def excess(self, records: Judged) -> TooManyLetters | None:
        """The first of ``records`` that would exceed the limit, or None; nothing is counted yet."""
        after = deepcopy(self)
        begins: dict[str, int] = {}
        for at, (topic, is_bad) in records.items():
            seen = after.add(topic, is_bad)
            if not is_bad:
                begins.pop(topic, None)
                continue
            begin = begins.setdefault(topic, at)
            if seen.in_a_row > self.limit.in_a_row:
                if self.limit.in_a_row == 0:
                    return TooManyLetters(begin, "")
                return TooManyLetters(begin, f"{seen.in_a_row} records of {topic} in a row can't be applied")
            if seen.bad > self.limit.share * self.limit.window:
                return TooManyLetters(
                    at, f"{seen.bad} of the last {len(seen.recent)} records of {topic} can't be applied"
                )
        return None

    def count(self, records: Judged) -> None:
        """Count these records."""
        for topic, is_bad in records.values():
            self.add(topic, is_bad)

    def count_good(self, topics: Mapping[str, int]) -> None:
        """Count records that are no dead letters: their number in each topic."""
        for topic, count in topics.items():
            self._of(topic).add_good(count)

    def ends_with_dead_letter(self, topic: str) -> bool:
        """Whether the topic's last record was a dead letter: the next records may show that all are."""
        return topic in self._topics and self._topics[topic].in_a_row > 0

    def add(self, topic: str, is_bad: bool) -> TopicCounts:
        """Count one record."""
        seen = self._of(topic)
        seen.add(is_bad)
        return seen

    def _of(self, topic: str) -> TopicCounts:
        return self._topics.setdefault(topic, TopicCounts(deque(maxlen=self.limit.window)))
