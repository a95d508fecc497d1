"""The admin app's steps on the running system, one after the other, each with what it led to."""

from __future__ import annotations

import time
from collections.abc import Sequence

import redis

from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules
from demo import dump, wording
from demo.admin import STEPS, Connection, Step
from demo.dump import Dump
from demo.outcome import OUTCOMES, Outcome, faults
from demo.screen import Screen
from demo.subscriber import Heard, Subscriber
from demo.trading_services import TRADER, TradingServices
from demo.verification import STAMPS

_TIMEOUT_S = 10.0
# How long to listen for messages that should not come: many times what a change takes.
_QUIET_S = 0.5
_TRAIL_S = 0.05


class AdminSession:
    """Runs the steps. ``faults`` are what was not as expected."""

    def __init__(
        self,
        screen: Screen,
        connection: Connection,
        client: redis.Redis,
        subscriber: Subscriber,
        services: TradingServices,
        rules: Rules,
    ) -> None:
        self._screen = screen
        self._connection = connection
        self._client = client
        self._subscriber = subscriber
        self._services = services
        self._rules = rules
        self.faults: list[str] = []

    def run(self) -> None:
        """All steps in their order."""
        for number, step in enumerate(STEPS, start=1):
            self._run(number, step)

    def _run(self, number: int, step: Step) -> None:
        outcome = OUTCOMES[step.name]
        before = dump.take(self._client)
        committed = step.run(self._connection)
        heard = self._listen(outcome)
        self._wait_for_ledger(step.ledger)
        after = dump.take(self._client)
        self._screen.heading(str(number), step.title)
        self._show(committed, outcome, heard, before, after)
        found = list(faults(outcome, before, after, heard, self._rules))
        for each in found:
            self._screen.bad(each)
        self.faults += [f"{step.name}: {each}" for each in found]
        for user in dict.fromkeys(each.user for each in heard if each.body["event_type"] != "user_deleted"):
            self._services.compute(UserId.from_text(user))

    def _listen(self, outcome: Outcome) -> list[Heard]:
        """The messages that should come, and then those that should not."""
        heard: list[Heard] = []
        deadline = time.perf_counter() + _TIMEOUT_S
        while len(heard) < len(outcome.messages) and (left := deadline - time.perf_counter()) > 0:
            if (each := self._subscriber.next(left)) is not None:
                heard.append(each)
        while (extra := self._subscriber.next(_TRAIL_S if outcome.messages else _QUIET_S)) is not None:
            heard.append(extra)
        return heard

    def _wait_for_ledger(self, number: str) -> None:
        """Wait until the ledger's row is in Redis. The first row creates its topic, and the consumer must find it."""
        config = render(self._rules.names.config, TRADER)
        deadline = time.perf_counter() + _TIMEOUT_S
        while number and self._client.hget(config, "last_transaction_id") != number and time.perf_counter() < deadline:
            time.sleep(_TRAIL_S)

    def _show(self, committed: float, outcome: Outcome, heard: Sequence[Heard], before: Dump, after: Dump) -> None:
        moved = dump.movement(before, after)
        if heard:
            arrived = max(each.at for each in heard)
            self._screen.line("latency", f"{(arrived - committed) * 1000:.0f} ms from commit to Redis", "cyan")
        elif not outcome.messages:
            self._screen.line(
                "latency", "none: nothing should follow, and nothing did" if not moved.keys else "none", "dim"
            )
        for number, text in enumerate(self._changes(before, after)):
            self._screen.line("" if number else "changed", text)
        if not moved.keys:
            self._screen.line("changed", "nothing", "dim")
        derived, owned = wording.split(moved.removed, self._rules)
        if owned:
            self._screen.line("removed", ", ".join(owned))
        if derived:
            self._screen.line("cleared", wording.heads(derived))
        for number, each in enumerate(heard):
            self._screen.line("" if number else "heard", wording.message(each), "magenta")

    def _changes(self, before: Dump, after: Dump) -> list[str]:
        """Fields of hashes with their old and new values, times of changes left out, and strings."""
        found = []
        for key in (*dump.movement(before, after).created, *dump.movement(before, after).changed):
            if key.startswith("cdc:"):
                continue
            old, new = before.hash(key), after.hash(key)
            fields = {name: value for name, value in new.items() if old.get(name) != value and name not in STAMPS}
            if old:
                texts = (
                    f"{name} {old.get(name, 'nothing') or repr('')} → {fields[name] or repr('')}" for name in fields
                )
                found += [f"{key}  {'  '.join(texts)}"] if fields else []
            elif new:
                found.append(f"{key}  {wording.some(fields)}")
            elif isinstance(value := after.values.get(key), str):
                found.append(f"{key} = {value}")
        return found
