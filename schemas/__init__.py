"""What goes in and what comes out, for others: generated from the rules and the models by ``python -m schemas``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from consumer import __version__
from consumer.mapping.reference import reference
from consumer.mapping.row_schema import reader_schemas
from consumer.planning.decision import decide_all
from consumer.planning.message_schema import asyncapi, schemas
from consumer.planning.stream_entry import entry_schema
from consumer.source import recording

FOLDER = Path(__file__).parent
_RECORDING = FOLDER.parent / "demo" / "recordings" / "trading.jsonl.gz"
_EXAMPLES = 2


def documents() -> Mapping[Path, str]:
    """Every generated file and its content."""
    rules = reference()
    files: dict[Path, object] = {}
    for table, schema in reader_schemas(rules).items():
        files[FOLDER / f"{table}.avsc"] = schema
    for channel, schema in schemas(rules).items():
        files[FOLDER / "messages" / f"{channel}.json"] = schema
    files[FOLDER / "stream_entry.json"] = entry_schema()
    files[FOLDER / "asyncapi.json"] = asyncapi(rules, examples(), __version__)
    return {file: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for file, content in files.items()}


def examples() -> Mapping[str, list[dict[str, object]]]:
    """Messages of the demo's recording, by type: those that differ in their fields, shortest first."""
    found: dict[str, dict[tuple[str, ...], dict[str, object]]] = defaultdict(dict)
    for decision in decide_all(list(recording.read(_RECORDING)), reference()):
        for message in decision.plan.messages if decision.plan else ():
            body = json.loads(message.body)
            found[body["event_type"]].setdefault(tuple(body), body)
    return {name: sorted(bodies.values(), key=len)[:_EXAMPLES] for name, bodies in sorted(found.items())}
