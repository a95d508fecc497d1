"""``cdc-consumer snapshot``: requests incremental snapshots from Debezium, and follows them."""
