"""A Prometheus histogram that observes a batch at once. The library's histogram locks for each single value."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import neg

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_BOUNDS_MS = tuple(bound * 1000 for bound in _BOUNDS_S)
_NAMES = (*(str(bound) for bound in _BOUNDS_S), "+Inf")


class Latency(Collector):
    """A histogram of seconds. One thread observes; other threads may collect."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._documentation = documentation
        self._counts = [0] * len(_NAMES)
        self._sum = 0.0

    def observe(self, since_ms: Iterable[int], now: float) -> None:
        """Observe the seconds from each of the times ``since_ms`` (UTC milliseconds) to ``now`` (UTC seconds)."""
        # Two machines' clocks may differ: a time in the future counts as 0 s.
        now_ms = now * 1000
        ordered = sorted(since_ms, reverse=True)
        past = [ms for ms in ordered if ms < now_ms]
        self._sum += len(past) * now - sum(past) / 1000
        if len(ordered) < len(_BOUNDS_MS):
            for ms in ordered:
                self._counts[bisect_left(_BOUNDS_MS, now_ms - ms)] += 1
            return
        begin = 0
        for at, bound_ms in enumerate(_BOUNDS_MS):
            end = bisect_right(ordered, bound_ms - now_ms, begin, key=neg)
            self._counts[at] += end - begin
            begin = end
        self._counts[-1] += len(ordered) - begin

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield HistogramMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        buckets = [(name, float(count)) for name, count in zip(_NAMES, accumulate(tuple(self._counts)), strict=True)]
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)
