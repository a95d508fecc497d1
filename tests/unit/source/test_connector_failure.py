"""Why a connector failed, by traces of Debezium 3.5.0 on MySQL 8.0.15, MariaDB 11.4.5 and PostgreSQL 17.6.

Those that no test can bring about here are put together from the texts in Debezium's and the servers' own source.
"""

from __future__ import annotations

import pytest

from consumer.source.connect.failure import TABLE, Kind, failure_of

STOPPED = (
    "org.apache.kafka.connect.errors.ConnectException: An exception occurred in the change event producer. "
    "This connector will be stopped.\n\tat io.debezium.pipeline.ErrorHandler.setProducerThrowable(ErrorHandler.java:67)"
)
MYSQL_STOPS = f"""{STOPPED}
	at java.base/java.lang.Thread.run(Thread.java:840)
Caused by: io.debezium.DebeziumException: Error reading MySQL variables: Server shutdown in progress
	at io.debezium.connector.binlog.jdbc.BinlogConnectorConnection.querySystemVariables(BinlogConnectorConnection.java)
	... 5 more
Caused by: java.sql.SQLNonTransientConnectionException: Server shutdown in progress
	... 12 more
"""
MYSQL_IS_AWAY = """io.debezium.DebeziumException: Error reading MySQL variables: Communications link failure

The last packet sent successfully to the server was 0 milliseconds ago. The driver has not received any packets.
	at io.debezium.connector.binlog.jdbc.BinlogConnectorConnection.querySystemVariables(BinlogConnectorConnection.java)
Caused by: com.mysql.cj.jdbc.exceptions.CommunicationsException: Communications link failure
	... 15 more
Caused by: java.net.ConnectException: Connection refused
"""
MYSQL_LOGIN = """io.debezium.DebeziumException: Error reading MySQL variables: Access denied for user 'debezium'
	at io.debezium.connector.binlog.jdbc.BinlogConnectorConnection.querySystemVariables(BinlogConnectorConnection.java)
Caused by: java.sql.SQLException: Access denied for user 'debezium'@'127.0.0.1' (using password: YES)
"""
MYSQL_LOST = (
    f"{STOPPED}\nCaused by: io.debezium.DebeziumException: Cannot replicate because the master purged required "
    "binary logs. Replicate the missing transactions from elsewhere Error code: 1236; SQLSTATE: HY000."
)
MARIADB_LOGIN = """io.debezium.DebeziumException: Error reading MySQL variables: (conn=30) Access denied for user 'd'
Caused by: java.sql.SQLInvalidAuthorizationSpecException: (conn=30) Access denied for user 'debezium'@'127.0.0.1'
"""
POSTGRES_LOGIN = """org.apache.kafka.connect.errors.RetriableException: Couldn't obtain encoding for database
Caused by: io.debezium.DebeziumException: Couldn't obtain encoding for database trading
Caused by: org.postgresql.util.PSQLException: FATAL: password authentication failed for user "debezium"
"""
DATABASES_AWAY = [
    MYSQL_STOPS,
    MYSQL_IS_AWAY,
    f"{STOPPED}\nCaused by: java.io.EOFException\n\tat com.github.shyiko.mysql.binlog.io.ByteArrayInputStream.read",
    f"{STOPPED}\nCaused by: java.io.EOFException: Failed to read remaining 4 of 19 bytes from position 1206",
    f"{STOPPED}\nCaused by: java.net.SocketException: Connection reset",
    "io.debezium.DebeziumException: Timed out after 30.000000 seconds while waiting to connect to database at h:3306",
    "java.sql.SQLException: The MySQL server is running with the --super-read-only option so it cannot execute this",
    (
        "java.sql.SQLNonTransientConnectionException: Data source rejected establishment,  message from server: "
        '"Too many connections"'
    ),
    (
        "org.postgresql.util.PSQLException: Connection to 127.0.0.1:5432 refused. Check that the hostname and port are "
        "correct and that the postmaster is accepting TCP/IP connections."
    ),
    "org.postgresql.util.PSQLException: FATAL: terminating connection due to administrator command",
    "org.postgresql.util.PSQLException: FATAL: the database system is starting up",
    "org.postgresql.util.PSQLException: Database connection failed when reading from copy",
    'org.postgresql.util.PSQLException: ERROR: replication slot "cdc" is active for PID 4711',
    "java.net.UnknownHostException: mysql",
    "org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: listTopics",
]


@pytest.mark.parametrize("trace", DATABASES_AWAY)
def test_what_passes(trace: str) -> None:
    found = failure_of(trace)
    assert found.kind is Kind.PASSES
    assert not found.lasts


