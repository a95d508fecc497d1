"""Which keys match a template with a wildcard."""
