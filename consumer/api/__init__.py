"""``cdc-consumer api``: the health API that scripts of the platform already speak, over HTTP."""
