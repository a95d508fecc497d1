"""The messages of a change: their fields are those that no row of a linked table may set."""

from __future__ import annotations

from consumer.mapping.rules import MESSAGE_FIELDS
from consumer.planning.message import _Message


def test_every_field_is_reserved() -> None:
    """A detail is added behind the fields: with the name of one of them, the JSON would have a name twice."""
    assert set(_Message.__struct_fields__) == MESSAGE_FIELDS
