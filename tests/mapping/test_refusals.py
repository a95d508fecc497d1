"""A wrong mapping is refused, with the line and the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.errors import ConfigError
from consumer.mapping import file as mapping

GOOD, _HEADER, _REST = (Path(__file__).parent / "broker.toml").read_text().partition("[[linked]]\n")
LINKED = _HEADER + _REST

# What is replaced in the good mapping, by what, and what is said; the line is that of the change's last line.
WRONG = {
    "a key that is unknown": ('max_leverage", field', 'max_leverage", feld', "tables.columns.feld: no such key"),
    "an unknown key at the top": ('group_field = "tier"', 'gruop_field = "tier"', "gruop_field: no such key"),
    "an unknown kind": ('"frozen_until", kind = "time"', '"frozen_until", kind = "date"', "'money', 'integer'"),
    "a kind of another type": ('"frozen_until", kind = "time"', '"frozen_until", kind = 3', "kind"),
    "text where a number belongs": ("balance_ttl_s = 60", 'balance_ttl_s = "60"', "not a whole number"),
    "a fraction": ("balance_ttl_s = 60", "balance_ttl_s = 60.5", "whole number"),
    "a date": ('venue = "main"', "venue = 2024-01-01", "no times"),
    "a field that no table has": ('fields = ["tier"]', 'fields = ["teir"]', "a column for the field teir"),
    "a financial field that no table has": (
        'financial = ["wallet_balance", "equity"]',
        'financial = ["cash"]',
        "the field cash",
    ),
    "a group field that no table has": ('group_field = "tier"', 'group_field = "group"', "the field group"),
    "a rule without fields": ('fields = ["tier"]', "fields = []", "the rule would never apply"),
    "a rule that is called as another": ('name = "book"', 'name = "money"', "two rules of one name: money"),
    "a key without the type": ('"risk:<type>:<id>"', '"risk:<id>"', "both <type> and <id>"),
    "a key without the id": ('balance = "cash/<type>/<id>"', 'balance = "cash/<type>"', "both <type> and <id>"),
    "a key without a separator": ('"fees:<type>:<id>"', '"fees:<type><id>"', "separator"),
    "an id before the type without a separator": ('"fees:<type>:<id>"', '"fees:<id><type>"', "separator"),
    "a digit beside the id": ('"fees:<type>:<id>"', '"fees:<type>:1<id>"', "ambiguous"),
    "a placeholder that is unknown": ('"fees:<type>:<id>"', '"fees:<kind>:<type>:<id>"', "<kind>"),
    "a wildcard in the middle": ('"fees:<type>:<id>"', '"fees:*:<type>:<id>"', "only stand at the end"),
    "a wildcard that takes in other users": ('"reports:<type>:<id>:*"', '"reports:<type>:<id>*"', "separator before"),
    "a wildcard of another form": ('"reports:<type>:<id>:*"', '"reports:<id>:<type>:*"', "must have this form"),
    "a wildcard of everything": ('"reports:<type>:<id>:*"', '"<type>:<id>:*"', "every key"),
    "a wildcard where one key belongs": (
        'guard = "acct/{<id>@<type>}/version"',
        'guard = "v:<type>:<id>:*"',
        "not one",
    ),
    "two users of one key": ('"fees:<type>:<id>"', '"risk:<id>:<type>:<id>"', None),
    "one template for two keys": ('"cash/<type>/<id>"', '"acct/{<id>@<type>}/book"', "two keys of one template"),
    "a derived key that holds state": ('"fees:<type>:<id>"', '"cash/<type>/<id>"', "holds the user's state"),
    "two tables of one type": ('user_type = "practice"', 'user_type = "real"', "users of this type: real"),
    "two tables of one name": ('"practice_accounts"', '"live_accounts"', "two tables of this name: live_accounts"),
    "a type that would make keys ambiguous": ('user_type = "practice"', 'user_type = "a:b"', "'a:b'"),
    "a column mapped twice": ('{ name = "equity"', '{ name = "balance"', "mapped twice: balance"),
    "a field of two columns": (
        '"max_leverage", field = "leverage"',
        '"max_leverage", field = "equity"',
        "two columns or constants",
    ),
    "a constant for a column": ('venue = "main"', 'tier = "main"', "two columns or constants"),
    "a field that the program writes": ('{ name = "equity"', '{ name = "last_updated"', "writes the field"),
    "a stamp as a column": ('{ name = "equity"', '{ name = "money_at"', "writes the field"),
    "a balance that may be missing": (
        'columns = [\n  { name = "balance", field = "wallet_balance", kind = "money", required = true',
        'columns = [\n  { name = "balance", field = "wallet_balance", kind = "money"',
        "required = true",
    ),
    "a balance that is no money": (
        'columns = [\n  { name = "balance", field = "wallet_balance", kind = "money"',
        'columns = [\n  { name = "balance", field = "wallet_balance", kind = "text"',
        'kind = "money"',
    ),
    "no balance": ('{ name = "equity", kind', '{ name = "x", field = "equity", knid', "no such key"),
    "a default that Redis would not hold": ('kind = "time" }', 'kind = "time", default = "never" }', "2024-01-15T"),
    "an empty channel": ('lifecycle_channel = "accounts"', 'lifecycle_channel = ""', "name of a channel"),
    "an empty channel of a rule": ('channels = ["tiers"]', 'channels = [" "]', "name of a channel"),
    "a time to live of nothing": ("balance_ttl_s = 60", "balance_ttl_s = 0", "1 or more"),
    "an epoch": ("balance_ttl_s = 60", "epoch = 3", "CDC_GUARD__EPOCH"),
    "another setting": ("balance_ttl_s = 60", "accept_missing_before = true", "CDC_SOURCE__"),
    "no TOML": ("balance_ttl_s = 60", "balance_ttl_s = ", "TOML"),
    "a key twice": ("balance_ttl_s = 60", 'group_field = "tier"', "TOML"),
    "fields of profile": ("[profile]\n", '[profile]\nfields = ["tier"]\n', "no fields of its own"),
    "another mapping to extend": ("balance_ttl_s = 60", 'extends = "mine"', '"reference"'),
}


@pytest.mark.parametrize(("old", "new", "said"), WRONG.values(), ids=WRONG)
def test_it_is_refused_with_its_line(old: str, new: str, said: str | None) -> None:
    start = GOOD.index(old)
    text = GOOD[:start] + new + GOOD[start + len(old) :]
    if said is None:  # allowed: two templates that look alike and never meet
        mapping.parse(text)
        return
    with pytest.raises(ConfigError) as refusal:
        mapping.parse(text, "mine.toml")
    line = text.count("\n", 0, start + len(new.rstrip("\n"))) + 1
    assert str(refusal.value).startswith(f"mine.toml:{line}"), str(refusal.value)
    assert said in str(refusal.value)


WRONG_LINKED = {
    "a name that a table of users has": ('"ledger"', '"live_accounts"', "two tables of this name"),
    "nobody's rows": ('user_type_column = "account_type"', "", "either user_type or user_type_column"),
    "a type without a table": (
        'user_type_column = "account_type"',
        'user_type = "vip"',
        "no user table has the type vip",
    ),
    "nothing is ever done": ('["booked"]', "[]", "no row would count"),
    "a balance": ('"last_entry"', '"wallet_balance"', "is written from the user's row"),
    "a time in a user's column": ('"last_entry_at"', '"frozen_until"', "is written from the user's row"),
    "a key without the id": ("risk:<type>:<id>", "risk:<type>", "both <type> and <id>"),
    "a key that holds state": ("risk:<type>:<id>", "cash/<type>/<id>", "holds the user's state"),
    "a field that messages have": ('field = "transaction_id"', 'field = "user_id"', "every message already has"),
    "an unknown key": ("enriches = [{ column", "enriches = [{ colum", "linked.enriches.colum: no such key"),
}


def test_the_linked_table_is_accepted_as_it_is() -> None:
    assert len(mapping.parse(GOOD + LINKED).linked) == 1


@pytest.mark.parametrize(("old", "new", "said"), WRONG_LINKED.values(), ids=WRONG_LINKED)
def test_a_wrong_linked_table_is_refused_with_its_line(old: str, new: str, said: str) -> None:
    text = GOOD + LINKED.replace(old, new)
    line = text[: text.index("[[linked]]")].count("\n") + 1
    if new:
        line += LINKED[: LINKED.index(old)].count("\n")
    with pytest.raises(ConfigError) as refusal:
        mapping.parse(text, "mine.toml")
    assert str(refusal.value).startswith(f"mine.toml:{line}: linked"), str(refusal.value)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", "mine.toml:1: tables", "missing"),
        ("tables = []\nconsequences = []\n[profile]\n[outside]\n", "mine.toml:1: tables", "no user table"),
        ('# hello\nextends = "reference"\ntables = []\n', "mine.toml:3: tables", "no user table"),
        (
            'extends = "reference"\n[names]\nconfig = "c:<type>:<id>"\nguard = "c:<type>:<id>"',
            "mine.toml:4: names",
            "c:",
        ),
        # Line and key of what the file itself gives; the reference's other tables are not in the way.
        ('# one\n# two\nextends = "reference"\n[[tables]]\ntable = "a"\n', "mine.toml:4: tables.", "missing"),
        # The fault is in what the reference says and this file took away.
        (
            """
