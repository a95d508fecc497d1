"""What plans of one kind have in common is worked out once."""

from __future__ import annotations

import hiredis
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.planning.decision import decide
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode, PlanShape, changed_shape, shared
from consumer.settings.sections import Guard
from consumer.sink.call import Calls, PlanPart, ScriptCall, script_call
from tests.support.scenario import load_all

RULES = reference()
PLANS = [
    plan
    for scenario in load_all()
    for number, change in enumerate(scenario.changes)
    if (plan := decide(change.record(number), RULES).plan) is not None
]


def deposit(offset: int) -> Plan:
    (change,) = next(each for each in load_all() if each.title.startswith("A deposit")).changes
    plan = decide(change.record(offset), RULES).plan
    assert plan is not None
    return plan


def words_of(call: ScriptCall) -> list[str]:
    """The words as Redis reads them."""
    reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
    reader.feed(f"*{call.count}\r\n{''.join(call.parts)}".encode(errors="surrogateescape"))
    words = reader.gets()
    assert isinstance(words, list)
    assert reader.gets() is False, "nothing is left"
    return words


def test_equal_changes_have_one_shape() -> None:
    assert deposit(1).shape is deposit(2).shape
    assert deposit(1).version != deposit(2).version


def test_equal_shapes_are_one_object() -> None:
    one, other = (PlanShape(table="live_users", user_type="live", guard="cdc:{<type>:<id>}") for _ in range(2))
    assert one != other
    assert shared(one) is shared(other)


def test_a_shape_with_other_parts_is_shared_too() -> None:
    shape = deposit(1).shape
    assert changed_shape(shape, mode=Mode.FILL) is changed_shape(shape, mode=Mode.FILL)
    assert changed_shape(shape, mode=Mode.FILL) is not shape


def test_a_call_has_every_key_and_every_value_of_the_effects() -> None:
    assert len(PLANS) > 20
    calls = Calls(Guard())
    for plan in PLANS:
        number, *words = words_of(calls.of(plan))
        count = int(number)
        keys = {plan.guard, *plan.cleared.keys, *(plan.removed.keys if plan.removed else ())}
        keys |= {each.key for each in (plan.config, plan.balance, plan.update) if each is not None}
        assert set(words[:count]) == keys
        values = {value for each in (plan.config,) if each for value in (*each.changed.values(), *each.whole.values())}
        values |= set(plan.update.fields.values()) if plan.update is not None else set()
        assert set(words[count + 3 :]) == values | {message.body for message in plan.messages}


def test_a_short_call_leaves_out_what_only_the_whole_image_needs() -> None:
    calls, plan = Calls(Guard()), deposit(1)
    assert plan.config is not None
    short, long = words_of(calls.of(plan, is_brief=True)), words_of(calls.of(plan))
    assert len(short) < len(long)
    assert set(plan.config.changed.values()) <= set(short)


def test_the_part_and_the_mode_are_in_the_text_of_the_shape() -> None:
    calls, plan = Calls(Guard()), deposit(1)
    made = [words_of(calls.of(plan, part=part, mode=mode)) for part in PlanPart for mode in ("", Mode.FILL)]
    assert len({words[1 + int(words[0])] for words in made}) == len(made)


@given(st.text(st.characters(codec="utf-8")), st.text(), st.lists(st.text()), st.integers(0, 10**20))
def test_a_call_has_the_same_words_whatever_they_contain(
    value: str, body: str, derived: list[str], number: int
) -> None:
    plan = structs.replace(deposit(1), user=UserId("live", number), values={"wallet_balance": value}, bodies=(body,))
    for keys in (derived, ()):
        count, *words = words_of(Calls(Guard()).of(plan, keys, is_brief=True))
        before = len(words) - 6
        assert int(count) == before
        assert words[:before] == [*words_of(Calls(Guard()).of(plan, is_brief=True))[1 : before + 1 - len(keys)], *keys]
        assert words[before + 1 :] == [plan.version.to_text(), "", value, plan.time, body]
        assert plan.guard == words[0]


def test_a_key_of_another_program_need_not_be_utf_8() -> None:
    odd = b"user_stats:\xff\xfe".decode(errors="surrogateescape")
    assert odd in words_of(Calls(Guard()).of(deposit(1), [odd]))
    assert words_of(script_call([odd], ["remember", "größe", 7])) == ["1", odd, "remember", "größe", "7"]


def test_a_plan_that_was_applied_before_has_no_messages() -> None:
    again = deposit(1).repeated()
    assert (again.messages, again.bodies, again.is_repeated) == ((), (), True)
    assert again.config == deposit(1).config
