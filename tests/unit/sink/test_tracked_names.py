"""Which keys are cleared late: those that another program wrote between the look-up and the script."""

from __future__ import annotations

import pytest

from consumer.sink.index.tracked_names import TrackedNames

MINE, OTHER = "financial_summary:live:1:", "financial_summary:live:2:"
KEY = f"{MINE}day"


def two_look_ups(first: list[str], second: list[str], accepted: tuple[bool, bool]) -> TrackedNames:
    """A key is touched after the first look-up and before the second, as by another program between two waves."""
    names = TrackedNames()
    names.look_up(first)
    names.touched([(MINE, KEY)])
    assert names.look_up(second) == dict.fromkeys(second, ()), "it is not known yet"
    names.close(first, first if accepted[0] else ())
    names.close(second, second if accepted[1] else ())
    return names


@pytest.mark.parametrize(
    ("accepted", "is_late"),
    [((True, True), True), ((True, False), True), ((False, True), True), ((False, False), False)],
)
@pytest.mark.parametrize("second", [[MINE], [MINE, OTHER]])
def test_a_key_is_cleared_if_the_plan_of_either_look_up_was_accepted(
    second: list[str], accepted: tuple[bool, bool], is_late: bool
) -> None:
    """The first plan may be refused as a duplicate. The second one then changes what the key was computed from."""
    names = two_look_ups([MINE], second, accepted)
    assert (KEY in names.late) is is_late
    assert (names.look_up([MINE])[MINE] == ()) is is_late, "else the next plan finds it"


def test_a_window_of_another_user_does_not_clear_it() -> None:
    assert two_look_ups([MINE], [OTHER], (False, True)).late == []


def test_what_is_open_is_known_until_it_is_closed_or_forgotten() -> None:
    names = TrackedNames()
    names.look_up([MINE])
    names.look_up([MINE, OTHER])
    assert (names.is_open([MINE]), names.is_open([OTHER]), set(names.open)) == (True, False, {MINE, OTHER})
    names.close([MINE], ())
    assert (names.is_open([MINE]), set(names.open)) == (False, {MINE, OTHER})
    assert names.forget() == {MINE, OTHER}
    assert names.open == frozenset()
