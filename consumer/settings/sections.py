"""What can be set, section by section, with its default, its limits and what it is for."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from consumer.settings.extras import advice
from consumer.settings.faults import HTTP, HTTP_WITHOUT_LOGIN, NAME, TOPIC, Wrong


def _parts(value: object) -> object:
    """A list as text, comma separated."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Certified(Section):
    """The files of TLS with a server, all PEM."""

    ca: Path | None = Field(None, description="file of the certificate authority; else the system's")
    certificate: Path | None = Field(None, description="file of this client's certificate")
    key: Path | None = Field(None, description="file of this client's key")

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise Wrong("a key needs its certificate", fix="set the certificate's file too")
        return self


class Security(Certified):
    """How to speak to Kafka: nothing set means plaintext."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str | None = None
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.protocol.startswith("SASL") and (self.user is None or self.password is None):
            raise Wrong(f"{self.protocol} needs a user and a password", fix="set both, or another protocol")
        if not self.protocol.endswith("SSL") and (self.ca or self.certificate):
            raise Wrong(f"{self.protocol} has no use for a CA or a certificate", fix="set the protocol SSL or SASL_SSL")
        return self


class Kafka(Section):
    """The cluster, the group and the topics."""

    client: Literal["kafka-python", "confluent"] = Field(
        "kafka-python", description="what reads: kafka-python, or confluent, which is faster and has to be installed"
    )
    bootstrap_servers: str = Field("localhost:9092", description="host:port, comma separated")
    group_id: str = Field("cdc-consumer", min_length=1, description="the consumer group")
    topic_prefix: str = Field(
        "trading", min_length=1, pattern=TOPIC, description="Debezium's topic.prefix: letters, digits, . _ and -"
    )
    topics: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="exact topic names, comma separated; else every <prefix>.<db or schema>.<captured table>",
    )
    security: Security = Security()
    instance_id: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        pattern=NAME,
        description="this process among the group's, always the same: letters, digits, . _ and -",
    )
    out_of_range: Literal["halt", "earliest"] = Field(
        "halt", description="what to do if the next record is gone: halt, or go on from the earliest"
    )
    uneven: Literal["warn", "refuse"] = Field(
        "warn", description="what to do if the tables' topics differ in their number of partitions: warn, or refuse"
    )
    history_days: int = Field(
        7, ge=0, le=36_500, description="how many days of single changes the topics should hold, for a replay"
    )
    max_poll_records: int = Field(500, ge=1, le=100_000, description="records taken in one step")
    commit_interval_ms: int = Field(1000, ge=0, description="how often finished offsets are committed")
    linger_ms: int = Field(
        0, ge=0, le=60_000, description="how long to wait for other events of the same database transaction"
    )
    session_timeout_ms: int = Field(
        10_000, ge=1000, le=300_000, description="silence after which the group gives us up"
    )
    max_poll_interval_ms: int = Field(300_000, ge=1000, description="longest time between two polls")
    fetch_max_bytes: int = Field(52_428_800, ge=1024, description="bytes of one answer of a broker")
    max_partition_fetch_bytes: int = Field(
        1_048_576, ge=1024, description="bytes of one partition in an answer; small is slow"
    )

    @field_validator("client")
    @classmethod
    def _is_installed(cls, value: str) -> str:
        if value == "confluent" and find_spec("confluent_kafka") is None:
            raise Wrong("the package confluent_kafka is not installed", fix=advice("confluent"))
        return value

    @field_validator("bootstrap_servers")
    @classmethod
    def _hosts(cls, value: str) -> str:
        if not all(re.fullmatch(r"\S+:\d{1,5}", part.strip()) for part in value.split(",")):
            raise Wrong("not an address", allowed="host:port, comma separated")
        return value

    @field_validator("topics")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in value if not re.fullmatch(r"[a-zA-Z0-9._-]+", name)]:
            raise Wrong(f"{wrong[0]!r} can't be a topic's name", allowed="letters, digits, . _ and -")
        return value

    @field_validator("topics", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return _parts(value)


class Redis(Certified):
    """Where the keys are."""

    url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"), description="redis://, redis+cluster://, redis+sentinel://, or rediss…"
    )
    sentinel_user: str | None = Field(None, description="account on the sentinels, where they ask for one")
    sentinel_password: SecretStr | None = Field(None, description="its password, or that of the sentinels themselves")
    timeout_ms: int = Field(5000, ge=10, description="how long one answer may take")
    when_emptied: Literal["wait", "rebuild"] = Field(
        "wait",
        description="what follows if it has less than it acknowledged: wait for replay --rebuild, or rebuild at once",
    )
    tracking: bool = Field(True, description="follow writes under wildcard keys; else one SCAN pass per batch")
    tracked_keys: int = Field(
        1_000_000, ge=1, description="names of so many wildcard keys are kept of each server; with more, SCAN passes"
    )


class Registry(Certified):
    """The schema registry; needed for Avro only."""

    url: str | None = Field(
        None,
        pattern=HTTP_WITHOUT_LOGIN,
        description="base of Confluent's API, http:// or https://, no password in it",
    )
    user: str | None = None
    password: SecretStr | None = None
    timeout_ms: int = Field(5000, ge=10, description="how long one answer may take")


class Database(Section):
    """The database itself, read and never written: for the health API, the audit and ``explain``."""

    url: SecretStr | None = Field(
        None, description="mysql://, mariadb:// or postgresql://user:password@host:port/database, a read-only account"
    )
    replica: bool = Field(False, description="whether it is a replica of the server whose log Debezium reads")
    timeout_ms: int = Field(
        5000, ge=100, description="how long one answer may take; a server that hangs is found out within twice that"
    )
    settle_ms: int = Field(
        2000, ge=0, description="how long a read waits for the commits and transactions that are under way"
    )
    connections: int = Field(5, ge=1, le=100, description="how many connections one process may hold")


class Connect(Certified):
    """Kafka Connect, for the commands that manage connectors, for ``check``, and for ``run``, which watches them."""

    url: str = Field("http://localhost:8083", pattern=HTTP, description="its REST API, http:// or https://")
    user: str | None = None
    password: SecretStr | None = None


class Source(Section):
    """Whose changes are taken, and what to make of those that tell less than they should."""

    database: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="the database, on PostgreSQL the schema, whose rows are taken; with exact topics several, comma "
        "separated. Empty: the one that the group follows already, else the only one that there is",
    )
    heartbeat_topics: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="the connectors' heartbeat topics, comma separated; empty: __debezium-heartbeat.<prefix>"
    )
    accept_missing_before: bool = Field(
        False, description="take an update without its old row image as a change of every owned column"
    )
    unavailable_placeholder: str | None = Field(
        None,
        description="the connector's unavailable.value.placeholder: a text, or hex: and the bytes of one in UTF-8;"
        " empty: Debezium's own",
    )

    @field_validator("unavailable_placeholder")
    @classmethod
    def _text_of_bytes(cls, value: str | None) -> str | None:
        if value is None or not value.startswith("hex:"):
            return value
        try:
            return bytes.fromhex(value.removeprefix("hex:")).decode()
        except ValueError:
            raise ValueError("should be hexadecimal digits of UTF-8 behind hex:") from None

    @field_validator("database", "heartbeat_topics", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return _parts(value)


class DeadLetters(Section):
    """Where records go that can't be applied, and how many of a topic may before it is no longer a matter of rows."""

    topic: str | None = Field(None, pattern=TOPIC, description="their Kafka topic; else <prefix>.dlq")
    in_a_row: int = Field(
        50, ge=0, description="so many of a topic one after the other, one more halts; 0: the first one halts"
    )
    share: float = Field(0.1, ge=0, le=1, description="this share of a topic's last 1000 records, one more halts")
    attempts: int = Field(
        8, ge=1, le=1000, description="so often a change is tried that Redis answers with an error that nobody knows"
    )


