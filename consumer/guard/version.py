"""Which of two changes of a user's row is the newer: the version that the guard keeps in Redis, and the comparison.

Kafka's offset is the version. Within one partition the changes of a row lie in the order in which they were committed,
whichever database server wrote or sent them; records that Debezium sends again are recognised before they come here
(:mod:`consumer.guard.history`). The sink's script holds the same rule, and a test proves the two equal.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from consumer.events.event import ChangeEvent
from consumer.events.position import Origin

_DELETED = "|d"
_WRITTEN = "t:"
_OLD_ORIGINS = {"f": Origin.STREAMED, "q": Origin.SNAPSHOT}


class Version(msgspec.Struct, frozen=True):
    """What the guard keeps of a change.

    ``epoch`` is the operator's: a higher one outranks every offset. ``written_ms`` is Kafka's timestamp of the record
    and ``ts_ms`` the source's time of the change, both in UTC milliseconds: they decide only where offsets can't be
    compared.
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
        """One line, as it stands in the guard's hash in Redis.

        Its eight parts are those of version 0.1, which reads it too: the third was the lineage, the fourth the order.
        """
        return (
            f"{self.epoch}|{self.origin}|{_WRITTEN}{self.written_ms}||{self.ts_ms}"
            f"|{self.topic}|{self.partition}|{self.offset}"
        )

    @classmethod
    def from_text(cls, text: str) -> Version:
        """The inverse of :meth:`to_text`; reads what version 0.1 wrote too, and a deleted user's version.

        Raises:
            ValueError: any other text.
        """
        epoch, origin, written, _, ts_ms, topic, partition, offset = text.removesuffix(_DELETED).split("|")
        # Version 0.1 did not keep Kafka's timestamp. The source's time is the nearest known.
        written_ms = int(written.removeprefix(_WRITTEN)) if written.startswith(_WRITTEN) else int(ts_ms)
        found = _OLD_ORIGINS.get(origin) or Origin(origin)
        return cls(int(epoch), found, written_ms, int(ts_ms), topic, int(partition), int(offset))


NOWHERE = Version(0, Origin.STREAMED, 0, 0, "", 0, 0)
"""Older than every change: the version of a user of whom no record is known."""


def is_of_deleted(text: str) -> bool:
    """Whether the version in ``text`` is that of a user's delete."""
    return text.endswith(_DELETED)


class Verdict(StrEnum):
    """What the guard says to a change.

    UNHEALED is no comparison's answer: the change is newer, but one before it could not be applied, so that this one
    must write the whole image. Nothing of it was done. Nor is HEALED: a duplicate was written again, because what stood
    there was not what it had written.
    """

    NEWER = "newer"
    DUPLICATE = "duplicate"
    STALE = "stale"
    UNHEALED = "unhealed"
    HEALED = "healed"

    @property
    def is_accepted(self) -> bool:
        """Whether the change was carried out, rather than refused as old."""
        return self in (Verdict.NEWER, Verdict.HEALED)


def compare(candidate: Version, stored: Version | None) -> Verdict:
    """Whether ``candidate`` may overwrite what ``stored`` wrote.

    1. A higher epoch is newer, a lower one is stale.
    2. In one partition the offset decides. If both times of a candidate with a lower offset are later, the topic was
       deleted and made anew: the candidate is newer.
    3. Between two partitions (the topic got more of them, or has another name) Kafka's timestamp decides, and within
       one millisecond the source's time.
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
