"""``cdc-consumer status``: asks every server at once, judges the answers, and shows them on one screen."""
