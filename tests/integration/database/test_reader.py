"""Rows as the database gives them: the same text in Redis as from change events, and never more than is owned."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import SecretStr

from consumer.database.reader import Database
from consumer.errors import AccessDenied, ConfigError, NotInDatabase, ServerUnavailable
from consumer.events.event import Operation
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.mapping.rules import Column
from consumer.planning.database_row import DatabaseRow
from consumer.planning.diff import whole_image
from consumer.planning.rebuild import rebuild_read
from consumer.settings.sections import Database as Settings
from tests.support.stack.registration import Database as Server
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("database", DATABASES, indirect=True)]
RULES = reference()
LIVE, DEMO = RULES.tables
FULL = {
    "wallet_balance": Decimal("-123456789012.123450"),
    "margin": Decimal("0.000000"),
    "net_profit": None,
    "leverage": 0,
    "group": "VIP ☃ 'quoted'",
    "is_active": True,
    "account_number": "",
    "country_id": None,
    "copy_trading_wallet": Decimal("5000"),
    "copytrading_alloted_time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).replace(tzinfo=None),
}


def image(read: DatabaseRow) -> Mapping[str, str]:
    assert read.image is not None
    return whole_image(read.image, LIVE, {})


def opened(database: Server, **changes: object) -> Database:
    return Database(Settings.model_validate({"url": SecretStr(database.url), **changes}))


def end_of_log(database: Server, reader: Database) -> str:
    """MariaDB tells readers a place that may be too early."""
    if database.name != "mariadb":
        return reader.position().order
    with database.connect() as connection:
        ((file, offset, *_),) = Trading(connection).execute("SHOW MASTER STATUS")
    return f"{int(file.rpartition('.')[2]):010d}/{offset:020d}/{0:010d}/{0:010d}"


def test_a_row_has_the_text_that_change_events_have(reader: Database, trading: Trading) -> None:
    trading.insert("live_users", id=7, **FULL)
    read = reader.row(LIVE, 7)
    assert image(read) == {
        "wallet_balance": "-123456789012.12345",
        "margin": "0.00",
        "net_profit": "",
        "leverage": "0",
        "group": "VIP ☃ 'quoted'",
        "status": "1",
        "is_active": "1",
        "account_number": "",
        "country_id": "",
        "mam_id": "",
        "mam_status": "0",
        "pam_id": "",
        "pam_status": "0",
        "copytrader_id": "",
        "copytrading_status": "0",
        "copy_trading_wallet": "5000.00",
        "copytrading_alloted_time": "2026-01-02T03:04:05.000Z",
        "sending_orders": "rock",
    }
    assert set(read.image or {}) == {"id", *(column.name for column in LIVE.columns)}
    plan = rebuild_read(read, LIVE, RULES)
    assert plan.user == UserId("live", 7)
    assert plan.config is not None
    assert plan.config.whole.keys() >= {"id", "user_type", "last_updated", *image(read)}


def test_of_a_row_that_is_gone_there_is_still_a_position(reader: Database, trading: Trading) -> None:
    read = reader.row(LIVE, 7)
    assert read.image is None
    assert read.position.order
    assert read.event(LIVE).op is Operation.DELETE
    assert rebuild_read(read, LIVE, RULES).removed is not None


def test_rows_come_by_ranges_of_their_keys(reader: Database, trading: Trading) -> None:
    for number in (1, 2, 5, 9):
        trading.insert("demo_users", id=number, wallet_balance=number)
    assert [row["id"] for row in reader.rows(DEMO, 0, 3)] == [1, 2, 5]
    assert [row["id"] for row in reader.rows(DEMO, 5, 3)] == [9]
    assert reader.rows(DEMO, 9, 3) == []
    assert reader.existing(DEMO, [9, 3, 1]) == {1, 9}
    assert reader.existing(DEMO, []) == set()


def test_a_later_read_has_a_later_place(reader: Database, trading: Trading) -> None:
    trading.insert("live_users", id=7)
    first, again = reader.row(LIVE, 7), reader.row(LIVE, 7)
    trading.update("live_users", 7, leverage=50)
    later = reader.row(LIVE, 7)
    assert first.position.order <= again.position.order < later.position.order
    assert first.position.place <= again.position.place < later.position.place
    assert later.position.lineage == first.position.lineage


def test_a_read_waits_for_nobody_who_only_reads(reader: Database, database: Server, trading: Trading) -> None:
    trading.insert("live_users", id=7)
    with database.connect(autocommit=False) as other:
        other.cursor().execute("SELECT id FROM live_users")
        assert reader.row(LIVE, 7).image is not None


def test_a_change_that_is_not_committed_yet_has_a_later_place_than_the_read(
    reader: Database, database: Server, trading: Trading
) -> None:
    """On PostgreSQL it may have an earlier one: so the read waits, and gives up in time."""
    trading.insert("live_users", id=7, leverage=1)
    impatient = opened(database, settle_ms=50)
    with database.connect(database.logins.app, autocommit=False) as other:
        Trading(other, database.quote).update("live_users", 7, leverage=2)
        if database.name == "postgres":
            with pytest.raises(ServerUnavailable, match="transactions that write to the table are open"):
                impatient.row(LIVE, 7)
        else:
            assert image(impatient.row(LIVE, 7))["leverage"] == "1"
        other.commit()
    assert image(impatient.row(LIVE, 7))["leverage"] == "2"
    impatient.close()


def test_no_row_is_older_than_its_position(reader: Database, database: Server, trading: Trading) -> None:
    """A writer notes after each commit how far the log is: a read at or past that place must know that commit."""
    trading.insert("live_users", id=7, country_id=0)
    noted: list[tuple[str, int]] = []
    is_over = threading.Event()
    own = opened(database)

    def write() -> None:
        with database.connect(database.logins.app) as connection:
            writer = Trading(connection, database.quote)
            while not is_over.is_set():
                count = len(noted) + 1
                writer.update("live_users", 7, country_id=count)
                noted.append((end_of_log(database, own), count))

    thread = threading.Thread(target=write)
    thread.start()
    reads = [reader.row(LIVE, 7) for _ in range(150)]
    is_over.set()
    thread.join()
    own.close()
    assert noted
    for read in reads:
        committed = max((count for order, count in noted if order <= read.position.order), default=0)
        assert read.image is not None
        assert int(str(read.image["country_id"])) >= committed


def test_an_optional_column_that_is_not_there_or_not_ours(reader: Database, database: Server) -> None:
    """MySQL does not tell an account with grants for columns whether another column is there."""
    table = replace(LIVE, columns=(*LIVE.columns, Column("nickname")))
    if database.name == "mysql":
        with pytest.raises(AccessDenied, match=r"live_users\.nickname") as found:
            reader.row(table, 7)
        assert found.value.advice == "grant SELECT (nickname) ON live_users"
    else:
        reader.row(table, 7)


def test_a_secret_column_is_refused_by_the_database(reader: Database) -> None:
    with pytest.raises(AccessDenied, match=r"live_users\.password"):
        reader.row(replace(LIVE, columns=(Column("password"),)), 7)


def test_what_is_not_in_the_database_is_named(reader: Database, database: Server) -> None:
    with pytest.raises((NotInDatabase, AccessDenied), match="no_users"):
        reader.rows(replace(LIVE, table="no_users"), 0, 1)
    with pytest.raises((NotInDatabase, AccessDenied), match=r"live_users\.nickname"):
        reader.row(replace(LIVE, columns=(Column("nickname", required=True),)), 7)


def test_errors_tell_no_password_and_no_address(database: Server) -> None:
    url = database.url.replace(database.logins.reader.password, "wr0ng-pass")
    wrong, nobody = opened(database, url=url), opened(database, url=url.replace(str(database.port), "1"))
    with pytest.raises(ConfigError, match="CDC_DATABASE__URL: the database refuses") as refused:
        wrong.reach()
    with pytest.raises(AccessDenied):
        wrong.position()
    with pytest.raises(ServerUnavailable) as away:
        nobody.reach()
    for error in (refused.value, away.value):
        assert "wr0ng" not in str(error)
        assert "127.0.0.1" not in str(error)
        assert "cdc_reader" not in f"{error} {error.advice}"
    wrong.close()
    nobody.close()
