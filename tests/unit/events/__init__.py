"""Tests of consumer/events."""
