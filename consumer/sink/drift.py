"""What stands in Redis of a user against the plan that would rebuild them: which keys would change, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consumer.events.position import Origin
from consumer.guard.version import Verdict, Version, compare
from consumer.planning.effect import Mode, Plan

Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of Redis that is not what it should be. ``fields`` are owned ones: name, what is there, what should be."""

    kind: str
    key: str
    fields: tuple[tuple[str, str | None, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """What was read of the keys that a plan is about.

    ``config`` and ``update`` are the fields that the plan names, None where there is no hash. ``present`` are those of
    the keys it removes, ``others`` those that are of another type.
    """

    version: str = ""
    config: Row | None = None
    balance: str | None = None
    update: Row | None = None
    present: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def would_apply(plan: Plan, standing: Standing) -> bool:
    """Whether the guard would let a plan through."""
    if plan.expected is not None:
        return plan.expected == standing.version
    verdict = compare(plan.version, version_of(standing))
    return verdict is Verdict.NEWER or (verdict is Verdict.DUPLICATE and plan.mode is Mode.REBUILD)


def differences(plan: Plan, standing: Standing) -> Iterator[Difference]:
    """What a rebuild that the guard lets through would change, key by key."""
    is_again = compare(plan.version, version_of(standing)) is Verdict.DUPLICATE
    only_fills = plan.version.origin is Origin.INCREMENTAL and plan.expected is None and not is_again
    for key in standing.others:
        yield Difference("another type", key)
    for key in standing.present:
        yield Difference("deleted but present", key)
    if (config := plan.config) is not None and config.key not in standing.others:
        if standing.config is None:
            if config.whole:
                yield Difference("missing hash", config.key, _fields({}, config.whole))
        elif fields := _fields(standing.config, dict(config.changed) | dict.fromkeys(config.gone), only_fills):
            yield Difference("field differs", config.key, fields)
    if plan.balance is not None and standing.balance not in (None, plan.balance.value) and not only_fills:
        yield Difference("balance differs", plan.balance.key, (("", standing.balance, plan.balance.value),))
    if (update := plan.update) is not None and standing.update is not None:
        owned = update.fields if config is None else {name: config.changed.get(name) for name in config.changed}
        wanted = {name: value for name, value in update.fields.items() if name in owned}
        if fields := _fields(standing.update, wanted, only_fills):
            yield Difference("field differs" if update.is_kept else "portfolio differs", update.key, fields)


def version_of(standing: Standing) -> Version | None:
    """The version that stands there; None where none does, or somebody made one that can't be read.

    To write is refused then, and says so.
    """
    try:
        return Version.from_text(standing.version) if standing.version else None
    except ValueError:
        return None


def _fields(
    there: Row, wanted: Mapping[str, str | None], only_missing: bool = False
) -> tuple[tuple[str, str | None, str | None], ...]:
    return tuple(
        (name, there.get(name), value)
        for name, value in wanted.items()
        if there.get(name) != value and not (only_missing and there.get(name) is not None)
    )
