"""``python -m schemas``: write the files anew."""

from __future__ import annotations

from schemas import documents

for file, content in documents().items():
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")
