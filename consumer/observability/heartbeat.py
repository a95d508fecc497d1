"""The age of the connector's heartbeat in ``run``: a metric, a reason for not ready, and log lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer.errors import CdcError
from consumer.events.value import timestamp
from consumer.observability.silence import Silence, SilenceChange

_log = structlog.get_logger(__name__)
LOOK_S = 1.0
_ABSENT_S = 60.0
_ADVICE = "cdc-consumer connect status says whether it runs; docs/runbooks.md, The connector failed"


class HeartbeatWatch(Collector):
    """Checks heartbeats. ``look``: that of a :class:`consumer.source.heartbeat_reader.HeartbeatReader`.

    A connector is silent after ``limit_s`` seconds without a heartbeat; 0: never. A missing topic is logged once, and
    does not count as silent.
    """

    def __init__(
        self,
        look: Callable[[], Mapping[str, float | None]],
        topics: Sequence[str],
        limit_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._look = look
        self._limit_s = limit_s
        self._clock = clock
        self._absent = dict.fromkeys(topics, clock())
        self._silences: dict[str, Silence] = {}
        self._silent_since: dict[str, float] = {}
        self._is_refused = False

    def look(self) -> None:
        """Check once. If Kafka is away, other parts of the program report that."""
        try:
            found = self._look()
        except CdcError as error:
            for silence in list(self._silences.values()):
                silence.blind()
            if not self._is_refused:
                self._is_refused = True
                _log.info("heartbeats can't be read now", action="source.unknown", error=str(error))
            return
        self._is_refused = False
        now = self._clock()
        self._log_absent(found, now)
        for topic in found.keys() - self._silences.keys():
            self._silences = {**self._silences, topic: Silence(self._limit_s)}  # other threads read the old dict
        for topic, silence in self._silences.items():  # also for a topic that was deleted
            self._log_change(topic, silence.looked(found.get(topic), now), now)

    def unready(self) -> str:
        """Which connector is silent, and for how long; "" if none is."""
        now = self._clock()
        for topic, silence in self._silences.items():
            if silence.is_silent:
                return f"no heartbeat in {topic} for {silence.age_s(now):.0f} s, more than {self._limit_s:g}"
        return ""

    def age_s(self) -> float | None:
        """The age of the newest heartbeat, in seconds, the oldest of several connectors'; None without a topic."""
        now = self._clock()
        return max((silence.age_s(now) for silence in self._silences.values()), default=None)

    def collect(self) -> Iterator[Metric]:
        """The age at the time of the scrape, in seconds."""
        ages = GaugeMetricFamily(
            "cdc_source_heartbeat_age_seconds",
            "Age of the connector's newest heartbeat, or change if that is newer",
            labels=["topic"],
        )
        now = self._clock()
        for topic, silence in self._silences.items():
            ages.add_metric([topic], silence.age_s(now))
        yield ages

    def _log_absent(self, found: Mapping[str, float | None], now: float) -> None:
        for topic, since in list(self._absent.items()):
            if topic in found:
                del self._absent[topic]
            elif now - since >= min(self._limit_s or _ABSENT_S, _ABSENT_S):
                del self._absent[topic]
                _log.warning(
                    "there is no heartbeat topic: a failed connector can't be noticed",
                    action="source.no_heartbeats",
                    topic=topic,
                    advice="set heartbeat.interval.ms=5000 on the connector, or CDC_SOURCE__HEARTBEAT_TOPICS",
                )

    def _log_change(self, topic: str, change: SilenceChange | None, now: float) -> None:
        silence = self._silences[topic]
        if change is SilenceChange.BEGAN:
            age_s = silence.age_s(now)
            self._silent_since[topic] = now - age_s
            _log.warning(
                "the connector sends no heartbeats: changes do not arrive",
                action="source.silent",
                topic=topic,
                silent_s=round(age_s, 1),
                last_at=None if silence.newest is None else timestamp(round(silence.newest * 1000)),
                advice=_ADVICE,
            )
        elif change is SilenceChange.ENDED:
            _log.info(
                "the connector sends heartbeats again",
                action="source.heard",
                topic=topic,
                silent_s=round(now - self._silent_since.pop(topic), 1),
            )
