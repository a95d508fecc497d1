"""What each step of the admin app should lead to: fields in Redis and messages on the channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules
from demo.dump import Dump, movement
from demo.subscriber import Heard

_MONEY = (("user_updates", "balance_change"), ("balance_updates", "balance_change"))
_PROFILE = (("user_updates", "admin_user_update"), ("admin_user_updates", "admin_user_update"))
_CREATED = (("user_updates", "user_created"),)
_DELETED = (("user_updates", "user_deleted"),)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``fields`` by user, in Redis form; ``gone`` are users who must have left no key; ``messages`` in any order."""

    messages: tuple[tuple[str, str], ...] = ()
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gone: tuple[str, ...] = ()


def _money(user: str, **fields: str) -> Outcome:
    return Outcome(_MONEY, {user: fields})


OUTCOMES: Mapping[str, Outcome] = {
    "create": Outcome(_CREATED, {"live:42": {"wallet_balance": "0.00", "group": "Standard", "sending_orders": "rock"}}),
    "create demo": Outcome(_CREATED, {"demo:42": {"wallet_balance": "50000.00", "sending_orders": "rock"}}),
    "deposit": _money("live:7", wallet_balance="11500.50"),
    "withdrawal": _money("live:7", wallet_balance="9000.50"),
    "group": Outcome((*_PROFILE, ("group_updates", "user_group_change")), {"live:7": {"group": "VIP"}}),
    "profile": Outcome(_PROFILE, {"live:42": {"account_number": "ACC-4242", "country_id": "91"}}),
    "name": Outcome(_PROFILE, {"live:7": {"group": "VIP", "wallet_balance": "9000.50"}}),
    "password": Outcome(),
    "zero": _money("live:8", wallet_balance="0.00"),
    "null": Outcome(_PROFILE, {"live:42": {"country_id": ""}}),
    "two quick": Outcome((*_MONEY, *_MONEY), {"live:7": {"margin": "412.50"}}),
    "key change": Outcome(
        (*_DELETED, *_CREATED),
        {"live:43": {"account_number": "ACC-4242", "country_id": ""}, "demo:42": {"wallet_balance": "50000.00"}},
        gone=("live:42",),
    ),
    "delete": Outcome(_DELETED, gone=("live:8",)),
    "rollback": Outcome(fields={"live:7": {"wallet_balance": "9000.50", "group": "VIP"}}),
}


def faults(outcome: Outcome, before: Dump, found: Dump, heard: Sequence[Heard], rules: Rules) -> Iterator[str]:
    """Everything that is not as it should be, in words."""
    if not outcome.messages:
        yield from (f"{key} moved, and nothing should have" for key in movement(before, found).keys)
    wanted, got = Counter(outcome.messages), Counter(each.kind for each in heard)
    for channel, kind in (wanted - got).elements():
        yield f"no {kind} came on {channel}"
    for channel, kind in (got - wanted).elements():
        yield f"a {kind} too many came on {channel}"
    for user, fields in outcome.fields.items():
        key = render(rules.names.config, UserId.from_text(user))
        for name, value in fields.items():
            is_ = found.hash(key).get(name, "nothing")
            if is_ != value:
                yield f"{key} {name}: expected {value!r}, found {is_!r}"
    for user in outcome.gone:
        who = UserId.from_text(user)
        for template in (rules.names.config, rules.names.balance, rules.names.portfolio, *rules.derived()):
            key = render(template, who)
            head = key.removesuffix("*")
            if any(each == key or (head != key and each.startswith(head)) for each in found.values):
                yield f"{key} is still there"
