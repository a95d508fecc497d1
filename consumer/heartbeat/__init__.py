"""Whether the connector gives a sign of life, by its heartbeat topic."""
