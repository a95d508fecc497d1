"""A batch on its way to Redis, while the next one is read and decided about."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.batch import Batch
from consumer.delivery import Delivery
from consumer.tolerance import Excess


@dataclass(slots=True)
class Flight:
    """``excess``: from where on there are too many records that can't be applied."""

    batch: Batch
    delivery: Delivery
    excess: Excess | None

    @property
    def is_plain(self) -> bool:
        """Whether every plan was carried out, and nothing else is to be done."""
        delivery = self.delivery
        return delivery.is_over and not (delivery.refused or delivery.halt or self.batch.errors or self.excess)
