"""The same records once more: the guard refuses each, so nothing moves and nobody is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.table import Table

from consumer.errors import ServerError
from consumer.guard.version import Verdict, Version, is_of_deleted
from consumer.pipeline.protocols import Observer, RecordResult
from demo.narrator import RedisWentAway
from demo.screen import Screen

_COLUMNS = (
    "user",
    "records",
    "refused as older",
    "refused as the same",
    "accepted",
    "the guard holds binlog, offset",
)


class CauseFinder(Observer):
    """Keeps what the guard said about each user."""

    def __init__(self) -> None:
        self.said: dict[str, Counter[Verdict]] = {}
        self._held: dict[str, str] = {}
        self.without_plan = 0

    def records_done(self, results: Sequence[RecordResult]) -> None:
        for result in results:
            if result.decision.plan is None or result.applied is None:
                self.without_plan += 1
                continue
            user = str(result.decision.plan.user)
            self.said.setdefault(user, Counter())[result.applied.verdict] += 1
            self._held[user] = result.applied.stored

    def waiting(self, error: ServerError, seconds: float) -> None:
        raise RedisWentAway(f"the demo's Redis does not answer: {error.problem}")

    @property
    def accepted(self) -> int:
        """Records that the guard let through."""
        return sum(count[Verdict.NEWER] for count in self.said.values())

    def show(self, screen: Screen) -> None:
        """A row for each user."""
        table = Table(box=box.SIMPLE_HEAD, border_style="dim", header_style="bold")
        for title in _COLUMNS:
            table.add_column(title, justify="left" if title in (_COLUMNS[0], _COLUMNS[-1]) else "right")
        for user, count in sorted(self.said.items()):
            accepted = count[Verdict.NEWER]
            numbers = (sum(count.values()), count[Verdict.STALE], count[Verdict.DUPLICATE], accepted)
            table.add_row(user, *map(str, numbers), _position(self._held[user]))
        screen.table(table)


def _position(stored: str) -> str:
    try:
        version = Version.from_text(stored)
    except ValueError:
        return "nothing"
    return f"partition {version.partition}, offset {version.offset}" + (", deleted" if is_of_deleted(stored) else "")
