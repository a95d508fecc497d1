"""Every format from the real servers, on one binlog: the same plans."""

from __future__ import annotations

import pytest

from tests.support.stack import Stack
from tests.support.stack.trading import Trading
from tests.wire.formats import FORMATS, REFERENCE
from tests.wire.taken import take
from tests.wire.truth import check_equal, check_truth

pytestmark = [pytest.mark.stack, pytest.mark.registry, pytest.mark.slow]


def test_every_format_gives_the_same_plans(stack: Stack, trading: Trading, topic_prefix: str) -> None:
    taken = take(stack, trading, topic_prefix)
    check_truth(taken[REFERENCE.name])
    for wire in FORMATS[1:]:
        check_equal(wire, taken[wire.name], taken[REFERENCE.name])
