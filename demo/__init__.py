"""The product shown to a newcomer: recorded changes on a Redis of its own (``python -m demo``), or the real servers.

``demo`` needs pip only; ``demo.live`` and ``demo.record`` need what ``tests.support.stack`` needs.
"""
