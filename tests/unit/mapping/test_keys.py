"""Keys are injective: no two users, and no two templates of a mapping that is accepted, share a key."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer.mapping import faults as mapping_faults
from consumer.mapping.keys import UserId, check_template, collision, covers, render
from consumer.mapping.reference import reference
from consumer.mapping.rules import Consequence, Names, Rules, UserTable
from tests.unit.mapping.test_format import BROKER

_literals = st.sampled_from(["", ":", "_", "a:", ":a", ":live:", ":7:", "live:7:", ":7:live", "{", "}", "/", "x:"])
_placeholders = st.sampled_from(
    [("<type>", "<id>"), ("<id>", "<type>"), ("<type>", "<id>", "<id>"), ("<id>", "<type>", "<id>")]
)


def _joined(placeholders: tuple[str, ...], literals: list[str]) -> str:
    return "".join(f"{literal}{each}" for literal, each in zip(literals, placeholders, strict=False)) + literals[-1]


templates = st.builds(_joined, _placeholders, st.lists(_literals, min_size=4, max_size=4))
user_types = st.sets(st.sampled_from(["live", "demo", "live7", "alive", "a", "live_a", "x"]), min_size=1, max_size=3)
_IDS = (0, 1, 7, 11, 17, 70, 71, 77)


def _is_template(text: str) -> bool:
    try:
        check_template(text)
    except ValueError:
        return False
    return True


def _keys(template: str, types: set[str]) -> dict[UserId, str]:
    return {
        user: render(template, user) for user in (UserId(each, number) for each in sorted(types) for number in _IDS)
    }


@settings(max_examples=500, deadline=None)
@given(templates.filter(_is_template), user_types)
def test_one_template_is_injective(template: str, types: set[str]) -> None:
    found = collision(template, template, types)
    keys = _keys(template, types)
    if found is None:
        assert len(set(keys.values())) == len(keys)
    else:
        one, other = found
        assert one != other
        assert render(template, one) == render(template, other)


@settings(max_examples=500, deadline=None)
@given(templates.filter(_is_template), templates.filter(_is_template), user_types)
@example("a:<type>:<id>:7", "a:<type>:7:<id>", {"live"})
@example("<type>:<id>:live:7", "live:7:<type>:<id>", {"live", "demo"})
@example("x:<type>:<id>", "x:<id>:<type>", {"live", "demo"})
def test_two_templates_that_may_meet_are_told_with_an_example(one: str, other: str, types: set[str]) -> None:
    if one == other:
        return
    found = collision(one, other, types)
    if found is None:
        assert set(_keys(one, types).values()).isdisjoint(_keys(other, types).values())
    else:
        assert render(one, found[0]) == render(other, found[1])


@settings(max_examples=500, deadline=None)
@given(
    templates.filter(_is_template), templates.filter(_is_template), user_types, st.sampled_from([":", "/", "_", "}"])
)
def test_a_wildcard_means_the_keys_of_one_user(head: str, other: str, types: set[str], end: str) -> None:
    wildcard = f"{head}{end}*"
    if not _is_template(wildcard):
        return
    found = collision(wildcard, other, types)
    prefixes = {user: key.removesuffix("*") for user, key in _keys(wildcard, types).items()}
    keys = _keys(other, types)
    met = {(one, two) for one, prefix in prefixes.items() for two, key in keys.items() if key.startswith(prefix)}
    if found is None:
        assert {(one, two) for one, two in met if one != two} == set()
    else:
        assert found[0] != found[1]
        assert render(other, found[1]).startswith(render(wildcard, found[0]).removesuffix("*"))
    assert covers(wildcard, other, types) or not met


def _rules(state: list[str], derived: list[str], types: set[str]) -> Rules:
    columns = reference().tables[0].columns
    return Rules(
        tables=tuple(UserTable(f"t_{each}", each, columns) for each in sorted(types)),
        consequences=(),
        profile=Consequence("profile", frozenset(), clears=tuple(derived)),
        outside=Consequence("outside", frozenset()),
        names=Names(*state),
    )


def _assert_injective(rules: Rules) -> None:
    types = {table.user_type for table in rules.tables}
    names = rules.names
    state = [names.config, names.portfolio, names.balance, names.guard]
    every = [*state, *rules.derived()]
    keys = [(template, user, key) for template in every for user, key in _keys(template, types).items()]
    for (one, user, key), (other, another, same) in combinations(keys, 2):
        for wild, mine, exact, yours, whose in ((one, key, other, same, another), (other, same, one, key, user)):
            owner = user if wild is one else another
            if wild.endswith("*") and yours.removesuffix("*").startswith(mine.removesuffix("*")):
                assert owner == whose
                assert exact not in state
        assert key != same


@settings(max_examples=500, deadline=None)
@given(
    st.lists(templates, min_size=4, max_size=4),
    st.lists(st.one_of(templates, st.sampled_from(["x:<type>:<id>:*", "live:<type>:<id>:*"])), max_size=4),
    user_types,
)
@example(
    ["a:<type>:<id>", "b:<type>:<id>", "c:<type>:<id>", "d:<type>:<id>"], ["d:<type>:<id>:*", "x:<type>:<id>"], {"a"}
)
def test_a_mapping_that_is_accepted_has_injective_keys(state: list[str], derived: list[str], types: set[str]) -> None:
    rules = _rules(state, derived, types)
    if not list(mapping_faults.faults(rules)):
        _assert_injective(rules)


@pytest.mark.parametrize("rules", [reference(), BROKER], ids=["reference", "broker"])
def test_the_mappings_here_are_accepted_and_injective(rules: Rules) -> None:
    assert list(mapping_faults.faults(rules)) == []
    _assert_injective(rules)
