"""The changes that every format is asked to carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.stack.trading import Trading

LAST = 99
"""The user whose insert comes last, so that a reader knows that all is there."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Statements with a name. ``fits`` says of a format whether it can carry them truly."""

    name: str
    statements: Sequence[str]


BEFORE = (
    "INSERT INTO live_users (id, name, email, password, wallet_balance) VALUES (900, 'W', 'w@example.org', 'x', 5)",
    "INSERT INTO demo_users (id, name, email, password, wallet_balance) VALUES (900, 'W', 'w@example.org', 'x', 5)",
)

CHANGES = (
    (
        "INSERT INTO live_users (id, name, email, password, wallet_balance, `group`, account_number, country_id, "
        "copytrading_alloted_time) "
        "VALUES (1, 'A', 'a@example.org', 'x', 10000.5, 'VIP', 'A1', 44, '2024-02-29 23:59:59')"
    ),
    (
        "INSERT INTO live_users (id, name, email, password, margin, net_profit)"
        " VALUES (2, 'B', 'b@example.org', 'x', 123456789012.123456, -0.000001)"
    ),
    "INSERT INTO demo_users (id, name, email, password, wallet_balance) VALUES (1, 'D', 'd@example.org', 'x', 5000)",
    "UPDATE live_users SET wallet_balance = 10150.75 WHERE id = 1",
    "UPDATE live_users SET wallet_balance = -99999999999.999999, margin = 0.1 WHERE id = 1",
    "UPDATE live_users SET wallet_balance = 0, leverage = 0 WHERE id = 1",
    "UPDATE live_users SET `group` = 'Größe 日本', is_active = 0, country_id = NULL WHERE id = 1",
    "UPDATE live_users SET copytrading_alloted_time = '1999-12-31 00:00:00' WHERE id = 1",
    "UPDATE live_users SET copytrading_alloted_time = NULL, account_number = '' WHERE id = 1",
    "UPDATE live_users SET name = 'Somebody Else' WHERE id = 1",
    "UPDATE live_users SET password = 'other' WHERE id = 1",
    "UPDATE demo_users SET net_profit = 999999999999.999999 WHERE id = 1",
    "UPDATE live_users SET id = 3 WHERE id = 2",
    "BEGIN",
    "UPDATE live_users SET wallet_balance = 77.25 WHERE id = 1",
    (
        "INSERT INTO user_transactions (id, transaction_id, user_id, type, amount, status, admin_id)"
        " VALUES (1, 'TXN1', 1, 'deposit', 77.25, 'completed', 7)"
    ),
    (
        "INSERT INTO money_requests (id, request_id, user_id, type, amount, status, admin_id, approved_at)"
        " VALUES (1, 'REQ1', 1, 'deposit', 77.25, 'approved', 7, '2024-01-15 10:30:00')"
    ),
    "COMMIT",
    "UPDATE user_transactions SET status = 'cancelled' WHERE id = 1",
    "DELETE FROM live_users WHERE id = 3",
)
# The connector follows these without a restart.
EVOLUTION = (
    "ALTER TABLE live_users ADD COLUMN loyalty INT NULL",
    "UPDATE live_users SET loyalty = 7, margin = 1.5 WHERE id = 1",
    "ALTER TABLE live_users RENAME COLUMN loyalty TO tier",
    "UPDATE live_users SET tier = 8 WHERE id = 1",
    "ALTER TABLE live_users MODIFY leverage BIGINT NULL DEFAULT 100",
    "UPDATE live_users SET leverage = 5000000000 WHERE id = 1",
    "ALTER TABLE live_users DROP COLUMN sending_orders",
    "UPDATE live_users SET margin = 2.5 WHERE id = 1",
)
# A scale that is not the mapping's: JSON without schema can't carry it in precise mode.
WIDENED = (
    "ALTER TABLE live_users MODIFY margin DECIMAL(20,8) NULL DEFAULT 0",
    "UPDATE live_users SET margin = 3.12345678 WHERE id = 1",
    "ALTER TABLE live_users MODIFY margin DECIMAL(18,6) NULL DEFAULT 0",
)
# NULL where the column has a default: Avro's converters send the default.
NULLED = ("UPDATE live_users SET wallet_balance = NULL, `group` = NULL WHERE id = 1",)
RESTORED = (
    "DELETE FROM live_users",
    "ALTER TABLE live_users DROP COLUMN tier",
    "ALTER TABLE live_users MODIFY leverage INT NULL DEFAULT 100",
    "ALTER TABLE live_users ADD COLUMN sending_orders VARCHAR(255) NULL AFTER copytrading_alloted_time",
)
END = (f"INSERT INTO live_users (id, name, email, password) VALUES ({LAST}, 'Z', 'z@example.org', 'x')",)


def run(trading: Trading, *parts: Sequence[str]) -> None:
    """One statement after another."""
    for statement in (statement for part in parts for statement in part):
        trading.execute(statement)
