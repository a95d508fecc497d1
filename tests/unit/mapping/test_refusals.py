"""A wrong mapping is refused, with the key and the reason."""

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

# What is replaced in the good mapping, by what, the key that is named, and what is said of it.
WRONG = {
    "a key that is unknown": (
        'max_leverage", field',
        'max_leverage", feld',
        "tables[live_accounts].columns[max_leverage].feld",
        "no such key",
    ),
    "a key without a name": ('group_field = "tier"', '"" = "tier"', '""', "no such key"),
    "a key with a line break": ('group_field = "tier"', '"a\\n[b]" = "tier"', '"a\\n[b]"', "no such key"),
    "an unknown key at the top": ('group_field = "tier"', 'gruop_field = "tier"', "gruop_field", "no such key"),
    "an unknown kind": (
        '"frozen_until", kind = "time"',
        '"frozen_until", kind = "date"',
        "tables[live_accounts].columns[frozen_until].kind",
        "'money', 'integer'",
    ),
    "a kind of another type": (
        '"frozen_until", kind = "time"',
        '"frozen_until", kind = 3',
        "tables[live_accounts].columns[frozen_until].kind",
        "kind",
    ),
    "text where a number belongs": (
        "balance_ttl_s = 60",
        'balance_ttl_s = "60"',
        "balance_ttl_s",
        "not a whole number",
    ),
    "a fraction": ("balance_ttl_s = 60", "balance_ttl_s = 60.5", "balance_ttl_s", "whole number"),
    "a date": ('venue = "main"', "venue = 2024-01-01", "tables[live_accounts].constants.venue", "no times"),
    "an ignored column that is outside": (
        'outside = ["contact_*"]',
        'outside = ["contact_*"]\nignored = ["contact_pin"]',
        "tables[live_accounts].ignored[1]",
        "contact_pin matches contact_* of outside",
    ),
    "patterns of partitions that overlap": (
        '[[tables]]\ntable = "practice_accounts"',
        'partitions = ["live_*"]\n[[tables]]\npartitions = ["*_p1"]\ntable = "practice_accounts"',
        "tables[practice_accounts].partitions[1]",
        "*_p1 and live_* may name one partition",
    ),
    "a pattern that is a table of another type": (
        'outside = ["contact_*"]',
        'partitions = ["p*"]',
        "tables[live_accounts].partitions[1]",
        "practice_accounts is a table itself",
    ),
    "a field that no table has": (
        'fields = ["tier"]',
        'fields = ["teir"]',
        "consequences[tier].fields",
        "a column for the field teir",
    ),
    "a financial field that no table has": (
        'financial = ["wallet_balance", "equity"]',
        'financial = ["cash"]',
        "financial",
        "the field cash",
    ),
    "a group field that no table has": (
        'group_field = "tier"',
        'group_field = "group"',
        "group_field",
        "the field group",
    ),
    "a rule without fields": (
        'fields = ["tier"]',
        "fields = []",
        "consequences[tier].fields",
        "the rule would never apply",
    ),
    "a rule that is called as another": (
        'name = "book"',
        'name = "money"',
        "consequences[money].name",
        "two rules of one name: money",
    ),
    "a key without the type": (
        '"risk:<type>:<id>"',
        '"risk:<id>"',
        "consequences[money].clears[1]",
        "both <type> and <id>",
    ),
    "a key without the id": (
        'balance = "cash/<type>/<id>"',
        'balance = "cash/<type>"',
        "names.balance",
        "both <type> and <id>",
    ),
    "a key without a separator": (
        '"fees:<type>:<id>"',
        '"fees:<type><id>"',
        "consequences[tier].clears[1]",
        "separator",
    ),
    "an id before the type without a separator": (
        '"fees:<type>:<id>"',
        '"fees:<id><type>"',
        "consequences[tier].clears[1]",
        "separator",
    ),
    "a digit beside the id": ('"fees:<type>:<id>"', '"fees:<type>:1<id>"', "consequences[tier].clears[1]", "ambiguous"),
    "a placeholder that is unknown": (
        '"fees:<type>:<id>"',
        '"fees:<kind>:<type>:<id>"',
        "consequences[tier].clears[1]",
        "<kind>",
    ),
    "a wildcard in the middle": (
        '"fees:<type>:<id>"',
        '"fees:*:<type>:<id>"',
        "consequences[tier].clears[1]",
        "only stand at the end",
    ),
    "a wildcard that takes in other users": (
        '"reports:<type>:<id>:*"',
        '"reports:<type>:<id>*"',
        "consequences[money].clears[2]",
        "separator before",
    ),
    "a wildcard of another form": (
        '"reports:<type>:<id>:*"',
        '"reports:<id>:<type>:*"',
        "consequences[money].clears[2]",
        "must have this form",
    ),
    "a wildcard of everything": (
        '"reports:<type>:<id>:*"',
        '"<type>:<id>:*"',
        "consequences[money].clears[2]",
        "every key",
    ),
    "a wildcard where one key belongs": (
        'guard = "acct/{<id>@<type>}/version"',
        'guard = "v:<type>:<id>:*"',
        "names.guard",
        "not one",
    ),
    "two users of one key": ('"fees:<type>:<id>"', '"risk:<id>:<type>:<id>"', "", None),
    "one template for two keys": (
        '"cash/<type>/<id>"',
        '"acct/{<id>@<type>}/book"',
        "names.balance",
        "two keys of one template",
    ),
    "a derived key that holds state": (
        '"fees:<type>:<id>"',
        '"cash/<type>/<id>"',
        "consequences[tier].clears[1]",
        "holds the user's state",
    ),
    "two tables of one type": (
        'user_type = "practice"',
        'user_type = "real"',
        "tables[practice_accounts].user_type",
        "users of this type: real",
    ),
    "two tables of one name": (
        '"practice_accounts"',
        '"live_accounts"',
        "tables[live_accounts].table",
        "two tables of this name: live_accounts",
    ),
    "a type that would make keys ambiguous": (
        'user_type = "practice"',
        'user_type = "a:b"',
        "tables[practice_accounts].user_type",
        "'a:b'",
    ),
    "a column mapped twice": (
        '{ name = "equity"',
        '{ name = "balance"',
        "tables[live_accounts].columns[balance].name",
        "mapped twice: balance",
    ),
    "a field of two columns": (
        '"max_leverage", field = "leverage"',
        '"max_leverage", field = "equity"',
        "tables[live_accounts].columns[max_leverage].field",
        "two columns or constants",
    ),
    "a constant for a column": (
        'venue = "main"',
        'tier = "main"',
        "tables[live_accounts].constants.tier",
        "two columns or constants",
    ),
    "a field that the program writes": (
        '{ name = "equity"',
        '{ name = "last_updated"',
        "tables[live_accounts].columns[last_updated].field",
        "writes the field",
    ),
    "a stamp as a column": (
        '{ name = "max_leverage", field = "leverage"',
        '{ name = "max_leverage", field = "money_at"',
        "consequences[money].stamps[1]",
        "the field money_at gets its value from the column max_leverage of live_accounts",
    ),
    "a time in the balance": (
        'stamps = ["money_at"]',
        'stamps = ["money_at", "wallet_balance"]',
        "consequences[money].stamps[2]",
        "from the column balance of live_accounts",
    ),
    "a time in the portfolio's balance": (
        'portfolio_stamps = ["cash_at"]',
        'portfolio_stamps = ["cash_at", "wallet_balance"]',
        "consequences[book].portfolio_stamps[2]",
        "from the column balance of live_accounts",
    ),
    "a time of profile in the balance": (
        "[profile]\n",
        '[profile]\nstamps = ["wallet_balance"]\n',
        "profile.stamps[1]",
        "from the column balance of live_accounts",
    ),
    "a time of outside in the balance": (
        "[outside]\n",
        '[outside]\nstamps = ["wallet_balance"]\n',
        "outside.stamps[1]",
        "from the column balance of live_accounts",
    ),
    "a time of profile in the portfolio's balance": (
        "[profile]\n",
        '[profile]\nportfolio = true\nportfolio_stamps = ["wallet_balance"]\n',
        "profile.portfolio_stamps[1]",
        "from the column balance of live_accounts",
    ),
    "a time in the user's id": (
        'stamps = ["money_at"]',
        'stamps = ["id"]',
        "consequences[money].stamps[1]",
        "the field id gets its value from the program",
    ),
    "a time in a constant": (
        'stamps = ["money_at"]',
        'stamps = ["venue"]',
        "consequences[money].stamps[1]",
        "the field venue gets its value from constants of live_accounts",
    ),
    "times of a portfolio that is not written": (
        "portfolio = true\n",
        "",
        "consequences[book].portfolio_stamps",
        "does not write to the portfolio (fix: portfolio = true)",
    ),
    "a column without a value in the portfolio": (
        "[outside]\n",
        "[outside]\nportfolio = true\n",
        "outside.portfolio",
        "has no value in Redis",
    ),
    "a balance that may be missing": (
        'columns = [\n  { name = "balance", field = "wallet_balance", kind = "money", required = true',
        'columns = [\n  { name = "balance", field = "wallet_balance", kind = "money"',
        "tables[live_accounts].columns[balance]",
        "required = true",
    ),
    "a balance that is no money": (
        'columns = [\n  { name = "balance", field = "wallet_balance", kind = "money"',
        'columns = [\n  { name = "balance", field = "wallet_balance", kind = "text"',
        "tables[live_accounts].columns[balance]",
        'kind = "money"',
    ),
    "no balance": (
        '{ name = "equity", kind',
        '{ name = "x", field = "equity", knid',
        "tables[live_accounts].columns[x].knid",
        "no such key",
    ),
    "a default that Redis would not hold": (
        'kind = "time" }',
        'kind = "time", default = "never" }',
        "tables[live_accounts].columns[frozen_until].default",
        "2024-01-15T",
    ),
    "an empty channel": (
        'lifecycle_channel = "accounts"',
        'lifecycle_channel = ""',
        "names.lifecycle_channel",
        "name of a channel",
    ),
    "an empty channel of a rule": (
        'channels = ["tiers"]',
        'channels = [" "]',
        "consequences[tier].channels[1]",
        "name of a channel",
    ),
    "a time without a name": (
        'stamps = ["money_at"]',
        'stamps = [""]',
        "consequences[money].stamps[1]",
        "empty, or with spaces at its ends (allowed: the name of a field of a hash)",
    ),
    "a time of the portfolio without a name": (
        'portfolio_stamps = ["cash_at"]',
        'portfolio_stamps = [" "]',
        "consequences[book].portfolio_stamps[1]",
        "empty, or with spaces",
    ),
    "a constant without a name": (
        "venue = ",
        '"" = ',
        'tables[live_accounts].constants.""',
        "empty, or with spaces",
    ),
    "a mapped column that is outside": (
        'outside = ["contact_*"]',
        'outside = ["contact_*", "max_leverage"]',
        "tables[live_accounts].outside[2]",
        "in two of columns, outside and ignored: max_leverage",
    ),
    "a mapped column that is ignored": (
        'outside = ["contact_*"]',
        'ignored = ["tier"]',
        "tables[live_accounts].ignored[1]",
        "in two of columns, outside and ignored: tier",
    ),
    "a pattern that is outside and ignored": (
        'outside = ["contact_*"]',
        'outside = ["contact_*"]\nignored = ["contact_*"]',
        "tables[live_accounts].ignored[1]",
        "in two of columns, outside and ignored: contact_*",
    ),
    "a misspelt group channel": (
        'group_channel = "tiers"',
        'group_channel = "tier"',
        "names.group_channel",
        "no rule with the field tier publishes on tier (allowed: tiers)",
    ),
    "a misspelt channel of the rule of groups": (
        'channels = ["tiers"]',
        'channels = ["tires"]',
        "names.group_channel",
        "no rule with the field tier publishes on tiers (allowed: tires)",
    ),
    "a rule of groups without a channel": (
        'channels = ["tiers"]',
        "channels = []",
        "names.group_channel",
        'or group_field = "" for no groups',
    ),
    "a group channel that has all messages": (
        'group_channel = "tiers"',
        'group_channel = "accounts"',
        "names.group_channel",
        "accounts is both lifecycle_channel and group_channel",
    ),
    "a group channel that has other messages": (
        'group_channel = "tiers"',
        'group_channel = "cash"',
        "names.group_channel",
        "no rule with the field tier publishes on cash (allowed: tiers)",
    ),
    "a change of money on the group channel": (
        'channels = ["accounts", "cash"]',
        'channels = ["accounts", "tiers"]',
        "consequences[money].channels[2]",
        "on tiers, the group channel, only changes of tier are published",
    ),
    "any change on the group channel": (
        '[outside]\nchannels = ["accounts"]',
        '[outside]\nchannels = ["tiers"]',
        "outside.channels[1]",
        "on tiers, the group channel, only changes of tier are published",
    ),
    "a time to live of nothing": ("balance_ttl_s = 60", "balance_ttl_s = 0", "balance_ttl_s", "seconds, 1 to"),
    "a time to live that Redis refuses": (
        "balance_ttl_s = 60",
        "balance_ttl_s = 10000000000000000",
        "balance_ttl_s",
        "not a time to live (allowed: seconds, 1 to 315360000 (ten years))",
    ),
    "a time to live beyond ten years": (
        "balance_ttl_s = 60",
        "balance_ttl_s = 315360001",
        "balance_ttl_s",
        "not a time to live",
    ),
    "an epoch": ("balance_ttl_s = 60", "epoch = 3", "epoch", "CDC_GUARD__EPOCH"),
    "another setting": ("balance_ttl_s = 60", "accept_missing_before = true", "accept_missing_before", "CDC_SOURCE__"),
    "no TOML": ("balance_ttl_s = 60", "balance_ttl_s = ", ":5", "TOML"),
    "a key twice": ("balance_ttl_s = 60", 'group_field = "tier"', ":5", "not TOML: a key is given twice (fix: correct"),
    "a table twice": ("[outside]\n", "[profile]\n", ":61", "not TOML: a table is given twice"),
    "a key twice in a line": ('venue = "main"', 'a = "x", a = "y"', ":26", "not TOML: duplicate inline table key (fix"),
    "a list without an end": ('["accounts", "cash"]', '["accounts"', ":45", "not TOML: unclosed array"),
    "a key without a value": ("balance_ttl_s = 60", "balance_ttl_s", ":5", "not TOML: expected '=' after a key"),
    "a control character": ('venue = "main"', 'venue = "\x01"', ":26", "not TOML: illegal character (fix"),
    "a key that only a rule of fields has": (
        "[profile]\nclears",
        "[profile]\nclear",
        "profile.clear",
        "no such key (allowed: channels, clears, portfolio, portfolio_stamps, stamps)",
    ),
    "fields of profile": ("[profile]\n", '[profile]\nfields = ["tier"]\n', "profile.fields", "no fields of its own"),
    "another mapping to extend": ("balance_ttl_s = 60", 'extends = "mine"', "extends", '"reference"'),
}


