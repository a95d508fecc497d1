"""Placeholders in the files of ``connect/``, for secrets and for values that differ between deployments.

``${NAME}`` and ``${NAME:-default}`` mean the same as in a shell. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from consumer.errors import ConfigError

PLACEHOLDER = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def expand(
    text: str, values: Mapping[str, str], origin: str, written: Callable[[str, str], str] = lambda name, value: value
) -> str:
    """Fill in the placeholders of ``text``. As in a shell, an empty value counts as missing.

    ``written`` gives the text to insert for a placeholder's name and value.

    Raises:
        ConfigError: a placeholder has neither a value nor a default; ``origin``: the file that needs it.
    """

    def fill(match: re.Match[str]) -> str:
        value = values.get(match["name"]) or match["default"]
        if value is None:
            problem = f"has no value, but {origin} needs one"
            raise ConfigError(match["name"], problem, fix="set it in the environment")
        return written(match["name"], value)

    return PLACEHOLDER.sub(fill, text)
