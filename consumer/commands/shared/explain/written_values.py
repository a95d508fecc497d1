"""The values that a user's applied changes have written, and which change wrote each."""

from __future__ import annotations

from dataclasses import dataclass, field

from consumer.guard.version import Version
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode


@dataclass(frozen=True, slots=True)
class WrittenValue:
    """The change that wrote a value last. ``only_if_missing``: a read row, which did not overwrite existing values."""

    value: str
    table: str
    version: Version
    reasons: tuple[str, ...]
    only_if_missing: bool = False


@dataclass(slots=True)
class Written:
    """The values that the applied changes have written. ``removed``: the delete, if no change came after it.

    ``filled``: values of later read rows for fields that a change had written; ``balance_filled``: the same for the
    balance string. The read wrote such a value if it was missing, or if the user was marked then.
    """

    config: dict[str, WrittenValue] = field(default_factory=dict)
    portfolio: dict[str, WrittenValue] = field(default_factory=dict)
    balance: WrittenValue | None = None
    removed: WrittenValue | None = None
    filled: dict[str, WrittenValue] = field(default_factory=dict)
    balance_filled: WrittenValue | None = None

    def take(self, plan: Plan, is_update: bool, portfolio: str) -> None:
        """Add an applied plan. ``is_update``: the hash existed before; if not, all fields were written."""

        def by(value: str) -> WrittenValue:
            return WrittenValue(value, plan.table, plan.version, plan.reasons)

        if plan.mode is Mode.FILL:
            self.removed = None
            self.fill(plan)
            return
        if plan.removed is not None:
            self.config, self.portfolio, self.balance, self.removed = {}, {}, None, by("")
            self.filled, self.balance_filled = {}, None
            return
        if plan.config is not None:
            fields = plan.config.changed if is_update and self.removed is None else plan.config.whole
            self.removed = None
            found = {name: by(value) for name, value in fields.items()}
            self.config.update(found)
            self.filled = {name: each for name, each in self.filled.items() if name not in found}
        if plan.balance is not None:
            self.balance, self.balance_filled = by(plan.balance.value), None
        if plan.update is not None:
            target = self.portfolio if plan.update.key == portfolio else self.config
            for name, value in plan.update.fields.items():
                target[name] = by(value)
                if target is self.config:
                    self.filled.pop(name, None)

    def fill(self, plan: Plan) -> None:
        """Add a plan that wrote only missing values; which ones were missing is not known."""

        def by(value: str) -> WrittenValue:
            return WrittenValue(value, plan.table, plan.version, plan.reasons, only_if_missing=True)

        fields = dict(plan.config.whole) if plan.config is not None else {}
        fields |= plan.update.fields if plan.update is not None else {}
        for name, value in fields.items():
            if name in self.config:
                self.filled[name] = by(value)
            else:
                self.config[name] = by(value)
        if plan.balance is not None and self.balance is None:
            self.balance = by(plan.balance.value)
        elif plan.balance is not None:
            self.balance_filled = by(plan.balance.value)

    def of_field(self, name: str, redis: str | None) -> WrittenValue | None:
        """The change that set the field ``name`` of the config hash; ``redis``: its present value."""
        return _later_value(self.config.get(name), self.filled.get(name), redis)

    def of_balance(self, redis: str | None) -> WrittenValue | None:
        """The change that set the balance string; ``redis``: its present value."""
        return _later_value(self.balance, self.balance_filled, redis)


def _later_value(written: WrittenValue | None, filled: WrittenValue | None, redis: str | None) -> WrittenValue | None:
    """The read row if the present value is its value and not the value of the change before; else the change."""
    is_read = filled is not None and filled.value == redis and (written is None or written.value != redis)
    return filled if is_read else written
