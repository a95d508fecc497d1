"""Results as a page for people: tables and plots. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.aims import STRAIGHTFORWARD, WITHOUT_STREAMS, aims
from benchmarks.svg import Axis, Series, bars, plot

Results = Mapping[str, Any]
"""As a run writes them: ``machine``, and one entry for each part that was run."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; all columns but the first are numbers."""
    lines = [list(head), ["---", *("---:" for _ in head[1:])], *map(list, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _section(head: Sequence[str], rows: Sequence[Sequence[str]], about: str) -> str:
    """Nothing where nothing was measured."""
    return f"{table(head, rows)}\n\n{about}" if rows else ""


def page(results: Results) -> str:
    """The whole page."""
    parts = {
        "Aims": _aims,
        "Throughput": _throughput,
        "Where the time goes": _stages,
        "Latency": _latency,
        "Wildcards": _wildcards,
        "Workers": _scaling,
        "Streams": _streams,
        "Debezium Server": _debezium,
    }
    sections = [f"## {title}\n\n{text}" for title, part in parts.items() if (text := part(results))]
    machine = table(("machine", ""), sorted(results["machine"].items()))
    head = (
        f"# Results of {results['date']}, {results['mode']} run\n\n"
        "Written by `make bench`. Numbers of one run on one machine: compare them with each other, not with others."
    )
    return "\n\n".join([head, *sections, f"## Machine\n\n{machine}"]) + "\n"


def _aims(results: Results) -> str:
    words = {True: "met", False: "**not met**", None: "not measured"}
    rows = [(each.name, each.wanted, each.found, words[each.is_met]) for each in aims(results)]
    return table(("aim", "wanted", "found", ""), rows)


def _throughput(results: Results) -> str:
    lines = results.get("throughput", [])
    base = next((line["per_s"] for line in lines if line["name"] == STRAIGHTFORWARD and "per_s" in line), None)
    rows = [_line(line, base) for line in lines]
    head = ("", "changes/s", "times json + redis-py", "consumer µs", "Redis µs", "broker µs", "all µs", "consumer MB")
    about = (
        "µs are processor time a change: of the consumer, of Redis, of the broker, and of all three, which is what a"
        " machine's cores limit. MB are the most that was resident. ![throughput](throughput.svg)"
    )
    return _section(head, rows, about)


def _line(line: Mapping[str, Any], base: float | None) -> Sequence[str]:
    if "per_s" not in line:
        return line["name"], f"left out: {line['lacking']}", "", "", "", "", "", ""
    cpu, resident = line["cpu_us"], line["resident"]
    times = [f"{cpu[role]:.1f}" if role in cpu else "" for role in ("consumer", "Redis", "broker")]
    times.append(f"{sum(cpu.values()):.1f}")
    memory = f"{resident['consumer'] / 2**20:.0f}" if "consumer" in resident else ""
    return line["name"], f"{line['per_s']:,.0f}", f"{line['per_s'] / base:.2f}" if base else "", *times, memory


def _stages(results: Results) -> str:
    rows = [(line["name"], f"{line['us']:.1f}") for line in results.get("stages", [])]
    about = (
        "Microseconds of the consumer's processor time for a change, each stage by itself; what begins with … is part"
        " of the stage above. Reading is *bare read* in the table above; what is left of a change there is bookkeeping,"
        " and caches that other stages have emptied. ![stages](stages.svg)"
    )
    return _section(("stage", "µs"), rows, about)


def _latency(results: Results) -> str:
    rows = [
        (line["name"], f"left out: {line['lacking']}", "", "", "")
        if "rates" not in line
        else (line["name"], f"{at['per_s']:,}", f"{at['median']:.1f}", f"{at['p99']:.1f}", f"{at['most']:.1f}")
        for line in results.get("latency", [])
        for at in line.get("rates", [{}])
    ]
    head = ("", "changes/s", "median ms", "p99 ms", "most ms")
    about = "From the append in Kafka to the message from Redis. ![distribution](latency.svg)"
    return _section(head, rows, about)


def _wildcards(results: Results) -> str:
    rows = [
        (f"{line['keys']:,}", f"{line['index_us']:,.0f}", f"{line['scan_us']:,.0f}")
        for line in results.get("wildcards", [])
        if "index_us" in line
    ]
    about = "Microseconds a change, in all, by the number of keys under the wildcard. ![curve](wildcards.svg)"
    return _section(("keys", "index", "scan"), rows, about)


def _scaling(results: Results) -> str:
    rows = [
        (
            line["name"],
            str(line["workers"]),
            f"{line['per_s']:,.0f}" if "per_s" in line else f"left out: {line['lacking']}",
        )
        for line in results.get("scaling", [])
    ]
    about = "Processes of one group on one machine. ![scaling](scaling.svg)"
    return _section(("", "workers", "changes/s"), rows, about)


def _streams(results: Results) -> str:
    lines = results.get("streams", [])
    base = next((line["per_s"] for line in lines if line["name"] == WITHOUT_STREAMS and "per_s" in line), None)
    head = ("", "changes/s", "times without", "consumer µs", "Redis µs", "broker µs", "all µs", "consumer MB")
    about = "A change with two messages; with `[streams]` in the mapping, each is an entry of a stream too."
    return _section(head, [_line(line, base) for line in lines], about)


def _debezium(results: Results) -> str:
    rows = [_line(line, None) for line in results.get("debezium", [])]
    head = ("", "changes/s", "", "its µs", "Redis µs", "", "all µs", "its MB")
    about = "From the binlog to a Redis stream, as it is: the plain transport, with nothing decided."
    return _section(head, rows, about)


def plots(results: Results) -> dict[str, str]:
    """SVG by file name."""
    found = {}
    if rates := [(line["name"], line["per_s"]) for line in results.get("throughput", []) if "per_s" in line]:
        found["throughput.svg"] = bars(rates, "changes/s")
    if stages := [(line["name"], line["us"]) for line in results.get("stages", [])]:
        found["stages.svg"] = bars(stages, "µs")
    if curves := [
        Series(f"{line['name']}, {at['per_s']}/s", tuple((x, 100 * share) for x, share in at["curve"]))
        for line in results.get("latency", [])
        for at in line.get("rates", [])
    ]:
        found["latency.svg"] = plot(curves, Axis("ms from append to Redis", is_log=True), Axis("% of changes"))
    if scaled := _by_name(results.get("scaling", []), "workers", "per_s"):
        found["scaling.svg"] = plot(scaled, Axis("workers"), Axis("changes/s", begins_at_0=True))
    if costs := [line for line in results.get("wildcards", []) if "index_us" in line]:
        series = [Series(how, tuple((at["keys"], at[f"{how}_us"]) for at in costs)) for how in ("index", "scan")]
        found["wildcards.svg"] = plot(series, Axis("keys", is_log=True), Axis("µs a change", is_log=True))
    return found


def _by_name(lines: Sequence[Mapping[str, Any]], x: str, y: str) -> list[Series]:
    points: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        if y in line:
            points.setdefault(line["name"], []).append((line[x], line[y]))
    return [Series(name, tuple(each)) for name, each in points.items()]
