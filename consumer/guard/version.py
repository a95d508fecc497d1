"""Which of two changes of a user's row is newer: the version that the guard stores in Redis, and the comparison.

Kafka's offset is the version. Within one partition the changes of a row are in the order of their commits, whichever
database server wrote or sent them. :mod:`consumer.guard.history` removes changes that Debezium sends again before they
come here. The sink's script has the same rule; a test proves that both are equal.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from consumer.events.event import ChangeEvent
from consumer.events.position import Origin

_DELETED = "|d"
_WRITTEN = "t:"
_OLD_ORIGINS = {"f": Origin.STREAMED, "q": Origin.SNAPSHOT}


class Version(msgspec.Struct, frozen=True, gc=False):
    """What the guard stores of a change.

    ``epoch``: set by the operator; a change with a higher epoch is newer, whatever its offset. ``written_ms``: Kafka's
    timestamp of the record. ``ts_ms``: the source's time of the change. Both are UTC milliseconds, and decide only if
    offsets can't be compared.
    """

    epoch: int
    origin: Origin
    written_ms: int
    ts_ms: int
    topic: str
    partition: int
    offset: int

    @classmethod
    def of(cls, event: ChangeEvent, epoch: int) -> Version:
        """The version of a change."""
        position, place = event.position, event.place
        return cls(epoch, position.origin, event.written_ms, position.ts_ms, place.topic, place.partition, place.offset)

    def to_text(self) -> str:
        """One line, as stored in the guard's hash in Redis.

        Version 0.1 of this program wrote eight parts too, and can read this text. There the third part was the lineage,
        and the fourth part was the order.
        """
        return (
            f"{self.epoch}|{self.origin._value_}|{_WRITTEN}{self.written_ms}||{self.ts_ms}"
            f"|{self.topic}|{self.partition}|{self.offset}"
        )

    @classmethod
    def from_text(cls, text: str) -> Version:
        """Parse the text of :meth:`to_text`, of version 0.1, or of a deleted user's version.

        Raises:
            ValueError: any other text.
        """
        epoch, origin, written, _, ts_ms, topic, partition, offset = text.removesuffix(_DELETED).split("|")
        # Version 0.1 did not store Kafka's timestamp. The source's time is the nearest known time.
        written_ms = int(written.removeprefix(_WRITTEN)) if written.startswith(_WRITTEN) else int(ts_ms)
        found = _OLD_ORIGINS.get(origin) or Origin(origin)
        return cls(int(epoch), found, written_ms, int(ts_ms), topic, int(partition), int(offset))

    @classmethod
    def known(cls, text: str) -> Version | None:
        """As :meth:`from_text`; None if there is no version, or if it can't be read.

        If it can't be read, the script refuses every change, and reports the reason.
        """
        try:
            return cls.from_text(text) if text else None
        except ValueError:
            return None


NOWHERE = Version(0, Origin.STREAMED, 0, 0, "", 0, 0)
"""Older than every change: the version of a user for whom no record is known."""


def is_of_deleted(text: str) -> bool:
    """Whether ``text`` is the version of a user's delete."""
    return text.endswith(_DELETED)


class Verdict(StrEnum):
    """The guard's answer to a change. :func:`compare` never returns UNHEALED or HEALED.

    UNHEALED: the change is newer, but an earlier change could not be applied, so this one must write the whole image.
    Nothing was written. HEALED: a duplicate was written again, because Redis no longer held its values.
    """

    NEWER = "newer"
    DUPLICATE = "duplicate"
    STALE = "stale"
    UNHEALED = "unhealed"
    HEALED = "healed"

    __hash__ = str.__hash__  # Enum's own is a function in Python, which each change would need

    @property
    def is_accepted(self) -> bool:
        """Whether the change was applied, not refused."""
        return self is _NEWER or self is _HEALED


_NEWER, _HEALED = Verdict.NEWER, Verdict.HEALED  # looked up once (decision 29)


def compare(candidate: Version, stored: Version | None) -> Verdict:
    """Whether ``candidate`` may overwrite what ``stored`` wrote.

    1. A higher epoch is newer, a lower one is stale.
    2. In one partition the offset decides. If both times of a candidate with a lower offset are later, the topic was
       deleted and created again: the candidate is newer.
    3. Between two partitions (the topic got more partitions, or another name) Kafka's timestamp decides. If the
       timestamps are equal, the source's time decides.
    """
    if stored is None:
        return Verdict.NEWER
    if candidate.epoch != stored.epoch:
        return Verdict.NEWER if candidate.epoch > stored.epoch else Verdict.STALE
    is_written_later = candidate.written_ms > stored.written_ms
    is_changed_later = candidate.ts_ms > stored.ts_ms
    if candidate.partition != stored.partition or candidate.topic != stored.topic:
        is_tie = candidate.written_ms == stored.written_ms
        return Verdict.NEWER if is_written_later or (is_tie and is_changed_later) else Verdict.STALE
    if candidate.offset > stored.offset or (is_written_later and is_changed_later):
        return Verdict.NEWER
    return Verdict.DUPLICATE if candidate.offset == stored.offset else Verdict.STALE


def compare_letter(candidate: Version, stored: Version | None) -> Verdict:
    """As :func:`compare`, for the record of a dead letter, which may be from before its topic was created again.

    Then its offset says nothing. So it is stale also if both its times are earlier.
    """
    if stored is None or candidate.epoch != stored.epoch:
        return compare(candidate, stored)
    is_earlier = candidate.written_ms < stored.written_ms and candidate.ts_ms < stored.ts_ms
    return Verdict.STALE if is_earlier else compare(candidate, stored)
