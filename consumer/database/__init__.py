"""The database, read and never written: rows of the captured tables, and the position of its log at the read."""
