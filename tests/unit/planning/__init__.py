"""Tests of consumer/planning."""
