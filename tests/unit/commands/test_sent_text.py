"""What is shown of a message that a stream keeps."""

from __future__ import annotations

import json
from dataclasses import replace

from consumer.commands.shared.dead_letters.redacted import REDACTED
from consumer.commands.shared.explain.sent_text import sent_text
from consumer.mapping.reference import reference
from consumer.planning.decision import decide_all
from tests.support.scenario import load_all

RULES = reference()
MESSAGES = [
    message.body
    for scenario in load_all()
    for decision in decide_all(scenario.records(), RULES)
    if decision.plan is not None
    for message in decision.plan.messages
]


def test_a_message_of_this_mapping_is_shown_as_it_is() -> None:
    assert len(MESSAGES) > 20
    assert any('"transactions"' in text for text in MESSAGES)
    assert any('"old_group"' in text for text in MESSAGES)
    for text in MESSAGES:
        assert json.loads(sent_text(text, RULES)) == json.loads(text)


def test_what_this_mapping_does_not_send_is_hidden() -> None:
    sent = {
        "event_id": "e",
        "updated_fields": {"leverage": "200", "email": "hunter2"},
        "transaction_id": "t-1",
        "note": {"deep": "hunter2"},
        "transactions": [{"transaction_id": "t-1", "note": "hunter2"}, "hunter2"],
        "old_group": "Standard",
    }
    assert json.loads(sent_text(json.dumps(sent), RULES)) == {
        "event_id": "e",
        "updated_fields": {"leverage": "200", "email": REDACTED},
        "transaction_id": "t-1",
        "note": REDACTED,
        "transactions": [{"transaction_id": "t-1", "note": REDACTED}, REDACTED],
        "old_group": "Standard",
    }


def test_a_column_that_is_no_longer_mapped_is_hidden() -> None:
    tables = tuple(
        replace(table, columns=tuple(each for each in table.columns if each.field not in ("group", "leverage")))
        for table in RULES.tables
    )
    narrower = replace(RULES, tables=tables, linked=())
    sent = {"updated_fields": {"leverage": "200", "id": "7"}, "new_group": "VIP", "amount": "5.00"}
    assert json.loads(sent_text(json.dumps(sent), narrower)) == {
        "updated_fields": {"leverage": REDACTED, "id": "7"},
        "new_group": REDACTED,
        "amount": REDACTED,
    }


def test_a_text_that_is_no_message_is_not_shown() -> None:
    for text in ("", "hunter2", "[1]", '"hunter2"', "{", '{"updated_fields": "hunter2"}'):
        assert "hunter2" not in sent_text(text, RULES)
