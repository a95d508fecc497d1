"""What a batch makes of records that were done before."""

from __future__ import annotations

from consumer.batch import Batch
from consumer.decision import decide_all
from consumer.reference import reference
from tests.scenario import load_all


def test_what_is_read_again_is_done_again_and_told_nobody() -> None:
    deposit = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]
    records = [deposit.record(1), deposit.record(2)]
    plans = Batch(records, decide_all(records, reference()), "g", frozenset({0})).plans()
    assert [(plan.is_repeated, bool(plan.messages)) for plan in plans.values()] == [(True, False), (False, True)]