@pytest.mark.parametrize(("old", "new", "key", "said"), WRONG.values(), ids=WRONG)
def test_it_is_refused_with_its_key(old: str, new: str, key: str, said: str | None) -> None:
    text = GOOD.replace(old, new, 1)
    if said is None:  # allowed: two templates that look alike and never meet
        mapping.parse(text)
        return
    with pytest.raises(ConfigError) as refusal:
        mapping.parse(text, "mine.toml")
    assert refusal.value.field.removeprefix("mine.toml").removeprefix(": ") == key
    assert said in str(refusal.value)


def test_ten_years_are_a_time_to_live() -> None:
    assert mapping.parse(GOOD.replace("balance_ttl_s = 60", "balance_ttl_s = 315360000")).balance_ttl_s == 315_360_000


WRONG_LINKED = {
    "no column of the status": ('status = "state"', 'status = ""', "linked[ledger].status", "empty"),
    "no column of the user": ('user_id = "account_id"', 'user_id = ""', "linked[ledger].user_id", "empty"),
    "a column without a name that is written": (
        '{ entry = "last_entry" }',
        '{ "" = "last_entry" }',
        "linked[ledger].writes",
        "empty",
    ),
    "a column without a name in a message": (
        '{ column = "entry", field',
        '{ column = "", field',
        "linked[ledger].enriches[]",
        "empty",
    ),
    "other types beside the only type": (
        'user_type_column = "account_type"',
        'user_type = "real"\nother_types = ["house"]',
        "linked[ledger].other_types",
        "without effect",
    ),
    "a name that a table of users has": (
        '"ledger"',
        '"live_accounts"',
        "linked[live_accounts].table",
        "two tables of this name",
    ),
    "nobody's rows": (
        'user_type_column = "account_type"',
        "",
        "linked[ledger]",
        "either user_type or user_type_column",
    ),
    "a type without a table": (
        'user_type_column = "account_type"',
        'user_type = "vip"',
        "linked[ledger].user_type",
        "no user table has the type vip",
    ),
    "nothing is ever done": ('["booked"]', "[]", "linked[ledger].done", "no row would count"),
    "a balance": ('"last_entry"', '"wallet_balance"', "linked[ledger].writes.entry", "from the column balance of"),
    "a time in a user's column": (
        '"last_entry_at"',
        '"frozen_until"',
        "linked[ledger].time_field",
        "the field frozen_until gets its value from the column frozen_until of live_accounts",
    ),
    "two columns of one field": (
        'writes = { entry = "last_entry" }',
        'writes = { entry = "last_entry", value = "last_entry" }',
        "linked[ledger].writes.value",
        "two values for one field: last_entry",
    ),
    "the time in the field of a column": (
        '"last_entry_at"',
        '"last_entry"',
        "linked[ledger].time_field",
        "two values for one field: last_entry",
    ),
    "the field of a time": (
        '"last_entry"',
        '"money_at"',
        "linked[ledger].writes.entry",
        "the field money_at gets its value from stamps of the rule money",
    ),
    "the time in a field of a time": (
        '"last_entry_at"',
        '"money_at"',
        "linked[ledger].time_field",
        "stamps of the rule",
    ),
    "a constant": (
        '"last_entry"',
        '"venue"',
        "linked[ledger].writes.entry",
        "the field venue gets its value from constants of live_accounts",
    ),
    "a field without a name": ('"last_entry"', '""', "linked[ledger].writes.entry", "the name of a field of a hash"),
    "two details of one name": (
        'field = "amount"',
        'field = "transaction_id"',
        "linked[ledger].enriches[value]",
        "two columns for one field of the message: transaction_id",
    ),
    "a detail without a name": ('field = "amount"', 'field = " "', "linked[ledger].enriches[value]", "of the message"),
    "a key without the id": ("risk:<type>:<id>", "risk:<type>", "linked[ledger].clears[1]", "both <type> and <id>"),
    "a key that holds state": (
        "risk:<type>:<id>",
        "cash/<type>/<id>",
        "linked[ledger].clears[1]",
        "holds the user's state",
    ),
    "a field that messages have": (
        'field = "transaction_id"',
        'field = "user_id"',
        "linked[ledger].enriches[entry]",
        "every message already has",
    ),
    "an unknown key": (
        "enriches = [{ column",
        "enriches = [{ colum",
        "linked[ledger].enriches[1].colum",
        "no such key",
    ),
}


