"""The answers of the health API as models. OpenAPI is generated from them; docs/api.md explains the fields."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, Field, WithJsonSchema

Number: TypeAlias = Annotated[Decimal | None, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})]
Text: TypeAlias = str | None

T = TypeVar("T", bound=BaseModel)


class Nothing(BaseModel):
    """An error has no data."""


class Envelope(BaseModel, Generic[T]):
    """Every answer of this API."""

    success: bool
    message: str
    data: T


class Failure(Envelope[Nothing]):
    """Every answer that is an error; ``message`` says what to do."""


class Status(BaseModel):
    """Whether keys in Redis can be written, read and deleted."""

    status: Literal["healthy", "unhealthy"]
    redis_connected: bool
    cache_operations: Literal["working", "failed"]
    timestamp: str


class Owned(BaseModel):
    """The fields that clients know. null: NULL in the database, or the field is absent or no number in Redis."""

    wallet_balance: Number
    leverage: Number
    margin: Number
    account_number: Text
    group: Text
    status: Number
    is_active: Number


class OwnedInRedis(Owned):
    """The same fields in the config hash."""

    last_updated: Text


class BalanceCache(BaseModel):
    """The balance string. ``ttl``: in seconds, -1 without a time to live, -2 without a key, as in Redis."""

    wallet_balance: Number
    ttl: int


class Check(BaseModel):
    """``balance_matches``: the balance in the config hash. ``cache_matches``: the balance string, if it exists."""

    balance_matches: bool
    cache_matches: bool
    all_consistent: bool


class FieldDifference(BaseModel):
    """A field that differs from the database; ``field`` is empty for a string or a whole key."""

    key: str
    kind: str
    field: str
    redis: Text
    database: Text


class Consistency(BaseModel):
    """The database's row and the values in Redis; every mapped field is compared."""

    user_id: int
    user_type: str
    is_consistent: bool
    database: Owned
    redis_config: OwnedInRedis
    redis_balance_cache: BalanceCache
    consistency_check: Check
    differences: list[FieldDifference] | None = Field(None, description="only with details=true")


class Refresh(BaseModel):
    """The fields of the config hash after the refresh; empty if Redis has a newer change."""

    user_id: int
    user_type: str
    refreshed_fields: dict[str, Number | Text]


class Node(BaseModel):
    """A server with keys. A single server counts as one node."""

    host: str
    port: int
    status: Literal["connected", "disconnected"]
    keys: int
    user_configs: int
    balance_caches: int


class ClusterInfo(BaseModel):
    """The number of keys, by node and in total."""

    nodes: list[Node]
    total_keys: int
    user_config_keys: int
    balance_cache_keys: int
