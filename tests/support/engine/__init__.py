"""A Docker engine with Compose for ``make compose-test``: the one that answers, or one of the run's own."""
