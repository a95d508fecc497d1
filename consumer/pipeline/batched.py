"""Things in lists of a size, as :func:`itertools.batched` does from Python 3.12 on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def batched(things: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """``things`` in their order, in lists of ``size``; the last may be shorter."""
    left = iter(things)
    while batch := list(islice(left, size)):
        yield batch
