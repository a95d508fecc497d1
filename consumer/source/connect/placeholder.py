"""Placeholders in the files of ``connect/``: secrets, and what differs between deployments.

``${NAME}`` and ``${NAME:-default}``, with the meaning that they have in a shell. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from consumer.errors import ConfigError

PLACEHOLDER = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def expand(
    text: str, values: Mapping[str, str], origin: str, written: Callable[[str, str], str] = lambda name, value: value
) -> str:
    """``text`` with its placeholders filled in, as a shell does: an empty value counts as none.

    ``written`` is how a value is written there, by the placeholder's name.

    Raises:
        ConfigError: one has neither value nor default; ``origin`` is what needs it.
    """

    def fill(match: re.Match[str]) -> str:
        value = values.get(match["name"]) or match["default"]
        if value is None:
            problem = f"has no value, or an empty one, and {origin} needs one"
            raise ConfigError(match["name"], problem, fix="set it in the environment")
        return written(match["name"], value)

    return PLACEHOLDER.sub(fill, text)
