"""``cdc-consumer dead-letters``: lists dead letters, shows them, and applies their records again."""
