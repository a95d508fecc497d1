"""What the applied changes of a user have written, value by value, and which change it was."""

from __future__ import annotations

from dataclasses import dataclass, field

from consumer.guard.version import Version
from consumer.planning.effect import Mode, Plan


@dataclass(frozen=True, slots=True)
class Setting:
    """The change that wrote a value last. ``only_if_missing``: a read, which left alone what stood there."""

    value: str
    table: str
    version: Version
    reasons: tuple[str, ...]
    only_if_missing: bool = False


@dataclass(slots=True)
class Written:
    """What the applied changes have written, and which of them; ``removed`` is the delete behind which nothing came.

    ``filled`` is what a later read says of a field of the config hash that a change had written, ``balance_filled`` of
    the balance string: the read wrote it if it was missing, or if the user was marked then.
    """

    config: dict[str, Setting] = field(default_factory=dict)
    portfolio: dict[str, Setting] = field(default_factory=dict)
    balance: Setting | None = None
    removed: Setting | None = None
    filled: dict[str, Setting] = field(default_factory=dict)
    balance_filled: Setting | None = None

    def take(self, plan: Plan, is_update: bool, portfolio: str) -> None:
        """A plan that was applied. ``is_update``: of a hash that was there; else it was written whole."""

        def by(value: str) -> Setting:
            return Setting(value, plan.table, plan.version, plan.reasons)

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
        """A plan that wrote only what was missing then, which is not known of each field."""

        def by(value: str) -> Setting:
            return Setting(value, plan.table, plan.version, plan.reasons, only_if_missing=True)

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

    def of_field(self, name: str, redis: str | None) -> Setting | None:
        """What set the field ``name`` of the config hash, which is ``redis`` now."""
        return _either(self.config.get(name), self.filled.get(name), redis)

    def of_balance(self, redis: str | None) -> Setting | None:
        """What set the balance string, which is ``redis`` now."""
        return _either(self.balance, self.balance_filled, redis)


def _either(written: Setting | None, filled: Setting | None, redis: str | None) -> Setting | None:
    """The read, where the value is what it says and not what the change before it wrote."""
    is_read = filled is not None and filled.value == redis and (written is None or written.value != redis)
    return filled if is_read else written
