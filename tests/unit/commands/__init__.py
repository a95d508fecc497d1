"""Tests of consumer/commands."""
