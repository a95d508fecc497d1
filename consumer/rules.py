"""What follows from a change of which column of which table: the mapping, with the reference as its default.

A *field* is a column's name in the config hash; most often the two are the same. Everything here is data:
:mod:`consumer.plan` reads it, and no table, column, key or channel is named anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from consumer.value import Kind


@dataclass(frozen=True, slots=True)
class Column:
    """A column that this program owns a field for.

    ``required``: a row image without it is refused. ``scale``: decimals of money, where the wire does not say.
    ``default``: stands for NULL and for an absent column.
    """

    name: str
    kind: Kind = Kind.INTEGER
    required: bool = False
    scale: int = 6
    default: str | None = None
    field: str = ""

    def __post_init__(self) -> None:
        if not self.field:
            object.__setattr__(self, "field", self.name)


@dataclass(frozen=True, slots=True)
class UserTable:
    """A table whose rows are users of one type.

    ``constants`` are fields that every config hash of this table holds. ``outside`` are columns, or patterns of them
    (``bank_*``), that have no field but whose change is news all the same; all others change nothing. Of those the ones
    in ``ignored`` are known to; a column that is named nowhere is reported.
    """

    table: str
    user_type: str
    columns: tuple[Column, ...]
    key: str = "id"
    constants: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def money(self) -> Iterator[tuple[str, int]]:
        """The money columns with their scales."""
        return ((column.name, column.scale) for column in self.columns if column.kind is Kind.MONEY)

    def is_outside(self, column: str) -> bool:
        """Whether a change of ``column``, which has no field, is news."""
        return any(fnmatchcase(column, pattern) for pattern in self.outside)


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows when one of ``fields`` changes.

    ``stamps`` are time fields set in the config hash; ``portfolio_stamps`` in the portfolio hash, where the changed
    fields go too when ``portfolio`` is set. ``clears`` are templates of derived keys, a trailing ``*`` meaning all keys
    that begin so.
    """

    name: str
    fields: frozenset[str]
    stamps: tuple[str, ...] = ()
    portfolio: bool = False
    portfolio_stamps: tuple[str, ...] = ()
    clears: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """Templates of the keys of one user, and the channels of a user's beginning and end."""

    config: str = "user:{<type>:<id>}:config"
    portfolio: str = "user:{<type>:<id>}:portfolio"
    balance: str = "user_balance:<type>:<id>"
    guard: str = "cdc:{<type>:<id>}"
    lifecycle_channel: str = "user_updates"
    group_channel: str = "group_updates"


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole mapping.

    ``consequences`` apply to fields, ``profile`` to every changed field that is not in ``financial``, ``outside`` to
    columns without a field. ``balance_field`` is the field that the balance string and ``group_field`` the one that
    messages about groups speak of. ``epoch`` is the operator's: raised, it outranks every stored version.
    """

    tables: tuple[UserTable, ...]
    consequences: tuple[Consequence, ...]
    profile: Consequence
    outside: Consequence
    names: Names = Names()
    financial: frozenset[str] = frozenset({"wallet_balance", "margin", "net_profit"})
    balance_field: str = "wallet_balance"
    group_field: str = "group"
    balance_ttl_s: int = 3600
    epoch: int = 0

    def table(self, name: str) -> UserTable | None:
        """The rules of a table, None where nobody named it."""
        return next((table for table in self.tables if table.table == name), None)

    def derived(self) -> tuple[str, ...]:
        """Templates of all derived keys, each once."""
        every = (*self.consequences, self.profile, self.outside)
        return tuple(dict.fromkeys(template for each in every for template in each.clears))


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
# Credentials and bookkeeping are not here: their change is nobody's news.
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
