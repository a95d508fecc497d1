"""``cdc-consumer tail``: the decisions about changes while they arrive, beside the consumer group."""
