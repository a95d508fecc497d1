"""The line of each key in a TOML text, so that an error can name the line.

:mod:`tomllib` gives no line numbers. This scanner finds only line numbers, in text that tomllib has already accepted;
so it checks nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_STRING = r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'"
_KEY = re.compile(rf"(?:{_STRING}|[A-Za-z0-9_-]+)", re.DOTALL)
_VALUE = re.compile(rf"(?:{_STRING}|[^\s,\]}}#\[{{]+(?: [0-9][^\s,\]}}#]*)?)", re.DOTALL)
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_DOT = re.compile(r"[ \t]*\.[ \t]*")


def lines(text: str) -> Mapping[Path, int]:
    """The line (from 1) of every table, key and array element of valid TOML ``text``, by its path.

    The elements of an array of tables are numbered from 0: the second ``[[tables]]`` is ``("tables", 1)``.
    """
    return _Scanner(text.replace("\r\n", "\n")).scan()


def nearest(found: Mapping[Path, int], path: Path) -> int | None:
    """The line of ``path``, or of the innermost part of ``path`` that the text contains."""
    return next((found[path[:length]] for length in range(len(path), 0, -1) if path[:length] in found), None)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: dict[Path, int] = {}
        self._elements: dict[Path, int] = {}

    def scan(self) -> Mapping[Path, int]:
        table: Path = ()
        while self._blank() < len(self._text):
            if self._peek("[["):
                table = self._header("[[")
                number = self._elements.get(table, -1) + 1
                self._elements[table] = number
                self._mark(table)
                table = (*table, number)
                self._mark(table)
            elif self._peek("["):
                table = self._header("[")
                self._mark(table)
            else:
                self._pair(table)
        return self._lines

    def _header(self, bracket: str) -> Path:
        self._move(len(bracket))
        self._blank()
        names = self._key()
        self._blank()
        self._move(len(bracket))
        path: Path = ()
        for place, name in enumerate(names):
            path = (*path, name)
            if place + 1 < len(names) and path in self._elements:
                path = (*path, self._elements[path])
        return path

    def _pair(self, table: Path) -> None:
        place, line = table, self._line
        for name in self._key():
            place = (*place, name)
            self._lines.setdefault(place, line)
        self._blank()
        self._move(1)  # the equals sign
        self._blank()
        self._value(place)

    def _key(self) -> list[str]:
        names = [self._name()]
        while dot := _DOT.match(self._text, self._at):
            self._move(dot.end() - self._at)
            names.append(self._name())
        return names

    def _name(self) -> str:
        found = self._match(_KEY)
        return found if found[0] not in "\"'" else next(iter(tomllib.loads(f"{found} = 0")))

    def _value(self, place: Path) -> None:
        if self._peek("["):
            self._many("]", place, is_array=True)
        elif self._peek("{"):
            self._many("}", place, is_array=False)
        else:
            self._match(_VALUE)

    def _many(self, end: str, place: Path, *, is_array: bool) -> None:
        self._move(1)
        number = 0
        while self._blank() is not None and not self._peek(end):
            if is_array:
                element = (*place, number)
                self._mark(element)
                self._value(element)
                number += 1
            else:
                self._pair(place)
            self._blank()
            if self._peek(","):
                self._move(1)
        self._move(1)

    def _mark(self, place: Path) -> None:
        self._lines.setdefault(place, self._line)

    def _blank(self) -> int:
        self._match(_BLANK)
        return self._at

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"line {self._line}: not TOML")
        self._move(found.end() - self._at)
        return found.group()

    def _move(self, characters: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + characters)
        self._at += characters
