"""The format: what is printed is read back the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.events.value import Kind
from consumer.mapping import file as mapping
from consumer.mapping.reference import reference
from consumer.mapping.rules import Column, Consequence, Enrichment, LinkedTable, Names, Rules, UserTable
from consumer.mapping.streams import Streams
from consumer.planning.decision import decide
from consumer.planning.plan_text import to_text
from consumer.source import recording
from tests.docs.markdown import PROJECT, blocks, rows
from tests.support.scenario import load_all

BROKER = mapping.load(Path(__file__).parent / "broker.toml")


@pytest.mark.parametrize("rules", [reference(), BROKER], ids=["reference", "broker"])
def test_what_is_printed_is_read_back(rules: Rules) -> None:
    assert mapping.parse(mapping.to_toml(rules)) == rules


def test_the_empty_extension_is_the_reference() -> None:
    assert mapping.parse('extends = "reference"') == reference() == mapping.load(None)


def test_an_extension_replaces_arrays_and_merges_tables() -> None:
    rules = mapping.parse(
        'extends = "reference"\nbalance_ttl_s = 60\n[names]\nbalance = "cash:<type>:<id>"\n[outside]\nchannels = []\n'
    )
    names = replace(reference().names, balance="cash:<type>:<id>")
    outside = replace(reference().outside, channels=())
    assert rules == replace(reference(), balance_ttl_s=60, names=names, outside=outside)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda name: name == name.strip())


@given(
    names=st.lists(text, min_size=2, max_size=5, unique=True),
    constant=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_name_survives_printing(names: list[str], constant: str) -> None:
    balance, *others = names
    own = {
        "id",
        "user_type",
        "last_admin_update",
        "last_updated",
        "last_balance_update",
        "last_group_update",
        "wallet_balance",
    }
    columns = (
        Column(balance, Kind.MONEY, required=True, field="wallet_balance"),
        *(Column(name, Kind.TEXT, default=constant, field=f"f_{place}") for place, name in enumerate(others)),
        *(
            Column(f"needed_{name}", field=name)
            for name in ("margin", "net_profit", "leverage", "group", "status", "is_active")
        ),
    )
    table = UserTable("t", "live", columns, constants={f"c_{each}": constant for each in others if each not in own})
    base = reference()
    rules = Rules((table,), base.consequences, base.profile, base.outside)
    assert mapping.parse(mapping.to_toml(rules)) == rules


def test_the_command_prints_what_is_in_force() -> None:
    file = Path(__file__).parent / "broker.toml"
    for arguments, environment, rules in (
        ([], {}, reference()),
        (["--mapping", str(file)], {}, BROKER),
        ([], {"CDC_MAPPING": str(file)}, BROKER),
    ):
        printed = subprocess.run(
            [sys.executable, "-m", "consumer.commands.cli", "mapping", *arguments],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert mapping.parse(printed.stdout) == rules


def test_a_mapping_equal_to_the_reference_decides_as_it() -> None:
    rules = mapping.parse(mapping.to_toml(reference()))
    for scenario in load_all():
        for offset, change in enumerate(scenario.changes):
            record = change.record(offset)
            one, other = decide(record, rules), decide(record, reference())
            assert (one.plan, one.reason) == (other.plan, other.reason)


@pytest.mark.parametrize("block", list(blocks(PROJECT / "docs" / "mapping.md", "toml")))
def test_the_mappings_in_the_docs_are_accepted(block: str) -> None:
    assert mapping.parse(block) != reference()


def test_every_key_is_described() -> None:
    described = {name for (cell,) in rows(PROJECT / "docs" / "mapping.md", 1) for name in re.findall(r"[a-z_]+", cell)}
    for kind in (Rules, Names, Streams, UserTable, Column, Consequence, LinkedTable, Enrichment):
        assert {field.name for field in fields(kind)} - {"tables", "consequences", "profile", "outside"} - {
            "names",
            "linked",
            "epoch",
            "accept_missing_before",
            "databases",
            "placeholder",
        } <= described


def test_a_mapping_without_groups_never_tells_of_one() -> None:
    def told(rules: Rules) -> bool:
        """By the plans of the demo's changes, one of which is a change of group."""
        decided = ((each, decide(each, rules)) for each in recording.read(PROJECT / "demo/recordings/trading.jsonl.gz"))
        return any("user_group_change" in to_text(each, decision) for each, decision in decided)

    assert told(reference())
    assert not told(mapping.parse('extends = "reference"\ngroup_field = ""\n'))
