"""What was decided about a recording, in a form that two formats can be compared in."""

from __future__ import annotations

import json
from typing import Any

from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.planning.decision import Decision, Outcome, decide_all
from consumer.planning.plan_text import to_json
from tests.wire.taken import Taken

# Connectors read their snapshots one after another, so the times of these differ.
_SNAPSHOT_TIMES = ("last_updated",)


def decided(taken: Taken) -> list[tuple[SourceRecord, Decision]]:
    """Every record with its decision, all decided together: so money requests enrich what they caused."""
    decisions = decide_all(taken.records, reference(), taken.schemas)
    return list(zip(taken.records, decisions, strict=True))


def comparable(taken: Taken) -> list[dict[str, Any]]:
    """All decisions but for the Kafka coordinates, which a reason may name too, and the time of each by itself."""
    return [_without_place(record, decision) for record, decision in decided(taken)]


def _without_place(record: SourceRecord, decision: Decision) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(to_json(record, decision))
    del found["offset"], found["partition"], found["time"]
    if decision.outcome is Outcome.REJECTED:
        found["reason"] = decision.reason.replace(str(record.place), "")
    if "snapshot read" in decision.reason:
        for effect in found["effects"]:
            for image in (effect.get("changed", {}), effect.get("whole", {}), effect.get("fields", {})):
                for name in [name for name in image if name in _SNAPSHOT_TIMES or name.endswith("_updated_at")]:
                    del image[name]
    return found
