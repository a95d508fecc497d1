"""What the numbers should be, beside what they are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STRAIGHTFORWARD = "json + redis-py"
OURS = {"kafka-python": "cdc-consumer, kafka-python", "confluent": "cdc-consumer, confluent"}
CEILING = {"kafka-python": "ceiling loop, kafka-python", "confluent": "ceiling loop, confluent"}
BARE_READ = {"kafka-python": "bare read, kafka-python", "confluent": "bare read, confluent"}
BARE_SCRIPT = "bare script"
DECIDING = "deciding"
WITHOUT_STREAMS, WITH_STREAMS = "without streams", "with streams"

_TIMES = {"kafka-python": 2.0, "confluent": 3.0}
_SHARE = 0.75
_REDIS_US = 18.0
_DECIDING_US = 14.0
_WORKERS = 1.5
_P99_MS = {1000: 6.0, 10_000: 15.0}
_FLAT = 1.25
_MEMORY_MB = 150.0


@dataclass(frozen=True)
class Aim:
    """``is_met`` is None if it was not measured."""

    name: str
    wanted: str
    found: str
    is_met: bool | None


def aims(results: Mapping[str, Any]) -> list[Aim]:
    """All aims, in a fixed order."""
    lines = {line["name"]: line for line in results.get("throughput", []) if "per_s" in line}
    found: list[Aim] = []
    for client, name in OURS.items():
        found += _speed(client, {each: line["per_s"] for each, line in lines.items()})
        found.append(_at_most(f"{name}, Redis", "µs", _REDIS_US, lines.get(name, {}).get("cpu_us", {}).get("Redis")))
        found += _latencies(name, results.get("latency", []))
        found.append(_two_workers(name, results.get("scaling", [])))
    stages = {line["name"]: line["us"] for line in results.get("stages", [])}
    found.append(_at_most(DECIDING, "µs", _DECIDING_US, stages.get(DECIDING)))
    found.append(_flat([line for line in results.get("wildcards", []) if "index_us" in line]))
    resident = [lines[name]["resident"]["consumer"] / 2**20 for name in OURS.values() if name in lines]
    found.append(_at_most("memory", "MB", _MEMORY_MB, max(resident, default=None)))
    return found


def _speed(client: str, rates: Mapping[str, float]) -> Iterator[Aim]:
    """The rate against the straightforward loop, and against the ceiling loop with the same client."""
    for other, least in ((STRAIGHTFORWARD, _TIMES[client]), (CEILING[client], _SHARE)):
        rate, base = rates.get(OURS[client]), rates.get(other)
        times = rate / base if rate and base else None
        yield _at_least(f"{OURS[client]}, against {other}", least, times)


def _latencies(name: str, lines: Sequence[Mapping[str, Any]]) -> Iterator[Aim]:
    rates = {at["per_s"]: at["p99"] for line in lines if line["name"] == name for at in line.get("rates", [])}
    for per_s, most in _P99_MS.items():
        yield _at_most(f"{name}, p99 from append to Redis at {per_s:,}/s", "ms", most, rates.get(per_s))


def _two_workers(name: str, lines: Sequence[Mapping[str, Any]]) -> Aim:
    rates = {line["workers"]: line["per_s"] for line in lines if line["name"] == name and "per_s" in line}
    times = rates[2] / rates[1] if 1 in rates and 2 in rates else None
    return _at_least(f"{name}, two workers against one", _WORKERS, times)


def _at_least(name: str, least: float, times: float | None) -> Aim:
    said = "" if times is None else f"{times:.2f} times"
    return Aim(name, f"≥ {least:g} times", said, None if times is None else times >= least)


def _at_most(name: str, unit: str, most: float, found: float | None) -> Aim:
    said = "" if found is None else f"{found:.1f} {unit}"
    return Aim(name, f"≤ {most:g} {unit}", said, None if found is None else found <= most)


def _flat(lines: Sequence[Mapping[str, Any]]) -> Aim:
    """The cost of a change with the most keys against that with the fewest."""
    name, wanted = "wildcard clears flat", f"≤ {_FLAT:g} times the cost with the fewest keys"
    if len(lines) < 2:
        return Aim(name, wanted, "", None)
    by_keys = sorted(lines, key=lambda line: line["keys"])
    times = by_keys[-1]["index_us"] / by_keys[0]["index_us"]
    said = f"{times:.2f} times, from {by_keys[0]['keys']:,} to {by_keys[-1]['keys']:,} keys"
    return Aim(name, wanted, said, times <= _FLAT)
