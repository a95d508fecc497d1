"""``make fuzz``: decode, parse and plan real records that were damaged, until the time is up.

Every exception but the program's own is a fault. The seed is printed, and each record depends on it and its number
alone: ``python -m tests.wire.fuzz --seed S --only N`` runs one again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import structs

from consumer.events.avro import KnownSchemas, Schemas
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.planning.decision import decide
from consumer.planning.plan_text import to_json, to_text
from tests.support.scenario import load_all
from tests.wire.formats import DOUBLES, FORMATS
from tests.wire.taken import saved

_SLOW_S = 1.0
_WORDS = (
    *(b"null", b"-1", b"1e999", b"1E400", b"NaN", b"true", b"[]", b"{}", b'""', b"0.1", b"9" * 30, b"9" * 5000),
    *(b'"\\ud800"', b'"\\u0000"', b"[" * 2000, b'{"a":' * 500, b'"AA=="', b'"1234"', b'"__debezium_unavailable_value"'),
    *(b'"u"', b'"d"', b'"r"', b'"t"', b'"m"', b'"1e99"', b'"-0"', b"-9223372036854775809", b'"\xff\xfe"'),
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Real records, and the schemas that those in Avro name."""

    records: Sequence[SourceRecord]
    schemas: Schemas


def corpus() -> Corpus:
    """Every recording and every scenario. The recordings come from one registry, so an id is one schema in all."""
    texts: dict[int, str] = {}
    records = [change.record(at) for scenario in load_all() for at, change in enumerate(scenario.changes)]
    for wire in (*FORMATS, *DOUBLES):
        taken = saved(wire.name)
        records += taken.records
        texts |= taken.texts
    return Corpus([each for each in records if each.value], KnownSchemas(texts))


def damaged(record: SourceRecord, chance: random.Random) -> SourceRecord:
    """The record with some of its bytes, or of its JSON, changed."""
    value, key = record.value or b"", record.key
    if chance.random() < 0.05:
        value = chance.randbytes(chance.randrange(300))
    elif value[:1] == b"{" and chance.random() < 0.5:
        value = _other_json(value, chance)
    else:
        for _ in range(chance.randrange(1, 6)):
            value = chance.choice(_DAMAGES)(value, chance)
    if chance.random() < 0.1:
        key = chance.choice([None, b"", b"\0", b"{}", b"[1]", chance.randbytes(9), key])
    return structs.replace(record, key=key, value=value)


def _flipped(value: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + bytes([chance.randrange(256)]) + value[at + 1 :]


def _cut(value: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + value[at + chance.choice([1, 2, 8, len(value)]) :]


def _doubled(value: bytes, chance: random.Random) -> bytes:
    at, size = chance.randrange(len(value) + 1), chance.randrange(40)
    return value[: at + size] + value[at:]


def _with_word(value: bytes, chance: random.Random) -> bytes:
    """A word in the place of a JSON value, or anywhere."""
    starts = [at + 1 for at, byte in enumerate(value) if byte == ord(":")] or [0]
    at = chance.choice(starts)
    ends = [end for end in range(at, min(len(value), at + 60)) if value[end] in b",}"] or [at]
    return value[:at] + chance.choice(_WORDS) + value[ends[0] :]


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flipped, _cut, _doubled, _with_word)


def _other_json(value: bytes, chance: random.Random) -> bytes:
    """The same document with a few values gone, or others in their place, at any depth."""
    document = msgspec.json.decode(value)
    for _ in range(chance.randrange(1, 4)):
        inside = document
        while isinstance(inside, dict) and inside:
            name = chance.choice(list(inside))
            if isinstance(inside[name], dict) and chance.random() < 0.8:
                inside = inside[name]
                continue
            if chance.random() < 0.3:
                del inside[name]
            else:
                inside[name] = _any_value(chance)
            break
    return msgspec.json.encode(document)


def _any_value(chance: random.Random) -> object:
    return chance.choice(
        [
            *(None, True, 0, -1, 2**63, -(2**70), 10**90, 1.5, -0.0, "", "0", "1234", "AAAA", "AA==", "1e80", "-1E-81"),
            *(
                "9" * 79,
                "9" * 5000,
                "\x00",
                "𝟙𝟚",
                "१",
                "2024-13-45",
                "0001-01-01T00:00:00+23:59",
                "9999-12-31T23:59:59Z",
            ),
            *([], {}, [None], {"scale": 3, "value": "AQ=="}, {"scale": 10**9, "value": b"1"}, "binlog." + "9" * 5000),
            *(chance.getrandbits(chance.randrange(1, 200)), "".join(chr(chance.randrange(1, 0x2FF)) for _ in range(9))),
        ]
    )


def attempt(corpus: Corpus, seed: int, number: int) -> str:
    """What became of the record of that number: its outcome, or a fault's traceback."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  # damage, not secrets
    record = damaged(chance.choice(corpus.records), chance)
    started = time.thread_time()  # what others do with the processor is no fault of a record
    try:
        decision = decide(record, reference(), corpus.schemas)
        to_json(record, decision)
        to_text(record, decision)
    except Exception:  # that there is none is the claim
        return traceback.format_exc()
    if (took_s := time.thread_time() - started) > _SLOW_S:
        return f"Slow: {took_s:.1f} s"
    return str(decision.outcome)


def fuzz(seconds: float, seed: int) -> tuple[Counter[str], dict[int, str]]:
    """Outcomes, and faults by the record's number."""
    material = corpus()
    outcomes: Counter[str] = Counter()
    faults: dict[int, str] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        number = outcomes.total()
        outcome = attempt(material, seed, number)
        if "\n" in outcome or outcome.startswith("Slow"):
            faults[number] = outcome
            outcome = "fault"
        outcomes[outcome] += 1
    return outcomes, faults


def main() -> int:
    """Answers the exit code: 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.wire.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--only", type=int, help="the number of one record to run again")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    if options.only is not None:
        print(attempt(corpus(), options.seed, options.only))
        return 0
    outcomes, faults = fuzz(options.seconds, options.seed)
    print(f"{outcomes.total()} records: " + ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())))
    for text, number in {text.strip().splitlines()[-1]: number for number, text in faults.items()}.items():
        print(f"--only {number}: {text}")
    for number, text in list(faults.items())[:3]:
        print(f"\n--only {number}\n{text}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
