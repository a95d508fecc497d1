"""Decoders on recorded envelopes: ``python -m benchmarks.decode``.

Ratios to the standard library's ``json`` on the same records; absolute times only of this machine. The best of several
rounds, for others may use the machine too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import orjson

from consumer.events.avro import NO_SCHEMAS
from consumer.events.codec import decode
from tests.wire.taken import Taken, saved

ROUNDS = 30


class Envelope(msgspec.Struct):
    """The skeleton alone; rows stay bytes."""

    op: str
    before: msgspec.Raw
    after: msgspec.Raw
    source: msgspec.Raw


class Typed(msgspec.Struct):
    """The skeleton typed, rows as dicts."""

    op: str
    before: dict[str, object] | None
    after: dict[str, object] | None
    source: dict[str, object]


class Wrapped(msgspec.Struct):
    """A payload in its schema, which is skipped."""

    payload: Typed


def main() -> None:
    """Print a table for each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    plain, wrapped = saved("json-string-isostring"), saved("json-schema-precise-adaptive")
    base = report(
        "JSON",
        values(plain),
        rounds,
        None,
        {
            "json": json.loads,
            "orjson": orjson.loads,
            "msgspec, dicts": msgspec.json.Decoder().decode,
            "msgspec, typed": msgspec.json.Decoder(Typed).decode,
            "msgspec, rows raw": msgspec.json.Decoder(Envelope).decode,
            "this program": lambda data: decode(data, NO_SCHEMAS),
        },
    )
    report(
        "JSON with schema",
        values(wrapped),
        rounds,
        None,
        {
            "json": json.loads,
            "orjson": orjson.loads,
            "msgspec, dicts": msgspec.json.Decoder().decode,
            "msgspec, typed, schema skipped": msgspec.json.Decoder(Wrapped).decode,
            "this program": lambda data: decode(data, NO_SCHEMAS),
        },
    )
    for name in ("avro-precise-adaptive", "avro-string-isostring"):
        avro = saved(name)
        schemas = avro.schemas
        report(
            f"{name}, against json on JSON",
            values(avro),
            rounds,
            base,
            {
                "this program": partial(decode, schemas=schemas),
            },
        )


def values(taken: Taken) -> list[bytes]:
    """The values of the user tables."""
    return [each.value for each in taken.records if each.value and "_users" in each.topic]


def report(
    title: str,
    data: Sequence[bytes],
    rounds: int,
    base: float | None,
    decoders: dict[str, Callable[[bytes], object]],
) -> float:
    """Print the decoders' times as ratios to ``base``, or else to the first one's; answers that time."""
    size = sum(map(len, data)) / len(data)
    print(f"{title}: {size:.0f} bytes a record")
    for name, decoder in decoders.items():
        best = min(_seconds(decoder, data) for _ in range(rounds)) / len(data)
        base = base or best
        print(f"  {name:32} {best / base:5.2f}   ({best * 1e6:.1f} µs)")
    assert base is not None
    return base


def _seconds(decoder: Callable[[bytes], object], data: Sequence[bytes]) -> float:
    started = time.perf_counter()
    for _ in range(20):
        for each in data:
            decoder(each)
    return (time.perf_counter() - started) / 20


if __name__ == "__main__":
    main()
