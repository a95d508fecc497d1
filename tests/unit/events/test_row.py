"""A row image as a struct is a mapping like the dict with the same columns."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from consumer.events.row import Row, row_class

COLUMNS: dict[str, object] = {"id": 1, "class": "x", "keys": None, "größe": [1], "a b": {"c": 2}, "c0": 0}
ROW = msgspec.json.decode(msgspec.json.encode(COLUMNS), type=row_class(tuple(COLUMNS)))


def test_it_is_a_mapping_whatever_the_columns_are_called() -> None:
    assert isinstance(ROW, Mapping)
    assert dict(ROW) == {**ROW} == dict(ROW.items()) == COLUMNS
    assert [ROW[name] for name in COLUMNS] == list(ROW.values()) == list(COLUMNS.values())
    assert (list(ROW), list(ROW.keys()), len(ROW)) == (list(COLUMNS), list(COLUMNS), len(COLUMNS))
    assert "id" in ROW
    assert "c1" not in ROW, "the struct's own field for the column class"


def test_an_absent_column() -> None:
    assert (ROW.get("nothing"), ROW.get("nothing", 5), ROW.get("id", 5), ROW.get("keys", 5)) == (None, 5, 1, None)
    with pytest.raises(KeyError):
        ROW["nothing"]


def test_it_is_equal_to_a_mapping_with_the_same_columns_and_to_nothing_else() -> None:
    other = msgspec.json.decode(msgspec.json.encode(COLUMNS | {"id": 2}), type=row_class(tuple(COLUMNS)))
    turned = dict(reversed(COLUMNS.items()))
    again = msgspec.json.decode(msgspec.json.encode(turned), type=row_class(tuple(turned)))
    assert ROW == COLUMNS
    assert COLUMNS == ROW
    assert again == ROW
    assert ROW not in (other, COLUMNS | {"id": 2}, {}, tuple(COLUMNS), None)


def test_it_is_written_as_json_like_the_dict() -> None:
    assert msgspec.json.encode(ROW) == msgspec.json.encode(COLUMNS)


def test_its_text_has_no_value() -> None:
    row = msgspec.json.decode(b'{"name":"secret"}', type=row_class(("name",)))
    assert isinstance(row, Row)
    assert "secret" not in f"{row!r} {row}"
