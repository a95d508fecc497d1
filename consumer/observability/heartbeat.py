"""The connector's signs of life as ``run`` watches them: a metric, a reason not to be ready, and two log lines."""

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
    """``look`` is that of a :class:`consumer.source.heartbeat_reader.HeartbeatReader`.

    ``limit_s`` seconds without a sign are a silence; 0: none is. A topic that is not there is told once, and is none.
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
        """Ask once. That Kafka is away is told by those who need it."""
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
        self._say_absent(found, now)
        for topic in found.keys() - self._silences.keys():
            self._silences = {**self._silences, topic: Silence(self._limit_s)}  # others read it meanwhile
        for topic, silence in self._silences.items():  # also one whose topic was deleted
            self._turned(topic, silence.looked(found.get(topic), now), now)

    def unready(self) -> str:
        """Which connector is silent, and for how long; "" if none is."""
        now = self._clock()
        for topic, silence in self._silences.items():
            if silence.is_silent:
                return f"no sign of life in {topic} for {silence.age_s(now):.0f} s, more than {self._limit_s:g}"
        return ""

    def collect(self) -> Iterator[Metric]:
        """As of the moment of the scrape."""
        ages = GaugeMetricFamily(
            "cdc_source_heartbeat_age_seconds",
            "Age of the connector's newest heartbeat, or change if that is newer",
            labels=["topic"],
        )
        now = self._clock()
        for topic, silence in self._silences.items():
            ages.add_metric([topic], silence.age_s(now))
        yield ages

    def _say_absent(self, found: Mapping[str, float | None], now: float) -> None:
        for topic, since in list(self._absent.items()):
            if topic in found:
                del self._absent[topic]
            elif now - since >= min(self._limit_s or _ABSENT_S, _ABSENT_S):
                del self._absent[topic]
                _log.warning(
                    "there is no heartbeat topic: a connector that fails is not noticed here",
                    action="source.no_heartbeats",
                    topic=topic,
                    advice="heartbeat.interval.ms=5000 on the connector; another name: CDC_SOURCE__HEARTBEAT_TOPICS",
                )

    def _turned(self, topic: str, turn: SilenceChange | None, now: float) -> None:
        silence = self._silences[topic]
        if turn is SilenceChange.BEGAN:
            age_s = silence.age_s(now)
            self._silent_since[topic] = now - age_s
            _log.warning(
                "the connector is silent: changes do not arrive",
                action="source.silent",
                topic=topic,
                silent_s=round(age_s, 1),
                last_at=None if silence.newest is None else timestamp(round(silence.newest * 1000)),
                advice=_ADVICE,
            )
        elif turn is SilenceChange.ENDED:
            _log.info(
                "the connector gives signs of life again",
                action="source.heard",
                topic=topic,
                silent_s=round(now - self._silent_since.pop(topic), 1),
            )
