"""Plans delivered to the sink: tried until each has its answer, for as long as that takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from consumer.effect import Mode, Plan
from consumer.errors import Refused, ServerError, ServerUnavailable
from consumer.guard.version import Verdict
from consumer.protocols import Applied, Sink


@dataclass(slots=True)
class Delivery:
    """Plans by number, in their order, and what became of them.

    ``healing`` answers the plan that writes everything, in place of one that met a mark; ``mark`` the one that leaves a
    mark, in place of one that was refused. ``answers`` is what Redis did, ``refused`` why it never will; ``halt`` is a
    refusal that is not about one plan, after which the plans without an answer were not tried to the end.
    """

    plans: Mapping[int, Plan]
    healing: Callable[[int], Plan]
    mark: Callable[[Plan], Plan | None]
    answers: dict[int, Applied] = field(default_factory=dict)
    refused: dict[int, Refused] = field(default_factory=dict)
    halt: ServerError | None = None
    _left: dict[int, Plan] = field(init=False)
    _sent: tuple[list[int], Iterator[tuple[int, Applied | ServerError]]] | None = None

    def __post_init__(self) -> None:
        self._left = dict(self.plans)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to try."""
        return not self._left or self.halt is not None

    def begin(self, sink: Sink) -> None:
        """Send what can be sent now, so that the sink works while the caller does something else."""
        with suppress(ServerError):  # it comes again where the answers are asked for
            self._sent = self._send(sink)

    def attempt(self, sink: Sink) -> None:
        """Try once what has no answer yet.

        Raises:
            ServerUnavailable: some of it should be tried again.

        """
        away = None
        numbers, answers = self._sent or self._send(sink)
        self._sent = None
        for at, answer in answers:
            if isinstance(answer, ServerUnavailable):
                away = answer
            elif isinstance(answer, ServerError):
                self._take_refusal(numbers[at], answer)
            else:
                self._take_answer(numbers[at], answer)
        if away is not None:
            raise away

    def _send(self, sink: Sink) -> tuple[list[int], Iterator[tuple[int, Applied | ServerError]]]:
        numbers = [number for number in self.plans if number in self._left]
        return numbers, sink.apply([self._left[number] for number in numbers])

    def _take_answer(self, number: int, answer: Applied) -> None:
        if answer.verdict is Verdict.UNHEALED:
            self._left[number] = self.healing(number)
        elif self._left.pop(number).mode is not Mode.MARK:
            self.answers[number] = answer

    def _take_refusal(self, number: int, error: ServerError) -> None:
        plan = self._left.pop(number)
        if not isinstance(error, Refused):
            self.halt = error
        elif plan.mode is not Mode.MARK:
            self.refused[number] = error
            if (marking := self.mark(plan)) is not None:
                self._left[number] = marking
