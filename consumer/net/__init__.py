"""TLS and HTTP, for every client of a server."""
