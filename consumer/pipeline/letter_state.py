"""Reading the dead letter topic: each record is a dead letter, or a note that a letter was handled.

The topic is a log of events, partition by partition. A letter says that a record could not be applied. A note after it
says that this was handled. Another letter after the note says that it happened again. A record is *open* if it has a
letter without a later note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from consumer.errors import Place
from consumer.events.record import Header, SourceRecord
from consumer.events.topic_tables import parse_topic_name
from consumer.mapping.keys import UserId
from consumer.pipeline.dead_letter import ADDED, CONNECT, DONE, OWN


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter.

    ``record``: the record as it was in its own topic. ``at``: the place of the letter itself. ``written_ms``: when the
    letter was written, UTC milliseconds. ``users``: the users of the change if known, who were then marked; several if
    the record may be of several tables. ``tables``: those tables; empty in letters of an earlier version of this
    program. ``group``: the consumer group that wrote the letter.
    """

    record: SourceRecord
    at: Place
    written_ms: int
    group: str
    reason: str
    stage: str
    field: str
    users: tuple[UserId, ...]
    problem: str
    advice: str
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Says that the letters of the record at ``place`` that are before this note in its partition were handled.

    ``outcome``: the result as text.
    """

    place: Place
    group: str
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Unapplied:
    """A record that could not be applied, with its letters, the oldest first; each failed attempt wrote one."""

    letters: tuple[Letter, ...]

    @property
    def last(self) -> Letter:
        """The newest letter."""
        return self.letters[-1]

    @property
    def record(self) -> SourceRecord:
        """The record as it was in its own topic."""
        return self.last.record

    @property
    def place(self) -> Place:
        """The place of the record in its own topic."""
        return self.record.place


class Outcome(StrEnum):
    """What was done about a record.

    SUPERSEDED: Redis already has a newer complete state of the row. REPEATED: Redis already has this change. STAYS: the
    record can't be applied now, and stays open. With all other outcomes the record is handled.
    """

    APPLIED = "applied"
    SUPERSEDED = "superseded"
    REPEATED = "repeated"
    NOTHING = "nothing"
    DISCARDED = "discarded"
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class LetterResult:
    """The result for one record. ``why``: the reason, if the record stays open or if nothing follows from it."""

    unapplied: Unapplied
    outcome: Outcome
    why: str = ""
    advice: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the record is handled."""
        return self.outcome is not Outcome.STAYS


def read(found: SourceRecord) -> Letter | Note | None:
    """Parse a record of the dead letter topic; None if this program did not write it."""
    headers = dict(found.headers)
    try:
        place = Place(
            topic=_text(headers, f"{CONNECT}topic"),
            partition=int(_text(headers, f"{CONNECT}partition")),
            offset=int(_text(headers, f"{CONNECT}offset")),
        )
        group = _text(headers, f"{CONNECT}connector.name")
        if DONE in headers:
            return Note(place, group, _text(headers, DONE))
        return Letter(
            record=SourceRecord(
                place.topic,
                place.partition,
                place.offset,
                int(_text(headers, f"{OWN}timestamp_ms")),
                found.key,
                found.value,
                tuple(header for header in found.headers if header[0] not in ADDED),
            ),
            at=found.place,
            written_ms=found.timestamp_ms,
            group=group,
            reason=_text(headers, f"{OWN}reason"),
            stage=_text(headers, f"{OWN}stage"),
            field=_text(headers, f"{OWN}field"),
            users=tuple(UserId.from_text(each) for each in _parts(_text(headers, f"{OWN}user"))),
            problem=_text(headers, f"{CONNECT}exception.message"),
            advice=_text(headers, f"{OWN}advice"),
            tables=_tables(place.topic, headers),
        )
    except (KeyError, ValueError):
        return None


def note(unapplied: Unapplied, outcome: Outcome) -> tuple[bytes, bytes, list[Header]]:
    """Key, value and headers of the note that ``unapplied`` was handled; ``outcome`` says how.

    The note has its own key, so that it does not replace a letter if the topic was changed to a compacted one.
    """
    place = unapplied.place
    headers = {
        DONE: outcome,
        f"{CONNECT}topic": place.topic,
        f"{CONNECT}partition": place.partition,
        f"{CONNECT}offset": place.offset,
        f"{CONNECT}connector.name": unapplied.last.group,
    }
    return (
        f"{DONE}:{place}".encode(),
        outcome.encode(),
        [(name, str(value).encode()) for name, value in headers.items()],
    )


