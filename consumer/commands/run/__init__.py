"""``cdc-consumer run``: builds the consumer from its parts; worker processes."""
