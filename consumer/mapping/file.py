"""Reads and checks the mapping as a TOML file, and writes it. An error names the key and the reason.

Each field in :mod:`consumer.mapping.rules` is a key of the format. ``docs/mapping.md`` describes the format.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, TypeAlias, get_args, get_type_hints

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from consumer.errors import ConfigError
from consumer.mapping import faults as mapping_faults
from consumer.mapping.fault import Fault
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.settings import faults as setting_faults

KeyPath: TypeAlias = tuple[str | int, ...]
"""The path from the whole file to one value: keys, and indexes of elements in arrays."""

# Keys that may be left out of the rules ``profile`` and ``outside``, which have no list of fields.
_IMPLIED: Mapping[str, Mapping[str, Any]] = {
    "profile": {"name": "profile", "fields": []},
    "outside": {"name": "outside the hash", "fields": []},
}
# Fields of Rules that are settings of one run, and not part of a mapping file.
_SETTINGS = {
    "epoch": "CDC_GUARD__EPOCH",
    "accept_missing_before": "CDC_SOURCE__ACCEPT_MISSING_BEFORE",
    "databases": "CDC_SOURCE__DATABASE",
    "placeholder": "CDC_SOURCE__UNAVAILABLE_PLACEHOLDER",
}
_LARGEST = 2**63 - 1
_WHOLE = 'begin with extends = "reference", or write a whole mapping'
_PLAINER = {"Cannot overwrite a value": "a key is given twice", "Cannot declare twice": "a table is given twice"}
_BYTE_ORDER_MARK = "\ufeff"  # Windows' editors write it at the beginning of a file
# The keys that may give the name of an element of an array, in this order.
_NAMES = ("name", "table", "column")


class _Root(BaseModel):
    """Strict, without unknown keys. The plain dataclasses inside inherit this configuration."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rules: Rules


def load(file: Path | None, option: str = "CDC_MAPPING") -> Rules:
    """Read the mapping from ``file``; without a file, the reference mapping. ``option``: where the file is named.

    Raises:
        ConfigError: the error names the file, the key, and what is allowed there.

    """
    if file is None:
        return reference()
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(option, f"{file}: {error.strerror}", allowed="a TOML file") from None
    except UnicodeDecodeError:
        raise ConfigError(option, f"{file}: not UTF-8", allowed="a TOML file") from None
    return parse(text, str(file))


def parse(text: str, name: str = "mapping") -> Rules:
    """Read the mapping from TOML ``text``. ``name``: the name of the text in errors.

    Raises:
        ConfigError: as :func:`load`.

    """
    try:
        data = tomllib.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:  # also an integer of thousands of digits
        found = re.search(r" \(at line (\d+), column \d+\)| \(at end of document\)", str(error))
        line = found[1] if found and found[1] else text.count("\n") + 1
        raise ConfigError(f"{name}:{line}", f"not TOML{_reason(str(error))}", fix="correct this line") from None
    except RecursionError:
        raise _too_deep(name) from None
    try:
        read = _read(data)
    except RecursionError:
        raise _too_deep(name) from None
    faults = list(mapping_faults.faults(read)) if isinstance(read, Rules) else read
    if isinstance(read, Rules) and not faults:
        return read
    # Report the first fault, because causes come first. But prefer a fault of a key in the file itself.
    raise _error(min(faults, key=lambda fault: not _is_in(fault.path, data)), data, name)


def _reason(said: str) -> str:
    """What the parser says, without the keys and characters of the text that it may repeat."""
    found = re.sub(r" \(at .*", "", said, flags=re.DOTALL)
    found = re.sub(r""" (\(['"].*\)|'.*'$|".*"$)""", "", found, flags=re.DOTALL)
    found = _PLAINER.get(found, found)
    is_words = re.fullmatch(r"[A-Za-z][A-Za-z '=\[\]/\\-]{1,70}", found) is not None
    return f": {found[0].lower()}{found[1:]}" if is_words else ""


def _too_deep(name: str) -> ConfigError:
    return ConfigError(name, "nested too deeply", fix="a mapping needs three levels")


def _read(data: dict[str, Any]) -> Rules | list[Fault]:
    data = dict(data)
    extends = data.pop("extends", None)
    if extends not in (None, "reference"):
        return [Fault(("extends",), "not the name of a mapping", '"reference", or leave it out')]
    if settings := [name for name in _SETTINGS if name in data]:
        return [Fault((settings[0],), "this is a setting, not part of a mapping", fix=f"set {_SETTINGS[settings[0]]}")]
    if wrong_types := list(_wrong_types(data, ())):
        return wrong_types
    whole = _merged(plain(reference()), data) if extends else data
    for name, implied in _IMPLIED.items():
        if isinstance(whole.get(name), dict):
            whole[name] = {**implied, **whole[name]}
    try:
        # Through JSON: in strict mode only JSON input may give a tuple or a set as an array.
        return _Root.model_validate_json(json.dumps({"rules": whole})).rules
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # A misspelt key gives two faults: unknown key and missing key. The unknown key comes first.
        return [_fault(each) for each in sorted(found, key=lambda each: each["type"] == "missing")]


