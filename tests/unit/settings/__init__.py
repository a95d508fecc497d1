"""Tests of consumer/settings."""
