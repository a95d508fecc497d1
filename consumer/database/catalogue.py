"""Reads the catalogue of a database: tables, columns, keys, and the server's settings that Debezium needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, quoted_name, select, text
from sqlalchemy import table as named
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError

from consumer.database.engine import URL_SETTING, engine_of
from consumer.database.faults import refuses_account, translate
from consumer.errors import AccessDenied, ConfigError
from consumer.mapping.catalogue import Catalogue, CatalogueColumn, CatalogueTable, Reference
from consumer.settings.sections import Database as Settings

_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_CONDITIONS = re.compile(r"\b(OR|AND|NOT)\b")
_REFUSED = "correct its user, password or database name; the URL with its password may be in CDC_DATABASE__URL_FILE"


def read_catalogue(settings: Settings, schema: str = "") -> Catalogue:
    """The catalogue, as far as the account may see it. ``schema``: PostgreSQL's; empty: the account's default.

    Raises:
        ConfigError: the URL can't be used, names no database, or the server refuses the account.
        ServerError: the server can't be reached or read.
    """
    engine = engine_of(settings)
    try:
        if not engine.url.database:
            raise ConfigError(URL_SETTING, "names no database", allowed="a URL that ends with /DATABASE")
        with engine.connect() as connection:
            is_postgres = connection.dialect.name == "postgresql"
            return _postgres(connection, schema) if is_postgres else _mysql(connection, schema)
    except InvalidRequestError:
        raise ConfigError(URL_SETTING, "the server is not MariaDB", allowed="mysql:// for this server") from None
    except SQLAlchemyError as error:
        found = translate(error, "reading the catalogue")
        if refuses_account(error):
            raise ConfigError(URL_SETTING, f"the database refuses: {found.problem}", fix=_REFUSED) from None
        raise found from None
    finally:
        engine.dispose()


_MYSQL_COLUMNS = """SELECT c.table_name AS table_name, column_name AS name, data_type AS base, column_type AS type,
    numeric_scale AS scale, numeric_precision AS bits, character_maximum_length AS length
    FROM information_schema.columns c JOIN information_schema.tables t
    ON t.table_schema = c.table_schema AND t.table_name = c.table_name
    WHERE c.table_schema = :database AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, ordinal_position"""
_MYSQL_INDEXES = """SELECT table_name AS table_name, index_name AS name, column_name AS column_name
    FROM information_schema.statistics WHERE table_schema = :database AND non_unique = 0
    ORDER BY table_name, index_name, seq_in_index"""
_MYSQL_REFERENCES = """SELECT table_name AS table_name, column_name AS column_name, referenced_table_name AS target,
    referenced_column_name AS target_column FROM information_schema.key_column_usage
    WHERE table_schema = :database AND referenced_table_schema = :database"""
_MYSQL_SETTINGS = """SHOW GLOBAL VARIABLES WHERE Variable_name IN
    ('log_bin', 'binlog_format', 'binlog_row_image', 'gtid_mode')"""
_NEEDED = {"log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "gtid_mode": "ON"}


def _mysql(connection: Connection, schema: str) -> Catalogue:
    if schema:
        raise ConfigError("--schema", "MySQL and MariaDB have no schemas", fix="give the database in the URL")
    dialect: Any = connection.dialect
    database = connection.engine.url.database or ""
    ask = _asking(connection, {"database": database})
    columns: dict[str, list[CatalogueColumn]] = {}
    for row in ask(_MYSQL_COLUMNS):
        columns.setdefault(row["table_name"], []).append(_mysql_column(row))
    indexes: dict[str, dict[str, list[str]]] = {}
    for row in ask(_MYSQL_INDEXES):
        name = row["column_name"] or ""  # an expression has no name
        indexes.setdefault(row["table_name"], {}).setdefault(row["name"], []).append(name)
    references: dict[str, dict[str, Reference]] = {}
    for row in ask(_MYSQL_REFERENCES):
        references.setdefault(row["table_name"], {})[row["column_name"]] = _reference(row)
    tables = tuple(
        CatalogueTable(
            name,
            tuple(found),
            tuple(indexes.get(name, {}).get("PRIMARY", ())),
            _single(columns for index, columns in indexes.get(name, {}).items() if index != "PRIMARY"),
            references.get(name, {}),
            _may_read(connection, name),
        )
        for name, found in columns.items()
    )
    shown = {str(name): str(value) for name, value in connection.exec_driver_sql(_MYSQL_SETTINGS).all()}
    problems = tuple(
        f"{name} is {shown[name]}, but Debezium needs {needed}"
        for name, needed in _NEEDED.items()
        if name in shown and shown[name].upper() != needed
    )
    kind = "mariadb" if dialect.is_mariadb else "mysql"
    return Catalogue(kind, _version(connection), database, tables, problems=problems)


def _may_read(connection: Connection, table: str) -> bool:
    """Whether the account may read every column: those it may not read are not in its catalogue. Reads no row."""
    try:
        connection.execute(select(text("*")).select_from(named(quoted_name(table, quote=True))).limit(0))
    except SQLAlchemyError as error:
        if isinstance(translate(error, table), AccessDenied):
            return False
        raise
    return True


def _mysql_column(row: RowMapping) -> CatalogueColumn:
    base = str(row["base"]).lower()
    written = _text(row["type"])
    values = _literals(written) if base == "enum" else ()
    length = row["bits"] if base == "bit" else row["length"]
    is_decimal = base in ("decimal", "numeric")
    return CatalogueColumn(row["name"], written, base, row["scale"] if is_decimal else None, length, values)


_POSTGRES_COLUMNS = """SELECT c.relname::text AS table_name, a.attname::text AS name,
    format_type(a.atttypid, a.atttypmod) AS type, coalesce(b.typname, t.typname)::text AS base,
    coalesce(b.typcategory, t.typcategory)::text AS category, coalesce(b.oid, t.oid)::bigint AS type_id,
    CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE t.typtypmod END AS modifier,
    a.attgenerated::text AS generated
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
    AND NOT a.attisdropped ORDER BY c.relname, a.attnum"""
_POSTGRES_ENUMS = "SELECT enumtypid::bigint AS type_id, enumlabel::text AS label FROM pg_enum ORDER BY 1, enumsortorder"
_POSTGRES_CONSTRAINTS = """SELECT c.relname::text AS table_name, con.contype::text AS kind,
    f.relname::text AS target, pg_get_constraintdef(con.oid) AS definition,
    (SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = con.confrelid AND a.attnum = con.confkey[1])
    AS target_column,
    (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(con.conkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.number) AS columns
    FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class f ON f.oid = con.confrelid
    WHERE n.nspname = :schema AND con.contype IN ('p', 'u', 'f', 'c')"""


def _postgres(connection: Connection, schema: str) -> Catalogue:
    default = connection.exec_driver_sql("SELECT current_schema()::text").scalar_one()
    schema = schema or default or "public"
    ask = _asking(connection, {"schema": schema})
    labels: dict[int, list[str]] = {}
    for row in ask(_POSTGRES_ENUMS):
        labels.setdefault(row["type_id"], []).append(row["label"])
    constraints: dict[str, list[RowMapping]] = {}
    for row in ask(_POSTGRES_CONSTRAINTS):
        constraints.setdefault(row["table_name"], []).append(row)
    columns: dict[str, list[CatalogueColumn]] = {}
    for row in ask(_POSTGRES_COLUMNS):
        checked = _checked(row["name"], constraints.get(row["table_name"], ()))
        found = _postgres_column(row, tuple(labels.get(row["type_id"], checked)))
        columns.setdefault(row["table_name"], []).append(found)
    tables = tuple(_postgres_table(name, tuple(found), constraints.get(name, ())) for name, found in columns.items())
    level = connection.exec_driver_sql("SHOW wal_level").scalar_one()
    problems = () if level == "logical" else (f"wal_level is {level}, but Debezium needs logical",)
    database = connection.engine.url.database or ""
    return Catalogue("postgres", _version(connection), database, tables, schema, schema == default, problems)


def _postgres_column(row: RowMapping, values: tuple[str, ...]) -> CatalogueColumn:
    base, modifier = str(row["base"]), int(row["modifier"])
    base = {"E": "enum", "A": "array"}.get(row["category"], base)
    scale = (modifier - 4) & 0x7FF if base == "numeric" and modifier >= 4 else None
    length = modifier - 4 if base in ("varchar", "bpchar") and modifier >= 4 else None
    length = modifier if base in ("bit", "varbit") and modifier > 0 else length
    return CatalogueColumn(row["name"], row["type"], base, scale, length, values, is_sent=not row["generated"])


def _postgres_table(
    name: str, columns: tuple[CatalogueColumn, ...], constraints: Sequence[RowMapping]
) -> CatalogueTable:
    by_kind: dict[str, list[RowMapping]] = {}
    for each in constraints:
        by_kind.setdefault(each["kind"], []).append(each)
    primary = next((tuple(each["columns"]) for each in by_kind.get("p", ())), ())
    references = {
        each["columns"][0]: _reference(each) for each in by_kind.get("f", ()) if len(each["columns"] or ()) == 1
    }
    return CatalogueTable(name, columns, primary, _single(each["columns"] for each in by_kind.get("u", ())), references)


def _reference(row: RowMapping) -> Reference:
    return Reference(str(row["target"]), str(row["target_column"]))


def _checked(column: str, constraints: Iterable[RowMapping]) -> tuple[str, ...]:
    """The values that a CHECK constraint of this column alone allows: ``status IN (…)``, as PostgreSQL writes it.

    A constraint with another condition besides may allow other values too, or none of these.
    """
    for each in constraints:
        definition = each["definition"] or ""
        is_list = "= ANY" in definition and not _CONDITIONS.search(_LITERAL.sub("", definition))
        if each["kind"] == "c" and each["columns"] == [column] and is_list:
            return _literals(definition)
    return ()


def _literals(text_: str) -> tuple[str, ...]:
    return tuple(each.replace("''", "'") for each in _LITERAL.findall(text_))


def _single(indexes: Iterable[Sequence[str] | None]) -> frozenset[str]:
    """The columns of the unique keys that have one column, and no expression."""
    return frozenset(columns[0] for columns in indexes if columns and len(columns) == 1 and columns[0])


def _asking(connection: Connection, values: Mapping[str, str]) -> Any:
    return lambda statement: connection.execute(text(statement), dict(values)).mappings().all()


def _version(connection: Connection) -> str:
    dialect: Any = connection.dialect
    return ".".join(str(part) for part in dialect.server_version_info or () if isinstance(part, int))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
