"""What `check` asks every server, and what it makes of the answers."""
