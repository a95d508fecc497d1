"""The way back: a record of the topic of dead letters as the letter it is, or as the note that one was dealt with.

The topic is a list of what happened, partition by partition: a letter says that a record could not be applied, a note
behind it that this was dealt with, and another letter behind that one that it happened again. What is *open* is what
has a letter with no note behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from consumer.errors import Place
from consumer.events.record import Header, SourceRecord
from consumer.events.topic_tables import named
from consumer.mapping.keys import UserId
from consumer.pipeline.dead_letter import ADDED, CONNECT, DONE, OWN


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: ``record`` as it was in its own topic, and why it is here.

    ``at`` is where the letter itself lies, ``written_ms`` when it was written, in UTC milliseconds. ``users`` are whose
    change it was, as far as that was known; then they were marked: several, where it may have been of several tables.
    ``tables`` are those tables; a letter of an earlier version of this program does not tell them. ``group`` is the
    consumer group that wrote it.
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
    """The letters of the record at ``place`` that lie before this note in its partition were dealt with; ``outcome``
    is the text of how.
    """

    place: Place
    group: str
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Unapplied:
    """A record that could not be applied, with its letters, the oldest first: it may have been tried several times."""

    letters: tuple[Letter, ...]

    @property
    def last(self) -> Letter:
        """The newest of its letters."""
        return self.letters[-1]

    @property
    def record(self) -> SourceRecord:
        """The record as it was."""
        return self.last.record

    @property
    def place(self) -> Place:
        """Where the record lay."""
        return self.record.place


class Outcome(StrEnum):
    """What became of a record.

    SUPERSEDED: Redis has a newer state of the row already, whole. REPEATED: Redis has this very change. STAYS: it can't
    be applied now, so it stays where it is. The others are dealt with.
    """

    APPLIED = "applied"
    SUPERSEDED = "superseded"
    REPEATED = "repeated"
    NOTHING = "nothing"
    DISCARDED = "discarded"
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Released:
    """``why`` is there where it stays, or where nothing follows from it."""

    unapplied: Unapplied
    outcome: Outcome
    why: str = ""
    advice: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do about it."""
        return self.outcome is not Outcome.STAYS


def read(found: SourceRecord) -> Letter | Note | None:
    """What a record of the topic of dead letters is; None if it is neither, but somebody else's."""
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
    """Key, value and headers of the note that ``unapplied`` was dealt with; ``outcome`` says how.

    The key is the note's own: where somebody has made the topic a compacted one, it displaces no letter.
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
    """What lies in the topic for one consumer group.

    ``others`` are letters of other groups, by group: what is done for this group's Redis says nothing of theirs.
    ``strange`` are records that nobody wrote as a letter, ``known`` the places of all records that ever waited here,
    as far as the topic still tells. ``discarded`` are those that were given up: nothing is to be done about them.
    ``has_topic``: without a topic nothing was ever written.
    """

    group: str
    has_topic: bool = True
    others: Counter[str] = field(default_factory=Counter)
    strange: int = 0
    known: set[Place] = field(default_factory=set)
    discarded: set[Place] = field(default_factory=set)
    _open: dict[Place, list[Letter]] = field(default_factory=dict)

    def add(self, found: SourceRecord) -> None:
        """Take the next record of a partition of the topic."""
        said = read(found)
        if said is None:
            self.strange += 1
        elif isinstance(said, Note):
            if said.group == self.group:
                self.known.add(said.place)
                left = [each for each in self._open.pop(said.place, ()) if each.at.partition != found.partition]
                if left:
                    self._open[said.place] = left
                elif said.outcome == Outcome.DISCARDED:
                    self.discarded.add(said.place)
        elif said.group == self.group:
            self.known.add(said.record.place)
            self.discarded.discard(said.record.place)
            self._open.setdefault(said.record.place, []).append(said)
        else:
            self.others[said.group] += 1

    def open(self) -> list[Unapplied]:
        """What is open, in the order of the records' own partitions: so it can be applied."""
        found = sorted(self._open.items(), key=lambda item: (item[0].topic, item[0].partition, item[0].offset))
        return [Unapplied(tuple(sorted(letters, key=_age))) for _, letters in found]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of them: what is None or empty chooses nothing out. Times are those of the newest letter, UTC ms."""

    places: frozenset[Place] = frozenset()
    topics: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    users: frozenset[UserId] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing was said at all."""
        return self == Choice()

    def of(self, found: Iterable[Unapplied]) -> list[Unapplied]:
        """Those that were chosen."""
        return [each for each in found if self._takes(each)]

    def _takes(self, each: Unapplied) -> bool:
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
    """The tables that a letter names; of one that names none, what the topic's name says in Debezium's form."""
    name = f"{OWN}table"
    if headers.get(name):
        return _parts(_text(headers, name))
    last = topic.rpartition(".")[2]
    return (last,) if named(topic, (last,)) else ()


def _parts(text: str) -> tuple[str, ...]:
    return tuple(each for each in text.split(",") if each)


def _age(letter: Letter) -> tuple[int, int]:
    return letter.written_ms, letter.at.offset


def _text(headers: Mapping[str, bytes | None], name: str) -> str:
    value = headers[name]
    if value is None:
        raise ValueError(f"{name} is null")
    return value.decode()
