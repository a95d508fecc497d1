"""The mapping as a TOML file: read it, check it, write it. An error names the line and the reason.

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
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from consumer.errors import ConfigError
from consumer.mapping import faults as mapping_faults
from consumer.mapping import toml_lines
from consumer.mapping.faults import Fault
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.settings import faults as setting_faults

_WIDTH = 110
# The keys with these values may be left out: "profile" and "outside" have no fields that trigger them.
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
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class _Root(BaseModel):
    """Strict, without unknown keys. The plain dataclasses inside inherit this configuration."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rules: Rules


def load(file: Path | None) -> Rules:
    """Read the mapping from ``file``; without a file, the reference mapping.

    Raises:
        ConfigError: names the file, the line, the key, and what is allowed there.

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
    """Read the mapping from TOML ``text``; ``name``: what errors call the text.

    Raises:
        ConfigError: as :func:`load`.

    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)| \(at end of document\)", str(error))
        line = found[1] if found and found[1] else text.count("\n") + 1
        raise ConfigError(f"{name}:{line}", "not TOML", fix="correct this line") from None
    places = toml_lines.lines(text)
    read = _read(data)
    faults = list(mapping_faults.faults(read)) if isinstance(read, Rules) else read
    if isinstance(read, Rules) and not faults:
        return read
    # Report the first fault: later faults may follow from it. A fault in the file comes before one in a default.
    raise _error(min(faults, key=lambda fault: fault.path[:1] not in places), places, name)


def _read(data: dict[str, Any]) -> Rules | list[Fault]:
    extends = data.pop("extends", None)
    if extends not in (None, "reference"):
        return [Fault(("extends",), "not the name of a mapping", '"reference", or leave it out')]
    if settings := [name for name in _SETTINGS if name in data]:
        return [Fault((settings[0],), "this is a setting, not part of a mapping", fix=f"set {_SETTINGS[settings[0]]}")]
    if wrong_types := list(_wrong_types(data, ())):
        return wrong_types
    whole = _merged(_plain(reference()), data) if extends else data
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


def _merged(base: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Merge tables key by key; replace arrays as a whole, also arrays of tables."""
    merged = base | data
    for name, value in data.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            merged[name] = base[name] | value
    return merged


def _wrong_types(value: object, path: toml_lines.Path) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _wrong_types(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _wrong_types(each, (*path, index))
    elif not isinstance(value, str | int):
        yield Fault(path, "a mapping contains no fractions and no times", "text in quotes, or a whole number")


def _fault(error: Any) -> Fault:
    path = tuple(error["loc"][1:])
    if error["type"] == "unexpected_keyword_argument":
        return Fault(path, "no such key", ", ".join(sorted(_keys(path[:-1]) - _SETTINGS.keys())))
    if error["type"] in ("missing", "missing_argument"):
        return Fault(path, "missing")
    problem, allowed, _ = setting_faults.fault(error)
    return Fault(path, problem, allowed)


def _keys(path: toml_lines.Path) -> set[str]:
    """The keys that are allowed in the table at ``path``."""
    kind: Any = Rules
    for part in path:
        kind = get_args(kind)[0] if isinstance(part, int) else get_type_hints(kind)[part]
    return {field.name for field in dataclasses.fields(kind)} | ({"extends"} if kind is Rules else set())


def _line(fault: Fault, places: Mapping[toml_lines.Path, int]) -> int:
    return toml_lines.nearest(places, fault.path) or places.get(("extends",), 1)


def _error(fault: Fault, places: Mapping[toml_lines.Path, int], name: str) -> ConfigError:
    key = ".".join(part for part in fault.path if isinstance(part, str))
    problem = fault.problem
    if fault.path[:1] not in places:
        problem += " (this key comes from the reference)" if ("extends",) in places else ""
    return ConfigError(f"{name}:{_line(fault, places)}: {key}", problem, allowed=fault.allowed, fix=fault.fix)


def to_toml(rules: Rules) -> str:
    """``rules`` as a complete mapping file. :func:`parse` reads it back to equal rules."""
    return document(_plain(rules))


def document(plain: Mapping[str, Any]) -> str:
    """Write TOML: tables, arrays, text, whole numbers and booleans. Only the outermost tables get headers."""
    scalars = {key: value for key, value in plain.items() if not _is_table(value)}
    blocks = ["\n".join(_pair(key, value) for key, value in scalars.items())]
    for key, value in plain.items():
        if not _is_table(value):
            continue
        is_array = isinstance(value, list)
        header = f"[[{_key(key)}]]" if is_array else f"[{_key(key)}]"
        tables = value if is_array else [value]
        blocks += ["\n".join([header, *(_pair(name, each) for name, each in table.items())]) for table in tables]
    return "\n\n".join(blocks) + "\n"


def _plain(rules: Rules) -> dict[str, Any]:
    """``rules`` as tables, arrays and scalars, without the implied keys."""
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


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)
    )


def _pair(key: str, value: object) -> str:
    line = f"{_key(key)} = {_inline(value)}"
    if isinstance(value, list) and value and (len(line) > _WIDTH or isinstance(value[0], dict)):
        return "\n".join([f"{_key(key)} = [", *(f"  {_inline(each)}," for each in value), "]"])
    return line


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    # A JSON string is a TOML string, except for the character DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _inline(name)
