"""Kafka as a source: group consumer, topic selection, range reader, schema registry, dead letter topic, recordings."""
