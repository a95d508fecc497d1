"""The settings by section: default, limits and purpose of each."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from consumer.settings.extras import advice
from consumer.settings.faults import HTTP, HTTP_WITHOUT_LOGIN, NAME, TOPIC, Wrong
from consumer.settings.times import LONGEST_EXPIRY_S
from consumer.settings.values import PORTS, REDIS_OPTIONS, File, Token, check_ports


def _parts(value: object) -> object:
    """Split a comma-separated text; other values stay."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Certified(Section):
    """The files for TLS with a server, all in PEM form."""

    ca: File = Field(None, description="file of the certificate authority; else the system's")
    certificate: File = Field(None, description="file of this client's certificate")
    key: File = Field(None, description="file of this client's key")

    @model_validator(mode="after")
    def _check_key_has_certificate(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise Wrong("a key needs its certificate", fix="set the certificate's file too")
        return self


class Security(Certified):
    """Security of connections to Kafka; the default is plaintext."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str | None = None
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.protocol.startswith("SASL") and (self.user is None or self.password is None):
            raise Wrong(f"{self.protocol} needs a user and a password", fix="set both, or another protocol")
        if not self.protocol.endswith("SSL") and (self.ca or self.certificate):
            raise Wrong(f"{self.protocol} does not use a CA or a certificate", fix="set the protocol SSL or SASL_SSL")
        if not self.protocol.startswith("SASL") and (self.user or self.password):
            problem = f"{self.protocol} does not use a user or a password: the account would be ignored"
            raise Wrong(problem, fix="set the protocol SASL_SSL or SASL_PLAINTEXT, or remove both")
        return self


class Kafka(Section):
    """The cluster, the consumer group and the topics."""

    client: Literal["kafka-python", "confluent"] = Field(
        "kafka-python", description="the client library: kafka-python, or confluent, which is faster and an extra"
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
        description="group.instance.id: a name of this process that survives restarts: letters, digits, . _ and -",
    )
    out_of_range: Literal["halt", "earliest"] = Field(
        "halt", description="what to do if the next record was deleted: halt, or continue at the earliest"
    )
    uneven: Literal["warn", "refuse"] = Field(
        "warn", description="what to do if the tables' topics differ in their number of partitions: warn, or refuse"
    )
    history_days: int = Field(
        7, ge=0, le=36_500, description="how many days of single changes the topics should hold, for a replay"
    )
    max_poll_records: int = Field(500, ge=1, le=100_000, description="most records of one poll")
    commit_interval_ms: int = Field(1000, ge=0, description="pause between two commits of finished offsets, ms")
    linger_ms: int = Field(
        0, ge=0, le=60_000, description="how long to wait for more events of the same database transaction, ms"
    )
    session_timeout_ms: int = Field(
        10_000,
        ge=1000,
        le=300_000,
        description="time without a heartbeat until the group removes this member, ms",
    )
    max_poll_interval_ms: int = Field(300_000, ge=1000, description="longest time between two polls, ms")
    fetch_max_bytes: int = Field(52_428_800, ge=1024, description="most bytes of one fetch response")
    max_partition_fetch_bytes: int = Field(
        1_048_576, ge=1024, description="most bytes of one partition in a fetch response; a small value is slow"
    )

    @field_validator("client")
    @classmethod
    def _check_installed(cls, value: str) -> str:
        if value == "confluent" and find_spec("confluent_kafka") is None:
            raise Wrong("the package confluent_kafka is not installed", fix=advice("confluent"))
        return value

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_addresses(cls, value: str) -> str:
        if not all(re.fullmatch(r"\S+:\d{1,5}", part.strip()) for part in value.split(",")):
            raise Wrong("not an address", allowed="host:port, comma separated")
        check_ports(value)
        return value

    @field_validator("topics")
    @classmethod
    def _check_topic_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in value if not re.fullmatch(r"[a-zA-Z0-9._-]+", name)]:
            raise Wrong(f"{wrong[0]!r} is not a valid topic name", allowed="letters, digits, . _ and -")
        return value

    @field_validator("topics", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)


class Redis(Certified):
    """The Redis servers."""

    url: Annotated[SecretStr, PORTS, REDIS_OPTIONS] = Field(
        SecretStr("redis://localhost:6379/0"), description="redis://, redis+cluster://, redis+sentinel://, or rediss…"
    )
    sentinel_user: str | None = Field(None, description="account on the sentinels, if they require one")
    sentinel_password: SecretStr | None = Field(None, description="password of that account, or of the sentinels")
    timeout_ms: int = Field(5000, ge=10, description="longest time of one answer, ms")
    when_emptied: Literal["wait", "rebuild"] = Field(
        "wait",
        description="what to do if Redis has less than it acknowledged: wait for replay --rebuild, or rebuild at once",
    )
    tracking: bool = Field(
        True, description="track the names of wildcard keys (CLIENT TRACKING); else one SCAN pass per batch"
    )
    tracked_keys: int = Field(
        1_000_000, ge=1, description="most wildcard key names kept for each server; above it, SCAN passes"
    )


class Registry(Certified):
    """The schema registry; needed for Avro only."""

    url: Annotated[str | None, PORTS] = Field(
        None,
        pattern=HTTP_WITHOUT_LOGIN,
        description="base URL of Confluent's API, http:// or https://, without a password",
    )
    user: str | None = None
    password: SecretStr | None = None
    timeout_ms: int = Field(5000, ge=10, description="longest time of one answer, ms")


class Prometheus(Certified):
    """Prometheus, for the charts of the console; without it they are drawn from what the members leave in Redis."""

    url: Annotated[str | None, PORTS] = Field(
        None, pattern=HTTP_WITHOUT_LOGIN, description="base URL of Prometheus, http:// or https://, without a password"
    )
    user: str | None = None
    password: SecretStr | None = None
    match: str | None = Field(
        None, pattern=r"^[^{}]*$", description='which members are shown, as matchers of PromQL: job="cdc-consumer"'
    )


class Database(Section):
    """The database. It is read and never written: for the health API, the audit and ``explain``."""

    url: Annotated[SecretStr | None, PORTS] = Field(
        None, description="mysql://, mariadb:// or postgresql://user:password@host:port/database of a read-only account"
    )
    replica: bool = Field(False, description="whether it is a replica of the server whose log Debezium reads")
    timeout_ms: int = Field(
        5000,
        ge=100,
        description="longest time of one answer, ms; a hanging server is detected within twice this time",
    )
    settle_ms: int = Field(2000, ge=0, description="how long a read waits for commits and transactions in progress, ms")
    connections: int = Field(5, ge=1, le=100, description="most connections of one process")


class Connect(Certified):
    """Kafka Connect: for the commands that manage connectors, for ``check``, and for ``run``, which watches them."""

    url: Annotated[str, PORTS] = Field(
        "http://localhost:8083", pattern=HTTP, description="URL of its REST API, http:// or https://"
    )
    user: str | None = None
    password: SecretStr | None = None


class Source(Section):
    """Which databases' changes are applied, and how to treat incomplete events."""

    database: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="the database whose rows are applied (PostgreSQL: the schema); several only with exact topics, "
        "comma separated. Empty: the one that the group already consumes, else the only one that exists",
    )
    heartbeat_topics: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="the connectors' heartbeat topics, comma separated; empty: __debezium-heartbeat.<prefix>"
    )
    accept_missing_before: bool = Field(
        False, description="treat an update without its old row image as a change of every mapped column"
    )
    unavailable_placeholder: str | None = Field(
        None,
        description="the connector's unavailable.value.placeholder: a text, or hex: and the hexadecimal digits of a"
        " text in UTF-8; empty: Debezium's default",
    )

    @field_validator("unavailable_placeholder")
    @classmethod
    def _decode_hex(cls, value: str | None) -> str | None:
        if value is None or not value.startswith("hex:"):
            return value
        try:
            return bytes.fromhex(value.removeprefix("hex:")).decode()
        except ValueError:
            raise ValueError("should be hex: followed by the hexadecimal digits of a text in UTF-8") from None

    @field_validator("database", "heartbeat_topics", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)


