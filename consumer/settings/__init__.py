"""What can be set: sections, where values come from, secrets from files, names of variables."""
