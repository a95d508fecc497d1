"""``cdc-consumer check``, also for the console: asks every server, and judges the answers."""
