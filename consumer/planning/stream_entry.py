"""The form of a stream's entries, for other programs. ``sink/apply.lua`` and ``sink/streams`` write them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from consumer.planning.message_schema import DIALECT, Part, Text, WithoutDefaults

_RECEIVERS = (
    "to how many subscribers PUBLISH delivered the message; absent on a cluster, and if the entry was added again after"
    " Redis had lost it"
)


class StreamEntry(Part):
    """The fields of an entry of a channel's stream. Its id is the time at which it was added, by Redis' clock."""

    event_id: Annotated[Text, Field(description="as in the message")]
    user: Annotated[Text, Field(description="user type and id, such as live:7")]
    message: Annotated[
        Text,
        Field(
            description="the JSON text that was published on the stream's channel",
            json_schema_extra={"contentMediaType": "application/json"},
        ),
    ]
    receivers: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)$", description=_RECEIVERS)] = ""


def entry_schema() -> dict[str, Any]:
    """The JSON Schema of an entry's fields, which are all text."""
    return {"$schema": DIALECT, **StreamEntry.model_json_schema(schema_generator=WithoutDefaults)}
