"""Logs, metrics, probes, traces, progress bars."""
