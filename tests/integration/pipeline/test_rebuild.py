"""A fold of the log leaves in an empty Redis what applying every change in order leaves there."""

from __future__ import annotations

from collections.abc import Sequence

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from consumer.commands.replay.partition import Folding, PartitionFold
from consumer.events.record import SourceRecord
from consumer.guard.history import Histories
from consumer.mapping.reference import reference
from consumer.pipeline.dead_letter import DeadLetter
from consumer.pipeline.dead_letter_limit import Limit
from consumer.pipeline.loop import Pipeline
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource
from tests.integration.redis.test_sink import apply
from tests.support.scenario import Change, load_all
from tests.unit.commands.test_fold import Memory

RULES = reference()
TITLES = {each.title: each for each in load_all()}
UPDATE = next(each for title, each in TITLES.items() if title.startswith("A deposit")).changes[0]
TRANSACTION = TITLES["The transaction's row alone"].changes[0]
VALUES: dict[str, list[object]] = {
    "wallet_balance": ["1.000000", "2.000000", "0.000000", "2.00"],
    "group": ["VIP", "Standard", ""],
    "leverage": [0, 100, 50],
    "sending_orders": [None, "rock", "barclays"],
    "updated_at": ["1", "2", "3"],
    "name": ["a", "b", "c"],
}

steps = st.lists(
    st.tuples(
        st.sampled_from((1, 2)),
        st.sampled_from(
            ["update"] * 6
            + ["delete", "tombstone", "read", "incremental", "transaction", "unreadable", "unusable", "in part"]
        ),
        st.sampled_from(sorted(VALUES)),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=14,
)


class Letters:
    """A place for dead letters that nobody reads."""

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """They are safe."""


def history(plan: list[tuple[int, str, str, int]]) -> list[SourceRecord]:
    """Records of two topics in commit order; a user who is not there is inserted by whatever comes first."""
    assert UPDATE.after is not None
    assert TRANSACTION.after is not None
    rows: dict[int, dict[str, object]] = {}
    records: list[SourceRecord] = []
    gone: set[int] = set()
    for number, (user, wanted, named, value) in enumerate(plan):
        kind = wanted
        # A column that is not sent has not changed.
        column = "leverage" if kind == "in part" and named == "group" else named
        time = f"2024-01-15T10:{number:02d}:00.000Z"
        before = rows.get(user)
        after = {**(before or {**UPDATE.after, "id": user}), column: VALUES[column][value % len(VALUES[column])]}
        if user in gone and kind != "transaction":
            gone.remove(user)
            kind = "update"  # nobody comes back but by an insert
        if kind == "transaction":
            row = {**TRANSACTION.after, "id": number, "user_id": user, "transaction_id": f"TXN{number}"}
            change = Change("insert", "user_transactions", number, time, None, row)
        elif kind in ("delete", "tombstone"):
            change = Change("delete", "live_users", user, time, before or after, None)
            rows.pop(user, None)
            gone.add(user)
        elif kind in ("read", "incremental"):
            change = Change(kind, "live_users", user, time, None, before or after)
            rows.setdefault(user, after)
        else:
            change = Change("update" if before else "insert", "live_users", user, time, before, after)
            rows[user] = after
        record = change.record(len(records), number)
        if kind == "tombstone":  # its delete was compacted away
            record = structs.replace(record, value=None)
        elif kind == "unreadable":
            record = structs.replace(record, value=b"{")
        elif kind == "unusable":
            record = structs.replace(record, value=(record.value or b"").replace(b'"margin":"', b'"margin":"much'))
        elif kind == "in part" and before:
            spoilt = (record.value or b"").replace(b'"group":"', b'"group":"__debezium_unavailable_value","was":"')
            record = structs.replace(record, value=spoilt)
        records.append(record)
    return records


def content(client: redis.Redis) -> dict[str, dict[str, str]]:
    """Hashes and balances; of a user without a config hash nothing else counts."""
    hashes = {
        str(key): {str(name): str(value) for name, value in client.hgetall(key).items()}
        for key in client.scan_iter(match="*:{*")
    }
    balances = {key: {"balance": str(client.get(key))} for key in client.scan_iter(match="user_balance:*")}
    return {**hashes, **balances}


def balance_of(found: dict[str, dict[str, str]], user: int) -> str:
    """The balance string, where a change set it and the user has a config hash."""
    is_there = f"user:{{live:{user}}}:config" in found
    return found.get(f"user_balance:live:{user}", {}).get("balance", "") if is_there else ""


def fold_into(sink: RedisSink, records: Sequence[SourceRecord]) -> None:
    tables = {f"trading.trading.{table}": table for table in RULES.captured()}
    fold = PartitionFold(0, tables, Folding(RULES), Memory)
    for record in records:
        fold.add(record.topic, [record])
    apply(sink, *fold.plans())
    if fold.unusable:
        again = fold.again(Memory)
        for record in records:
            again.add(record.topic, [record])
        apply(sink, *again.plans())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps, crash=st.integers(0, 14), count=st.integers(0, 6))
def test_the_fold_is_what_applying_in_order_comes_to(
    client: redis.Redis, plan: list[tuple[int, str, str, int]], crash: int, count: int
) -> None:
    url = f"redis://127.0.0.1:{client.get_connection_kwargs()['port']}/0"
    sink = RedisSink(Redis.model_validate({"url": url, "tracking": False}), Guard(), RULES)
    records = history(plan)
    records = [*records[:crash], *records[max(0, crash - count) : crash], *records[crash:]]
    records = [structs.replace(record, offset=offset) for offset, record in enumerate(records)]
    ends = []
    for is_folded in (False, True):
        client.flushall()
        for user in (1, 2):
            client.hset(f"user:{{live:{user}}}:portfolio", "positions", "3")
        if is_folded:
            fold_into(sink, records)
        else:
            sent = Histories(None, 5000)
            for record in records:
                source = RecordedSource([record], step=1)
                line = Pipeline(sink, RULES, history=sent, dead_letters=Letters(), limit=Limit(100, 1.0), group="g")
                line.run(source, lambda source=source: source.is_at_end)  # type: ignore[misc]
        ends.append(content(client))
    in_order, folded = ends
    for user in (1, 2):
        config, portfolio = f"user:{{live:{user}}}:config", f"user:{{live:{user}}}:portfolio"
        versions = in_order.get(f"cdc:{{live:{user}}}", {})
        # An update of a bookkeeping column tells the whole row too; in order nothing follows from it, not even the
        # healing of a user who is marked or the making of one who was never there.
        if "live_users" in versions and "!live_users" not in versions:
            # Of what happened around a record that can't be used the two know the time differently.
            is_spoilt = any(step[0] == user and step[1] in ("unusable", "unreadable") for step in plan)
            for found in (folded, in_order) if is_spoilt else ():
                for name in [name for name in found.get(config, {}) if name.startswith("last_")]:
                    del found[config][name]
            assert folded.get(config) == in_order.get(config)
            # A rebuild knows all of the row that belongs there, a change only what changed; a deletion takes it away.
            if not is_spoilt:
                assert in_order.get(portfolio, {}).items() <= folded.get(portfolio, {}).items()
            assert balance_of(in_order, user) in ("", balance_of(folded, user))
    sink.close()
