"""Watches the pipeline and tells, change by change, what came in, what was decided and what really happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import redis

from consumer.errors import ServerError
from consumer.events.event import ChangeEvent
from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules
from consumer.pipeline.protocols import Applied, Observer, RecordResult
from demo import dump, story, wording
from demo.dump import Dump, Movement
from demo.screen import Screen
from demo.story import Chapter
from demo.subscriber import Heard, Subscriber
from demo.trading_services import TradingServices
from demo.verification import STAMPS


class RedisWentAway(Exception):
    """The demo's own server stopped answering: waiting for it, as the consumer does, would be for ever."""


def _of_user(rules: Rules, user: UserId) -> tuple[str, ...]:
    return tuple(
        render(template, user) for template in (rules.names.config, rules.names.balance, rules.names.portfolio)
    )


class Narrator(Observer):
    """Tells of each record under the heading of its chapter. After a change the services compute their caches anew."""

    def __init__(
        self,
        screen: Screen,
        client: redis.Redis,
        subscriber: Subscriber,
        services: TradingServices,
        rules: Rules,
        chapters: Sequence[Chapter],
    ) -> None:
        self._screen = screen
        self._client = client
        self._subscriber = subscriber
        self._services = services
        self._rules = rules
        self._chapters = chapters
        self._next_chapter = 0
        self._before = dump.take(client)
        self.records = 0
        self.applied = 0
        self.messages = 0
        self.problems: list[str] = []

    def records_done(self, results: Sequence[RecordResult]) -> None:
        for result in results:
            self._tell(result)

    def waiting(self, error: ServerError, seconds: float) -> None:
        raise RedisWentAway(f"the demo's Redis does not answer: {error.problem}")

    def finish(self) -> None:
        """The headings of what came after the last record."""
        self._enter(len(self._chapters))

    def _tell(self, result: RecordResult) -> None:
        event = result.decision.event
        self.records += 1
        entered = event is not None and self._enter(story.number_of(event.position.order, self._chapters))
        if not entered:
            self._screen.gap()
        self._came_in(result, event)
        if result.decision.plan is None or result.applied is None or event is None:
            if event is not None:
                self._screen.line("decided", f"nothing to do: {result.decision.reason}", "dim")
            return
        self._screen.line("differed", wording.differed(event, self._rules))
        for number, reason in enumerate(result.decision.plan.reasons):
            self._screen.line("" if number else "decided", wording.why(reason))
        self._happened(result, result.applied)

    def _enter(self, chapter: int) -> bool:
        """Begin a chapter if it is a new one; those before it that brought no record are told as well."""
        is_new = self._next_chapter <= chapter
        while self._next_chapter < min(chapter + 1, len(self._chapters)):
            number = self._next_chapter
            self._screen.heading(str(number) if number else "", self._chapters[number].title)
            if number < chapter:
                self._screen.line("came in", "nothing: no change was committed, so Debezium has nothing to tell", "dim")
            self._next_chapter += 1
        return is_new

    def _came_in(self, result: RecordResult, event: ChangeEvent | None) -> None:
        record = result.record
        place = f"{record.topic} · partition {record.partition} · offset {record.offset}"
        if event is None:
            self._screen.line("came in", f"{place} · nothing to do: {result.decision.reason}", "dim")
            return
        row = event.key.get("id", "?")
        what = f"{wording.OPERATIONS.get(event.op, event.op)} {event.table}, id {row}"
        self._screen.line("came in", f"{place} · {what}", "cyan")

    def _happened(self, result: RecordResult, applied: Applied) -> None:
        """What Redis answered, and what a look at its keys and an open subscription show."""
        plan = result.decision.plan
        if plan is None:
            return
        heard = self._subscriber.until_now()
        after = dump.take(self._client)
        moved = dump.movement(self._before, after)
        self._screen.line("Redis", wording.answer(plan, applied), "green" if applied.is_accepted else "yellow")
        for number, text in enumerate(self._written(plan.user, moved, after)):
            self._screen.line("" if number else "wrote", text)
        derived, owned = wording.split(moved.removed, self._rules)
        if owned:
            self._screen.line("removed", ", ".join(owned))
        if derived:
            self._screen.line("cleared", wording.heads(derived))
        self._hear(heard, applied)
        self.applied += applied.is_accepted
        self.messages += len(heard)
        if plan.removed is None and applied.is_accepted:
            self._services.compute(plan.user)
        self._before = dump.take(self._client)

    def _written(self, user: UserId, moved: Movement, after: Dump) -> Iterator[str]:
        """What stands in the user's own keys that did not stand there before, times of changes left out."""
        for key in _of_user(self._rules, user):
            if key not in moved.keys:
                continue
            if isinstance(after.values.get(key), str):
                minutes = round(after.expiries.get(key, 0) / 60_000)  # a slow machine looks seconds later
                yield f"{key} = {after.values[key]} for {minutes} min"
            old, new = self._before.hash(key), after.hash(key)
            fields = {name: value for name, value in new.items() if old.get(name) != value and name not in STAMPS}
            if fields:
                yield f"{key}  {wording.some(fields)}"

    def _hear(self, heard: Sequence[Heard], applied: Applied) -> None:
        for number, each in enumerate(heard):
            self._screen.line("" if number else "heard", wording.message(each), "magenta")
        if not heard:
            self._screen.line("heard", "nothing was published", "dim")
        if len(heard) != applied.receivers:
            problem = f"Redis counted {applied.receivers} deliveries, the subscriber heard {len(heard)}"
            self._screen.bad(problem)
            self.problems.append(problem)
