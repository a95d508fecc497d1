"""Damage: of bytes, of text, and of the structure of a document. Each depends on ``chance`` alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any, TypeAlias, TypeVar

_T = TypeVar("_T")
Spot: TypeAlias = tuple[Any, Any]
"""A dict or a list, and a key or an index in it."""

_WORDS = (
    *(b"null", b"-1", b"1e999", b"1E400", b"NaN", b"true", b"[]", b"{}", b'""', b"0.1", b"9" * 30, b"9" * 5000),
    *(b'"\\ud800"', b'"\\u0000"', b"[" * 2000, b'{"a":' * 500, b'"AA=="', b'"1234"', b'"__debezium_unavailable_value"'),
    *(b'"u"', b'"d"', b'"r"', b'"t"', b'"m"', b'"1e99"', b'"-0"', b"-9223372036854775809", b'"\xff\xfe"'),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**70), 10**90, 1.5, -0.0, 1e308, "", "0", "1234", "AAAA", "AA=="),
    *("9" * 79, "9" * 5000, "\x00", "\n", "𝟙𝟚", "१", "1e80", "-1E-81", "1e999999999", "0x10", "1_0", " 1 ", "NaN"),
    *("2024-13-45", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "-290307-01-01T00:00:00Z"),
    *([], {}, [None], [[]], {"": None}, {"scale": 3, "value": "AQ=="}, {"scale": 10**9, "value": "AQ=="}),
    *("binlog." + "9" * 5000, "live", "completed", "true", "null", "__debezium_unavailable_value"),
)


def damaged_bytes(value: bytes, chance: Random, most: int = 6) -> bytes:
    """Some bytes changed, cut, doubled, or a word in the place of a value."""
    if chance.random() < 0.03:
        return chance.randbytes(chance.randrange(300))
    for _ in range(chance.randrange(1, most)):
        value = chance.choice(_DAMAGES)(value, chance)
    return value


def damaged_text(text: str, chance: Random) -> str:
    """As :func:`damaged_bytes`, in a text that stays UTF-8."""
    return damaged_bytes(text.encode(), chance).decode(errors="ignore")


def damaged_document(document: _T, chance: Random, values: Sequence[Any] = (), most: int = 4) -> _T:
    """The same document with a few values gone, doubled, exchanged or others in their place, at any depth.

    ``values``: values of this kind of document, beside those that any document may get.
    """
    found = deepcopy(document)
    for _ in range(chance.randrange(1, most)):
        spots = list(_spots(found))
        if not spots:
            break
        # Near the root and near the leaves alike: of a row with forty columns the envelope's fields are few.
        inside, name = chance.choice(spots[: 1 + len(spots) // 8] if chance.random() < 0.3 else spots)
        _damage_spot(inside, name, spots, chance, values)
    return found


def _damage_spot(inside: Any, name: Any, spots: list[Spot], chance: Random, values: Sequence[Any]) -> None:
    kind = chance.random()
    if kind < 0.2:
        del inside[name]
    elif kind < 0.35:
        other, at = chance.choice(spots)
        # Only a dict or a list is moved. A row's value as a table's name would be in an error, as names are.
        inside[name] = deepcopy(other[at]) if _is_at(other, at) and isinstance(other[at], dict | list) else None
    elif kind < 0.45 and isinstance(inside, dict):
        inside[_other_name(str(name), chance)] = inside.pop(name)
    elif kind < 0.45:
        inside.insert(name, deepcopy(inside[name]))
    elif kind < 0.55 and isinstance(inside[name], str):
        inside[name] = damaged_text(inside[name], chance)
    elif kind < 0.7 and values:
        inside[name] = deepcopy(chance.choice(values))
    else:
        inside[name] = any_value(chance)


def _is_at(inside: Any, name: Any) -> bool:
    return name in inside if isinstance(inside, dict) else name < len(inside)


def _other_name(name: str, chance: Random) -> str:
    return chance.choice([name.upper(), f"{name}_", name[1:], "", "\x00", f"{name}\n", "x" * 300])


def _spots(document: Any) -> list[Spot]:
    found: list[Spot] = []
    waiting = [document]
    while waiting:
        inside = waiting.pop(0)
        names = list(inside) if isinstance(inside, dict) else range(len(inside))
        for name in names:
            found.append((inside, name))
            if isinstance(inside[name], dict | list):
                waiting.append(inside[name])
    return found


def any_value(chance: Random) -> Any:
    """A value that a document may have by mistake."""
    if chance.random() < 0.1:
        return chance.getrandbits(chance.randrange(1, 200))
    if chance.random() < 0.1:
        return "".join(chr(chance.randrange(1, 0x2FF)) for _ in range(9))
    return deepcopy(chance.choice(_VALUES))


def _flipped(value: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + bytes([chance.randrange(256)]) + value[at + 1 :]


def _cut(value: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + value[at + chance.choice([1, 2, 8, len(value)]) :]


def _doubled(value: bytes, chance: Random) -> bytes:
    at, size = chance.randrange(len(value) + 1), chance.randrange(40)
    return value[: at + size] + value[at:]


def _with_word(value: bytes, chance: Random) -> bytes:
    """A word in the place of a JSON value, or anywhere."""
    starts = [at + 1 for at, byte in enumerate(value) if byte == ord(":")] or [0]
    at = chance.choice(starts)
    ends = [end for end in range(at, min(len(value), at + 60)) if value[end] in b",}"] or [at]
    return value[:at] + chance.choice(_WORDS) + value[ends[0] :]


_DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (_flipped, _cut, _doubled, _with_word)
