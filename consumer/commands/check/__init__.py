"""``cdc-consumer check``: asks every server, and judges the answers."""