class DeadLetters(Section):
    """Records that can't be applied: their topic, and how many of one topic are allowed before the program halts."""

    topic: str | None = Field(None, pattern=TOPIC, description="their Kafka topic; else <prefix>.dlq")
    in_a_row: int = Field(
        50, ge=0, description="most dead letters of a topic in a row, one more halts; 0: the first one halts"
    )
    share: float = Field(
        0.1, ge=0, le=1, description="largest share of dead letters in a topic's last 1000 records, one more halts"
    )
    attempts: int = Field(8, ge=1, le=1000, description="attempts of a change that Redis answers with an unknown error")


class Snapshot(Section):
    """How to request an incremental snapshot from Debezium; the topics as in the connector's configuration."""

    signal_topic: str = Field("", pattern=TOPIC, description="signal.kafka.topic; empty: <prefix>.signals")
    notification_topic: str = Field(
        "", pattern=TOPIC, description="notification.sink.topic.name; empty: <prefix>.notifications"
    )
    silence_s: float = Field(120.0, gt=0, description="time without a notification after which the command gives up, s")


class Guard(Section):
    """Which change counts as newer than the stored version."""

    epoch: int = Field(
        0, ge=0, le=2**31, description="set by the operator: a higher epoch is newer than every stored version"
    )
    clock_ms: int = Field(
        5000,
        ge=0,
        validation_alias=AliasChoices("clock_ms", "lineage_gap_ms"),
        description="largest difference between the clocks of databases, Kafka Connect and brokers, ms; old name:"
        " lineage_gap_ms",
    )
    tombstone_ttl_s: int = Field(
        30 * 86400, ge=1, le=LONGEST_EXPIRY_S, description="how long a deleted user's version is kept, s"
    )


