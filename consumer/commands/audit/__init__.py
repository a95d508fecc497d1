"""``cdc-consumer audit``: every user in the database against Redis, with the cause of what differs."""
