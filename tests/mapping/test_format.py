"""The format: what is printed is read back the same, and every key's line is known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.events.value import Kind
from consumer.mapping import file as mapping
from consumer.mapping import toml_lines
from consumer.mapping.reference import reference
from consumer.mapping.rules import Column, Consequence, Enrichment, LinkedTable, Names, Rules, UserTable
from consumer.planning.decision import decide
from tests.docs.markdown import PROJECT, blocks, rows
from tests.scenario import load_all

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


SAMPLE = '''\
extends = "reference" # x
a.b = 1
"q k".'z' = [1, 2.5, # c
  "x,]", """multi
line ] \\""" """, {a = 1, b = [3]}]
d = 1979-05-27 07:32:00
[names]
config = 'a'
[[tables]]
table = "x"
columns = [
  { name = "a", kind = "money" },
  { name = "b" },
]
[[tables]]
table = "y"
[[tables.columns]]
name = "c"
[[tables.columns]]
name = "d"
[tables.constants]
so = "rock"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a", "b"), 2),
        (("q k", "z", 0), 3),
        (("q k", "z", 2), 4),
        (("q k", "z", 4, "b", 0), 5),
        (("d",), 6),
        (("names", "config"), 8),
        (("tables", 0), 9),
        (("tables", 0, "columns", 1, "name"), 13),
        (("tables", 1), 15),
        (("tables", 1, "columns", 1, "name"), 20),
        (("tables", 1, "constants", "so"), 22),
    ],
)
def test_lines(path: toml_lines.Path, line: int) -> None:
    assert toml_lines.lines(SAMPLE)[path] == line
    assert toml_lines.lines(SAMPLE.replace("\n", "\r\n"))[path] == line


def test_the_line_of_what_is_not_there_is_that_of_what_is_around_it() -> None:
    assert toml_lines.nearest(toml_lines.lines(SAMPLE), ("tables", 1, "columns", 0, "kind", 3)) == 17
    assert toml_lines.nearest(toml_lines.lines(SAMPLE), ("nothing",)) is None


def _paths(value: object, path: toml_lines.Path = ()) -> Iterator[toml_lines.Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, each in items:
        yield from _paths(each, (*path, part))


key = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True), text)
leaf = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-9, 9), st.booleans())
values = st.recursive(
    leaf, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(key, inner, max_size=4)), max_leaves=12
)
documents = st.dictionaries(
    key, st.one_of(values, st.lists(st.dictionaries(key, values, max_size=4), min_size=1, max_size=3)), max_size=5
)


@given(documents)
def test_every_path_has_a_line_and_none_is_made_up(data: dict[str, object]) -> None:
    written = mapping.document(data)
    assert tomllib.loads(written) == data
    assert set(toml_lines.lines(written)) == set(_paths(data)) - {()}


@pytest.mark.parametrize("block", list(blocks(PROJECT / "docs" / "mapping.md", "toml")))
def test_the_mappings_in_the_docs_are_accepted(block: str) -> None:
    assert mapping.parse(block) != reference()


def test_every_key_is_described() -> None:
    described = {name for (cell,) in rows(PROJECT / "docs" / "mapping.md", 1) for name in re.findall(r"[a-z_]+", cell)}
    for kind in (Rules, Names, UserTable, Column, Consequence, LinkedTable, Enrichment):
        assert {field.name for field in fields(kind)} - {"tables", "consequences", "profile", "outside"} - {
            "names",
            "linked",
            "epoch",
            "accept_missing_before",
            "databases",
            "placeholder",
        } <= described
