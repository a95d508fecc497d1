"""The two Kafka client libraries, and connections to Kafka."""
