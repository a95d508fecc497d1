"""Tests of consumer/pipeline."""
