"""The mapping of the reference deployment: the default of every command."""

from __future__ import annotations

from consumer.events.value import Kind
from consumer.mapping.rules import Column, Consequence, Enrichment, LinkedTable, Rules, UserTable

_BOTH = (
    Column("wallet_balance", Kind.MONEY, required=True),
    Column("margin", Kind.MONEY, required=True),
    Column("net_profit", Kind.MONEY, required=True),
    Column("leverage", required=True),
    Column("group", Kind.TEXT, required=True),
    Column("status", required=True),
    Column("is_active", required=True),
    Column("account_number", Kind.TEXT),
    Column("country_id"),
)
_LIVE = (
    Column("mam_id"),
    Column("mam_status"),
    Column("pam_id"),
    Column("pam_status"),
    Column("copytrader_id"),
    Column("copytrading_status"),
    Column("copy_trading_wallet", Kind.MONEY),
    Column("copytrading_alloted_time", Kind.TIME),
    Column("sending_orders", Kind.TEXT, default="rock"),
)
# Columns with credentials and internal data are not listed: their changes are not published.
_OUTSIDE = (
    "name",
    "email",
    "phone_number",
    "country",
    "state",
    "city",
    "pincode",
    "address",
    "bank_*",
    "id_proof*",
    "address_proof*",
)
_TRANSACTIONS = LinkedTable(
    "user_transactions",
    done=frozenset({"completed"}),
    not_done=frozenset({"pending", "failed", "cancelled"}),
    user_type_column="user_type",
    writes={"transaction_id": "last_transaction_id"},
    time_field="last_transaction_at",
    clears=(
        "user_margin_calc:<type>:<id>",
        "user_stats:<type>:<id>",
        "user_summary:<type>:<id>",
        "financial_summary:<type>:<id>:*",
    ),
    enriches=(
        Enrichment("transaction_id", "transaction_id"),
        Enrichment("type", "transaction_type"),
        Enrichment("amount", "amount", Kind.MONEY),
        Enrichment("admin_id", "admin_id", Kind.INTEGER),
    ),
)
_REQUESTS = LinkedTable(
    "money_requests",
    done=frozenset({"approved"}),
    not_done=frozenset({"pending", "rejected", "on_hold"}),
    user_type="live",
    enriches=(Enrichment("request_id", "request_id"),),
)
_IGNORED = ("password", "view_password", "security_*", "created_at", "updated_at")
_STATS = ("user_stats:<type>:<id>", "user_summary:<type>:<id>")
_MARGIN = "user_margin_calc:<type>:<id>"


def reference() -> Rules:
    """The mapping of the reference deployment."""
    return Rules(
        tables=(
            UserTable("live_users", "live", _BOTH + _LIVE, outside=_OUTSIDE, ignored=_IGNORED),
            UserTable(
                "demo_users", "demo", _BOTH, constants={"sending_orders": "rock"}, outside=_OUTSIDE, ignored=_IGNORED
            ),
        ),
        linked=(_TRANSACTIONS, _REQUESTS),
        consequences=(
            Consequence(
                "financial",
                frozenset({"wallet_balance", "margin", "net_profit"}),
                stamps=("last_balance_update",),
                clears=(_MARGIN, *_STATS, "financial_summary:<type>:<id>:*"),
                channels=("user_updates", "balance_updates"),
            ),
            Consequence(
                "balance",
                frozenset({"wallet_balance"}),
                portfolio=True,
                portfolio_stamps=("balance_updated_at",),
            ),
            Consequence("trading", frozenset({"group", "leverage", "status", "is_active"}), clears=(_MARGIN,)),
            Consequence(
                "group",
                frozenset({"group"}),
                stamps=("last_group_update",),
                portfolio=True,
                portfolio_stamps=("group_updated_at",),
                clears=(
                    "user_group_config:<type>:<id>",
                    "margin_requirements:<type>:<id>",
                    "spread_config:<type>:<id>",
                ),
                channels=("group_updates",),
            ),
        ),
        profile=Consequence("profile", frozenset(), clears=_STATS, channels=("user_updates", "admin_user_updates")),
        outside=Consequence(
            "outside the hash", frozenset(), clears=_STATS, channels=("user_updates", "admin_user_updates")
        ),
    )
