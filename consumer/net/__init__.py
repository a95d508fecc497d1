"""TLS settings and the HTTP client that the clients of all servers use."""
