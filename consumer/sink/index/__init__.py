"""Finds the keys that match a template with a wildcard."""
