"""A histogram that observes a batch at once, whatever its size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.observability.latency import Latency

_NOW_S = 1_760_000_000.0
_AGES_MS = st.one_of(st.integers(-5, 400_000), st.sampled_from([0, 1, 5, 10, 25, 1000, 10_000, 300_000]))


def _buckets(*batches: list[int]) -> list[float]:
    latency = Latency("cdc_test", "of a test")
    for ages_ms in batches:
        latency.observe([round(_NOW_S * 1000) - age for age in ages_ms], _NOW_S)
    (family,) = latency.collect()
    return [sample.value for sample in family.samples if sample.name.endswith("_bucket")]


@given(st.lists(_AGES_MS, min_size=16, max_size=60))
def test_a_large_batch_falls_into_the_same_buckets_as_its_values_one_by_one(ages_ms: list[int]) -> None:
    assert _buckets(ages_ms) == _buckets(*([age] for age in ages_ms))
    assert _buckets(ages_ms)[-1] == len(ages_ms)
