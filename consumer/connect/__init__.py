"""The connectors in `connect/` and the Kafka Connect that runs them."""
