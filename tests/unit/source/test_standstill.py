"""Which partitions count as silent and as still, from positions and what the leaders say."""

from __future__ import annotations

from collections.abc import Mapping

from consumer.events.record import Partition
from consumer.source.clients.member import Reading
from consumer.source.standstill import Ends, Standstill

USERS, DEMO = Partition("t.trading.live_users", 0), Partition("t.trading.demo_users", 3)


def at(**positions: int | None) -> Mapping[Partition, Reading]:
    """The positions of ``users`` and ``demo``; the client knows no more records than it has read."""
    parts = {"users": USERS, "demo": DEMO}
    return {parts[name]: Reading(position, position) for name, position in positions.items()}


def looks(
    standstill: Standstill, count: int, readings: Mapping[Partition, Reading], ends: Ends, *, is_drained: bool = True
) -> list[Partition]:
    """So many looks with the same positions and answers. The partitions that stood still at any of them."""
    found: list[Partition] = []
    for _ in range(count):
        asked = standstill.quiet(readings)
        answers = {part: ends[part] for part in asked if part in ends}
        standstill.looked(answers, readings, is_drained=is_drained)
        found += standstill.take_still()
    return found


def test_only_partitions_whose_position_stays_are_looked_at() -> None:
    standstill = Standstill()
    assert standstill.quiet(at(users=1, demo=5)) == [], "nothing is known before the first look"
    assert standstill.quiet(at(users=2, demo=5)) == [DEMO]


def test_a_partition_that_has_records_and_is_not_read_stands_still_from_the_third_look_on() -> None:
    standstill = Standstill()
    standstill.quiet(at(users=7))
    assert looks(standstill, 2, at(users=7), {USERS: 9}) == []
    assert looks(standstill, 1, at(users=7), {USERS: 9}) == [USERS]
    assert looks(standstill, 2, at(users=7), {USERS: 9}) == [], "it has the same time again"
    assert looks(standstill, 1, at(users=7), {USERS: 9}) == [USERS]


def test_a_partition_that_is_read_to_its_end_does_not_stand_still() -> None:
    standstill = Standstill()
    standstill.quiet(at(users=9))
    assert looks(standstill, 10, at(users=9), {USERS: 9}) == []


def test_records_that_wait_in_the_client_behind_others_are_not_a_standstill() -> None:
    standstill = Standstill()
    standstill.quiet(at(users=7))
    assert looks(standstill, 10, at(users=7), {USERS: 9}, is_drained=False) == []


def test_a_partition_that_moved_since_the_question_does_not_stand_still() -> None:
    standstill = Standstill()
    for position in range(10):
        standstill.quiet(at(users=position))
        standstill.quiet(at(users=position))
        standstill.looked({USERS: 99}, at(users=position + 1), is_drained=True)
    assert standstill.take_still() == []


def test_a_partition_whose_position_is_never_found_stands_still() -> None:
    standstill = Standstill()
    standstill.quiet(at(users=None))
    assert looks(standstill, 3, at(users=None), {USERS: 0}) == [USERS]


def test_a_leader_is_silent_from_the_second_look_without_an_answer_on() -> None:
    standstill = Standstill()
    standstill.quiet(at(users=7, demo=5))
    looks(standstill, 1, at(users=7, demo=5), {USERS: None, DEMO: 5})
    assert standstill.silent == frozenset()
    looks(standstill, 1, at(users=7, demo=5), {USERS: None, DEMO: 5})
    assert standstill.silent == {USERS}
    assert (standstill.end(USERS), standstill.end(DEMO)) == (None, 5)
    looks(standstill, 1, at(users=7, demo=5), {USERS: 8, DEMO: 5})
    assert (standstill.silent, standstill.end(USERS)) == (frozenset(), 8)


def test_nothing_is_said_of_a_partition_without_an_answer_about_it() -> None:
    standstill = Standstill()
    standstill.quiet(at(users=7))
    assert looks(standstill, 10, at(users=7), {}) == []
    assert standstill.silent == frozenset()


def test_a_partition_that_moves_or_is_revoked_is_no_longer_silent() -> None:
    standstill = Standstill()
    standstill.quiet(at(users=7, demo=5))
    looks(standstill, 2, at(users=7, demo=5), {USERS: None, DEMO: None})
    standstill.quiet(at(users=8))
    assert standstill.silent == frozenset()


def test_after_a_pause_of_the_program_looks_count_anew() -> None:
    standstill = Standstill()
    standstill.quiet(at(users=7))
    assert looks(standstill, 2, at(users=7), {USERS: 9}) == []
    standstill.forget()
    assert looks(standstill, 3, at(users=7), {USERS: 9}) == [], "the first look after it only notes the position"
    assert looks(standstill, 1, at(users=7), {USERS: 9}) == [USERS]