class Snapshot(Section):
    """How Debezium is asked for an incremental snapshot, as the connector's own configuration has it."""

    signal_topic: str = Field("", pattern=TOPIC, description="signal.kafka.topic; empty: <prefix>.signals")
    notification_topic: str = Field(
        "", pattern=TOPIC, description="notification.sink.topic.name; empty: <prefix>.notifications"
    )
    silence_s: float = Field(120.0, gt=0, description="how long a snapshot may say nothing before it is given up")


class Guard(Section):
    """What outranks a stored version."""

    epoch: int = Field(0, ge=0, le=2**31, description="the operator's: a higher one outranks every stored version")
    clock_ms: int = Field(
        5000,
        ge=0,
        validation_alias=AliasChoices("clock_ms", "lineage_gap_ms"),
        description="how much the clocks of databases, Kafka Connect and brokers may differ; old name: lineage_gap_ms",
    )
    tombstone_ttl_s: int = Field(30 * 86400, ge=1, description="how long a deleted user's version is kept")


class Audit(Section):
    """How an audit reads, and how long it waits before a difference is one."""

    page: int = Field(1000, ge=1, le=100_000, description="users compared in one step")
    settle_s: float = Field(
        3.0, gt=0, description="how long a change may take into the topics where the database's log does not move"
    )
    patience_s: float = Field(30.0, gt=0, description="how long connector and consumer may take to catch up")
    interval_s: float = Field(300.0, gt=0, description="from one round of --watch to the next")


