"""``cdc-consumer init``: proposes mapping, connector file and grants from a database's catalogue."""
