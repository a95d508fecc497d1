"""What ``init`` writes is what it proposed, and is accepted by what reads it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from consumer.commands.init.cli import _address
from consumer.commands.init.connector_text import to_json
from consumer.commands.init.differences import Difference, What, differences
from consumer.commands.init.files import check_free, write
from consumer.commands.init.grants_text import to_sql
from consumer.commands.init.mapping_text import to_toml
from consumer.commands.init.proposal import Proposal, Undecided
from consumer.commands.init.report import differences_to_text, next_steps, summary, summary_of_differences, to_text
from consumer.commands.init.report import to_json as report_to_json
from consumer.commands.shared.connect_files import connector_text, grants_text
from consumer.errors import ConfigError
from consumer.mapping.catalogue import Catalogue, CatalogueTable
from consumer.mapping.file import parse
from consumer.mapping.reference import reference
from consumer.settings.sections import Database
from consumer.settings.sources import Settings
from consumer.source.connect.placeholder import expand
from tests.unit.commands.init_catalogues import CUSTOMERS, column, of_reference, proposed, shop, table, undecided

KINDS = ("mysql", "mariadb", "postgres")
_LISTS = {
    *("database.include.list", "schema.include.list", "table.include.list", "column.include.list"),
    *("message.key.columns", "topic.creation.users.include", "predicates.keyedByUserId.pattern"),
    *("transforms.userKey.renames", "column.mask.hash.v2.SHA-256.with.salt.${CDC_MASK_SALT}", "database.dbname"),
}


def of_kind(kind: str) -> Catalogue:
    return shop(kind=kind, schema="sales" if kind == "postgres" else "")


def connector(proposal: Proposal) -> dict[str, str]:
    """The configuration with placeholders filled by their defaults."""
    config: dict[str, str] = json.loads(to_json(proposal, connector_text(proposal.catalogue.kind)))["config"]
    values = dict.fromkeys(re.findall(r"\$\{(\w+)\}", " ".join([*config, *config.values()])), "x")
    return {expand(name, values, "file"): expand(value, values, "file") for name, value in config.items()}


@pytest.mark.parametrize("catalogue", [of_reference(), shop()])
def test_the_mapping_file_is_the_proposal(catalogue: Catalogue) -> None:
    found = proposed(catalogue)
    assert parse(to_toml(found, "mapping.toml")) == found.rules


def test_comments_say_the_evidence() -> None:
    text = to_toml(proposed(shop()), "mapping.toml")
    assert '{ name = "cash", kind = "money", required = true, scale = 2 },  # decimal(18,2)\n' in text
    assert '"password_hash",  # a secret, by its name\n' in text
    assert '"risk",  # a floating point number is not exact; make it DECIMAL to use it\n' in text
    assert "# ledger: rows that belong to users. Evidence: its foreign key customer_id names customers;" in text
    assert max(len(line) for line in text.splitlines() if line.startswith("#")) <= 120


def test_names_that_would_end_a_comment_or_a_string() -> None:
    odd = {'a"b': "int", "c\nd = 1": "int", "é": "varchar(9)", "x`y": "decimal(9,2)"}
    customers = table("customers", CUSTOMERS | odd, "customer_id")
    more = column("tier", "enum('a','b\nevil = 1')")
    customers = replace(customers, columns=tuple(more if each.name == "tier" else each for each in customers.columns))
    from consumer.commands.init.choices import Choices

    found = proposed(shop(customers), Choices(balance={"": "cash"}))
    assert parse(to_toml(found, "mapping.toml")) == found.rules
    assert "`x``y`" in to_sql(found, grants_text("mysql"))
    assert json.loads(to_json(found, connector_text("mysql")))


@pytest.mark.parametrize("kind", KINDS)
def test_the_connector_captures_what_is_needed_and_no_more(kind: str) -> None:
    config = connector(proposed(of_kind(kind)))
    place = "sales" if kind == "postgres" else "shop"
    patterns = config["column.include.list"].split(",")

    def captures(name: str) -> bool:
        return any(re.fullmatch(pattern, f"{place}.{name}") for pattern in patterns)

    assert all(captures(f"customers.{name}") for name in ("customer_id", "cash", "tier", "email", "flags"))
    assert not any(captures(f"customers.{name}") for name in ("password_hash", "risk", "born", "updated_at", "cashier"))
    assert all(captures(f"ledger.{name}") for name in ("entry_id", "customer_id", "state", "amount"))
    assert re.fullmatch(config["table.include.list"], f"{place}.ledger")
    assert config["column.mask.hash.v2.SHA-256.with.salt.x"] == f"{place}\\.customers\\.(email|zip)"
    assert config["message.key.columns"] == f"{place}.ledger:customer_id"
    assert config["transforms.userKey.renames"] == "customer_id:customer_id"
    assert config["topic.creation.users.include"] == ".*\\.(customers)"
    own = json.loads(connector_text(kind))["config"]
    written = json.loads(to_json(proposed(of_kind(kind)), connector_text(kind)))["config"]
    assert {name: value for name, value in written.items() if name not in _LISTS} == {
        name: value for name, value in own.items() if name not in _LISTS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_connector_without_linked_tables_and_without_masks(kind: str) -> None:
    columns = {"id": "int", "balance": "decimal(18,2)"}
    found = proposed(replace(of_kind(kind), tables=(table("users", columns),)))
    config = connector(found)
    assert not [name for name in config if name.startswith(("transforms", "predicates", "column.mask", "message.key"))]
    text = to_json(found, connector_text(kind))
    assert "CDC_MASK_SALT" not in text
    assert "\n\n\n" not in text


def test_a_key_that_is_not_the_primary_key_becomes_the_records_key() -> None:
    from tests.unit.commands.init_catalogues import chosen

    customers = table("customers", CUSTOMERS, "customer_id,tier")
    found = proposed(shop(customers), chosen("customers", users="customers=live:customer_id"))
    assert connector(found)["message.key.columns"] == "shop.customers:customer_id"


def test_a_database_whose_name_is_a_pattern_is_written_as_itself() -> None:
    found = proposed(replace(shop(), database="my.shop$"))
    config = connector(found)
    assert re.fullmatch(config["table.include.list"], "my.shop$.customers")
    assert not re.fullmatch(config["table.include.list"], "my_shop$.customers")


@pytest.mark.parametrize("kind", KINDS)
def test_the_grants(kind: str) -> None:
    sql = to_sql(proposed(of_kind(kind)), grants_text(kind))
    mark = '"' if kind == "postgres" else "`"
    reader = [line for line in sql.splitlines() if line.startswith("GRANT SELECT (") and "READER" in line]
    assert [line.split(" TO ")[0].rpartition(".")[2] for line in reader] == [
        f"{mark}customers{mark}",
        f"{mark}ledger{mark}",
    ]
    assert "email" not in "".join(reader)
    assert "password_hash" not in sql
    assert "live_users" not in sql
    assert "trading" not in sql
    if kind == "postgres":
        place = '"${CDC_POSTGRES_SCHEMA:-sales}"'
        assert f'ALTER TABLE {place}."ledger" REPLICA IDENTITY FULL;\n' in sql
        assert f'FOR TABLE {place}."customers", {place}."ledger";' in sql
        (debezium,) = [line for line in sql.splitlines() if '"email"' in line]
        assert "CDC_POSTGRES_USER" in debezium


def test_a_schema_that_accounts_do_not_find_is_set_for_them() -> None:
    found = proposed(replace(of_kind("postgres"), is_default_schema=False))
    assert to_sql(found, grants_text("postgres")).endswith(
        'ALTER ROLE "${CDC_READER_USER:-cdc_reader}" SET search_path = "${CDC_POSTGRES_SCHEMA:-sales}";\n'
    )


def changed(catalogue: Catalogue, name: str, change: dict[str, str], *, without: str = "") -> Catalogue:
    """``catalogue`` after an ALTER TABLE."""

    def altered(each: CatalogueTable) -> CatalogueTable:
        kept = {one.name: one for one in each.columns if one.name != without}
        kept |= {new: column(new, written) for new, written in change.items()}
        return replace(each, columns=tuple(kept.values())) if each.name == name else each

    return replace(catalogue, tables=tuple(altered(each) for each in catalogue.tables))


@pytest.mark.parametrize(
    ("change", "without", "expected"),
    [
        ({"limit": "int"}, "", (What.NEW, "limit", "columns", '{ name = "limit", kind = "integer" }')),
        (
            {"credit": "decimal(9,4)"},
            "",
            (What.NEW, "credit", "columns", '{ name = "credit", kind = "money", scale = 4 }'),
        ),
        ({"api_token": "varchar(99)"}, "", (What.NEW, "api_token", "ignored", '"api_token"')),
        ({"surname": "varchar(99)"}, "", (What.NEW, "surname", "outside", '"surname"')),
        ({"ratio": "double"}, "", (What.NEW, "ratio", "ignored", '"ratio"')),
        ({}, "tier", (What.MISSING, "tier", "", "")),
        (
            {"is_frozen": "varchar(9)", "tier": "decimal(9,2)"},
            "",
            (What.TYPE, "tier", "columns", '{ name = "tier", kind = "money", scale = 2 }'),
        ),
        ({"cash": "decimal(20,8)"}, "", (What.TYPE, "cash", "columns", "scale = 8")),
        ({"cash": "double"}, "", (What.TYPE, "cash", "", "")),
    ],
)
def test_a_difference_and_the_line_for_the_mapping(
    change: dict[str, str], without: str, expected: tuple[What, str, str, str]
) -> None:
    rules = proposed(shop()).rules
    (found,) = differences(changed(shop(), "customers", change, without=without), rules)
    assert (found.what, found.column, found.key, found.line) == expected


def test_new_values_of_a_status_and_a_table_that_is_gone() -> None:
    rules = proposed(shop()).rules
    (found,) = differences(
        changed(shop(), "ledger", {"state": "enum('pending','booked','rejected','reversed')"}), rules
    )
    assert (found.what, found.key, found.line) == (What.VALUES, "not_done", '"reversed"')
    (found,) = differences(changed(shop(), "ledger", {"state": "enum('pending','rejected')"}), rules)
    assert "does not have the value booked" in found.found
    (found,) = differences(replace(shop(), tables=shop().tables[:1]), rules)
    assert (found.what, found.table, found.column) == (What.MISSING, "ledger", "")


def test_nothing_differs_from_what_was_proposed_or_from_the_reference() -> None:
    assert differences(shop(), proposed(shop()).rules) == []
    assert differences(of_reference(), reference()) == []


def test_what_the_account_may_not_see_is_no_equality() -> None:
    hidden = replace(shop(), tables=tuple(replace(each, is_whole=False) for each in shop().tables))
    assert {each.what for each in differences(hidden, proposed(shop()).rules)} == {What.UNSEEN}


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    "found", [proposed(of_reference()), proposed(shop()), undecided(shop(table("wallets", {"id": "int"})))]
)
def test_lines_fit_and_no_word_is_broken(found: Proposal | Undecided, width: int) -> None:
    lines = list(to_text(found, width))
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    assert all(name in words for each in found.catalogue.tables for name in (each.name,))
    assert all(json.loads(line) for line in report_to_json(found))


def test_the_difference_with_what_follows_for_connector_and_accounts() -> None:
    rules = proposed(of_kind("postgres")).rules
    catalogue = changed(of_kind("postgres"), "customers", {"limit": "int", "surname": "varchar(99)"})
    text = "\n".join(differences_to_text(catalogue, differences(catalogue, rules), {"CDC_READER_USER": "me"}, 80))
    place = "${CDC_POSTGRES_SCHEMA:-sales}"
    assert f"column.include.list: {place}\\.customers\\.(limit|surname)\n" in text
    assert f"column.mask.hash.…: {place}\\.customers\\.(surname)\n" in text
    assert 'GRANT SELECT ("limit", "surname") ON "sales"."customers" TO "debezium";' in text
    assert 'GRANT SELECT ("limit") ON "sales"."customers" TO "me";' in text
    one = Difference(What.MISSING, "customers", "", "gone")
    counts = [summary_of_differences(each).text for each in ([], [one], [one, one])]
    assert counts == ["no difference", "1 difference", "2 differences"]


def test_the_next_steps_hold_no_secret_and_no_login() -> None:
    text = "\n".join(next_steps(proposed(shop()), ["a/mapping.toml", "a/mysql.json", "a/mysql.sql"], "db:3306"))
    assert "  export CDC_MYSQL_PASSWORD=… CDC_MASK_SALT=…\n" in text
    assert "  cdc-consumer grants mysql --file a/mysql.sql | mysql --user=root --password\n" in text
    assert summary(proposed(shop()), []).text == "2 tables: nothing is written without --to FOLDER"
    assert summary(proposed(shop()), ["a", "b"]).text == "2 tables: wrote a, b"
    assert summary(undecided(shop(table("wallets", {"id": "int"}))), []).text.startswith("1 question to decide first")


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cdc"
    check_free(folder, ["a", "b"], force=False)
    write(folder, {"a": "1", "b": "2"})
    (folder / "a").unlink()
    with pytest.raises(ConfigError, match=r"b exists \(fix: give another folder, or --force"):
        check_free(folder, ["a", "b"], force=False)
    check_free(folder, ["a", "b"], force=True)
    with pytest.raises(ConfigError, match="is not a folder"):
        check_free(folder / "b", ["a"], force=False)
    with pytest.raises(ConfigError, match="File name too long"):
        check_free(folder / ("x" * 300), ["a"], force=False)
    with pytest.raises(ConfigError, match="can't be written"):
        write(folder / "b" / "c", {"a": "1"})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mysql://root:pa/ss@h:3306/db", "h:3306"),
        ("postgresql://me@[::1]:5432/db", "[::1]:5432"),
        ("postgresql://me@h/db", "h"),
    ],
)
def test_the_next_steps_name_the_server_and_no_part_of_a_password(url: str, address: str) -> None:
    database = Database.model_construct(url=SecretStr(url))
    assert _address(Settings.model_construct(database=database)) == address
