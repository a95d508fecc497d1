"""Tests of consumer/net."""
