"""Tests of consumer/guard."""
