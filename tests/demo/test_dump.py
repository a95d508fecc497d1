"""Movement between two dumps: what the demo's claim that nothing moved rests on."""

from __future__ import annotations

from demo.dump import Dump, Movement, movement


def test_sees_keys_come_go_and_change() -> None:
    before = Dump({"a": "1", "b": {"f": "1"}, "c": "1"}, {})
    after = Dump({"a": "1", "b": {"f": "2"}, "d": "1"}, {})
    assert movement(before, after) == Movement(created=("d",), removed=("c",), changed=("b",))


def test_time_that_passes_is_no_movement() -> None:
    assert not movement(Dump({"a": "1"}, {"a": 2000}), Dump({"a": "1"}, {"a": 1500})).keys


def test_an_expiry_put_off_set_or_lifted_is_movement() -> None:
    assert movement(Dump({"a": "1"}, {"a": 1500}), Dump({"a": "1"}, {"a": 2000})).changed == ("a",)
    assert movement(Dump({"a": "1"}, {}), Dump({"a": "1"}, {"a": 2000})).changed == ("a",)
    assert movement(Dump({"a": "1"}, {"a": 2000}), Dump({"a": "1"}, {})).changed == ("a",)
