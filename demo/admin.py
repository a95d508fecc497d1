"""What the admin app does to the database, step by step, in SQL only: it knows nothing of Kafka or Redis.

The recording was made of these steps, and ``demo.live`` runs them on the real servers. Values are in the SQL, so that
a step does the same each time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol


class Connection(Protocol):
    """The part of DB-API 2 that is used here; the connection is in autocommit mode."""

    def cursor(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Transaction:
    """Statements that the database commits together, or rolls back."""

    statements: tuple[str, ...]
    is_committed: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that an administrator does. ``title`` holds no value of a column that must stay in the database."""

    name: str
    title: str
    transactions: tuple[Transaction, ...]
    ledger: str = ""
    """The number of the ledger's row that it writes."""

    def run(self, connection: Connection) -> float:
        """Do it. The answer is when the last COMMIT was acknowledged, as :func:`time.perf_counter` counts."""
        cursor = connection.cursor()
        try:
            for transaction in self.transactions:
                cursor.execute("BEGIN")
                for statement in transaction.statements:
                    cursor.execute(statement)
                cursor.execute("COMMIT" if transaction.is_committed else "ROLLBACK")
            return time.perf_counter()
        finally:
            cursor.close()


def run_all(connection: Connection, statements: Iterable[str]) -> None:
    """Statements that each commit by themselves."""
    cursor = connection.cursor()
    try:
        for statement in statements:
            cursor.execute(statement)
    finally:
        cursor.close()


# Debezium reads these rows as a snapshot: they are there before the connector is.
EXISTING = (
    """INSERT INTO live_users (id, name, email, password, wallet_balance, margin, net_profit, leverage, `group`,
        account_number, country_id, copytrading_alloted_time)
    VALUES (7, 'Ada', 'ada@example.org', 'x', 1500, 250, 12.345678, 100, 'Standard',
        'ACC-0007', 91, '2024-01-15 10:30:00')""",
    """INSERT INTO live_users (id, name, email, password, wallet_balance, margin, leverage, account_number, country_id)
    VALUES (8, 'Bob', 'bob@example.org', 'x', 820.75, 0, 200, 'ACC-0008', 44)""",
    """INSERT INTO demo_users (id, name, email, password, wallet_balance, account_number)
    VALUES (7, 'Dan', 'dan@example.org', 'x', 10000, 'DEMO-0007')""",
)


def _ledger(number: str, kind: str, amount: str) -> str:
    """The row that the admin app writes beside the new balance, in the same transaction."""
    sign = "-" if kind == "deposit" else "+"
    return f"""INSERT INTO user_transactions
        (transaction_id, user_id, user_type, type, amount, balance_before, balance_after, status, admin_id)
    SELECT '{number}', id, 'live', '{kind}', {amount}, wallet_balance {sign} {amount}, wallet_balance, 'completed', 1
    FROM live_users WHERE id = 7"""  # noqa: S608  # constants of this file


def _step(name: str, title: str, *statements: str, is_committed: bool = True, ledger: str = "") -> Step:
    return Step(name, title, (Transaction(statements, is_committed),), ledger)


STEPS: tuple[Step, ...] = (
    _step(
        "create",
        "A live user is created: live:42",
        "INSERT INTO live_users (id, name, email, password, account_number, country_id)"
        " VALUES (42, 'Eve', 'eve@example.org', 'x', 'ACC-0042', 33)",
    ),
    _step(
        "create demo",
        "A demo user with the same number is created: demo:42 is somebody else than live:42",
        "INSERT INTO demo_users (id, name, email, password, wallet_balance)"
        " VALUES (42, 'Fay', 'fay@example.org', 'x', 50000)",
    ),
    _step(
        "deposit",
        "Deposit of 10000.50 for live:7, the balance and the ledger row in one transaction",
        "UPDATE live_users SET wallet_balance = wallet_balance + 10000.50 WHERE id = 7",
        _ledger("TXN0001", "deposit", "10000.50"),
        ledger="TXN0001",
    ),
    _step(
        "withdrawal",
        "Withdrawal of 2500 for live:7",
        "UPDATE live_users SET wallet_balance = wallet_balance - 2500 WHERE id = 7",
        _ledger("TXN0002", "withdraw", "2500"),
        ledger="TXN0002",
    ),
    _step(
        "group",
        "The group of live:7 changes to VIP",
        "UPDATE live_users SET `group` = 'VIP' WHERE id = 7",
    ),
    _step(
        "profile",
        "The profile of live:42 changes: account number and country",
        "UPDATE live_users SET account_number = 'ACC-4242', country_id = 91 WHERE id = 42",
    ),
    _step(
        "name",
        "The name of live:7 changes, a column that Redis does not hold",
        "UPDATE live_users SET name = 'Ada L.' WHERE id = 7",
    ),
    _step(
        "password",
        "The password of live:7 changes, and nothing else",
        "UPDATE live_users SET password = 'y', updated_at = updated_at + INTERVAL 1 SECOND WHERE id = 7",
    ),
    _step(
        "zero",
        "The balance of live:8 becomes zero, which is a value like any other",
        "UPDATE live_users SET wallet_balance = 0 WHERE id = 8",
    ),
    _step(
        "null",
        "The country of live:42 becomes NULL",
        "UPDATE live_users SET country_id = NULL WHERE id = 42",
    ),
    Step(
        "two quick",
        "Two quick updates of the margin of live:7: the later one must win",
        (
            Transaction(("UPDATE live_users SET margin = 300 WHERE id = 7",)),
            Transaction(("UPDATE live_users SET margin = 412.5 WHERE id = 7",)),
        ),
    ),
    _step(
        "key change",
        "The number of live:42 changes to 43: the old user goes, a new one comes, demo:42 stays",
        "UPDATE live_users SET id = 43 WHERE id = 42",
    ),
    _step("delete", "live:8 is deleted", "DELETE FROM live_users WHERE id = 8"),
    _step(
        "rollback",
        "A transaction on live:7 is rolled back: it never happened",
        "UPDATE live_users SET wallet_balance = 999999, `group` = 'Ghost' WHERE id = 7",
        is_committed=False,
    ),
)
