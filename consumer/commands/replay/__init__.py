"""``cdc-consumer replay``: Redis brought to what the topics say, change by change or one write for each user."""
