"""MySQL as a replica of the server that Debezium reads, and without GTIDs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr

from consumer.database.reader import Database
from consumer.errors import AccessDenied, ServerUnavailable
from consumer.mapping.reference import reference
from consumer.settings.sections import Database as Settings
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.mysql import MySql, native
from tests.support.stack.native import Process
from tests.support.stack.stack import _clear, _place
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.slow]
LIVE = reference().tables[0]


@pytest.fixture(scope="module")
def second(stack: Stack) -> Iterator[MySql]:
    """Another server, not a replica yet."""
    if not isinstance(stack.mysql.runtime, Process):
        pytest.skip("needs servers that are processes of this machine")
    place = _place({}, None)
    server = native(place, {"server-id": "201"})
    try:
        server.start()
        yield server
    finally:
        server.runtime.discard()
        _clear(place)


def opened(server: MySql, **settings: object) -> Database:
    return Database(Settings.model_validate({"url": SecretStr(server.url), "timeout_ms": 2000, **settings}))


def follow(source: MySql, replica: MySql) -> None:
    """``replica`` replicates ``source``, from where that is now."""
    with source.connect() as connection:
        ((file, offset, *_),) = Trading(connection).execute("SHOW MASTER STATUS")
    login = source.logins.debezium
    with replica.connect() as connection:
        administrator = Trading(connection)
        administrator.execute(
            f"CHANGE MASTER TO MASTER_HOST='{source.host}', MASTER_PORT={source.port}, MASTER_USER='{login.user}',"
            f" MASTER_PASSWORD='{login.password}', MASTER_LOG_FILE='{file}', MASTER_LOG_POS={offset},"
            " GET_MASTER_PUBLIC_KEY=1"
        )
        administrator.execute("START SLAVE")


def test_a_replica_tells_places_of_its_source(stack: Stack, second: MySql, trading: Trading) -> None:
    source = stack.mysql
    follow(source, second)
    with closing(opened(source)) as reader, closing(opened(second, replica=True)) as replica:
        before = replica.row(LIVE, 7)
        trading.insert("live_users", id=7, leverage=50)
        eventually(lambda: replica.look_up(LIVE, 7).image, 60)
        eventually(lambda: replica.position().order == reader.position().order, 60)
        after, own = replica.row(LIVE, 7), reader.row(LIVE, 7)
    assert before.image is None
    assert after.image == own.image
    assert after.position.lineage == own.position.lineage == "mysql:101"
    assert before.position.order < after.position.order
    with second.connect() as connection:
        Trading(connection).execute("STOP SLAVE")


def test_without_gtids_a_row_is_read_with_a_lock(second: MySql) -> None:
    with second.connect() as connection:
        administrator = Trading(connection)
        for mode in ("ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"):
            administrator.execute(f"SET GLOBAL gtid_mode={mode}")
        with closing(opened(second)) as reader, pytest.raises(AccessDenied, match="GTIDs are off"):
            reader.row(LIVE, 8)
        administrator.execute(f"GRANT LOCK TABLES ON trading.* TO '{second.logins.reader.user}'@'%'")
    with closing(opened(second)) as reader, second.connect(second.logins.app, autocommit=False) as other:
        writer = Trading(other)
        writer.insert("live_users", id=8, leverage=1)
        with pytest.raises(ServerUnavailable):
            reader.row(LIVE, 8)
        assert reader.look_up(LIVE, 8).image is None
        other.commit()
        assert (reader.row(LIVE, 8).image or {})["leverage"] == 1