def test_the_linked_table_is_accepted_as_it_is() -> None:
    assert len(mapping.parse(GOOD + LINKED).linked) == 1


@pytest.mark.parametrize(("old", "new", "key", "said"), WRONG_LINKED.values(), ids=WRONG_LINKED)
def test_a_wrong_linked_table_is_refused_with_its_key(old: str, new: str, key: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        mapping.parse(GOOD + LINKED.replace(old, new), "mine.toml")
    assert refusal.value.field == f"mine.toml: {key}"
    assert said in str(refusal.value)


_COLUMN_IS_A_TIME = """
extends = "reference"
[[tables]]
table = "live_users"
user_type = "live"
columns = [
  { name = "wallet_balance", kind = "money", required = true },
  { name = "group_time", field = "last_group_update" },
"""
_COLUMN_IS_A_TIME += "".join(
    f'  {{ name = "{name}" }},\n' for name in ("group", "leverage", "status", "is_active", "margin", "net_profit")
)
_COLUMN_IS_A_TIME += "]\n"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", "mine.toml: tables", 'missing (fix: begin with extends = "reference", or write a whole mapping)'),
        ("balance_ttl_s = 600\n", "mine.toml: tables", "or write a whole mapping"),
        (
            'extends = "reference"\nbalance_field = "copy_trading_wallet"\n',
            "mine.toml: balance_field: the column copy_trading_wallet of live_users can't be the balance",
            'kind = "money", required = true',
        ),
        ("tables = []\nconsequences = []\n[profile]\n[outside]\n", "mine.toml: tables", "no user table"),
        ('# hello\nextends = "reference"\ntables = []\n', "mine.toml: tables", "no user table"),
        (
            'extends = "reference"\n[names]\nconfig = "c:<type>:<id>"\nguard = "c:<type>:<id>"',
            "mine.toml: names",
            "c:",
        ),
        # The key of what the file itself gives; the reference's other tables are not in the way.
        ('# one\n# two\nextends = "reference"\n[[tables]]\ntable = "a"\n', "mine.toml: tables[a].", "missing"),
        (
            'extends = "reference"\n[names]\ngroup_channel = "tiers"\n',
            "mine.toml: names.group_channel",
            "no rule with the field group publishes on tiers (allowed: group_updates)",
        ),
        (
            'extends = "reference"\n[names]\nlifecycle_channel = "group_updates"\n',
            "mine.toml: names.lifecycle_channel",
            "group_updates is both lifecycle_channel and group_channel",
        ),
        (
            _COLUMN_IS_A_TIME,
            "mine.toml: tables[live_users].columns[group_time].field",
            "a rule writes a time to the field",
        ),
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
            "mine.toml: group_field",
            "comes from the reference",
        ),
    ],
)
def test_where_the_key_itself_is_not_in_the_file(text: str, place: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        mapping.parse(text, "mine.toml")
    assert str(refusal.value).startswith(place), str(refusal.value)
    assert said in str(refusal.value)


def test_a_key_of_the_reference_is_shown_with_its_name() -> None:
    text = 'extends = "reference"\nfinancial = ["margin"]\nlinked = []\n[names]\nguard = "user_summary:<type>:<id>"\n'
    with pytest.raises(ConfigError) as refusal:
        mapping.parse(text, "mine.toml")
    assert refusal.value.field == "mine.toml: consequences[financial].clears[3]"
    assert "(this key comes from the reference)" in refusal.value.problem


def test_a_byte_order_mark_is_no_part_of_the_mapping(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b'\xef\xbb\xbfextends = "reference"\nbalance_ttl_s = 60\n')
    assert mapping.load(file).balance_ttl_s == 60


def test_a_missing_balance_is_found_in_the_right_table() -> None:
    tail = GOOD.index('table = "practice_accounts"')
    line = '  { name = "balance", field = "wallet_balance", kind = "money", required = true, scale = 2 },\n'
    text = GOOD[:tail] + GOOD[tail:].replace(line, "")
    with pytest.raises(ConfigError, match="no column for the balance field wallet_balance") as refusal:
        mapping.parse(text)
    assert refusal.value.field == "mapping: tables[practice_accounts].columns"


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
        assert ended.stderr.startswith(f"cdc-consumer: {file}: balance_ttl_s:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("x = " + "{ a = " * 400 + "1" + " }" * 400, "nested too deeply"),
        ("x = " + "9" * 5000, "mapping:1: not TOML"),
        ("x = 0x" + "f" * 5000, "mapping: x: too large a number"),
    ],
    ids=["arrays", "tables", "a long integer", "a long hexadecimal integer"],
)
def test_a_text_beyond_all_measure_is_refused_too(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        mapping.parse(text)
    assert said in str(error.value)
