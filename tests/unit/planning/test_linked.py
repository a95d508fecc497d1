"""Rows of linked tables where the database does not send the old row."""

from __future__ import annotations

from dataclasses import replace

from consumer.guard.version import Verdict, compare
from consumer.mapping.reference import reference
from consumer.planning.decision import Outcome, decide
from tests.support.scenario import Change, load_all

COMPLETED = next(each for each in load_all() if each.title == "A pending transaction is completed").changes[0]


def _decided(change: Change, *, accept: bool = False) -> tuple[Outcome, str]:
    decision = decide(change.record(1), replace(reference(), accept_missing_before=accept))
    return decision.outcome, decision.reason


def test_a_delete_needs_no_more_than_the_key() -> None:
    key_only = replace(COMPLETED, operation="delete", before={"id": 55, "user_id": None, "user_type": None}, after=None)
    assert _decided(key_only) == (Outcome.NOTHING, "the row was deleted; its effect on the user is not undone")


def test_an_update_without_the_old_row_is_refused_unless_accepted() -> None:
    blind = replace(COMPLETED, before=None)
    outcome, reason = _decided(blind)
    assert outcome is Outcome.REJECTED
    assert "without the old row image" in reason
    assert _decided(blind, accept=True)[0] is Outcome.PLANNED


def test_two_changes_of_a_row_are_two_whatever_its_key() -> None:
    first, later = (decide(COMPLETED.record(offset), reference()).plan for offset in (1, 2))
    assert first is not None
    assert later is not None
    assert compare(later.version, first.version) is Verdict.NEWER
    assert compare(first.version, later.version) is Verdict.STALE
