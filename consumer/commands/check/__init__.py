"""``cdc-consumer check``: what every server says, and what follows from it."""
