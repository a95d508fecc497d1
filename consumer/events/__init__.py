"""Bytes from Kafka to a change event: wire formats, Debezium's envelope, values, positions in a source's log. Pure."""
