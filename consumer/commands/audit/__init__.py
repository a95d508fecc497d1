"""``cdc-consumer audit``: compares every user in the database with Redis, and finds the causes of differences."""
