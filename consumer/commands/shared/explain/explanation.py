"""All facts about one user, and the problems that follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from consumer.commands.shared.explain.history import History
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.timeline import Step
from consumer.commands.shared.explain.user_values import Note, UserValues
from consumer.commands.shared.finding import Level
from consumer.errors import ServerError
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Names
from consumer.pipeline.letter_state import Unapplied
from consumer.pipeline.recovery import EMPTIED, REBUILD
from consumer.sink.view import StoredUser

UNREADABLE_STREAMS = "streams that can't be read, so that it is not known what was sent"


@dataclass(frozen=True, slots=True)
class Explanation:
    """All facts about a user.

    ``knows_database``: the database was asked. ``row_problem``: why the database's row can't be used. ``unreadable``:
    columns of the row that can't be read. ``lacking``: topics that should be read but do not exist, or "".
    """

    user: UserId
    stored_user: StoredUser
    user_values: UserValues
    history: History
    letters: tuple[Unapplied, ...]
    knows_database: bool
    is_in_database: bool
    names: Names
    row_problem: str = ""
    unreadable: tuple[str, ...] = ()
    is_emptied: bool = False
    """Redis has lost partitions of the user's topics, and they are not rebuilt."""
    lacking: str = ""
    steps: tuple[Step, ...] = ()
    """Of the last changes of the history."""
    has_streams: bool = False
    """Messages that were sent are stored."""
    unreadable_streams: tuple[str, ...] = ()
    database_failure: ServerError | None = None
    """Why the database could not answer, if it was asked."""

    def problems(self) -> list[str]:
        """The problems, the most important first; empty if there are none."""
        return [text for _, text in self.graded()]

    def graded(self) -> list[tuple[Level, str]]:
        """The problems, each with its severity."""
        found: list[tuple[Level, str]] = []
        if self.is_emptied:
            found.append((Level.FAILURE, f"{EMPTIED}, and is not rebuilt yet: {REBUILD}"))
        return [*found, *self._of_the_user(), *self._of_values(), *self._of_changes()]

    def _of_the_user(self) -> Iterator[tuple[Level, str]]:
        if self.lacking:
            yield Level.FAILURE, f"no topic to read: {self.lacking}"
        for key in self.stored_user.others:
            yield Level.FAILURE, f"of another type than it should be: {key}"
        if self.knows_database and not self.is_in_database and (present := self._kept()):
            yield Level.FAILURE, f"the database has no such user, but Redis does: {', '.join(present)}"
        if self.row_problem:
            yield Level.FAILURE, f"the database's row can't be used: {self.row_problem}"
        if self.unreadable:
            columns = ", ".join(self.unreadable)
            text = f"columns of the database's row that can't be read, and are not compared: {columns}"
            yield Level.WARNING, text
        if self.unreadable_streams:
            yield Level.WARNING, f"{UNREADABLE_STREAMS}: {', '.join(self.unreadable_streams)}"
        if self.is_in_database and self.stored_user.config is None:
            yield Level.FAILURE, "there is no config hash: services ask the database instead"

    def _kept(self) -> list[str]:
        """The names of the keys that Redis has of the user."""
        stored_user = self.stored_user
        keys = {
            "config hash": stored_user.config,
            "balance string": stored_user.balance,
            "portfolio hash": stored_user.portfolio,
        }
        return [name for name, value in keys.items() if value is not None]

    @property
    def is_nobody(self) -> bool:
        """Whether the user is neither in the database nor in Redis."""
        return self.knows_database and not self.is_in_database and not self._kept()

    def _of_values(self) -> Iterator[tuple[Level, str]]:
        user_values = self.user_values
        found = {
            "not as in the database": user_values.wrong(),
            "changed by hand, or by another program": user_values.noted(Note.BY_HAND),
            "written before, and gone": user_values.noted(Note.GONE),
        }
        for what, names in found.items():
            if names:
                yield Level.FAILURE, f"{what}: {', '.join(dict.fromkeys(names))}"

    def _of_changes(self) -> Iterator[tuple[Level, str]]:
        marks = "tables with a lost change; the next good change writes the whole row"
        missed = "changes that were read and are not in Redis: it lost them, or their version"
        counts = (
            (Level.FAILURE, "changes in the dead letter topic that are not handled", len(self.letters)),
            (Level.FAILURE, marks, len(self.stored_user.guard.marks)),
            (
                Level.WARNING,
                "records that the consumer has not reached",
                len(self.history.of(ChangeOutcome.PENDING)),
            ),
            (Level.FAILURE, missed, len(self.history.of(ChangeOutcome.MISSED))),
        )
        yield from ((level, f"{what}: {count}") for level, what, count in counts if count)
