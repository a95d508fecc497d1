"""A mapping that reads what the running one does not show."""

from __future__ import annotations

from dataclasses import replace

from consumer.mapping.reference import reference
from consumer.mapping.rules import Column, Enrichment, LinkedTable, Rules, UserTable
from consumer.mapping.visible import hidden_columns

RUNNING = reference()
LIVE = RUNNING.tables[0]
TRANSACTIONS = RUNNING.linked[0]


def hidden(*tables: UserTable | LinkedTable) -> list[str]:
    """What is hidden of a mapping with these tables."""
    users = tuple(each for each in tables if isinstance(each, UserTable))
    linked = tuple(each for each in tables if isinstance(each, LinkedTable))
    rules: Rules = replace(RUNNING, tables=users, linked=linked)
    return [f"{table}.{name}" for table, name in hidden_columns(rules, RUNNING)]


def test_the_running_mapping_and_parts_of_it_read_nothing_hidden() -> None:
    assert hidden(*RUNNING.tables, *RUNNING.linked) == []
    assert hidden(replace(LIVE, columns=LIVE.columns[:3], outside=("email",)), replace(TRANSACTIONS, writes={})) == []
    assert hidden(replace(LIVE, columns=(Column("margin", field="x"),), outside=("leverage",))) == []


def test_a_column_of_users() -> None:
    assert hidden(replace(LIVE, columns=(*LIVE.columns, Column("email")))) == ["live_users.email"]
    assert hidden(replace(LIVE, key="password")) == ["live_users.password"]


def test_a_column_whose_change_would_be_told() -> None:
    assert hidden(replace(LIVE, outside=("email", "password", "*"))) == ["live_users.*", "live_users.password"]


def test_each_column_of_a_linked_table() -> None:
    asked = LinkedTable(
        "user_transactions",
        done=frozenset({"DE"}),
        user_type_column="a",
        key="b",
        user_id="c",
        status="d",
        writes={"e": "x"},
        enriches=(Enrichment("f", "y"),),
    )
    assert hidden(asked) == [f"user_transactions.{name}" for name in "abcdef"]


def test_a_users_table_as_a_linked_one() -> None:
    asked = LinkedTable("live_users", frozenset({"DE"}), user_type="live", user_id="id", status="country")
    assert hidden(asked) == ["live_users.country"]
    assert hidden(replace(asked, status="status")) == []


def test_a_table_that_the_running_mapping_does_not_name() -> None:
    asked = LinkedTable("salaries", frozenset({"1"}), user_type="live")
    assert hidden(asked) == ["salaries.id", "salaries.status", "salaries.user_id"]


def test_a_pattern_may_name_another_table() -> None:
    assert hidden(replace(LIVE, partitions=("user_trans*",))) == ["live_users.user_trans*"]
