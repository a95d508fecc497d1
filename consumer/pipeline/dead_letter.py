"""The dead letter: a record that could not be applied, unchanged, with headers for its place and the reason.

The headers have Kafka Connect's names, as Connect's error reporter writes them, and this program's own. No header
contains a row value. The letter's value is the bytes of the record.
"""

from __future__ import annotations

from dataclasses import dataclass

from consumer.errors import CdcError, RecordError, Refused, Undecodable
from consumer.events.record import Header, SourceRecord
from consumer.mapping.keys import UserId

CONNECT = "__connect.errors."
OWN = "cdc."
DONE = f"{OWN}done"
"""The header of a note: a record of the topic that says that a letter was handled. The header's value says how."""
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
"""The headers that this program adds. Headers of a record with these names are not kept."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter.

    ``users``: the users of the change, if known; several if the record may be of several tables. ``tables``: the tables
    that the record may be of. ``group``: the consumer group that wrote the letter.
    """

    record: SourceRecord
    error: CdcError
    users: tuple[UserId, ...]
    group: str
    tables: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The kind of the error in one word, for metric labels."""
        if isinstance(self.error, Refused):
            return f"redis_{self.error.problem.partition(' ')[0].lower()}"
        return "".join(f"_{each.lower()}" if each.isupper() else each for each in type(self.error).__name__).strip("_")

    @property
    def stage(self) -> str:
        """The step that failed: ``decode``, ``plan`` or ``apply``."""
        if isinstance(self.error, Undecodable):
            return "decode"
        return "apply" if isinstance(self.error, Refused) else "plan"

    def headers(self) -> list[Header]:
        """The record's headers, then Kafka Connect's, then this program's."""
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
