"""The database itself, read and never written: rows of the captured tables, and where its log stood then."""
