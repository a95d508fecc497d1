"""Connections with TLS and accounts, on real servers: what works, and what is said of what does not."""
