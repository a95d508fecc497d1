"""Headers of records: trace contexts, and those of dead letters, which any program may write too."""

from __future__ import annotations

from functools import cache
from random import Random

import msgspec
from msgspec import structs
from opentelemetry import propagate

from consumer.commands.api.access import Role, Visitor
from consumer.commands.api.console.page import rendered
from consumer.commands.api.console.session import Session
from consumer.commands.dead_letters import report
from consumer.commands.shared.dead_letters.redacted import visible
from consumer.errors import RecordError, Undecodable
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import SourceRecord, from_line, to_line
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.observability.tracing import carried
from consumer.pipeline.dead_letter import ADDED, DeadLetter
from consumer.pipeline.letter_state import LetterResult, LetterStates, Outcome, Unapplied, note
from consumer.planning.decision import decide
from tests.fuzz import corpus
from tests.fuzz.damage import damaged_bytes
from tests.fuzz.target import CANARY, Broken, Plain, check_json, check_printable, check_text

_TRACE = (*propagate.get_global_textmap().fields, "traceparent", "tracestate", "baggage")
_VALUES: tuple[bytes | None, ...] = (
    *(None, b"", b"\xff\xfe", b"0", b"-1", b"9" * 30, b"9" * 5000, "१२".encode(), b" 7 ", b"1_000", b"+7", b"1e3"),
    *(b"live:7", b"live:7,demo:8", b"live:", b":7", b",,,", b"live:0", b"x" * 3000, b"applied", b"discarded", b"stays"),
    *(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00"),
    *(b"a=1,b=2", b"=" * 500, b"key1=value1;property1", b"<script>", b"\x1b[2J", b"a\nb", CANARY.encode()),
)


_SESSION = Session(Visitor("ann", Role.OPERATOR), 0.0, 0.0)


class Headers:
    """Records of a dead letter topic, and what is read in it."""

    name = "headers"

    def __init__(self) -> None:
        self._rules = reference()

    def make(self, chance: Random) -> Plain:
        """Letters and notes of one record, with headers that are damaged, gone, doubled, or of others."""
        records = chance.choice([letters(), corpus.few()])
        record = chance.choice(records)
        return [corpus.plain(self._damaged(record, chance, at)) for at in range(chance.choice([1, 1, 1, 2, 3]))]

    def attempt(self, given: Plain) -> str:
        states = LetterStates("group")
        for each in given:
            record = corpus.record_of(each)
            # A recording with a negative offset is refused: Kafka has none.
            if record.offset >= 0 and from_line(to_line(record)) != record:
                raise Broken("a recording that is not the record")
            states.add(record)
            carrier = carried(record, None, _TRACE)
            propagate.extract(carrier)
        found = states.open()
        report.table(found)
        for unapplied in found:
            self._show(unapplied)
        rendered("letters.html", _SESSION, **_page(found))
        return f"{len(found)} open, {states.strange} strange, {sum(states.others.values())} of others"

    def close(self) -> None:
        """Nothing is open."""

    def _show(self, unapplied: Unapplied) -> None:
        last = unapplied.last
        record = visible(last.record, last.tables, self._rules, NO_SCHEMAS)
        check_json(report.to_json(unapplied))
        check_json(report.shown_json(unapplied, record))
        check_printable(report.shown_text(unapplied, record))
        check_text(str(msgspec.json.encode(record["headers"])))
        result = LetterResult(unapplied, Outcome.STAYS, "why")
        check_printable(report.result_text(result) + report.result_json(result))
        rendered("letter.html", _SESSION, found=unapplied, record=record)
        key, value, headers = note(unapplied, Outcome.DISCARDED)
        states = LetterStates("group")
        for letter in unapplied.letters:
            states.add(SourceRecord("dlq", letter.at.partition, 9, 9, key, value, tuple(headers)))
        if states.strange or states.open():
            raise Broken("a note that is not read as one")

    def _damaged(self, record: SourceRecord, chance: Random, at: int) -> SourceRecord:
        headers = list(record.headers)
        for _ in range(chance.randrange(0, 4)):
            spot = chance.randrange(len(headers)) if headers else 0
            kind = chance.random()
            if kind < 0.15 and headers:
                del headers[spot]
            elif kind < 0.3 and headers:
                headers.insert(chance.randrange(len(headers)), headers[spot])
            elif kind < 0.5 and headers:
                name, value = headers[spot]
                headers[spot] = (name, damaged_bytes(value or b"", chance))
            elif kind < 0.8 and headers:
                headers[spot] = (headers[spot][0], chance.choice(_VALUES))
            else:
                names = (*sorted(ADDED), *_TRACE, "TraceParent", "", "\x00", "x" * 300)
                headers.insert(spot, (chance.choice(names), chance.choice(_VALUES)))
        offset = at if chance.random() < 0.9 else chance.choice([-1, 2**63])
        written = chance.choice([record.timestamp_ms] * 9 + [-1, 0, 2**62, -(2**63)])
        return structs.replace(
            record,
            topic="dlq",
            partition=chance.randrange(2),
            offset=offset,
            timestamp_ms=written,
            headers=tuple(headers),
        )


@cache
def letters() -> list[SourceRecord]:
    """Real records of a dead letter topic: of records that can't be used, for several reasons."""
    letters = []
    for at, record in enumerate(corpus.few()):
        broken = structs.replace(
            record, value=[b"{}", b"\xff", (record.value or b"").replace(b'"op"', b'"po"')][at % 3]
        )
        error = decide(broken, reference(), NO_SCHEMAS).error or Undecodable("empty")
        assert isinstance(error, RecordError)
        users = ((), (UserId("live", 7),), (UserId("live", 7), UserId("demo", 7)))[at % 3]
        headers = DeadLetter(broken, error, users, "group", ("live_users",)[: at % 2]).headers()
        letters.append(structs.replace(broken, topic="dlq", offset=at, headers=tuple(headers)))
    return letters


def _page(found: list[Unapplied]) -> dict[str, object]:
    return {
        "shown": found,
        "count": len(found),
        "every": len(found),
        "reasons": {},
        "tables": {},
        "reason": "",
        "table": "",
        "begin": "",
        "number": 1,
        "pages": 1,
        "query": "",
        "topic": "dlq",
        "has_topic": True,
    }
