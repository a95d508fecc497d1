"""Servers, recordings and scenario tools for tests."""