extends = "reference"
[[tables]]
table = "a"
user_type = "live"
[[tables.columns]]
name = "b"
field = "wallet_balance"
kind = "money"
required = true
""",
            "mine.toml:2: group_field",
            "comes from the reference",
        ),
    ],
)
def test_where_the_key_itself_is_not_in_the_file(text: str, place: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        mapping.parse(text, "mine.toml")
    assert str(refusal.value).startswith(place), str(refusal.value)
    assert said in str(refusal.value)


def test_a_missing_balance_is_found_in_the_right_table() -> None:
    tail = GOOD.index('table = "practice_accounts"')
    line = '  { name = "balance", field = "wallet_balance", kind = "money", required = true, scale = 2 },\n'
    text = GOOD[:tail] + GOOD[tail:].replace(line, "")
    with pytest.raises(ConfigError, match="no column for the balance field wallet_balance") as refusal:
        mapping.parse(text)
    assert refusal.value.field == f"mapping:{text[:tail].count(chr(10)) + 4}: tables.columns"


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        mapping.load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b'x = "\xff"')
    with pytest.raises(ConfigError, match="UTF-8"):
        mapping.load(tmp_path / "latin.toml")


@pytest.mark.parametrize("command", [["mapping"], ["plan", os.devnull], ["run"]])
def test_every_command_that_uses_it_refuses_it(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "reference"\nbalance_ttl_s = 0\n')
    for arguments, environment in (([*command, "--mapping", str(file)], {}), (command, {"CDC_MAPPING": str(file)})):
        ended = subprocess.run(
            [sys.executable, "-m", "consumer.commands.cli", *arguments],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr.startswith(f"cdc-consumer: {file}:2: balance_ttl_s:")
