"""Decides records with two mappings, and compares the decisions. For ``plan`` and the console."""
