"""Which settings of a connector are secret, and texts without what they hold.

A secret may stand in a value (``database.password``) or in a name: Debezium wants the salt of a masked column there.
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
    """Remembers secrets, so that no text shows them: what a server says may quote what it was given."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._names: set[str] = set()

    def learn(self, config: Mapping[str, str], secret_names: Collection[str] = ()) -> None:
        """Remember the secrets of a configuration. ``secret_names`` are settings known to be secret whatever their
        names look like.
        """
        self._names.update(secret_names)
        found = {value for name, value in config.items() if self.is_secret(name)}
        found |= {name.partition(_SALT)[2] for name in config}
        for secret in found - {""}:
            # As it stands, and as it stands inside JSON and inside a URL.
            self._secrets |= {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}

    def is_secret(self, name: str) -> bool:
        """Whether the value of a setting may not be shown."""
        return name in self._names or (_SALT not in name and bool(_SECRET.search(name)))

    def __call__(self, text: str) -> str:
        """``text`` without the secrets."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return _LOGIN.sub(HIDDEN, text)
