"""Tables and columns of a database as data, as its catalogue describes them. It holds no row and no value of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class CatalogueColumn:
    """A column.

    ``type``: as the database writes it, such as ``decimal(18,6)``. ``base``: the type's name alone, in lower case;
    ``enum`` for every enumeration and ``array`` for every array. ``scale``: decimals of a DECIMAL, None if none is
    declared. ``length``: characters of a text, bits of a BIT. ``values``: the only allowed values, if the database
    lists them (ENUM, and on PostgreSQL a CHECK constraint). ``is_sent``: whether the database's log contains its
    changes; PostgreSQL's has none of a generated column.
    """

    name: str
    type: str
    base: str
    scale: int | None = None
    length: int | None = None
    values: tuple[str, ...] = ()
    is_sent: bool = True


class Reference(NamedTuple):
    """What a foreign key names: a table, and a column of it."""

    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True, slots=True)
class CatalogueTable:
    """A table. ``references``: what each column with a foreign key names; ``unique``: without the key.

    ``is_whole``: whether the account may see every column.
    """

    name: str
    columns: tuple[CatalogueColumn, ...]
    primary_key: tuple[str, ...] = ()
    unique: frozenset[str] = frozenset()
    references: Mapping[str, Reference] = field(default_factory=dict)
    is_whole: bool = True

    def column(self, name: str) -> CatalogueColumn | None:
        """The column of that name; None if there is none."""
        return next((each for each in self.columns if each.name == name), None)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The tables of one database.

    ``kind``: mysql, mariadb or postgres. ``schema``: PostgreSQL's schema, "" for the others. ``is_default_schema``:
    whether the account finds the schema's tables without its name. ``problems``: settings of the server with which
    Debezium can't read its log.
    """

    kind: str
    version: str
    database: str
    tables: tuple[CatalogueTable, ...]
    schema: str = ""
    is_default_schema: bool = True
    problems: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where the tables are, in words."""
        return f"the schema {self.schema}" if self.schema else f"the database {self.database}"

    def table(self, name: str) -> CatalogueTable | None:
        """The table of that name; None if there is none."""
        return next((each for each in self.tables if each.name == name), None)
