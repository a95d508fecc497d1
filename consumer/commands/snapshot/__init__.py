"""``cdc-consumer snapshot``: Debezium's incremental snapshots, asked for and followed."""
