"""Recorded bytes of every format decide the same, without servers."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from consumer.commands.cli import app
from consumer.planning.decision import Decision, Outcome
from tests.wire.formats import DOUBLES, FORMATS, RECORDINGS, REFERENCE, Format
from tests.wire.plans import comparable, decided
from tests.wire.taken import Taken, saved
from tests.wire.truth import check_equal, check_truth


@pytest.fixture(scope="module")
def reference_format() -> Taken:
    return saved(REFERENCE.name)


def test_the_reference_says_what_the_database_did(reference_format: Taken) -> None:
    check_truth(reference_format)


@pytest.mark.parametrize("wire", FORMATS[1:], ids=[each.name for each in FORMATS[1:]])
def test_every_format_gives_the_same_plans(wire: Format, reference_format: Taken) -> None:
    check_equal(wire, saved(wire.name), reference_format)


@pytest.mark.parametrize("wire", DOUBLES, ids=[each.name for each in DOUBLES])
def test_a_double_is_refused_with_advice(wire: Format) -> None:
    rejected = [
        decision for record, decision in decided(saved(wire.name)) if "users" in record.topic and decision.error
    ]
    assert len(rejected) > 15
    for decision in rejected:
        assert decision.error is not None
        assert "floating point" in decision.reason
        assert "decimal.handling.mode=string" in decision.error.advice


def test_avro_without_its_schemas_says_what_to_set() -> None:
    taken = saved("avro-precise-adaptive")
    (record, decision), *_ = decided(Taken(taken.records, {}))
    assert "if they are Avro: set CDC_REGISTRY__URL" in _advice(decision)
    (record, decision), *_ = decided(Taken(taken.records, {12345: next(iter(taken.texts.values()))}))
    assert f"no schema {int.from_bytes((record.value or b'')[1:5], 'big')}" in decision.reason
    assert "as-confluent=true" in _advice(decision)


def test_recordings_are_of_the_formats_that_they_say() -> None:
    for wire in (*FORMATS, *DOUBLES):
        values = [record.value for record in saved(wire.name).records if record.value is not None]
        assert {value[:1] for value in values} == {b"\x00" if wire.is_avro else b"{"}
        assert {value.startswith(b'{"schema"') for value in values} == {wire.has_schema}


def test_decisions_do_not_depend_on_what_came_before(reference_format: Taken) -> None:
    assert comparable(reference_format) == comparable(reference_format)


def _advice(decision: Decision) -> str:
    assert decision.outcome is Outcome.REJECTED
    assert decision.error is not None
    return decision.error.advice


def test_the_command_reads_avro_with_its_schemas_beside_it() -> None:
    name = "avro-precise-connect-keys"
    recorded, schemas = str(RECORDINGS / f"{name}.jsonl.gz"), str(RECORDINGS / f"{name}.schemas.json")
    planned = CliRunner().invoke(app, ["plan", "--json", recorded, "--schemas", schemas])
    lines = [json.loads(line) for line in planned.output.splitlines()]
    assert [each["outcome"] for each in lines] == [str(decision.outcome) for _, decision in decided(saved(name))]
    without = CliRunner().invoke(app, ["plan", recorded], env={"CDC_REGISTRY__URL": None, "CDC_CONFIG": None})
    assert without.exit_code == 1
    assert "no schema registry is configured" in without.output
