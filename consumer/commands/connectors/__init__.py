"""``cdc-consumer connect`` and ``grants``: the connectors of `connect/`."""
