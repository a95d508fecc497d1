"""Values that a driver can't read, or reads otherwise than Debezium sends them: one row, or one column, never more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from consumer.database.reader import Database
from consumer.errors import InvalidValue
from consumer.events.event import UNREADABLE
from consumer.events.value import Kind
from consumer.mapping.reference import reference
from consumer.mapping.rules import Column, UserTable
from consumer.planning.diff import read_image, whole_image
from tests.support.stack.registration import Database as Server
from tests.support.stack.trading import Trading

pytestmark = pytest.mark.stack
LIVE = reference().tables[0]
ODD = UserTable(
    "odd_users",
    "odd",
    (
        Column("wallet_balance", Kind.MONEY, required=True),
        Column("flags", Kind.BITS),
        Column("is_active"),
        Column("tier", Kind.TEXT),
        Column("period", Kind.TEXT),
        Column("until", Kind.TIME),
    ),
)
COLUMNS = {
    "postgres": "id bigint PRIMARY KEY, wallet_balance numeric(18,6), flags bit(12), is_active bit(1), tier char(10),"
    " period interval, until date",
    "mysql": "id BIGINT UNSIGNED PRIMARY KEY, wallet_balance DECIMAL(18,6), flags BIT(12), is_active BIT(1),"
    " tier CHAR(10), period VARBINARY(10), until DATE",
}
COLUMNS["mariadb"] = COLUMNS["mysql"]


@pytest.fixture
def odd(database: Server) -> Iterator[Trading]:
    """The table of odd types, which the reader may read, written by the administrator."""
    reader = database.logins.reader.user
    with database.connect() as connection:
        tables = Trading(connection, database.quote)
        if database.name == "postgres":
            tables.execute("SET search_path TO trading")
        tables.execute("DROP TABLE IF EXISTS odd_users")
        tables.execute(f"CREATE TABLE odd_users ({COLUMNS[database.name]})")
        account = reader if database.name == "postgres" else f"'{reader}'@'%'"
        tables.execute(f"GRANT SELECT ON odd_users TO {account}")
        yield tables
        tables.execute("DROP TABLE odd_users")


def images(reader: Database, table: UserTable) -> dict[object, dict[str, str]]:
    return {row[table.key]: whole_image(row, table, {}) for row in reader.rows(table, 0, 10)}


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.parametrize("moment", ["infinity", "-infinity", "12026-01-01 00:00:00", "0044-03-15 00:00:00 BC"])
def test_a_date_that_is_none_costs_its_column_alone(reader: Database, trading: Trading, moment: str) -> None:
    trading.insert("live_users", id=7, wallet_balance=1000, copytrading_alloted_time=moment)
    trading.insert("live_users", id=8, wallet_balance=2000, copytrading_alloted_time="2026-01-02 03:04:05")
    for row in (reader.row(LIVE, 7).image, reader.look_up(LIVE, 7).image, *reader.rows(LIVE, 6, 1)):
        assert row is not None
        fields, unreadable, _ = read_image(row, LIVE, {})
        assert fields["wallet_balance"] == "1000.00"
        assert unreadable == ("copytrading_alloted_time",)
    assert images(reader, LIVE)[8]["copytrading_alloted_time"] == "2026-01-02T03:04:05.000Z"


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_balance_that_is_no_amount_costs_its_row_alone(reader: Database, trading: Trading) -> None:
    trading.insert("live_users", id=7, wallet_balance="NaN")
    trading.insert("live_users", id=8, wallet_balance=2000)
    bad, good = reader.rows(LIVE, 0, 10)
    with pytest.raises(InvalidValue, match="wallet_balance: no amount"):
        whole_image(bad, LIVE, {})
    assert whole_image(good, LIVE, {})["wallet_balance"] == "2000.00"


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_what_the_driver_has_no_value_for_costs_one_column_of_one_row(reader: Database, odd: Trading) -> None:
    odd.execute("INSERT INTO odd_users (id, wallet_balance, period) VALUES (7, 1000, '100000000 years')")
    odd.execute("INSERT INTO odd_users (id, wallet_balance, period) VALUES (8, 2000, NULL)")
    first, second = reader.rows(ODD, 0, 10)
    assert (first["period"], first["wallet_balance"]) == (UNREADABLE, "1000.000000")
    assert (second["period"], second["wallet_balance"]) == (None, "2000.000000")
    read = reader.row(ODD, 7)
    assert read.image == first
    assert reader.look_up(ODD, 7).image == first
    assert [row["id"] for row in reader.rows(ODD, 7, 10)] == [8]
    required = replace(ODD, columns=(replace(ODD.columns[0], name="period", field="wallet_balance"),))
    with pytest.raises(InvalidValue, match="period: the driver can't read it"):
        whole_image(next(iter(reader.rows(required, 0, 1))), required, {})


@pytest.mark.parametrize("database", ["mysql", "mariadb", "postgres"], indirect=True)
def test_bits_and_padded_text_have_the_text_that_change_events_have(
    reader: Database, database: Server, odd: Trading
) -> None:
    bits, flag = ("B'000100000101'", "B'1'") if database.name == "postgres" else ("261", "1")
    odd.execute(
        "INSERT INTO odd_users (id, wallet_balance, flags, is_active, tier, until)"
        f" VALUES (7, 1000, {bits}, {flag}, 'VIP', '9999-12-31')"
    )
    assert images(reader, ODD)[7] == {
        "wallet_balance": "1000.00",
        "flags": "261",
        "is_active": "1",
        "tier": "VIP",
        "period": "",
        "until": "9999-12-31T00:00:00.000Z",
    }


@pytest.mark.parametrize("database", ["mysql", "mariadb"], indirect=True)
def test_an_unsigned_id_and_bytes_that_are_no_text(reader: Database, odd: Trading) -> None:
    odd.execute("INSERT INTO odd_users (id, wallet_balance, period) VALUES (9223372036854775808, 1000, x'ff00')")
    odd.execute("INSERT INTO odd_users (id, wallet_balance, period) VALUES (9, 2000, 'abc')")
    rows = {row["id"]: row for row in reader.rows(ODD, 0, 10)}
    assert rows[9223372036854775808]["period"] is UNREADABLE
    assert rows[9]["period"] == "abc"
