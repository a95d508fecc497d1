"""Kafka in: the group's consumer, the choice of topics, ranges of topics, the registry, dead letters, recordings."""
