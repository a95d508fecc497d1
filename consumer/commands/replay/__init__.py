"""``cdc-consumer replay``: applies the topics' records again, change by change or with one write for each user."""