def _merged(base: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Merge tables key by key; replace arrays as a whole, also arrays of tables."""
    merged = {**base, **data}
    for name, value in data.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            merged[name] = base[name] | value
    return merged


def _wrong_types(value: object, path: KeyPath) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _wrong_types(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _wrong_types(each, (*path, index))
    elif not isinstance(value, str | int):
        yield Fault(path, "a mapping contains no fractions and no times", "text in quotes, or a whole number")
    elif isinstance(value, int) and abs(value) > _LARGEST:
        yield Fault(path, "too large a number", "a number of at most 64 bits, as in TOML")


def _fault(error: Any) -> Fault:
    path = tuple(error["loc"][1:])
    if error["type"] == "unexpected_keyword_argument":
        implied = _IMPLIED.get(str(path[0]), {}) if len(path) == 2 else {}
        return Fault(path, "no such key", ", ".join(sorted(_keys(path[:-1]) - _SETTINGS.keys() - implied.keys())))
    if error["type"] in ("missing", "missing_argument"):
        # Only a whole mapping lacks a key at the top: the reference has all of them.
        return Fault(path, "missing", fix=_WHOLE if len(path) == 1 else "")
    problem, allowed, _ = setting_faults.fault(error)
    return Fault(path, problem, allowed)


def _keys(path: KeyPath) -> set[str]:
    """The keys that the table at ``path`` may have."""
    kind: Any = Rules
    for part in path:
        kind = get_args(kind)[0] if isinstance(part, int) else get_type_hints(kind)[part]
        kind = next(iter(get_args(kind)), kind) if isinstance(kind, UnionType) else kind
    return {field.name for field in dataclasses.fields(kind)} | ({"extends"} if kind is Rules else set())


def _is_in(path: KeyPath, data: Mapping[str, Any]) -> bool:
    """Whether ``data`` has the key at ``path``, as far as tables are merged: in an array all is of one file."""
    if not path or path[0] not in data:
        return False
    table = data[str(path[0])]
    return len(path) < 2 or not isinstance(table, dict) or path[1] in table


def _error(fault: Fault, data: Mapping[str, Any], name: str) -> ConfigError:
    problem, base = fault.problem, plain(reference()) if data.get("extends") == "reference" else {}
    if not _is_in(fault.path, data) and _is_in(fault.path, base):
        problem += " (this key comes from the reference)"
    return ConfigError(
        f"{name}: {_key(fault.path, _merged(base, data))}", problem, allowed=fault.allowed, fix=fault.fix
    )


def _key(path: KeyPath, data: object) -> str:
    """The key at ``path``, such as ``tables[live_users].columns[margin].kind``.

    An element of an array is shown with its name. Without a name it is shown with its number, from 1.
    """
    text = ""
    at = data
    for part in path:
        if isinstance(part, str):
            name = part if part and part.isprintable() else json.dumps(part)
            text += f".{name}" if text else name
            at = at.get(part) if isinstance(at, dict) else None
        else:
            at = at[part] if isinstance(at, list) and part < len(at) else None
            names = [at[each] for each in _NAMES if isinstance(at.get(each), str)] if isinstance(at, dict) else []
            text += f"[{names[0] if names else part + 1}]"
    return text


def to_toml(rules: Rules) -> str:
    """``rules`` as a complete mapping; :func:`parse` of this text returns equal rules."""
    return tomli_w.dumps(plain(rules))


def plain(rules: Rules) -> dict[str, Any]:
    """``rules`` as the tables, arrays and scalars of the file format, without the implied keys."""
    plain = {
        field.name: _value(getattr(rules, field.name), complete=True)
        for field in dataclasses.fields(rules)
        if field.name not in _SETTINGS and getattr(rules, field.name) is not None
    }
    for name, implied in _IMPLIED.items():
        plain[name] = {key: value for key, value in plain[name].items() if value != implied.get(key)}
    return plain


def _value(value: Any, *, complete: bool = False) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value, complete=complete)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value


def _fields(value: Any, *, complete: bool) -> dict[str, Any]:
    plain = {}
    for field in dataclasses.fields(value):
        current = getattr(value, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        # An empty default stands for the object's name: for example Column.field.
        is_implied = current == default or (default == "" and current == getattr(value, "name", None))
        if current is not None and (not is_implied or _is_whole(value, complete)):
            plain[field.name] = _value(current)
    return plain


def _is_whole(value: Any, complete: bool) -> bool:
    """Whether to write default values too: for ``names`` yes; for named elements of lists no, to keep them short."""
    return complete and not hasattr(value, "name")
