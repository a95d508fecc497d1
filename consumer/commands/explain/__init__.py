"""``cdc-consumer explain``: a user's values in Redis, the changes that set them, and changes that are not applied."""
