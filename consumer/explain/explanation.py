"""Everything that is known of one user, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.explain.account import Account, Note
from consumer.explain.history import Fate, History
from consumer.held import Held
from consumer.keys import UserId
from consumer.letters.letter import Unapplied
from consumer.rules import Names


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known of a user. ``knows_database``: the database was asked."""

    user: UserId
    held: Held
    account: Account
    history: History
    letters: tuple[Unapplied, ...]
    knows_database: bool
    is_in_database: bool
    names: Names

    def problems(self) -> list[str]:
        """What is wrong, the most telling first; empty if nothing is."""
        return [*self._of_the_user(), *self._of_values(), *self._of_changes()]

    def _of_the_user(self) -> list[str]:
        has_config = self.held.config is not None
        found = [f"of another type than it should be: {key}" for key in self.held.others]
        if self.knows_database and not self.is_in_database and has_config:
            found.append("the database has no such user, but Redis does")
        if self.is_in_database and not has_config:
            found.append("there is no config hash: services ask the database instead")
        return found

    def _of_values(self) -> list[str]:
        account = self.account
        wrong = [each.name or "balance" for each in account.every() if each.is_wrong and self.held.config is not None]
        said = {
            "not as in the database": wrong,
            "changed by hand, or by another program": account.noted(Note.BY_HAND),
            "written once and gone": account.noted(Note.GONE),
        }
        return [f"{what}: {', '.join(dict.fromkeys(names))}" for what, names in said.items() if names]

    def _of_changes(self) -> list[str]:
        said = {
            "changes that wait in the topic of dead letters": len(self.letters),
            "tables of which a change was lost; the next good one writes everything": len(self.held.guard.marks),
            "records that the consumer has not come to": len(self.history.of(Fate.PENDING)),
            "changes that were read and are not in Redis, for it lost them, or their version": len(
                self.history.of(Fate.MISSED)
            ),
        }
        return [f"{what}: {count}" for what, count in said.items() if count]
