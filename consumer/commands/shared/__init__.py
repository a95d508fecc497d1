"""Shared by several commands: options, usage errors, the stop by signals, writing a user's row again."""
