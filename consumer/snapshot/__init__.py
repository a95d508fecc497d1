"""Debezium's incremental snapshots: asked for, followed, and what they really read."""
