"""``cdc-consumer run``: the parts put together, and worker processes."""
