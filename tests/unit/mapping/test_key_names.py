"""Names by prefix behave as sets do, and are counted."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from consumer.mapping.key_names import KeyNames

PREFIXES = ("a:1:", "a:11:", "b:1:")
steps = st.lists(st.tuples(st.sampled_from(PREFIXES), st.integers(0, 12).map(str), st.booleans()), max_size=60)


@given(steps)
def test_as_sets(steps: list[tuple[str, str, bool]]) -> None:
    names, sets = KeyNames(), defaultdict[str, set[str]](set)
    for prefix, end, is_added in steps:
        if is_added:
            names.add(prefix, prefix + end)
            sets[prefix].add(prefix + end)
        else:
            names.remove(prefix, [prefix + end, f"{prefix}never"])
            sets[prefix].discard(prefix + end)
    for prefix in PREFIXES:
        assert sorted(names.of(prefix)) == sorted(sets[prefix])
    assert len(names) == sum(map(len, sets.values()))
    names.clear()
    assert len(names) == 0
    assert names.of(PREFIXES[0]) == ()