@dataclass(slots=True)
class LetterStates:
    """The state of the dead letter topic for one consumer group.

    ``others``: the number of letters of other groups, by group; their state is not decided here. ``strange``: the
    number of records that are neither letters nor notes. ``known``: the places of all records that have or had a
    letter, as far as the topic still contains them. ``discarded``: the places of records that an operator discarded,
    and that nobody applied. ``has_topic``: false if the topic does not exist, so no letter was ever written.
    """

    group: str
    has_topic: bool = True
    others: Counter[str] = field(default_factory=Counter)
    strange: int = 0
    known: set[Place] = field(default_factory=set)
    discarded: set[Place] = field(default_factory=set)
    _open: dict[Place, list[Letter]] = field(default_factory=dict)
    _settled: set[Place] = field(default_factory=set)

    def add(self, found: SourceRecord) -> None:
        """Add the next record of a partition of the topic."""
        parsed = read(found)
        if parsed is None:
            self.strange += 1
        elif isinstance(parsed, Note):
            if parsed.group == self.group:
                self.known.add(parsed.place)
                left = [each for each in self._open.pop(parsed.place, ()) if each.at.partition != found.partition]
                if left:
                    self._open[parsed.place] = left
                else:
                    self._close(parsed)
        elif parsed.group == self.group:
            self.known.add(parsed.record.place)
            self.discarded.discard(parsed.record.place)
            self._settled.discard(parsed.record.place)
            self._open.setdefault(parsed.record.place, []).append(parsed)
        else:
            self.others[parsed.group] += 1

    def _close(self, last: Note) -> None:
        """Note how the record ended. If two operators handled it at once, it counts as applied, not as discarded."""
        if last.outcome != Outcome.DISCARDED:
            self._settled.add(last.place)
            self.discarded.discard(last.place)
        elif last.place not in self._settled:
            self.discarded.add(last.place)

    def open(self) -> list[Unapplied]:
        """The open records, in the order of their own partitions, so that they can be applied."""
        found = sorted(self._open.items(), key=lambda item: (item[0].topic, item[0].partition, item[0].offset))
        return [Unapplied(tuple(sorted(letters, key=_by_age))) for _, letters in found]


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter. None and empty sets exclude nothing. Times are those of the newest letter, UTC milliseconds."""

    places: frozenset[Place] = frozenset()
    topics: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    users: frozenset[UserId] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether the filter excludes nothing."""
        return self == Choice()

    def of(self, found: Iterable[Unapplied]) -> list[Unapplied]:
        """The records of ``found`` that match."""
        return [each for each in found if self._matches(each)]

    def _matches(self, each: Unapplied) -> bool:
        last = each.last
        return (
            (not self.places or each.place in self.places)
            and (not self.topics or last.record.topic in self.topics)
            and (not self.reasons or last.reason in self.reasons)
            and (not self.tables or any(table in self.tables for table in last.tables))
            and (not self.users or any(user in self.users for user in last.users))
            and (self.since_ms is None or last.written_ms >= self.since_ms)
            and (self.until_ms is None or last.written_ms < self.until_ms)
        )


def _tables(topic: str, headers: Mapping[str, bytes | None]) -> tuple[str, ...]:
    """The tables that a letter names; if it names none, the table in the topic's name, if that has Debezium's form."""
    name = f"{OWN}table"
    if headers.get(name):
        return _parts(_text(headers, name))
    last = topic.rpartition(".")[2]
    return (last,) if parse_topic_name(topic, (last,)) else ()


def _parts(text: str) -> tuple[str, ...]:
    return tuple(each for each in text.split(",") if each)


def _by_age(letter: Letter) -> tuple[int, int]:
    return letter.written_ms, letter.at.offset


def _text(headers: Mapping[str, bytes | None], name: str) -> str:
    value = headers[name]
    if value is None:
        raise ValueError(f"{name} is null")
    return value.decode()
