"""What the health API answers, as models: they are its OpenAPI description, and docs/api.md says what each means."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, Field, WithJsonSchema

Number: TypeAlias = Annotated[Decimal | None, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})]
Text: TypeAlias = str | None

T = TypeVar("T", bound=BaseModel)


class Nothing(BaseModel):
    """An error carries no data."""


class Envelope(BaseModel, Generic[T]):
    """Every answer of this API."""

    success: bool
    message: str
    data: T


class Failure(Envelope[Nothing]):
    """Every answer that is an error; ``message`` says what a person can do."""


class Status(BaseModel):
    """Whether Redis can be written, read and deleted from."""

    status: Literal["healthy", "unhealthy"]
    redis_connected: bool
    cache_operations: Literal["working", "failed"]
    timestamp: str


class Owned(BaseModel):
    """The fields that clients know; null is NULL in the database, and a field that is absent or no number in Redis."""

    wallet_balance: Number
    leverage: Number
    margin: Number
    account_number: Text
    group: Text
    status: Number
    is_active: Number


class OwnedInRedis(Owned):
    """The same, as the config hash has them."""

    last_updated: Text


class BalanceCache(BaseModel):
    """The balance string; ``ttl`` in seconds, -1 without one and -2 without a key, as Redis says."""

    wallet_balance: Number
    ttl: int


class Check(BaseModel):
    """``balance_matches`` is about the config hash, ``cache_matches`` about the balance string where there is one."""

    balance_matches: bool
    cache_matches: bool
    all_consistent: bool


class FieldDifference(BaseModel):
    """A field of a key that is not what the database says; ``field`` is empty for a string or a whole key."""

    key: str
    kind: str
    field: str
    redis: Text
    database: Text


class Consistency(BaseModel):
    """The database's row beside what Redis holds; every field that the consumer owns is compared."""

    user_id: int
    user_type: str
    is_consistent: bool
    database: Owned
    redis_config: OwnedInRedis
    redis_balance_cache: BalanceCache
    consistency_check: Check
    differences: list[FieldDifference] | None = Field(None, description="only with details=true")


class Refresh(BaseModel):
    """The fields that the config hash holds now, by the database's row; empty if Redis holds a newer change."""

    user_id: int
    user_type: str
    refreshed_fields: dict[str, Number | Text]


class Node(BaseModel):
    """A server that holds keys. A single server is one node."""

    host: str
    port: int
    status: Literal["connected", "disconnected"]
    keys: int
    user_configs: int
    balance_caches: int


class ClusterInfo(BaseModel):
    """How many keys there are, by node and together."""

    nodes: list[Node]
    total_keys: int
    user_config_keys: int
    balance_cache_keys: int
