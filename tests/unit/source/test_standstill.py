"""Which partitions count as unanswered and as stuck, from positions and what the leaders answer."""

from __future__ import annotations

from collections.abc import Mapping

from consumer.events.record import Partition
from consumer.source.clients.member import Reading
from consumer.source.standstill import Answers, Standstill

USERS, DEMO = Partition("t.trading.live_users", 0), Partition("t.trading.demo_users", 3)


def at(**positions: int | None) -> Mapping[Partition, Reading]:
    """The positions of ``users`` and ``demo``; the client knows no more records than it has read."""
    parts = {"users": USERS, "demo": DEMO}
    return {parts[name]: Reading(position, position) for name, position in positions.items()}


def checks(
    standstill: Standstill,
    count: int,
    readings: Mapping[Partition, Reading],
    ends: Mapping[Partition, int | None],
    *,
    had_empty_poll: bool = True,
) -> list[Partition]:
    """So many checks with the same positions and answers. The partitions that were stuck at any of them.

    ``ends``: None if the leader does not answer.
    """
    found: list[Partition] = []
    for _ in range(count):
        asked = {part: ends[part] for part in standstill.unmoved(readings) if part in ends}
        known = {part: end for part, end in asked.items() if end is not None}
        standstill.answered(Answers(known, asked.keys() - known), readings, had_empty_poll=had_empty_poll)
        found += standstill.take_stuck()
    return found


def test_only_leaders_of_partitions_whose_position_stays_are_asked() -> None:
    standstill = Standstill()
    assert standstill.unmoved(at(users=1, demo=5)) == [], "nothing is known before the first check"
    assert standstill.unmoved(at(users=2, demo=5)) == [DEMO]


def test_a_partition_that_has_records_and_is_not_read_is_stuck_from_the_third_check_on() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7))
    assert checks(standstill, 2, at(users=7), {USERS: 9}) == []
    assert checks(standstill, 1, at(users=7), {USERS: 9}) == [USERS]
    assert checks(standstill, 5, at(users=7), {USERS: 9}) == [], "it has twice the time now"
    assert checks(standstill, 1, at(users=7), {USERS: 9}) == [USERS]
    assert checks(standstill, 11, at(users=7), {USERS: 9}) == []
    assert checks(standstill, 1, at(users=7), {USERS: 9}) == [USERS]


def test_a_partition_that_moved_has_the_time_of_the_beginning_again() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7))
    assert checks(standstill, 3, at(users=7), {USERS: 9}) == [USERS]
    standstill.unmoved(at(users=8))
    assert checks(standstill, 3, at(users=8), {USERS: 9}) == [USERS]


def test_a_partition_that_is_read_to_its_end_is_not_stuck() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=9))
    assert checks(standstill, 10, at(users=9), {USERS: 9}) == []


def test_a_partition_whose_records_wait_in_the_client_behind_others_is_not_stuck() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7))
    assert checks(standstill, 10, at(users=7), {USERS: 9}, had_empty_poll=False) == []


def test_a_partition_that_moved_since_the_question_is_not_stuck() -> None:
    standstill = Standstill()
    for position in range(10):
        standstill.unmoved(at(users=position))
        standstill.unmoved(at(users=position))
        standstill.answered(Answers({USERS: 99}, ()), at(users=position + 1), had_empty_poll=True)
    assert standstill.take_stuck() == []


def test_a_partition_whose_position_is_never_found_is_stuck() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=None))
    assert checks(standstill, 3, at(users=None), {USERS: 0}) == [USERS]


def test_a_partition_is_unanswered_from_the_second_check_without_an_answer_on() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7, demo=5))
    checks(standstill, 1, at(users=7, demo=5), {USERS: None, DEMO: 5})
    assert standstill.unanswered == frozenset()
    checks(standstill, 1, at(users=7, demo=5), {USERS: None, DEMO: 5})
    assert standstill.unanswered == {USERS}
    assert (standstill.end(USERS), standstill.end(DEMO)) == (None, 5)
    checks(standstill, 1, at(users=7, demo=5), {USERS: 8, DEMO: 5})
    assert (standstill.unanswered, standstill.end(USERS)) == (frozenset(), 8)


def test_nothing_is_said_of_a_partition_without_an_answer_about_it() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7))
    assert checks(standstill, 10, at(users=7), {}) == []
    assert standstill.unanswered == frozenset()


def test_a_partition_that_moves_or_is_revoked_is_no_longer_unanswered() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7, demo=5))
    checks(standstill, 2, at(users=7, demo=5), {USERS: None, DEMO: None})
    standstill.unmoved(at(users=8))
    assert standstill.unanswered == frozenset()


def test_if_nothing_is_known_a_partition_is_no_longer_unanswered() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7))
    checks(standstill, 2, at(users=7), {USERS: None})
    assert standstill.unanswered == {USERS}
    checks(standstill, 1, at(users=7), {})
    assert standstill.unanswered == frozenset()


def test_a_pause_of_the_program_is_no_proof_that_a_partition_is_stuck() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7, demo=5))
    assert checks(standstill, 2, at(users=7, demo=5), {USERS: 9, DEMO: None}) == []
    standstill.forget_stuck()
    assert checks(standstill, 2, at(users=7, demo=5), {USERS: 9, DEMO: None}) == []
    assert standstill.unanswered == {DEMO}, "that is known also in a pause"
    assert checks(standstill, 1, at(users=7, demo=5), {USERS: 9, DEMO: None}) == [USERS]


def test_without_a_connection_to_the_group_nothing_is_known() -> None:
    standstill = Standstill()
    standstill.unmoved(at(users=7, demo=5))
    checks(standstill, 2, at(users=7, demo=5), {USERS: 9, DEMO: None})
    standstill.forget()
    assert standstill.unanswered == frozenset()
    assert standstill.unmoved(at(users=7, demo=5)) == []
