"""Knows which settings of a connector are secret, and removes their values from texts.

A secret may be in a value (``database.password``) or in a name: Debezium requires the salt of a masked column there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from urllib.parse import quote

HIDDEN = "***"
_SECRET = re.compile(
    r"password|passphrase|secret|jaas|credential|token|private|api[._-]?key|user\.?info|keystore\.key", re.IGNORECASE
)
_SALT = "with.salt."
_LOGIN = re.compile(r"(?<=://)[^/\s@]+(?=@)")


class Redaction:
    """Collects secrets and removes them from texts: a server's error may quote what it received."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._names: set[str] = set()

    def learn(self, config: Mapping[str, str], secret_names: Collection[str] = ()) -> None:
        """Add the secrets of a configuration. ``secret_names``: settings that are secret although their names do not
        show it.
        """
        self._names.update(secret_names)
        found = {value for name, value in config.items() if self.is_secret(name)}
        found |= {name.partition(_SALT)[2] for name in config}
        for secret in found - {""}:
            # Also in the escaped forms of JSON and of a URL.
            self._secrets |= {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}

    def is_secret(self, name: str) -> bool:
        """Whether the value of a setting must not be shown."""
        return name in self._names or (_SALT not in name and bool(_SECRET.search(name)))

    def __call__(self, text: str) -> str:
        """``text`` without the secrets."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return _LOGIN.sub(HIDDEN, text)
