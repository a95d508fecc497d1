"""Bytes from Kafka to a change event: wire formats, Debezium's envelope, values, source positions. Pure."""
