"""The way back from the topic of dead letters: which record it was, and what is still open."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.commands.dead_letters.report import COLUMNS, shown_json, table
from consumer.errors import CdcError, InvalidValue, Place, Refused, Undecodable
from consumer.events.record import SourceRecord
from consumer.mapping.keys import UserId
from consumer.pipeline.dead_letter import ADDED, DeadLetter
from consumer.pipeline.letter_state import Choice, Letter, LetterStates, Note, Outcome, Unapplied, note, read
from tests.unit.commands.snapshot import printed

RECORD = SourceRecord("t.db.live_users", 3, 41, 1700000000000, b'{"id":5}', b"hunter2", (("trace", b"\xff"),))
USER = UserId("live", 5)
BYTES = st.none() | st.binary(max_size=20)
RECORDS = st.builds(
    SourceRecord,
    topic=st.from_regex(r"[a-zA-Z0-9._-]{1,20}", fullmatch=True),
    partition=st.integers(0, 1000),
    offset=st.integers(0, 2**60),
    timestamp_ms=st.integers(0, 2**45),
    key=BYTES,
    value=BYTES,
    headers=st.lists(st.tuples(st.text(max_size=8).filter(lambda name: name not in ADDED), BYTES), max_size=4).map(
        tuple
    ),
)
ERRORS = st.sampled_from(
    [
        Undecodable("7 bytes"),
        InvalidValue("is no number", field="margin", advice="correct it"),
        Refused("Redis", "OOM k"),
    ]
)


def written(
    offset: int, record: SourceRecord = RECORD, error: CdcError | None = None, group: str = "g", partition: int = 0
) -> SourceRecord:
    """A letter as it lies in the topic."""
    letter = DeadLetter(record, error or Undecodable("7 bytes"), (USER,), group)
    return SourceRecord("dlq", partition, offset, 1000 + offset, record.key, record.value, tuple(letter.headers()))


def noted(offset: int, unapplied: Unapplied, partition: int = 0, outcome: Outcome = Outcome.APPLIED) -> SourceRecord:
    key, value, headers = note(unapplied, outcome)
    return SourceRecord("dlq", partition, offset, 1000 + offset, key, value, tuple(headers))


def box(found: Sequence[SourceRecord], group: str = "g") -> LetterStates:
    made = LetterStates(group)
    for each in found:
        made.add(each)
    return made


def letter_of(found: SourceRecord) -> Letter:
    said = read(found)
    assert isinstance(said, Letter)
    return said


@given(
    RECORDS,
    ERRORS,
    st.lists(st.builds(UserId, st.sampled_from(["live", "demo"]), st.integers(0, 2**60)), max_size=2),
    st.sampled_from([("live_users",), ("demo_users", "live_users")]),
)
def test_what_is_written_is_read_back(
    record: SourceRecord, error: CdcError, users: list[UserId], tables: tuple[str, ...]
) -> None:
    letter = DeadLetter(record, error, tuple(users), "the-group", tables)
    found = letter_of(SourceRecord("dlq", 0, 9, 5, record.key, record.value, tuple(letter.headers())))
    assert found.record == record
    assert (found.reason, found.stage, found.group) == (letter.reason, letter.stage, "the-group")
    assert (found.users, found.tables) == (tuple(users), tables)
    assert (found.problem, found.advice, found.at, found.written_ms) == (
        str(error),
        error.advice,
        Place("dlq", 0, 9),
        5,
    )
    assert found.field == (error.field if isinstance(error, InvalidValue) else "")


def test_the_headers_that_are_taken_off_are_those_that_are_put_on() -> None:
    on = {name for name, _ in DeadLetter(structs.replace(RECORD, headers=()), Undecodable("x"), (), "g").headers()}
    assert ADDED - on == {"cdc.done"}
    assert on <= ADDED


@pytest.mark.parametrize("value", [None, b"\xff", "absent"])
@pytest.mark.parametrize(
    "name",
    [
        *("__connect.errors.topic", "__connect.errors.partition", "__connect.errors.offset"),
        *("__connect.errors.connector.name", "__connect.errors.exception.message"),
        *("cdc.reason", "cdc.stage", "cdc.advice", "cdc.field", "cdc.user", "cdc.timestamp_ms"),
    ],
)
def test_what_nobody_wrote_as_a_letter_is_none(name: str, value: bytes | str | None) -> None:
    headers = dict(written(0).headers)
    if isinstance(value, str):
        del headers[name]
    else:
        headers[name] = value
    found = structs.replace(written(0), headers=tuple(headers.items()))
    assert read(found) is None
    assert (box([found]).strange, box([found]).open()) == (1, [])


def test_a_record_whose_own_header_says_done_is_a_letter_all_the_same() -> None:
    sly = structs.replace(RECORD, headers=(("cdc.done", b"applied"),))
    assert isinstance(read(written(0, sly)), Letter)


def test_what_was_dealt_with_is_known_and_other_groups_letters_are_not() -> None:
    (unapplied,) = box([written(0)]).open()
    done = box([written(0), noted(1, unapplied), written(2, structs.replace(RECORD, offset=42), group="other")])
    assert (done.open(), done.known) == ([], {RECORD.place})
    assert box([noted(1, unapplied)]).known == {RECORD.place}, "the letter has left the topic"


def test_as_a_table_without_a_terminal_each_is_one_line_however_long() -> None:
    long = f"no number\nbut {'words ' * 100}"
    found = box([written(0), written(1, structs.replace(RECORD, offset=42), InvalidValue(long, field="margin"))]).open()
    header, first, second = printed(table(found), width=80, is_terminal=False).splitlines()
    assert header.split() == [*COLUMNS, "why"]
    assert first.startswith(f"{found[0].place}  ")
    assert second.endswith("words words")
    assert {line[header.index("why") - 1] for line in (header, first, second)} == {" "}


def test_several_letters_of_one_record_are_one() -> None:
    (found,) = box([written(0), written(1, error=Refused("Redis", "WRONGTYPE k"))]).open()
    assert [each.reason for each in found.letters] == ["undecodable", "redis_wrongtype"]
    assert (found.last.reason, found.place) == ("redis_wrongtype", RECORD.place)


def test_a_note_closes_what_lies_before_it_and_a_letter_behind_it_opens_again() -> None:
    first = written(0)
    (unapplied,) = box([first]).open()
    assert isinstance(read(noted(1, unapplied)), Note)
    assert box([first, noted(1, unapplied)]).open() == []
    (again,) = box([first, noted(1, unapplied), written(2)]).open()
    assert [each.at.offset for each in again.letters] == [2]


def test_a_note_is_about_its_record_its_group_and_its_partition() -> None:
    other = structs.replace(RECORD, offset=42)
    (unapplied,) = box([written(0)]).open()
    assert [each.place for each in box([written(0), written(1, other), noted(2, unapplied)]).open()] == [other.place]
    theirs = box([written(0, group="h")], "h").open()[0]
    assert len(box([written(0), noted(1, theirs)]).open()) == 1
    both = [written(0), noted(1, unapplied), written(0, partition=1)]
    (left,) = box(both).open()
    assert [each.at.partition for each in left.letters] == [1]
    assert box([*both, noted(1, unapplied, partition=1)]).open() == []


def test_letters_of_other_groups_are_counted_only() -> None:
    found = box([written(0), written(1, group="h"), written(2, group="h")])
    assert (len(found.open()), found.others) == (1, {"h": 2})


def test_open_letters_come_in_the_order_of_their_records() -> None:
    offsets = [9, 10, 2]
    found = box([written(at, structs.replace(RECORD, offset=offset)) for at, offset in enumerate(offsets)]).open()
    assert [each.place.offset for each in found] == [2, 9, 10]


@pytest.mark.parametrize(
    ("choice", "is_taken"),
    [
        (Choice(), True),
        (Choice(places=frozenset({RECORD.place})), True),
        (Choice(places=frozenset({Place("t.db.live_users", 3, 42)})), False),
        (Choice(topics=frozenset({"t.db.live_users", "x"})), True),
        (Choice(topics=frozenset({"t.db"})), False),
        (Choice(reasons=frozenset({"undecodable"})), True),
        (Choice(reasons=frozenset({"redis_wrongtype"})), False),
        (Choice(tables=frozenset({"live_users"})), True),
        (Choice(tables=frozenset({"demo_users"})), False),
        (Choice(users=frozenset({USER, UserId("demo", 5)})), True),
        (Choice(users=frozenset({UserId("demo", 5)})), False),
        (Choice(since_ms=1007), True),
        (Choice(since_ms=1008), False),
        (Choice(until_ms=1008), True),
        (Choice(until_ms=1007), False),
        (Choice(tables=frozenset({"live_users"}), reasons=frozenset({"missing_column"})), False),
    ],
)
def test_a_choice(choice: Choice, is_taken: bool) -> None:
    assert len(choice.of(box([written(7)]).open())) == is_taken
    assert choice.is_everything == (choice == Choice())


@pytest.mark.parametrize("place", [RECORD.place, Place("a-b_c.d", 0, 2**62)])
def test_a_place_is_read_as_it_is_written(place: Place) -> None:
    assert Place.from_text(str(place)) == place


@pytest.mark.parametrize(
    "text", ["", "t", "t[1]", "t@1", "t[1]@", "t[-1]@1", "t[1]@1 ", "[1]@1", "t[1]@1x", "t t[1]@1"]
)
def test_other_texts_are_no_places(text: str) -> None:
    with pytest.raises(ValueError, match="should look like"):
        Place.from_text(text)


def test_what_was_given_up_is_known_until_it_waits_again() -> None:
    (waits,) = box([written(0)]).open()
    assert box([written(0)]).discarded == set()
    assert box([written(0), noted(1, waits)]).discarded == set(), "it was applied"
    given_up = noted(1, waits, outcome=Outcome.DISCARDED)
    assert box([written(0), given_up]).discarded == {RECORD.place}
    assert box([written(0), given_up, written(2)]).discarded == set(), "it failed anew"
    assert box([written(0), written(0, partition=1), given_up]).discarded == set(), "its note in the other is to come"


def test_a_record_that_two_operators_handled_at_once_counts_as_applied() -> None:
    (waits,) = box([written(0)]).open()
    applied, given_up = noted(1, waits), noted(2, waits, outcome=Outcome.DISCARDED)
    assert box([written(0), applied, given_up]).discarded == set()
    assert box([written(0), given_up, applied]).discarded == set()
    assert box([written(0), applied, written(2), given_up]).discarded == {RECORD.place}, "it failed anew"


def test_a_number_that_is_no_time_hides_no_letter() -> None:
    strange = written(0, structs.replace(RECORD, timestamp_ms=2**62))
    found = box([structs.replace(strange, timestamp_ms=-(2**62))]).open()
    assert "????-??-??T??:??:??.???Z" in printed(table(found), width=120, is_terminal=False)
    assert '"timestamp":"????-??-??T??:??:??.???Z"' in shown_json(found[0], {})
