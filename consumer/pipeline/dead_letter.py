"""The dead letter: a record that could not be applied, as it was, with headers that say where it lay and why.

The headers' names are Kafka Connect's, as its error reporter writes them, and this program's own beside them. None
carries a row value; the letter's value is the record's own bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from consumer.errors import CdcError, RecordError, Refused, Undecodable
from consumer.events.record import Header, SourceRecord
from consumer.mapping.keys import UserId

CONNECT = "__connect.errors."
OWN = "cdc."
DONE = f"{OWN}done"
"""The header that makes a record of the topic a note that a letter was dealt with; its value says how."""
ADDED = frozenset(
    [
        *(
            f"{CONNECT}{name}"
            for name in (
                *("topic", "partition", "offset", "connector.name", "task.id", "stage"),
                *("class.name", "exception.class.name", "exception.message"),
            )
        ),
        *(f"{OWN}{name}" for name in ("reason", "stage", "advice", "field", "user", "table", "timestamp_ms")),
        DONE,
    ]
)
"""Headers that are this program's: a record's own of these names are not kept."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """``users`` are whose change it was, as far as that is known: several, where it may have been of several tables.

    ``tables`` are the tables that the record may be of. ``group`` is the consumer group that wrote the letter.
    """

    record: SourceRecord
    error: CdcError
    users: tuple[UserId, ...]
    group: str
    tables: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The kind of error, in a word that a metric's label may hold."""
        if isinstance(self.error, Refused):
            return f"redis_{self.error.problem.partition(' ')[0].lower()}"
        return "".join(f"_{each.lower()}" if each.isupper() else each for each in type(self.error).__name__).strip("_")

    @property
    def stage(self) -> str:
        """How far the record got: ``decode``, ``plan`` or ``apply``."""
        if isinstance(self.error, Undecodable):
            return "decode"
        return "apply" if isinstance(self.error, Refused) else "plan"

    def headers(self) -> list[Header]:
        """The record's own headers, then Kafka Connect's, then this program's."""
        record, error = self.record, self.error
        field = error.field if isinstance(error, RecordError) else ""
        connect = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "connector.name": self.group,
            "task.id": 0,
            "stage": _CONNECT_STAGES[self.stage],
            "class.name": f"consumer.{self.stage}",
            "exception.class.name": f"{type(error).__module__}.{type(error).__qualname__}",
            "exception.message": error,
        }
        own = {
            "reason": self.reason,
            "stage": self.stage,
            "advice": error.advice,
            "field": field,
            "user": ",".join(map(str, self.users)),
            "table": ",".join(self.tables),
            "timestamp_ms": record.timestamp_ms,
        }
        added = {f"{CONNECT}{name}": value for name, value in connect.items()}
        added |= {f"{OWN}{name}": value for name, value in own.items()}
        kept = [(name, value) for name, value in record.headers if name not in ADDED]
        return kept + [(name, str(value).encode()) for name, value in added.items()]


_CONNECT_STAGES = {"decode": "VALUE_CONVERTER", "plan": "TRANSFORMATION", "apply": "TASK_PUT"}
