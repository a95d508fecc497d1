"""Records about which the pipeline decides a second time, because a server was away: as the first time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from consumer.errors import ServerUnavailable
from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.guard.history import Histories
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from tests.support.group import Group
from tests.support.scenario import load_all
from tests.unit.pipeline.lossy_redis import PART, LossyRedis, Member

DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(0)


def update(offset: int, balance: str, user_id: int, transaction: int) -> SourceRecord:
    """A change without an old image: to a value that the row had before, it differs by Debezium's count alone."""
    body = json.loads(DEPOSIT.value or b"")
    gtid = f"08a1b003-e74d-11f1-9a24-02fc00000001:{transaction}"
    body["before"] = None
    body["after"] |= {"id": user_id, "wallet_balance": balance}
    body["source"] |= {"gtid": gtid, "row": offset}
    body["transaction"] = {"id": gtid, "total_order": offset + 1, "data_collection_order": offset + 1}
    key = json.dumps({"id": user_id}).encode()
    return SourceRecord(PART.topic, 0, offset, 1000, key, json.dumps(body).encode())


class AwayOnce(Histories):
    """A history whose topic can't be searched when it is asked for the ``at``-th time."""

    def __init__(self, at: int) -> None:
        super().__init__(None, 5000)
        self._left = at

    def first_sent(self, event: ChangeEvent, value: bytes | None = None) -> int | None:
        self._left -= 1
        if self._left == 0:
            raise ServerUnavailable("Kafka", "no answer")
        return super().first_sent(event, value)


@pytest.mark.parametrize("away_at", [0, 1, 3, 4])
def test_a_server_that_is_away_changes_no_decision(away_at: int) -> None:
    values = [("1.00", 1, 7), ("2.00", 1, 7), ("1.00", 1, 7), ("1.00", 2, 8)]
    group = Group(update(offset, *each) for offset, each in enumerate(values))
    sink = LossyRedis(breaks_after=-1)
    rules = replace(reference(), accept_missing_before=True)
    pipeline = Pipeline(sink, rules, history=AwayOnce(away_at), commit_interval_s=0)
    source = Member(group, pipeline.revoked, 500)
    source.rebalances = 0
    source.subscribe()
    pipeline.run(source, lambda: source.dry >= 4)
    assert group.committed == {PART: 4}
    # Changes of one transaction are applied as one: the last value counts.
    assert {json.loads(body)["updated_fields"]["wallet_balance"] for body in sink.told} == {"1.00"}
