"""``cdc-consumer plan``: what follows from recorded or live changes, and how it differs from another mapping's."""
