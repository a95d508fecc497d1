"""What Redis holds of one user, as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.guard.state import GuardState


@dataclass(frozen=True, slots=True)
class Held:
    """``config``, ``portfolio`` and ``balance`` are None where there is no such key, or one of another type, which is
    then in ``others``. ``ttl_s`` is the balance's time to live, None for ever.
    """

    config: Mapping[str, str] | None
    portfolio: Mapping[str, str] | None
    balance: str | None
    ttl_s: int | None
    guard: GuardState
    others: tuple[str, ...] = ()
