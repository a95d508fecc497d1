"""The mapping as a TOML file: read, checked, refused with key and reason, and written back.

The format follows :mod:`consumer.mapping.rules`: a field there is a key here. ``docs/mapping.md`` describes it for
people.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_type_hints

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from consumer.errors import ConfigError
from consumer.mapping import faults as mapping_faults
from consumer.mapping.faults import Fault
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.settings import faults as setting_faults

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys, and the places of elements in arrays, from the whole file to one value."""

# What a rule that applies to columns without being called for by fields need not say.
_IMPLIED: Mapping[str, Mapping[str, Any]] = {
    "profile": {"name": "profile", "fields": []},
    "outside": {"name": "outside the hash", "fields": []},
}
# Rules that belong to an operation and not to a deployment.
_SETTINGS = {
    "epoch": "CDC_GUARD__EPOCH",
    "accept_missing_before": "CDC_SOURCE__ACCEPT_MISSING_BEFORE",
    "databases": "CDC_SOURCE__DATABASE",
    "placeholder": "CDC_SOURCE__UNAVAILABLE_PLACEHOLDER",
}
# By which of its keys an element of an array is named.
_NAMES = ("name", "table", "column")


class _Root(BaseModel):
    """Strict, and without unknown keys, all the way down: the plain dataclasses inside inherit it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rules: Rules


def load(file: Path | None) -> Rules:
    """The mapping in ``file``, the reference without one.

    Raises:
        ConfigError: naming file, key, and what is allowed there.

    """
    if file is None:
        return reference()
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("CDC_MAPPING", f"{file}: {error.strerror}", allowed="a TOML file") from None
    except UnicodeDecodeError:
        raise ConfigError("CDC_MAPPING", f"{file}: not UTF-8", allowed="a TOML file") from None
    return parse(text, str(file))


def parse(text: str, name: str = "mapping") -> Rules:
    """The mapping that ``text`` describes; ``name`` is what errors call it.

    Raises:
        ConfigError: as :func:`load`.

    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)| \(at end of document\)", str(error))
        line = found[1] if found and found[1] else text.count("\n") + 1
        raise ConfigError(f"{name}:{line}", "not TOML", fix="correct this line") from None
    read = _read(data)
    faults = list(mapping_faults.faults(read)) if isinstance(read, Rules) else read
    if isinstance(read, Rules) and not faults:
        return read
    # The first one, causes before what follows from them; but rather one that the file itself says.
    raise _error(min(faults, key=lambda fault: not _is_given(fault, data)), data, name)


def _read(data: dict[str, Any]) -> Rules | list[Fault]:
    data = dict(data)
    extends = data.pop("extends", None)
    if extends not in (None, "reference"):
        return [Fault(("extends",), "no mapping of this name", '"reference", or leave it out')]
    if settings := [name for name in _SETTINGS if name in data]:
        return [Fault((settings[0],), "this is a setting, not part of a mapping", fix=f"set {_SETTINGS[settings[0]]}")]
    if strange := list(_strange(data, ())):
        return strange
    whole = _merged(_plain(reference()), data) if extends else data
    for name, implied in _IMPLIED.items():
        if isinstance(whole.get(name), dict):
            whole[name] = {**implied, **whole[name]}
    try:
        # By way of JSON, for strictness there still lets an array be a tuple or a set.
        return _Root.model_validate_json(json.dumps({"rules": whole})).rules
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # A key that is missing may well be the one that is misspelt beside it.
        return [_fault(each) for each in sorted(found, key=lambda each: each["type"] == "missing")]


def _merged(base: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; arrays, arrays of tables too, are replaced as a whole."""
    merged = base | data
    for name, value in data.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            merged[name] = base[name] | value
    return merged


def _strange(value: object, path: KeyPath) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _strange(each, (*path, name))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _strange(each, (*path, place))
    elif not isinstance(value, str | int):
        yield Fault(path, "neither a fraction nor a time has a place in a mapping", "text in quotes, or a whole number")


def _fault(error: Any) -> Fault:
    path = tuple(error["loc"][1:])
    if error["type"] == "unexpected_keyword_argument":
        return Fault(path, "no such key", ", ".join(sorted(_keys(path[:-1]) - _SETTINGS.keys())))
    if error["type"] in ("missing", "missing_argument"):
        return Fault(path, "missing")
    problem, allowed, _ = setting_faults.fault(error)
    return Fault(path, problem, allowed)


def _keys(path: KeyPath) -> set[str]:
    """The keys that the table at ``path`` may have."""
    kind: Any = Rules
    for part in path:
        kind = get_args(kind)[0] if isinstance(part, int) else get_type_hints(kind)[part]
    return {field.name for field in dataclasses.fields(kind)} | ({"extends"} if kind is Rules else set())


def _is_given(fault: Fault, data: Mapping[str, Any]) -> bool:
    return fault.path[:1] != () and fault.path[0] in data


def _error(fault: Fault, data: Mapping[str, Any], name: str) -> ConfigError:
    problem = fault.problem
    if not _is_given(fault, data) and "extends" in data:
        problem += " (what this file does not give is the reference's)"
    return ConfigError(f"{name}: {_key(fault.path, data)}", problem, allowed=fault.allowed, fix=fault.fix)


def _key(path: KeyPath, data: object) -> str:
    """The key at ``path``, such as ``tables[live_users].columns[margin].kind``.

    An element of an array is called by its name, or by its place, from 1, where it has none.
    """
    text = ""
    at = data
    for part in path:
        if isinstance(part, str):
            text += f".{part}" if text else part
            at = at.get(part) if isinstance(at, dict) else None
        else:
            at = at[part] if isinstance(at, list) and part < len(at) else None
            names = [at[each] for each in _NAMES if isinstance(at.get(each), str)] if isinstance(at, dict) else []
            text += f"[{names[0] if names else part + 1}]"
    return text


def to_toml(rules: Rules) -> str:
    """``rules`` as a complete mapping, which :func:`parse` reads back to the same."""
    return tomli_w.dumps(_plain(rules))


def _plain(rules: Rules) -> dict[str, Any]:
    """Rules as tables, arrays and scalars, without what goes without saying."""
    plain = {
        field.name: _value(getattr(rules, field.name), complete=True)
        for field in dataclasses.fields(rules)
        if field.name not in _SETTINGS
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
        held = getattr(value, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        # An empty default stands for the thing's name, as that of Column.field does.
        is_implied = held == default or (default == "" and held == getattr(value, "name", None))
        if held is not None and (not is_implied or _is_whole(value, complete)):
            plain[field.name] = _value(held)
    return plain


def _is_whole(value: Any, complete: bool) -> bool:
    """Names are shown even where they are the default's; the parts of lists are long enough without."""
    return complete and not hasattr(value, "name")
