"""What happened to a change, the word for it on the screen, and how serious it is."""

from __future__ import annotations

from enum import StrEnum

from consumer.commands.shared.finding import Level


class ChangeOutcome(StrEnum):
    """What happened to a change.

    PENDING: the consumer group has not reached it. MISSED: the group has, but the change is newer than the guard's
    version: Redis lost it, or another group read it and did not apply it. OLD: a duplicate, or older than an applied
    change. JOINED: another change of the same database transaction applies it. FILLED: a row read by a snapshot, which
    wrote only missing values and left the version unchanged.
    """

    APPLIED = "applied"
    FILLED = "filled what was missing"
    PENDING = "pending"
    MISSED = "missed"
    OLD = "old"
    JOINED = "joined"
    NOTHING = "nothing"
    DEAD = "dead"

    @property
    def word(self) -> str:
        """The outcome in a line. Only ``--full``, and ``fate`` in its ``--json``, have the value instead."""
        return _WORDS.get(self, self.value)

    @property
    def level(self) -> Level | None:
        """The severity; None if there was nothing to do."""
        return _LEVELS[self]


_WORDS = {ChangeOutcome.OLD: "refused", ChangeOutcome.DEAD: "dead letter"}
_LEVELS = {
    ChangeOutcome.APPLIED: Level.OK,
    ChangeOutcome.FILLED: Level.OK,
    ChangeOutcome.PENDING: Level.WARNING,
    ChangeOutcome.MISSED: Level.FAILURE,
    ChangeOutcome.OLD: None,
    ChangeOutcome.JOINED: Level.OK,
    ChangeOutcome.NOTHING: None,
    ChangeOutcome.DEAD: Level.FAILURE,
}
