"""Plans delivered to the sink: tried until each has its answer, for as long as that takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consumer.effect import Plan
from consumer.errors import ServerError, ServerUnavailable
from consumer.patience import patiently
from consumer.protocols import Applied, Sink


@dataclass(slots=True)
class Delivery:
    """Answers by the plan's place in the sequence: what Redis did, or why it will never do it.

    A plan in neither was not tried, because an earlier one of the same user and table was refused.
    """

    answers: dict[int, Applied] = field(default_factory=dict)
    refused: dict[int, ServerError] = field(default_factory=dict)

    def take(self, plans: Sequence[Plan], sink: Sink) -> None:
        """Try once what has no answer yet.

        Raises:
            ServerUnavailable: some of it should be tried again.

        """
        blocked = {(plans[at].guard, plans[at].table) for at in self.refused}
        left = [
            (at, plan)
            for at, plan in enumerate(plans)
            if at not in self.answers and at not in self.refused and (plan.guard, plan.table) not in blocked
        ]
        again = None
        for number, answer in sink.apply([plan for _, plan in left]):
            if isinstance(answer, Applied):
                self.answers[left[number][0]] = answer
            elif isinstance(answer, ServerUnavailable):
                again = answer
            else:
                self.refused[left[number][0]] = answer
        if again is not None:
            raise again


def deliver(
    plans: Sequence[Plan],
    sink: Sink,
    *,
    sleep: Callable[[float], None],
    on_wait: Callable[[ServerUnavailable, float], None],
    should_stop: Callable[[], bool],
) -> Delivery | None:
    """Every plan's answer, or None if told to stop while the sink was away; the rest as in ``patiently``."""
    delivery = Delivery()
    try:
        patiently(lambda: delivery.take(plans, sink), sleep=sleep, on_wait=on_wait, should_stop=should_stop)
    except ServerUnavailable:
        return None
    return delivery
