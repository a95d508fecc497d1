"""Recordings: files of records, of ``kcat -J``, of saved decisions and of schemas, with gzip and without."""

from __future__ import annotations

import gzip
import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random

import msgspec

from consumer.commands.plan.run import Run
from consumer.commands.plan.saved_file import writer
from consumer.commands.shared.options import schemas_of
from consumer.commands.shared.plan.inputs import of_recording
from consumer.errors import CdcError, ConfigError
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import SourceRecord, to_line
from consumer.mapping.reference import reference
from consumer.planning.decision import decide
from consumer.planning.saved_decision import saved
from consumer.settings.sources import Settings
from tests.fuzz import corpus
from tests.fuzz.damage import damaged_bytes, damaged_document
from tests.fuzz.target import CANARY, Broken, Plain, check_error, check_printable

_WORDS = ("live_users", "trading.trading.live_users", [["a", "AA=="]], [["a", None]], ["a", "b"], "e30=", "%%%", 2**62)


class Recordings:
    """Files that ``plan`` reads. ``saved`` is for ``--against-recording``, ``schemas`` for ``--schemas``."""

    name = "recordings"

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._rules = reference()
        self._settings = Settings()

    def make(self, chance: Random) -> Plain:
        """Some records as lines, in one of the forms, and damage in one of the files."""
        at = chance.randrange(len(corpus.plain_json()))
        records = list(corpus.plain_json()[at : at + chance.randrange(1, 5)])
        kind = chance.random()
        if kind < 0.15:
            texts = json.dumps(dict(list(corpus.avro_schemas().items())[:2])).encode()
            return {"lines": _lines(records, chance), "schemas": damaged_bytes(texts, chance)}
        if kind < 0.35:
            return {"lines": b"\n".join(map(str.encode, map(to_line, records))), "saved": _saved(records, chance)}
        lines = _lines(records, chance)
        if chance.random() < 0.3:
            lines = gzip.compress(lines, mtime=0)
        if chance.random() < 0.3:
            lines = damaged_bytes(lines, chance)
        return {"lines": lines, "as_json": chance.random() < 0.5}

    def attempt(self, given: Plain) -> str:
        folder = Path(self._folder.name)
        said: list[str] = []
        try:
            file = _written(folder / "records", given["lines"])
            schemas = NO_SCHEMAS
            if "schemas" in given:
                schemas = schemas_of(self._settings, _written(folder / "schemas", given["schemas"]))
            run = Run(
                self._settings,
                self._rules,
                schemas,
                of_recording(file),
                say=said.append,
                save=None,
                as_json=given.get("as_json", False),
            )
            if "saved" in given:
                run.against_saved(_written(folder / "saved", given["saved"]), "now", 3, 80)
            else:
                run.show()
        except CdcError as error:
            if not isinstance(error, ConfigError):
                raise Broken(f"an error without a file and a line: {error}") from None
            if str(folder / "records") in error.problem and "line" not in error.problem and "gzip" not in error.problem:
                raise Broken(f"an error without a line: {error}") from None
            return f"refused: {check_error(error)}"
        for each in said:
            check_printable(each)
        return "read" if said else "empty"

    def close(self) -> None:
        self._folder.cleanup()


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _lines(records: list[SourceRecord], chance: Random) -> bytes:
    as_kcat = chance.random() < 0.4
    rows = [_kcat(each, chance) if as_kcat else msgspec.json.decode(to_line(each)) for each in records]
    at = chance.randrange(len(rows))
    if chance.random() < 0.5:
        rows[at] = damaged_document(rows[at], chance, _WORDS, 2)
    if isinstance(rows[at], dict) and chance.random() < 0.2:
        rows[at][chance.choice(["key", "value", "payload", "offset", "headers"])] = CANARY
    return b"\n".join(json.dumps(each).encode() for each in rows) + b"\n"


def _kcat(record: SourceRecord, chance: Random) -> dict[str, object]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "tstype": "create",
        "ts": record.timestamp_ms,
        "broker": 0,
        "headers": chance.choice([[], ["a", "b"], ["a", None], ["a"]]),
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "payload": None if record.value is None else record.value.decode(errors="replace"),
    }


def _saved(records: list[SourceRecord], chance: Random) -> bytes:
    lines = _head()
    for record in records:
        document = json.loads(msgspec.json.encode(saved(record, decide(record, reference(), NO_SCHEMAS))))
        lines += json.dumps(damaged_document(document, chance) if chance.random() < 0.5 else document).encode() + b"\n"
    lines = gzip.compress(lines, mtime=0) if chance.random() < 0.2 else lines
    return damaged_bytes(lines, chance) if chance.random() < 0.4 else lines


@cache
def _head() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saved"
        with writer(path):
            pass
        return path.read_bytes()
