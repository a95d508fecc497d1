"""Tests on real servers: kafka."""
