"""The real servers without Docker: MySQL, Kafka, Kafka Connect with Debezium, Redis.

``python -m tests.stack up`` for a person, ``Stack.start(...)`` for a test, ``tests.stack.fixtures``
for pytest.
"""

from tests.stack.errors import MissingTool, StackError, StartFailed
from tests.stack.stack import Stack

__all__ = ["MissingTool", "Stack", "StackError", "StartFailed"]
