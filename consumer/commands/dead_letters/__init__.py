"""``cdc-consumer dead-letters``: dead letters listed, shown, and put through the pipeline again."""
