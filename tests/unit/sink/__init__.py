"""Tests of consumer/sink."""
