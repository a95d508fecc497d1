"""The published messages as models. JSON Schemas and an AsyncAPI document are generated from the models.

:mod:`consumer.planning.message` writes the messages. The models define what a subscriber can rely on. The program does
not validate its messages with them; the tests validate every message that they receive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from consumer.events.value import Kind
from consumer.mapping.rules import Column, Consequence, Rules

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_MONEY = r"^-?(0|[1-9][0-9]*)\.[0-9]{2,}$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"
_INTEGER = r"^-?(0|[1-9][0-9]*)$"

Text: TypeAlias = Annotated[str, Field(min_length=1)]
Money: TypeAlias = Annotated[str, Field(pattern=_MONEY)]
Time: TypeAlias = Annotated[str, Field(pattern=_TIME)]

_BOTH_GROUPS = ("old_group", "new_group")


class Part(BaseModel):
    """A part of a message, or of an entry of a stream."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SourcePosition(Part):
    """The position of the change in the log that Debezium read. It does not show which of two changes is newer: after a
    failover a later change may have a lower position.

    ``lineage`` is the kind of database and the server that wrote the change.
    """

    table: Text
    lineage: Text
    order: Text


class Transaction(Part):
    """What a row of another table says about the change. A field is absent where no such row came with it."""

    transaction_id: Text = ""
    transaction_type: Text = ""
    amount: Annotated[Money, Field(description="exact decimal text")] = ""
    admin_id: int | None = None
    request_id: Text = ""


class _Message(Transaction):
    event_id: Annotated[
        Text,
        Field(
            description="names the change; the same on every channel, in every replay, and sent again after a failover"
        ),
    ]
    user_id: Annotated[int, Field(ge=0)]
    user_type: Text
    updated_fields: Annotated[
        dict[str, str], Field(description="fields of the config hash that changed, as the strings that Redis holds")
    ]
    timestamp: Annotated[Time, Field(description="UTC, the database's time of the change")]
    source: Literal["admin_operation"]
    source_position: SourcePosition
    database_transaction_id: Annotated[str | None, Field(description="the database transaction's id")]
    transactions: Annotated[
        tuple[Transaction, ...],
        Field(
            min_length=2,
            description="where one database transaction had several; the fields beside it are the last one's",
        ),
    ] = ()


class BalanceChange(_Message):
    """Only money changed."""

    event_type: Literal["balance_change"]
    group_changed: Literal[False]


class UserUpdate(_Message):
    """Something else changed, perhaps money too."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"group_changed": {"const": True}}},
            "then": {"required": list(_BOTH_GROUPS)},
            "else": {"not": {"anyOf": [{"required": [name]} for name in _BOTH_GROUPS]}},
        }
    )

    event_type: Literal["admin_user_update"]
    group_changed: bool
    old_group: Annotated[
        str | None, Field(description="only when the group changed; null where the old one is unknown")
    ] = None
    new_group: Annotated[str, Field(description="only when the group changed")] = ""

    @model_validator(mode="after")
    def _groups(self) -> UserUpdate:
        if self.group_changed != self.model_fields_set.issuperset(_BOTH_GROUPS):
            raise ValueError("old_group and new_group are there when the group changed")
        if not self.group_changed and not self.model_fields_set.isdisjoint(_BOTH_GROUPS):
            raise ValueError("old_group and new_group are there only when the group changed")
        return self


class GroupChange(_Message):
    """The group changed."""

    event_type: Literal["user_group_change"]
    group_changed: Literal[True]
    old_group: str | None
    new_group: str


class UserCreated(_Message):
    """A row was inserted; ``updated_fields`` is the whole user."""

    event_type: Literal["user_created"]
    group_changed: Literal[False]


class UserDeleted(_Message):
    """A row was deleted."""

    event_type: Literal["user_deleted"]
    group_changed: Literal[False]
    updated_fields: Annotated[dict[str, str], Field(max_length=0)]


Model: TypeAlias = type[BalanceChange] | type[UserUpdate] | type[GroupChange] | type[UserCreated] | type[UserDeleted]
MODELS: tuple[Model, ...] = (BalanceChange, UserUpdate, GroupChange, UserCreated, UserDeleted)


def event_type(model: Model) -> str:
    """The ``event_type`` of the messages of a model."""
    (name,) = model.model_fields["event_type"].annotation.__args__  # type: ignore[union-attr]  # a Literal of one
    return str(name)


def channels(rules: Rules) -> Mapping[str, Sequence[Model]]:
    """Every channel of a mapping, with the models of its messages."""
    every = (rules.profile, *rules.consequences, rules.outside)
    names = dict.fromkeys(channel for each in every for channel in each.channels)
    names |= dict.fromkeys((rules.names.lifecycle_channel,))
    return {name: tuple(_models(name, every, rules)) for name in sorted(names)}


def _models(channel: str, every: Iterable[Consequence], rules: Rules) -> Iterable[Model]:
    callers = [each for each in every if channel in each.channels]
    if callers and channel == rules.names.group_channel:
        yield GroupChange
    elif callers:
        # A change of only money applies only rules with a financial field. Any other change may apply every rule.
        if any(each.fields & rules.financial for each in callers):
            yield BalanceChange
        yield UserUpdate
    if channel == rules.names.lifecycle_channel:
        yield UserCreated
        yield UserDeleted


class WithoutDefaults(GenerateJsonSchema):
    """Leaves default values out: a field with a default may be absent from a message, and then has no value."""

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def definitions(rules: Rules, ref_template: str, models: Iterable[Model] = MODELS) -> dict[str, Any]:
    """JSON Schemas of the models by name, narrowed to what a mapping can write."""
    _, whole = models_json_schema(
        [(model, "validation") for model in models], ref_template=ref_template, schema_generator=WithoutDefaults
    )
    found: dict[str, Any] = whole["$defs"]
    for name in ("Transaction", *(model.__name__ for model in models)):
        found[name]["properties"] |= _details(rules)
    for model in models:
        properties = found[model.__name__]["properties"]
        properties["user_type"] = {"enum": sorted(table.user_type for table in rules.tables), "title": "User Type"}
        if model is not UserDeleted:
            fields = _hash_fields(rules)
            if model is UserCreated:
                fields |= {"id": {"type": "string", "pattern": _INTEGER}, "user_type": properties["user_type"]}
                fields |= {name: {"type": "string"} for table in rules.tables for name in table.constants}
            closed = {"properties": dict(sorted(fields.items())), "additionalProperties": False}
            properties["updated_fields"] = properties["updated_fields"] | closed
    return found


def _details(rules: Rules) -> dict[str, Any]:
    """The fields that a mapping's linked tables add to the fields of the models."""
    number = {"type": ["integer", "string", "null"]}
    kinds = {Kind.MONEY: {"type": "string", "pattern": _MONEY}, Kind.INTEGER: number, Kind.BITS: number}
    text = {"type": ["string", "null"]}
    every = [each for table in rules.linked for each in table.enriches]
    return {each.field: kinds.get(each.kind, text) for each in every if each.field not in Transaction.model_fields}