@pytest.mark.parametrize(
    "trace",
    [
        MYSQL_LOGIN,
        MARIADB_LOGIN,
        POSTGRES_LOGIN,
        (
            "io.debezium.DebeziumException: Failed to authenticate to the database at h:3306 with user 'debezium'\n"
            "Caused by: com.github.shyiko.mysql.binlog.network.AuthenticationException: Access denied for user"
        ),
        'org.postgresql.util.PSQLException: FATAL: role "debezium" does not exist',
        'org.postgresql.util.PSQLException: FATAL: no pg_hba.conf entry for replication connection from host "h"',
        "org.postgresql.util.PSQLException: ERROR: permission denied for table live_users",
    ],
)
def test_a_refused_account(trace: str) -> None:
    found = failure_of(trace)
    assert (found.kind, found.lasts) == (Kind.LOGIN, True)
    assert "The connector failed, 1" in found.advice


@pytest.mark.parametrize(
    "trace",
    [
        (
            "io.debezium.DebeziumException: The connector is trying to read change stream starting at Offset[…], but "
            "this is no longer available on the server. Reconfigure the connector to use a snapshot mode when needed."
        ),
        MYSQL_LOST,
        "io.debezium.DebeziumException: Could not find first log file name in binary log index file Error code: 1236",
        (
            "io.debezium.DebeziumException: could not find next log; Error: connecting slave requested to start from "
            "GTID 0-102-19, which is not in the master's binlog"
        ),
        'org.postgresql.util.PSQLException: ERROR: replication slot "cdc" does not exist',
        'org.postgresql.util.PSQLException: ERROR: can no longer get changes from replication slot "cdc"',
        (
            "org.postgresql.util.PSQLException: ERROR: requested WAL segment 000000010000000000000003 has already been "
            "removed"
        ),
        "io.debezium.DebeziumException: The db history topic is missing. You may attempt to recover it",
    ],
)
def test_a_log_that_is_gone(trace: str) -> None:
    found = failure_of(trace)
    assert (found.kind, found.lasts) == (Kind.LOST, True)
    assert "The connector failed, 2" in found.advice


@pytest.mark.parametrize(
    "trace",
    [
        "org.apache.kafka.common.config.ConfigException: Invalid value many for configuration topic.creation.x",
        "java.sql.SQLSyntaxErrorException: Unknown database 'trading'",
        'org.postgresql.util.PSQLException: FATAL: database "trading" does not exist',
        'org.postgresql.util.PSQLException: ERROR: publication "cdc" does not exist',
        (
            "org.apache.kafka.connect.errors.ConnectException: Publication autocreation is disabled, please create one "
            "and restart the connector."
        ),
        "io.debezium.DebeziumException: The database server is not configured to use a ROW binlog_format, which is",
        "org.apache.kafka.common.errors.TopicAuthorizationException: Not authorized to access topics: [trading.x]",
        (
            "org.apache.kafka.connect.errors.ConnectException: Unrecoverable exception from producer send callback\n"
            "Caused by: org.apache.kafka.common.InvalidRecordException: Compacted topic cannot accept message "
            "without key in topic partition x-0."
        ),
    ],
)
def test_a_wrong_setting(trace: str) -> None:
    found = failure_of(trace)
    assert (found.kind, found.lasts) == (Kind.SETTING, True)
    assert "The connector failed, 3" in found.advice


@pytest.mark.parametrize("trace", ["", "java.lang.NullPointerException\n\tat a.B.c(D.java:1)"])
def test_what_nobody_knows(trace: str) -> None:
    found = failure_of(trace)
    assert (found.kind, found.lasts) == (Kind.UNKNOWN, False)
    assert found.line == trace.partition("\n")[0]


def test_what_lasts_outweighs_what_passes() -> None:
    """After a restart of the server the new attempt is refused; the trace may name both."""
    assert failure_of(f"{MYSQL_IS_AWAY}\nCaused by: Access denied for user 'debezium'").kind is Kind.LOGIN


def test_the_line_nearest_to_the_root_is_told_and_no_frame_is_looked_at() -> None:
    assert failure_of(MYSQL_IS_AWAY).line == "java.net.ConnectException: Connection refused"
    assert failure_of("a.B: odd\n\tat org.apache.kafka.common.config.ConfigException(X.java:1)").kind is Kind.UNKNOWN


def test_every_kind_says_what_to_do() -> None:
    for row in TABLE:
        assert row.problem
        assert row.advice
    assert {row.kind for row in TABLE} | {Kind.UNKNOWN} == set(Kind)
