"""``cdc-consumer explain``: what stands in Redis for a user, which change set it, and what is still to come."""
