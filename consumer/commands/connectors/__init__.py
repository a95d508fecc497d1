"""``cdc-consumer connect`` and ``grants``: manage the connectors of `connect/`."""