def _hash_fields(rules: Rules) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for column in (column for table in rules.tables for column in table.columns):
        schema = _value(column)
        fields[column.field] = schema if fields.get(column.field, schema) == schema else {"type": "string"}
    return fields


def _value(column: Column) -> dict[str, Any]:
    """The schema of a field's string in Redis. NULL is the empty string, or the column's default."""
    pattern = {Kind.MONEY: _MONEY, Kind.TIME: _TIME}.get(column.kind)
    if pattern is None:
        return {"type": "string"}
    null = column.default or ""
    return {"type": "string", "anyOf": [{"pattern": pattern}, {"const": null}]}


def schemas(rules: Rules) -> dict[str, dict[str, Any]]:
    """A JSON Schema for each channel."""
    found = {}
    for channel, models in channels(rules).items():
        found[channel] = {
            "$schema": DIALECT,
            "title": channel,
            "description": f"A message on the Redis channel {channel}.",
            "oneOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in models],
            "$defs": definitions(rules, "#/$defs/{model}", models),
        }
    return found


def asyncapi(rules: Rules, examples: Mapping[str, Sequence[object]], version: str) -> dict[str, Any]:
    """An AsyncAPI document of the channels. ``examples``: messages by ``event_type``."""
    used = channels(rules)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "cdc-consumer",
            "version": version,
            "description": "What cdc-consumer publishes on Redis when it has applied a change of the database.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"redis": {"host": "localhost:6379", "protocol": "redis", "bindings": {"redis": {}}}},
        "channels": {
            name: {
                "address": name,
                "messages": {event_type(model): _ref("messages", event_type(model)) for model in models},
                "bindings": {"redis": {}},
            }
            for name, models in used.items()
        },
        "operations": {
            f"publish_{name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{_pointer(name)}"},
                "summary": "PUBLISH, in the same atomic step as the change's writes and after them",
                "messages": [{"$ref": f"#/channels/{_pointer(name)}/messages/{event_type(model)}"} for model in models],
                "bindings": {"redis": {}},
            }
            for name, models in used.items()
        },
        "components": {
            "messages": {
                event_type(model): {
                    "name": event_type(model),
                    "summary": model.__doc__,
                    "payload": _ref("schemas", model.__name__),
                    "bindings": {"redis": {}},
                    "examples": [{"payload": example} for example in examples.get(event_type(model), ())],
                }
                for model in MODELS
            },
            "schemas": definitions(rules, "#/components/schemas/{model}"),
        },
    }


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
