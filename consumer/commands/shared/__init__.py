"""Shared by several commands: options, usage errors, the stop by signals, writing a user's row again.

A package here that is named like a command has what this command and the console share.
"""
