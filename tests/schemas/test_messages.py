"""The published messages against their models and schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from consumer.events.value import Kind
from consumer.mapping import file as mapping
from consumer.mapping.reference import reference
from consumer.mapping.rules import Enrichment, LinkedTable, Rules
from consumer.planning.decision import decide_all
from consumer.planning.message_schema import MODELS, channels, event_type, schemas
from consumer.source import recording
from tests.docs.markdown import PROJECT
from tests.schemas.validation import Invalid, validate, validators
from tests.support.scenario import load, load_all

BROKER = mapping.load(PROJECT / "tests" / "unit" / "mapping" / "broker.toml")
BROKER_SCENARIOS = PROJECT / "tests" / "unit" / "mapping" / "scenarios" / "broker.txt"


def _sent(decisions: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for decision in decisions:
        for message in decision.plan.messages if decision.plan else ():
            yield message.channel, json.loads(message.body)


MESSAGES = [sent for each in load_all() for sent in _sent(decide_all(each.records(), reference()))]
BY_TYPE = {body["event_type"]: (channel, body) for channel, body in MESSAGES}
ENRICHED = next((channel, body) for channel, body in MESSAGES if "transaction_id" in body)


def test_every_message_of_every_scenario_is_valid() -> None:
    assert len(MESSAGES) >= 40
    assert set(BY_TYPE) == {event_type(model) for model in MODELS}
    for channel, body in MESSAGES:
        validate(channel, body)


def test_every_message_of_the_recording_is_valid() -> None:
    records = list(recording.read(PROJECT / "demo" / "recordings" / "trading.jsonl.gz"))
    sent = list(_sent(decide_all(records, reference())))
    assert sent
    for channel, body in sent:
        validate(channel, body)


def test_both_validators_accept_what_is_sent() -> None:
    by_channel = validators(reference())
    for channel, body in MESSAGES:
        assert by_channel[channel].quick.is_valid(body)
        assert by_channel[channel].problem(body) is None


def test_every_message_of_another_deployment_is_valid_by_its_own_schemas() -> None:
    sent = [sent for each in load(BROKER_SCENARIOS) for sent in _sent(decide_all(each.records(), BROKER))]
    assert {channel for channel, _ in sent} == set(channels(BROKER))
    for channel, body in sent:
        validate(channel, body, BROKER)
        with pytest.raises(Invalid):
            validate("user_updates", body)


def test_the_models_allow_what_is_sent() -> None:
    by_type = {event_type(model): model for model in MODELS}
    for _, body in MESSAGES:
        by_type[body["event_type"]].model_validate_json(json.dumps(body))


_CHANGE = "admin_user_update"
_GROUP = "user_group_change"
WRONG = {
    "a field that nobody knows": ("balance_change", {"password": "x"}),
    "a number for a field of the hash": ("balance_change", {"updated_fields": {"wallet_balance": 10000.5}}),
    "NULL for a field of the hash": (_CHANGE, {"updated_fields": {"group": None}}),
    "a user id as text": ("balance_change", {"user_id": "123"}),
    "a negative user id": ("balance_change", {"user_id": -1}),
    "a time with another zone": ("balance_change", {"timestamp": "2024-01-15T10:30:00.000+00:00"}),
    "a time in other digits": ("balance_change", {"timestamp": "２０２４-01-15T10:30:00.000Z"}),
    "an amount as a number": ("balance_change", {"amount": 10.5}),
    "an amount with an exponent": ("balance_change", {"amount": "1E+3"}),
    "an administrator as text": ("balance_change", {"admin_id": "9"}),
    "one transaction as a list": ("balance_change", {"transactions": [{"transaction_id": "a"}]}),
    "another source": ("balance_change", {"source": "trading_engine"}),
    "a group that changed without groups": (_CHANGE, {"group_changed": True}),
    "groups although it did not change": (_CHANGE, {"group_changed": False, "old_group": "a", "new_group": "b"}),
    "only the old group": (_CHANGE, {"group_changed": True, "old_group": "a"}),
    "no change on the channel of groups": (_GROUP, {"group_changed": False}),
    "a new group that is NULL": (_GROUP, {"new_group": None}),
    "a deleted user's fields": ("user_deleted", {"updated_fields": {"group": "VIP"}}),
    "an id that is empty": ("balance_change", {"event_id": ""}),
    "a position of something else": ("balance_change", {"source_position": {"table": "live_users"}}),
}


@pytest.mark.parametrize(("name", "changes"), WRONG.values(), ids=WRONG)
def test_a_wrong_message_is_refused_by_schema_and_model(name: str, changes: dict[str, Any]) -> None:
    channel, body = BY_TYPE[name]
    wrong = deepcopy(body)
    if "group_changed" in changes:
        wrong.pop("old_group", None)
        wrong.pop("new_group", None)
    wrong |= changes
    with pytest.raises(Invalid) as refused:
        validate(channel, wrong)
    assert "only the quick validator" not in str(refused.value)
    (model,) = (each for each in MODELS if event_type(each) == name)
    with pytest.raises(ValidationError):
        model.model_validate_json(json.dumps(wrong))


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"password": "x"}, "password"), ({"wallet_balance": "1e3"}, "1e3"), ({"last_updated": "x"}, "last_updated")],
)
def test_only_fields_of_the_mapping_in_their_form(fields: dict[str, str], said: str) -> None:
    channel, body = BY_TYPE["balance_change"]
    with pytest.raises(Invalid, match=said):
        validate(channel, body | {"updated_fields": fields})


def test_a_message_on_another_channel_is_refused() -> None:
    for name, channel in (("user_created", "balance_updates"), ("balance_change", "admin_user_updates")):
        with pytest.raises(Invalid):
            validate(channel, BY_TYPE[name][1])
    with pytest.raises(Invalid, match="no channel"):
        validate("elsewhere", BY_TYPE["balance_change"][1])


@pytest.mark.parametrize("name", sorted(ENRICHED[1]))
def test_what_may_be_absent(name: str) -> None:
    channel, body = ENRICHED
    less = {key: value for key, value in body.items() if key != name}
    if name in ("transaction_id", "transaction_type", "amount", "admin_id", "request_id", "transactions"):
        validate(channel, less)
    else:
        with pytest.raises(Invalid):
            validate(channel, less)


def test_what_another_mapping_adds_is_allowed_there() -> None:
    fee = Enrichment("fee", "fee", Kind.MONEY)
    rules: Rules = replace(BROKER, linked=(LinkedTable("fees", frozenset({"paid"}), "real", enriches=(fee,)),))
    sent = [sent for each in load(BROKER_SCENARIOS) for sent in _sent(decide_all(each.records(), rules))]
    channel, body = sent[0]
    validate(channel, body | {"fee": "1.50"}, rules)
    with pytest.raises(Invalid):
        validate(channel, body | {"fee": 1.5}, rules)
    with pytest.raises(Invalid):
        validate(channel, body | {"fee": "1.50"}, BROKER)


@pytest.mark.parametrize("rules", [reference(), BROKER], ids=["reference", "broker"])
def test_the_schemas_are_schemas(rules: Rules) -> None:
    for schema in schemas(rules).values():
        Draft202012Validator.check_schema(schema)
