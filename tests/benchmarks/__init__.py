"""The harness of ``make bench``: that it works, never how fast anything is."""
