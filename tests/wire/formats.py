"""Wire formats: what to set on the connector for each, and connectors of all of them on one database at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from consumer.source.connect.client import Connector
from tests.support.stack import registry
from tests.support.stack.login import PROJECT
from tests.support.stack.registration import delete_topics, is_snapshot_complete, load
from tests.support.stack.stack import Stack
from tests.support.stack.wire import read

RECORDINGS = PROJECT / "tests" / "recordings"
TABLES = ("live_users", "demo_users", "user_transactions", "money_requests")


@dataclass(frozen=True, slots=True)
class Format:
    """``config`` replaces lines of the connector's file."""

    name: str
    decimals: str
    times: str
    is_avro: bool = False
    has_schema: bool = False
    has_avro_key: bool = False

    def config(self, stack: Stack) -> dict[str, str]:
        """The lines of the connector that make this format."""
        config = {"decimal.handling.mode": self.decimals, "time.precision.mode": self.times}
        if self.has_avro_key:
            config |= avro_converter(stack, "key")
        if self.is_avro:
            return config | avro_converter(stack, "value")
        return config | {"value.converter.schemas.enable": str(self.has_schema).lower()}


# On MySQL Debezium refuses plain "adaptive".
ADAPTIVE = "adaptive_time_microseconds"
FORMATS = (
    Format("json-string-isostring", "string", "isostring"),
    Format("json-string-nanoseconds", "string", "nanoseconds"),
    Format("json-string-connect", "string", "connect"),
    Format("json-precise-microseconds", "precise", "microseconds"),
    Format("json-schema-precise-adaptive", "precise", ADAPTIVE, has_schema=True),
    Format("json-schema-precise-connect", "precise", "connect", has_schema=True),
    Format("avro-precise-adaptive", "precise", ADAPTIVE, is_avro=True),
    Format("avro-string-isostring", "string", "isostring", is_avro=True),
    Format("avro-precise-connect-keys", "precise", "connect", is_avro=True, has_avro_key=True),
)
REFERENCE = FORMATS[0]
DOUBLES = (
    Format("json-double", "double", "isostring"),
    Format("avro-double", "double", "isostring", is_avro=True),
)


def avro_converter(stack: Stack, part: str) -> dict[str, str]:
    """Avro in Confluent's wire format; ``part`` is ``key`` or ``value``."""
    return {
        f"{part}.converter": registry.CONVERTER,
        f"{part}.converter.apicurio.registry.url": stack.registry.native_url,
        f"{part}.converter.apicurio.registry.auto-register": "true",
        f"{part}.converter.apicurio.registry.headers.enabled": "false",
        f"{part}.converter.apicurio.registry.as-confluent": "true",
        f"{part}.converter.apicurio.registry.use-id": "contentId",
        "schema.name.adjustment.mode": "avro",
        "field.name.adjustment.mode": "avro",
    }


@contextmanager
def connectors(stack: Stack, configs: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Connectors by topic prefix, each with lines of its own, all through with their snapshots."""
    with ExitStack() as exits:
        api = exits.enter_context(stack.connect.api())
        for prefix, lines in configs.items():
            loaded = load(stack, stack.mysql, prefix, CDC_PARTITIONS="1")
            config = loaded.config | dict(lines)
            included = config["column.include.list"]
            config["column.include.list"] = f"{included},trading\\.live_users\\.(loyalty|tier)"
            # One salt for all, or the hashed columns of two formats would differ.
            for name in [name for name in config if name.startswith("column.mask.hash")]:
                config[name.rpartition("salt.")[0] + "salt.0123456789"] = config.pop(name)
            connector = Connector(name=loaded.name, config=config)
            exits.callback(delete_topics, stack, prefix)
            api.apply(connector)
            exits.callback(api.delete, connector.name)
        for prefix in configs:
            api.wait_running(f"{prefix}-mysql")
            read(stack.kafka, [f"{prefix}.notifications"], is_snapshot_complete, timeout_s=60)
        yield


def topics(prefix: str) -> list[str]:
    """The topics of the captured tables."""
    return [f"{prefix}.trading.{table}" for table in TABLES]
