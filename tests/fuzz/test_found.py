"""Inputs that broke a rule once, the smallest of each kind. A new one goes here as the fuzzer prints it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.fuzz.target import Plain
from tests.fuzz.targets import TARGETS
from tests.fuzz.trial import tried

_PLACE: dict[str, Any] = {"topic": "t", "partition": 0, "offset": 0, "timestamp_ms": 0, "key": b""}


def _of_schema(schema: str, body: bytes = b"") -> Plain:
    return {"records": [{**_PLACE, "value": b"\0\0\0\0\x07" + body}], "schemas": {7: schema}}


_NULLS = '{"type":"record","name":"N","fields":[{"name":"n","type":"null"}]}'
_MANY = b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"
_SOURCE = b'"connector":"mysql","ts_ms":9,"server_id":3,"file":"3","pos":1,"row":0,"snapshot":"false","db":"d"'
_LETTER = (
    *(("__connect.errors.topic", b"t"), ("__connect.errors.partition", b"0"), ("__connect.errors.offset", b"0")),
    *(("__connect.errors.connector.name", b"group"), ("__connect.errors.exception.message", b""), ("cdc.user", b"")),
    *(("cdc.reason", b""), ("cdc.stage", b""), ("cdc.advice", b""), ("cdc.field", b"")),
    ("cdc.timestamp_ms", b"4611686018427387904"),
)
FOUND: dict[str, tuple[str, Plain]] = {
    "an array of records of nulls": ("avro", _of_schema(f'{{"type":"array","items":{_NULLS}}}', _MANY)),
    "an array of values of no bytes": (
        "avro",
        _of_schema('{"type":"array","items":{"type":"fixed","name":"F","size":0}}', _MANY),
    ),
    "an array of null, written long": ("avro", _of_schema('{"type":"array","items":{"type":"null"}}', _MANY)),
    "a column without a name": (
        "avro",
        _of_schema('{"type":"record","name":"R","fields":[{"name":null,"type":"long"}]}', b"\2"),
    ),
    "a registry's answer that is nested deeply": (
        "registry",
        {"record": {**_PLACE, "value": b"\0\0\0\0\7"}, "status": 200, "body": b"[" * 100_000},
    ),
    "a table's name of thousands of characters": (
        "json",
        [{**_PLACE, "value": b'{"op":"c","after":{"id":7},"source":{%s,"table":"%s"}}' % (_SOURCE, b"9" * 9999)}],
    ),
    "a letter whose time is none": (
        "headers",
        [{**_PLACE, "timestamp_ms": 2**62, "value": b"", "headers": _LETTER}],
    ),
    "a key with a line break": ("mapping", 'extends = "reference"\n"a\\nb" = 1\n'),
    "a key without a name": ("mapping", '"" = ""'),
    "a key of thousands of characters": ("mapping", f"{'9' * 6000} = 1"),
    "schemas that are no UTF-8": ("recordings", {"lines": b"", "schemas": b'{"6":"\x97"}'}),
    "schemas that are not Avro": ("recordings", {"lines": b"", "schemas": b'{"6":""}'}),
    "an end of a JWT that is no float": (
        "cookies",
        [
            {
                "do": "login",
                "token": {
                    "header": {"alg": "HS256"},
                    "claims": {"exp": 10**400, "aud": "cdc", "role": "operator"},
                    "key": "secret",
                },
            }
        ],
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_it_stays_well(name: str) -> None:
    assert_well(*FOUND[name])


def assert_well(target: str, given: Plain) -> None:
    """No rule of the target is broken by this input."""
    with closing(TARGETS[target]()) as made:
        result = tried(made, given)
    assert result.signature == "", result.told
