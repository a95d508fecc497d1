"""The latest values of the time fields, in little memory: one number for each field, in a fixed order."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from consumer.events.event import Operation
from consumer.events.position import Origin, SourcePosition
from consumer.mapping.rules import Rules

_NEVER = -1


def time_fields(rules: Rules) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The time fields of the config hash, and of the portfolio hash: they hold the times of changes."""
    stamps = {name for each in (*rules.consequences, rules.profile) for name in each.stamps}
    mirrored = {name for each in rules.consequences if each.portfolio for name in each.portfolio_stamps}
    return tuple(sorted(stamps | {"last_admin_update", "last_updated"})), tuple(sorted(mirrored))


class ChangeTimes:
    """The time fields of config and portfolio hashes under a mapping."""

    def __init__(self, rules: Rules) -> None:
        in_config, in_portfolio = time_fields(rules)
        self.names = tuple(sorted({*in_config, *in_portfolio}))
        self._rules = rules
        self._never = (_NEVER,) * len(self.names)
        self._mirrored = frozenset(in_portfolio)
        self._places: dict[tuple[str, ...], list[int]] = {}
        """For each set of changed fields, the indexes of the times that it sets. A log has few such sets."""

    def after(
        self, op: Operation, changed: Collection[str], position: SourcePosition, before: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The times after a change. ``changed``: the changed fields. ``before``: the times before; empty: never set."""
        before = before or self._never
        if op is Operation.UPDATE:
            key: tuple[str, ...] = (op.value, *changed)
        else:
            key = (op.value, "" if position.origin is Origin.INCREMENTAL else "whole")
        places = self._places.get(key)
        if places is None:
            names = self._set_by(frozenset(changed)) if op is Operation.UPDATE else self._set_whole(op, position)
            places = self._places[key] = [self.names.index(name) for name in names]
        if not places:
            return before
        times = list(before)
        for place in places:
            times[place] = position.ts_ms
        return tuple(times)

    def by_name(self, times: tuple[int, ...]) -> Mapping[str, int]:
        """The known times, by field."""
        return {name: ms for name, ms in zip(self.names, times, strict=False) if ms != _NEVER}

    def _set_whole(self, op: Operation, position: SourcePosition) -> frozenset[str]:
        names = {"last_updated"} if op is Operation.READ else {"last_admin_update", "last_updated"}
        return frozenset(names) if position.origin is Origin.INCREMENTAL else frozenset(names) | self._mirrored

    def _set_by(self, changed: frozenset[str]) -> frozenset[str]:
        rules = self._rules
        if not changed:
            return frozenset()
        names = {"last_admin_update", "last_updated"}
        if not changed <= rules.financial:
            names.update(rules.profile.stamps)
        for each in rules.consequences:
            if not each.fields.isdisjoint(changed):
                names.update(each.stamps)
                names.update(each.portfolio_stamps if each.portfolio else ())
        return frozenset(names)
