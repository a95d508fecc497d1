"""Tests on real servers: stack."""