class Metrics(Section):
    """Prometheus metrics and probes of ``run``."""

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104  # scraped from outside
    port: int = Field(9108, ge=0, le=65535, description="port to listen on; 0 turns it off")
    ready_lag_s: float = Field(
        300.0, ge=0, description="how many seconds behind the source a program is still ready; 0: no limit"
    )
    ready_silence_s: float = Field(
        30.0, ge=0, description="how many seconds without a heartbeat of the connector it is still ready; 0: no limit"
    )


class Tracing(Section):
    """OpenTelemetry traces of ``run``; where they go is set by OpenTelemetry's own variables, ``OTEL_…``."""

    enabled: bool = Field(False, description="true or false; needs the extra otel")


class Jwt(Section):
    """JWTs that the health API accepts beside, or instead of, its token."""

    secret: SecretStr | None = Field(None, description="the shared secret of HS256, 32 bytes or more")
    public_key: Path | None = Field(None, description="file with the RSA public key of RS256, PEM")
    audience: str | None = Field(None, min_length=1, description="the aud that a token must be for")
    role: str | None = Field(None, min_length=1, description="the role that a token must have")
    role_claim: str = Field("role", min_length=1, description="the claim with the role, or with a list of roles")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.secret or self.public_key) and (self.audience is None or self.role is None):
            raise Wrong(
                "a JWT needs an audience and a role too: else any token of the issuer would do",
                fix="set CDC_API__JWT__AUDIENCE and CDC_API__JWT__ROLE",
            )
        return self


class Api(Section):
    """The health API."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=1, le=65535, description="port to listen on")
    token: SecretStr | None = Field(None, description="the bearer token; nothing starts without it or a JWT")
    jwt: Jwt = Jwt()
    refreshes_per_minute: int = Field(60, ge=1, le=100_000, description="how many force-refreshes are allowed")
    refresh_wait_s: float = Field(
        2.0, gt=0, description="how long a force-refresh waits until the consumer has passed what it read"
    )
    cluster_info_s: float = Field(10.0, ge=0, description="how old the counts of cluster-info may be")


class Log(Section):
    """What is written to stderr."""

    format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = "info"
    repeat_s: float = Field(60.0, gt=0, description="how often what is still waited for is said again")
