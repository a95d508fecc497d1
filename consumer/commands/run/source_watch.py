"""``run`` watches whether its source sends: heartbeats in Kafka, and the connectors where Connect's address is set."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from consumer.commands.run import connectors as follow
from consumer.commands.run.background import every
from consumer.observability import heartbeat as watch
from consumer.observability.metrics import Metrics
from consumer.settings.sources import Settings
from consumer.source.connect.client import ConnectApi
from consumer.source.heartbeat_reader import HeartbeatReader


def watch_source(settings: Settings, tables: Sequence[str], metrics: Metrics, exits: ExitStack) -> None:
    """Watch from threads of their own until ``exits``; ``tables`` are the topics that are followed.

    Raises:
        ConfigError: a setting of Connect can't be used.
    """
    topics = settings.heartbeat_topics
    reader = HeartbeatReader(settings.kafka, topics, tables)
    heartbeats = watch.HeartbeatWatch(reader.look, topics, settings.metrics.ready_silence_s)
    metrics.include(heartbeats, heartbeats.unready)
    exits.callback(every(watch.LOOK_S, heartbeats.look, "heartbeats", reader.close))
    if "url" not in settings.connect.model_fields_set:
        return
    connectors = follow.ConnectorStatesWatch(
        ConnectApi(settings.connect, timeout=follow.TIMEOUT_S), settings.kafka.topic_prefix
    )
    metrics.include(connectors.states, connectors.unready)
    exits.callback(every(follow.LOOK_S, connectors.look, "connectors", connectors.close))