class Audit(Section):
    """How many users an audit compares at once, and how long it waits before it reports a difference."""

    page: int = Field(1000, ge=1, le=100_000, description="users compared in one step")
    settle_s: float = Field(
        3.0,
        gt=0,
        description="longest time from a commit to the topic while the database's log position does not change, s",
    )
    patience_s: float = Field(
        30.0, gt=0, description="how long to wait until the connector and the consumer have caught up, s"
    )
    interval_s: float = Field(300.0, gt=0, description="pause between two rounds of --watch, s")


class Metrics(Section):
    """Prometheus metrics and probes of ``run``."""

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104  # scraped from outside
    port: int = Field(9108, ge=0, le=65535, description="port to listen on; 0 turns it off")
    ready_lag_s: float = Field(
        300.0,
        ge=0,
        description="largest lag behind the source with which the program is ready, s; 0: no limit",
    )
    ready_silence_s: float = Field(
        30.0,
        ge=0,
        description="longest time without a heartbeat of the connector with which the program is ready, s; 0: no limit",
    )


class Tracing(Section):
    """OpenTelemetry traces of ``run``. OpenTelemetry's own variables, ``OTEL_…``, say where they are sent."""

    enabled: bool = Field(False, description="true or false; needs the extra otel")


class Jwt(Section):
    """JWTs that the health API accepts besides its token, or instead of it."""

    secret: SecretStr | None = Field(None, description="the shared secret of HS256, 32 bytes or more")
    public_key: File = Field(None, description="file with the RSA public key of RS256, PEM")
    audience: str | None = Field(None, min_length=1, description="the aud claim that a token must have")
    role: str | None = Field(None, min_length=1, description="the role that a token must contain")
    viewer_role: str | None = Field(
        None, min_length=1, description="a role that may only look at the console, and not call the API"
    )
    role_claim: str = Field("role", min_length=1, description="the claim with the role, or with a list of roles")

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if (self.secret or self.public_key) and (self.audience is None or self.role is None):
            raise Wrong(
                "a JWT needs an audience and a role too: else every token of the issuer would be accepted",
                fix="set CDC_API__JWT__AUDIENCE and CDC_API__JWT__ROLE",
            )
        return self


class Api(Section):
    """The health API and the console."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=1, le=65535, description="port to listen on")
    token: Token = Field(
        None, min_length=16, description="the bearer token; the API does not start without it or a JWT"
    )
    jwt: Jwt = Jwt()
    refreshes_per_minute: int = Field(60, ge=1, le=100_000, description="most force-refresh requests per minute")
    refresh_wait_s: float = Field(
        2.0, gt=0, description="how long a force-refresh waits for the consumer to reach the position of its read, s"
    )
    cluster_info_s: float = Field(10.0, ge=0, description="largest age of the counts of cluster-info, s")
    console: bool = Field(True, description="whether the console is served too, under /console")
    viewer_token: Token = Field(
        None, min_length=16, description="a token that may only look at the console, and not call the API"
    )
    console_idle_s: float = Field(
        1800.0, gt=0, le=43_200, description="time without a page after which a session of the console ends, s"
    )


class Log(Section):
    """The log, written to stderr."""

    format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = "info"
    repeat_s: float = Field(60.0, gt=0, description="how often a message about a wait that lasts is repeated, s")
