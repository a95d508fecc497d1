"""A plan divided by hash slots: nothing is lost, nothing is done twice, and each part lies in one slot."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from consumer.mapping.keys import UserId, render, version_key_of
from consumer.mapping.reference import reference
from consumer.mapping.rules import Names
from consumer.planning.decision import decide
from consumer.planning.effect import Plan
from consumer.planning.shape import changed_shape
from consumer.sink.cluster.plan_slots import SLOTS, by_slot, is_in_other_slot, slot, tags
from tests.support.scenario import load_all

PLANS = [
    plan
    for scenario in load_all()
    for number, change in enumerate(scenario.changes)
    if (plan := decide(change.record(number), reference()).plan) is not None
]


def keys(plan: Plan) -> list[str]:
    found = [each.key for each in (plan.config, plan.balance, plan.update) if each is not None]
    return [*found, *(plan.removed.keys if plan.removed else ()), *plan.cleared.keys]


def test_every_key_is_in_one_part_and_every_part_in_one_slot() -> None:
    assert len(PLANS) > 20
    for plan in PLANS:
        parts = by_slot(plan, ["financial_summary:live:123:day", "{live:123}:near"])
        in_other_slot = keys(parts.in_other_slot) if parts.in_other_slot else []
        every = [*keys(parts.in_version_slot), *parts.derived, *in_other_slot, *parts.cleared]
        assert sorted(every) == sorted([*keys(plan), "financial_summary:live:123:day", "{live:123}:near"])
        assert {slot(key) for key in [plan.guard, *keys(parts.in_version_slot), *parts.derived]} == {parts.version_slot}
        if parts.in_other_slot is not None:
            assert {slot(key) for key in [parts.in_other_slot.guard, *in_other_slot]} == {parts.other_slot}
            assert parts.in_other_slot.version == plan.version


def test_what_lies_together_is_one_part_with_its_messages() -> None:
    plan = next(plan for plan in PLANS if plan.messages)
    here = replace(plan, shape=changed_shape(plan.shape, balance="", removed=(), cleared=("{<type>:<id>}:x",)))
    assert by_slot(here, ()).is_whole
    assert by_slot(here, ()).in_version_slot.messages == plan.messages
    assert by_slot(here, ["elsewhere"]).in_version_slot.messages == ()


def test_the_companion_lies_beside() -> None:
    for key in ("user_balance:live:123", "balance:{live:123}", "odd{"):
        assert slot(version_key_of(key)) == slot(key)
        assert version_key_of(key) != key


def test_keys_without_the_tag_lie_apart() -> None:
    names = Names()
    assert not is_in_other_slot(names, names.config)
    assert is_in_other_slot(names, names.balance)
    assert is_in_other_slot(names, "user:<type>:<id>:config")


def test_a_tag_in_every_part() -> None:
    assert [slot(f"x{{{tag}}}") * 64 // SLOTS for tag in tags(64)] == list(range(64))


@pytest.mark.parametrize(
    "template", ["user:{<type>:<id>}:x", "user:<type>:<id>", "x:{<type>:<id>", "x:{}<type>:<id>", "{a}{<type>:<id>}"]
)
def test_what_is_near_is_in_the_slot_of_the_version(template: str) -> None:
    names, user = Names(), UserId("live", 123)
    assert is_in_other_slot(names, template) == (slot(render(template, user)) != slot(render(names.guard, user)))
