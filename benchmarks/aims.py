"""What the numbers should be, beside what they are. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STRAIGHTFORWARD = "json + redis-py"
OURS = {"kafka-python": "cdc-consumer, kafka-python", "confluent": "cdc-consumer, confluent"}
BARE_READ = {"kafka-python": "bare read, kafka-python", "confluent": "bare read, confluent"}
BARE_SCRIPT = "bare script"

_LEAST = {"kafka-python": 20_000, "confluent": 40_000}
_TIMES = {"kafka-python": 2.0, "confluent": 4.0}
_SHARE = 0.8
_P99_MS, _P99_AT = 10.0, 1000
_FLAT = 1.25
_MEMORY_MB = 200.0


@dataclass(frozen=True)
class Aim:
    """``is_met`` is None where it was not measured."""

    name: str
    wanted: str
    found: str
    is_met: bool | None


def aims(results: Mapping[str, Any]) -> list[Aim]:
    """All of them, in a fixed order."""
    lines = {line["name"]: line for line in results.get("throughput", []) if "per_s" in line}
    rates = {name: line["per_s"] for name, line in lines.items()}
    found = []
    for client in OURS:
        found += _speed(client, rates)
    found += [_latency(client, results.get("latency", [])) for client in OURS]
    found.append(_flat([line for line in results.get("wildcards", []) if "index_us" in line]))
    resident = [lines[name]["resident"]["consumer"] / 2**20 for name in OURS.values() if name in lines]
    found.append(_below("memory", "MB", _MEMORY_MB, max(resident, default=None)))
    return found


def _speed(client: str, rates: Mapping[str, float]) -> list[Aim]:
    rate, base = rates.get(OURS[client]), rates.get(STRAIGHTFORWARD)
    wanted, is_met = f"≥ {_LEAST[client]:,}/s", None if rate is None else rate >= _LEAST[client]
    bare = [rates.get(BARE_READ[client]), rates.get(BARE_SCRIPT)]
    limit = None if None in bare else min(each for each in bare if each is not None)
    if client == "confluent":
        wanted += f" or {_SHARE:.0%} of the slower bare rate"
        if limit is not None:
            wanted += f" ({_SHARE * limit:,.0f}/s)"
            is_met = None if rate is None else bool(is_met) or rate >= _SHARE * limit
    times = rate / base if rate and base else None
    return [
        Aim(OURS[client], wanted, "" if rate is None else f"{rate:,.0f}/s", is_met),
        Aim(
            f"{OURS[client]}, against {STRAIGHTFORWARD}",
            f"≥ {_TIMES[client]:g} times",
            "" if times is None else f"{times:.2f} times",
            None if times is None else times >= _TIMES[client],
        ),
    ]


def _latency(client: str, lines: Sequence[Mapping[str, Any]]) -> Aim:
    p99 = [
        at["p99"]
        for line in lines
        if line["name"] == OURS[client]
        for at in line.get("rates", [])
        if at["per_s"] == _P99_AT
    ]
    return _below(f"{OURS[client]}, p99 from append to Redis at {_P99_AT:,}/s", "ms", _P99_MS, max(p99, default=None))


def _below(name: str, unit: str, most: float, found: float | None) -> Aim:
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
