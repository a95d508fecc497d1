"""A user's values in Redis, the changes that set them, and the user's timeline. For ``explain`` and the console."""
