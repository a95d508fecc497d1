"""Tests of consumer/source."""
