"""Tests of consumer/observability."""
