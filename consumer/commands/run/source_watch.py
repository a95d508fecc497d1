"""Watches in ``run`` whether changes arrive: heartbeats in Kafka, and connector states if Connect's URL is set."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from consumer.commands.run import connector_readiness
from consumer.commands.run.background import every
from consumer.observability import heartbeat as watch
from consumer.observability.metrics import Metrics
from consumer.settings.sources import Settings
from consumer.source.connect.client import ConnectApi
from consumer.source.heartbeat_reader import HeartbeatReader


def watch_source(settings: Settings, tables: Sequence[str], metrics: Metrics, exits: ExitStack) -> watch.HeartbeatWatch:
    """Watch in separate threads until ``exits``; answers what watches the heartbeats.

    ``tables``: the topics that are consumed.

    Raises:
        ConfigError: a setting of Connect can't be used.
    """
    topics = settings.heartbeat_topics
    reader = HeartbeatReader(settings.kafka, topics, tables)
    heartbeats = watch.HeartbeatWatch(reader.look, topics, settings.metrics.ready_silence_s)
    metrics.include(heartbeats, heartbeats.unready)
    exits.callback(every(watch.LOOK_S, heartbeats.look, "heartbeats", reader.close))
    if "url" not in settings.connect.model_fields_set:
        return heartbeats
    connectors = connector_readiness.ConnectorReadiness(
        ConnectApi(settings.connect, timeout=connector_readiness.TIMEOUT_S),
        settings.kafka.topic_prefix,
        repeat_s=settings.log.repeat_s,
    )
    metrics.include(connectors.states, connectors.unready)
    exits.callback(every(connector_readiness.LOOK_S, connectors.look, "connectors", connectors.close))
    return heartbeats
