"""A sample is by chance, and the same seed makes the same one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import pairwise
from random import Random

import pytest

from consumer.commands.audit.sample import Sample


def sampled(keys: Collection[int], wanted: int, seed: int) -> list[int]:
    """The keys that a sample of a table of ``keys`` takes, in its order."""
    rows, found = sorted(keys), []
    sample = Sample(max(rows), wanted, Random(seed))  # noqa: S311  # no secret
    while drawn := sample.draw():
        found += sample.take(drawn, set(drawn) & set(rows))
    while places := sample.draw_places():
        for place in places:
            behind = next((key for key in rows if key > place), None)
            if sample.take_behind(place, behind) and behind is not None:
                found.append(behind)
    return found


FAR = [*range(1, 91), 2_147_483_647]
TABLES = {
    "dense": range(1, 5001),
    "few": range(1, 8),
    "far": FAR,
    "huge": [5, 2**64 + 3, 2**66],
    "holes": range(1, 90_000, 9),
}


@pytest.mark.parametrize("name", TABLES)
def test_no_key_comes_twice_and_as_many_as_were_wanted(name: str) -> None:
    keys = TABLES[name]
    for wanted in (1, 50, 200):
        found = sampled(keys, wanted, 1)
        assert len(found) == len(set(found)) == min(wanted, len(keys))
        assert set(found) <= set(keys)


def test_a_seed_decides() -> None:
    for keys in TABLES.values():
        assert sampled(keys, 50, 7) == sampled(keys, 50, 7)
    assert sampled(TABLES["dense"], 50, 7) != sampled(TABLES["dense"], 50, 8)


def test_every_user_is_as_likely() -> None:
    """Not neighbours: of 40 samples of 50 among 5,000, hardly two keys are next to each other."""
    counts: Counter[int] = Counter()
    for seed in range(40):
        found = sorted(sampled(TABLES["dense"], 50, seed))
        assert sum(later - earlier == 1 for earlier, later in pairwise(found)) < 5
        counts.update(key // 500 for key in found)
    assert all(120 < counts[tenth] < 280 for tenth in range(10)), counts
