"""Faults of channels: a message that would be published nowhere. Pure.

On the group channel only changes of the group are published, so every other message for it would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from consumer.mapping.fault import Fault, Path, empty, rules_with_paths
from consumer.mapping.rules import Rules

_CHANNEL_NAMES = ("lifecycle_channel", "group_channel")


def channel_faults(rules: Rules) -> Iterator[Fault]:
    """All faults of channels, except those of their streams."""
    named: list[tuple[Path, str]] = [(("names", name), getattr(rules.names, name)) for name in _CHANNEL_NAMES]
    for path, each in rules_with_paths(rules):
        named += [((*path, "channels", index), channel) for index, channel in enumerate(each.channels)]
    yield from empty(named, "the name of a channel")
    if rules.names.lifecycle_channel == rules.names.group_channel:
        problem = f"{rules.names.group_channel} is both lifecycle_channel and group_channel"
        for name in reversed(_CHANNEL_NAMES):
            yield Fault(("names", name), problem, "two channels: the group channel has only changes of the group")
    if rules.group_field:
        yield from _group_channel(rules)


def _group_channel(rules: Rules) -> Iterator[Fault]:
    group, channel = rules.group_field, rules.names.group_channel
    others = [(path, each) for path, each in rules_with_paths(rules) if group not in each.fields]
    wanted = {name for each in rules.consequences if group in each.fields for name in each.channels}
    if channel not in wanted:
        free = wanted - {name for _, each in others for name in each.channels} - {rules.names.lifecycle_channel}
        yield Fault(
            ("names", "group_channel"),
            f"no rule with the field {group} publishes on {channel}",
            ", ".join(sorted(free)),
            ""
            if free
            else f'add it to the channels of a rule with the field {group}, or group_field = "" for no groups',
        )
    for path, each in others:
        if channel in each.channels:
            yield Fault(
                (*path, "channels", each.channels.index(channel)),
                f"on {channel}, the group channel, only changes of {group} are published",
                "another channel",
            )
