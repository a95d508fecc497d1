"""Settings: the sections, where values come from, secrets from files, names of environment variables."""
