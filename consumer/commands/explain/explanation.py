"""Everything that is known of one user, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.commands.explain.account import Account, Note
from consumer.commands.explain.history import ChangeOutcome, History
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Names
from consumer.pipeline.letter_state import Unapplied
from consumer.pipeline.recovery import EMPTIED, REBUILD
from consumer.sink.view import StoredUser


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known of a user. ``knows_database``: the database was asked; ``row_problem``: why what it has
    can't be used; ``unreadable``: the columns of it that can't be read. ``lacking``: the topics that should be read and
    are not there, "" for none.
    """

    user: UserId
    held: StoredUser
    account: Account
    history: History
    letters: tuple[Unapplied, ...]
    knows_database: bool
    is_in_database: bool
    names: Names
    row_problem: str = ""
    unreadable: tuple[str, ...] = ()
    is_emptied: bool = False
    """Redis has lost partitions of the user's topics, and nobody has rebuilt them."""
    lacking: str = ""

    def problems(self) -> list[str]:
        """What is wrong, the most telling first; empty if nothing is."""
        emptied = [f"{EMPTIED}, and is not rebuilt yet: {REBUILD}"] if self.is_emptied else []
        return [*emptied, *self._of_the_user(), *self._of_values(), *self._of_changes()]

    def _of_the_user(self) -> list[str]:
        found = [f"no topic to read: {self.lacking}"] if self.lacking else []
        found += [f"of another type than it should be: {key}" for key in self.held.others]
        if self.knows_database and not self.is_in_database and (there := self._kept()):
            found.append(f"the database has no such user, but Redis does: {', '.join(there)}")
        if self.row_problem:
            found.append(f"the database's row can't be used: {self.row_problem}")
        if self.unreadable:
            columns = ", ".join(self.unreadable)
            found.append(f"columns of the database's row that can't be read, and are not compared: {columns}")
        if self.is_in_database and self.held.config is None:
            found.append("there is no config hash: services ask the database instead")
        return found

    def _kept(self) -> list[str]:
        """What Redis has of the user."""
        held = self.held
        keys = {"config hash": held.config, "balance string": held.balance, "portfolio hash": held.portfolio}
        return [name for name, value in keys.items() if value is not None]

    @property
    def is_nobody(self) -> bool:
        """Whether neither the database nor Redis has such a user."""
        return self.knows_database and not self.is_in_database and not self._kept()

    def _of_values(self) -> list[str]:
        account = self.account
        said = {
            "not as in the database": account.wrong(),
            "changed by hand, or by another program": account.noted(Note.BY_HAND),
            "written once and gone": account.noted(Note.GONE),
        }
        return [f"{what}: {', '.join(dict.fromkeys(names))}" for what, names in said.items() if names]

    def _of_changes(self) -> list[str]:
        said = {
            "changes that wait in the topic of dead letters": len(self.letters),
            "tables of which a change was lost; the next good one writes everything": len(self.held.guard.marks),
            "records that the consumer has not come to": len(self.history.of(ChangeOutcome.PENDING)),
            "changes that were read and are not in Redis, for it lost them, or their version": len(
                self.history.of(ChangeOutcome.MISSED)
            ),
        }
        return [f"{what}: {count}" for what, count in said.items() if count]
