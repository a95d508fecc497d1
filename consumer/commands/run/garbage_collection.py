"""Python's collector of reference cycles, made to look seldom.

A batch makes tens of thousands of objects that live until it is done, and next to no cycles. At its own pace the
collector looks through all of them several times a batch, which costs a sixth of the processor time of a change
(``make bench``; docs/decisions/0022-two-batches-in-flight.md).
"""

from __future__ import annotations

import gc

_YOUNG = 200_000
"""Objects more than there were at the last look, before there is another one: several batches' worth."""


def collect_less_often() -> None:
    """Look less often from now on, and never again at what is there already: the program itself."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 50, 100)
