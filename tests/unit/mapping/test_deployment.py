"""A deployment with other names: the scenarios beside this file, with nothing but a mapping file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from consumer.guard.version import Verdict
from consumer.mapping import file as mapping
from consumer.pipeline.protocols import Applied
from consumer.planning.decision import decide_all
from consumer.planning.plan_text import plan_text
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from tests.support.scenario import Scenario, load

HERE = Path(__file__).parent
RULES = mapping.load(HERE / "broker.toml")
SCENARIOS = list(load(HERE / "scenarios" / "broker.txt"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.title for each in SCENARIOS])
def test_scenario(scenario: Scenario) -> None:
    for decision, expected in zip(decide_all(scenario.records(), RULES), scenario.outcomes, strict=True):
        if decision.plan is None:
            found = [f"{decision.outcome} {decision.reason}"]
        else:
            found = [re.sub(r"\s+", " ", line.strip()) for line in plan_text(decision.plan).splitlines()]
        if not any(line.startswith("or whole") for line in expected):
            found = [line for line in found if not line.startswith("or whole")]
        assert found == expected, f"{scenario.place}: {scenario.title}"


def test_the_ledger_enriches_the_message() -> None:
    (scenario,) = (each for each in SCENARIOS if "ledger" in each.title)
    plan = decide_all(scenario.records(), RULES)[0].plan
    assert plan is not None
    message = json.loads(plan.messages[0].body)
    assert (message["transaction_id"], message["amount"]) == ("E1", "250.50")


@pytest.mark.parametrize("tracking", [True, False])
def test_on_a_real_server(redis_url: str, client: redis.Redis, tracking: bool) -> None:
    """The sink, its script and the index of wildcard keys know no other name than the mapping's."""
    mine = {"risk:real:7": "1", "reports:real:7:day": "1"}
    others = {"reports:real:77:day": "1", "user_margin_calc:live:7": "1", "financial_summary:live:7:x": "1"}
    client.mset(mine | others)
    client.hset("acct/{7@real}/book", "positions", "3")
    sink = RedisSink(Redis(url=SecretStr(redis_url), tracking=tracking), Guard(), RULES)
    try:
        sink.reach()
        plan = decide_all(SCENARIOS[0].records(), RULES)[0].plan
        assert plan is not None
        ((_, answer),) = sink.apply([plan])
        assert isinstance(answer, Applied)
        assert answer.verdict is Verdict.NEWER
    finally:
        sink.close()
    assert plan.config is not None
    assert client.hgetall("acct/{7@real}/settings") == plan.config.whole
    assert client.get("cash/real/7") == "250.50"
    assert 50 < client.ttl("cash/real/7") <= 60
    assert client.hget("acct/{7@real}/book", "wallet_balance") == "250.50"
    kept = {"acct/{7@real}/settings", "acct/{7@real}/book", "acct/{7@real}/version", "cash/real/7", *others}
    assert set(client.keys()) == kept
