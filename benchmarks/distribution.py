"""What a list of times says."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Of the values, where a curve has its points."""


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` of them do not exceed (nearest rank).

    Raises:
        ValueError: there are none.

    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def curve(values: Sequence[float]) -> list[tuple[float, float]]:
    """(value, share of the values that do not exceed it), rising."""
    ordered = sorted(values)
    return [(quantile(ordered, share), share) for share in SHARES]
