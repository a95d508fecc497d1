"""Catalogues for the tests of ``init``: the reference's tables and those of another deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from consumer.commands.init.choices import Choices, choices_of
from consumer.commands.init.proposal import Proposal, Undecided
from consumer.commands.init.propose import propose
from consumer.mapping.catalogue import Catalogue, CatalogueColumn, CatalogueTable, Reference
from consumer.mapping.reference import reference
from tests.support.stack.login import SCHEMA

_TYPE = re.compile(r"^\s+`?(\w+)`? (\w+)(\(([^)]*)\))?")


def column(name: str, written: str) -> CatalogueColumn:
    """A column of a type as MySQL writes it."""
    base, _, rest = written.partition("(")
    numbers = rest.rstrip(")").split(",") if rest else []
    values = tuple(re.findall(r"'([^']*)'", rest)) if base == "enum" else ()
    scale = int(numbers[1] if len(numbers) > 1 else 0) if base == "decimal" else None
    length = int(numbers[0]) if base in ("char", "varchar", "bit") else None
    return CatalogueColumn(name, written, base, scale, length, values)


def table(
    name: str,
    columns: Mapping[str, str],
    key: str = "id",
    unique: str = "",
    references: Mapping[str, str] | None = None,
) -> CatalogueTable:
    """A table with a primary key of the columns ``key``, comma separated; ``references``: to ``TABLE.COLUMN``."""
    return CatalogueTable(
        name,
        tuple(column(each, written) for each, written in columns.items()),
        tuple(each for each in key.split(",") if each),
        frozenset(each for each in unique.split(",") if each),
        {name: Reference(*each.split(".")) for name, each in (references or {}).items()},
    )


def of_reference(file: Path = SCHEMA / "mysql.sql") -> Catalogue:
    """The catalogue of the stack's MySQL, from the statements that create it."""
    tables = []
    for text in file.read_text().split("CREATE TABLE ")[1:]:
        body = text.partition(");\n")[0]
        columns = {}
        for line in body.splitlines()[1:]:
            found = _TYPE.match(line)
            if found is not None and found[1] != "INDEX":
                columns[found[1]] = found[2].lower() + (found[3] or "")
        tables.append(table(text.partition(" ")[0], columns))
    return Catalogue("mysql", "8.0.15", "trading", tuple(tables))


CUSTOMERS = {
    "customer_id": "bigint",
    "email": "varchar(100)",
    "zip": "varchar(6)",
    "password_hash": "char(60)",
    "cash": "decimal(18,2)",
    "tier": "varchar(20)",
    "is_frozen": "tinyint(1)",
    "flags": "bit(8)",
    "risk": "double",
    "last_trade": "datetime",
    "born": "date",
    "updated_at": "datetime",
}
LEDGER = {
    "entry_id": "bigint",
    "customer_id": "bigint",
    "entry_no": "varchar(30)",
    "type": "enum('in','out')",
    "amount": "decimal(18,2)",
    "state": "enum('pending','booked','rejected')",
}


def shop(*tables: CatalogueTable, kind: str = "mysql", schema: str = "") -> Catalogue:
    """A deployment with tables of its own; without ``tables``: customers and their ledger."""
    found = tables or (
        table("customers", CUSTOMERS, "customer_id"),
        table("ledger", LEDGER, "entry_id", "entry_no", {"customer_id": "customers.customer_id"}),
    )
    return Catalogue(kind, "1", "shop", found, schema)


def proposed(catalogue: Catalogue, choices: Choices | None = None) -> Proposal:
    """The proposal; fails if something is open."""
    found = propose(catalogue, choices or Choices(), reference())
    assert isinstance(found, Proposal), found
    return found


def undecided(catalogue: Catalogue, choices: Choices | None = None) -> Undecided:
    """The questions; fails if there is a proposal."""
    found = propose(catalogue, choices or Choices(), reference())
    assert isinstance(found, Undecided), found
    return found


def chosen(tables: str | None = None, **options: str) -> Choices:
    """Choices as from the command line: each option once."""
    lists = {name: [options[name]] if name in options else [] for name in ("users", "linked", "done", "balance")}
    return choices_of(tables, lists["users"], lists["linked"], lists["done"], lists["balance"], options.get("group"))
