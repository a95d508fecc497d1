"""Makes Python's garbage collector for reference cycles run less often.

A batch creates tens of thousands of objects that live until it is done, and almost no cycles. With its defaults the
collector scans all of them several times per batch, which takes a sixth of the CPU time of a change
(``make bench``; docs/decisions/0022-two-batches-in-flight.md).
"""

from __future__ import annotations

import gc

_YOUNG = 200_000
"""The number of new objects that starts a collection: more than several batches create."""


def collect_less_often() -> None:
    """Collect less often from now on, and never scan again the objects that exist now: the program itself."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 50, 100)
