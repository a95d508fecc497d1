"""``cdc-consumer api``: the health API over HTTP."""
