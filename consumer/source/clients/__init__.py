"""The two Kafka clients, and what a connection to Kafka needs."""
